"""What everybody promises who remembers outcomes: here, in a registry, in a Bazel cache."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.record import Outcomes
from ovenproof.registry import outcomes
from ovenproof.registry.bazel import BazelCache, wrapped
from ovenproof.registry.client import Registries
from ovenproof.registry.hearsay import Hearsay, Records
from ovenproof.registry.outcomes import OutcomesRepository
from ovenproof.registry.reference import Repository
from ovenproof.store.store import Store
from tests.fakes.cache import FakeCache
from tests.fakes.registry import FakeRegistry

KEY, OTHER = Digest.of(b"action"), Digest.of(b"another action")
OUTCOME = Outcome({"layer": Content.of(b"layer")})

Opens: TypeAlias = Callable[[], Outcomes]
"""Somebody new each time, who knows nothing but the place."""
Spoils: TypeAlias = Callable[[Digest, bytes], None]
"""Puts these bytes where the record of the key is."""
Kind: TypeAlias = Callable[[Path], AbstractContextManager[tuple[Opens, Spoils]]]


@contextmanager
def store(folder: Path) -> Iterator[tuple[Opens, Spoils]]:
    def spoil(key: Digest, text: bytes) -> None:
        (folder / "actions" / f"{key.hex}.json").write_bytes(text)

    yield lambda: Store(folder), spoil


@contextmanager
def bazel(folder: Path) -> Iterator[tuple[Opens, Spoils]]:
    with FakeCache() as cache:

        def spoil(key: Digest, text: bytes) -> None:
            cache.values[f"/cache/ac/{key.hex}"] = wrapped(text)

        yield _hearsay(lambda: BazelCache(cache.url, environment={}, home=folder)), spoil


@contextmanager
def registry(folder: Path) -> Iterator[tuple[Opens, Spoils]]:
    with (
        FakeRegistry() as fake,
        Registries(environment={}, home=folder, waits_s=()) as registries,
    ):
        remote = registries.at(Repository(fake.address, "outcomes"))

        def spoil(key: Digest, text: bytes) -> None:
            data = outcomes.artifact(text)
            fake.add_manifest("outcomes", data, MANIFEST_TYPE, outcomes.tag(key))

        yield _hearsay(lambda: OutcomesRepository(remote)), spoil


def _hearsay(connect: Callable[[], Records]) -> Opens:
    return lambda: Hearsay(connect=connect, name="remote", writes=True)


@pytest.fixture(params=[store, bazel, registry])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Opens, Spoils]]:
    made: Kind = request.param
    with made(tmp_path) as found:
        yield found


@pytest.fixture
def opens(kind: tuple[Opens, Spoils]) -> Opens:
    return kind[0]


@pytest.fixture
def spoils(kind: tuple[Opens, Spoils]) -> Spoils:
    return kind[1]


def test_what_nobody_remembered_is_not_known(opens: Opens) -> None:
    assert opens().recall(KEY) is None


@pytest.mark.parametrize(
    "outcome",
    [
        OUTCOME,
        Outcome({}),
        Outcome({"layer": Content(KEY, 2**40), "größe": Content.of(b"")}),
    ],
)
def test_an_outcome_is_remembered_for_everybody(opens: Opens, outcome: Outcome) -> None:
    opens().remember(KEY, outcome)
    assert opens().recall(KEY) == outcome
    assert opens().recall(OTHER) is None


def test_the_last_outcome_counts(opens: Opens) -> None:
    one = opens()
    one.remember(KEY, OUTCOME)
    one.remember(KEY, Outcome({}))
    assert one.recall(KEY) == opens().recall(KEY) == Outcome({})


def test_to_remember_twice_is_no_fault(opens: Opens) -> None:
    opens().remember(KEY, OUTCOME)
    opens().remember(KEY, OUTCOME)
    assert opens().recall(KEY) == OUTCOME


def test_outcomes_do_not_disturb_each_other(opens: Opens) -> None:
    one = opens()
    keys = [Digest.of(b"%d" % number) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: one.remember(key, Outcome({"layer": Content(key, 1)})), keys))
        found = list(pool.map(opens().recall, keys))
    assert found == [Outcome({"layer": Content(key, 1)}) for key in keys]


RECORD = record.write(KEY, OUTCOME)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        RECORD[:-1],
        RECORD + b"\n",
        RECORD.replace(b"layer", b"liars"),
        record.write(OTHER, OUTCOME),
        b"{}",
        b"<html>",
    ],
)
def test_a_damaged_record_is_none_and_is_replaced(
    opens: Opens, spoils: Spoils, text: bytes
) -> None:
    opens().remember(KEY, OUTCOME)
    spoils(KEY, text)
    one = opens()
    assert one.recall(KEY) is None
    one.remember(KEY, OUTCOME)
    assert opens().recall(KEY) == OUTCOME
