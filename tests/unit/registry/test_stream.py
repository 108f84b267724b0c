"""A stream and a registry that errs: its digest is known at its end, and not before."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.digest import Digest
from ovenproof.errors import NoAccess, TryAgain, WrongBytes
from ovenproof.registry.client import Registries, Remote, Stream
from ovenproof.registry.reference import Repository
from tests.fakes.registry import FakeRegistry
from tests.fakes.registry.streaming import Passing

NAME = "team/models"
DATA = bytes(range(256)) * 400
DIGEST = str(Digest.of(DATA))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def connect(tmp_path: Path, registry: FakeRegistry) -> Iterator[Callable[[], Remote]]:
    made: list[Registries] = []

    def make() -> Remote:
        made.append(Registries(environment={}, home=tmp_path, waits_s=(0.001, 0.001, 0.001)))
        return made[-1].at(Repository(registry.address, NAME))

    yield make
    for registries in made:
        registries.close()


@pytest.fixture
def remote(connect: Callable[[], Remote]) -> Remote:
    return connect()


def methods(registry: FakeRegistry) -> list[str]:
    return [asked.method for asked in registry.requests]


def is_there(registry: FakeRegistry) -> bool:
    return registry.blobs.get(NAME, {}).get(DIGEST) == DATA


def holds_nothing(registry: FakeRegistry) -> bool:
    return not registry.blobs.get(NAME) and not registry.uploads


def test_it_goes_by_once_and_is_named_at_its_end(registry: FakeRegistry, remote: Remote) -> None:
    source, heard = Passing(DATA), list[int]()

    done = remote.upload(source.stream, heard=heard.append)

    assert is_there(registry)
    assert done.sent == sum(heard) == source.given == len(DATA)
    assert (source.read_from, source.named) == ([0], 1)
    assert methods(registry) == ["POST", "PATCH", "PUT"]
    patch, put = registry.requests[1:]
    assert patch.headers["transfer-encoding"] == "chunked"
    assert "content-range" not in patch.headers
    assert (put.query["digest"], put.received) == (DIGEST, 0)


def test_who_takes_no_chunks_gets_one_patch_whatever_its_answer_counts(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.range_stands_still = True
    remote.limits = replace(remote.limits, patch=False)

    remote.upload(Passing(DATA).stream)

    assert is_there(registry)
    assert methods(registry) == ["POST", "PATCH", "PUT"]


def test_who_takes_no_chunks_gets_all_of_it_again_after_a_cut(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.cut_after = [50_000]
    remote.limits = replace(remote.limits, patch=False)
    source = Passing(DATA)

    remote.upload(source.stream)

    assert is_there(registry)
    assert source.read_from == [0, 0]
    assert methods(registry) == ["POST", "PATCH", "DELETE", "POST", "PATCH", "PUT"]


@pytest.mark.parametrize(
    "odd",
    [
        {"cut_after": [50_000]},
        {"cut_after": [30_000, 30_000]},
        {"requires_content_range": True},
        {"location": "absolute"},
        {"location": "other-host"},
        {"range_stands_still": True},
        {"cut_after": [30_000], "wrong_range": 99_999_999},
        {"cut_after": [30_000], "wrong_range": 20_000},
        {"cut_after": [30_000], "forgets_cut": True},
        {"cut_after": [30_000], "lose_session_after": [0]},
        {"cut_after": [30_000], "spoil_after": [10_000]},
        {"fail": [("PATCH", "uploads", 503, {}), ("PUT", "uploads", 502, {})]},
        {"fail": [("POST", "uploads", 429, {"Retry-After": "0"})]},
        {"fail": [("PATCH", "uploads", 429, {"Retry-After": "0"})]},
        {"fail": [("PATCH", "uploads", 404, {})]},
        {"fail": [("POST", "uploads", 0, {}), ("PUT", "uploads", 0, {})]},
        {"no_digest_for": {"PUT", "HEAD", "GET"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("chunk", [None, 7_000])
def test_an_odd_registry_gets_the_very_bytes_all_the_same(
    registry: FakeRegistry, remote: Remote, odd: dict[str, Any], chunk: int | None
) -> None:
    for name, value in odd.items():
        setattr(registry, name, value if not isinstance(value, list) else [*value])
    remote.limits = replace(remote.limits, chunk=chunk)

    remote.upload(Passing(DATA).stream)

    assert is_there(registry)
    assert set(registry.blobs[NAME]) == {DIGEST}


def test_after_a_cut_it_is_read_from_where_the_registry_is(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.cut_after = [55_000]
    remote.limits = replace(remote.limits, chunk=20_000)
    source = Passing(DATA)

    remote.upload(source.stream)

    assert is_there(registry)
    assert source.read_from == [0, 55_000]
    ranges = [ask.headers.get("content-range") for ask in registry.requests if ask.received]
    assert ranges == [None, "55000-74999", "75000-94999", "95000-102399"]


@pytest.mark.parametrize("there", [60_000, len(DATA)])
def test_another_process_sends_the_rest_and_names_the_whole(
    registry: FakeRegistry, connect: Callable[[], Remote], there: int
) -> None:
    sessions: list[str] = []
    registry.cut_after = [there]
    registry.before = lambda method, _path: die() if method == "GET" else None
    dead: list[bool] = []

    def die() -> None:
        if not dead:
            dead.append(True)
            registry.fail = [("GET|PUT|POST", ".*", 403, {})]

    with pytest.raises(NoAccess):
        connect().upload(Passing(DATA).stream, began=sessions.append)
    source = Passing(DATA)
    done = connect().upload(source.stream, resume=sessions[-1])

    assert is_there(registry)
    assert done.sent == source.given == len(DATA) - there
    assert source.read_from == ([there] if there < len(DATA) else [])
    assert source.named == 1


def test_wrong_bytes_are_never_committed_and_their_upload_is_cancelled(
    registry: FakeRegistry, remote: Remote
) -> None:
    source = Passing(DATA)
    source.is_wrong = True

    with pytest.raises(WrongBytes, match="locked"):
        remote.upload(source.stream)

    assert holds_nothing(registry)
    assert methods(registry) == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_another_length_is_never_committed(
    registry: FakeRegistry, remote: Remote, size: int
) -> None:
    source = Passing(DATA)
    stream = Stream(title="weights", size=size, read=source.read, digest=source.digest)

    with pytest.raises(WrongBytes, match="not as long"):
        remote.upload(stream)

    assert holds_nothing(registry)
    assert source.named == 0


def test_what_went_wrong_on_the_way_in_one_go_is_wrong_bytes(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.spoil_after = [50_000]

    with pytest.raises(WrongBytes, match="that were sent"):
        remote.upload(Passing(DATA).stream)

    assert holds_nothing(registry)


def test_a_lost_yes_is_looked_for_by_the_digest(registry: FakeRegistry, remote: Remote) -> None:
    def answer_nothing(method: str, _path: str) -> None:
        if method == "PUT":  # a proxy in front says no to what the registry has done
            registry.add_blob(NAME, DATA)
            registry.fail = [("PUT", "uploads", 502, {})]

    registry.before = answer_nothing

    remote.upload(Passing(DATA).stream)

    assert methods(registry) == ["POST", "PATCH", "PUT", "HEAD"]
    assert registry.requests[-1].path.endswith(DIGEST)


def test_an_interruption_ends_the_request_so_that_nothing_is_lost(
    registry: FakeRegistry, connect: Callable[[], Remote]
) -> None:
    registry.forgets_cut = True
    sessions: list[str] = []
    heard = 0

    def interrupt(size: int) -> None:
        nonlocal heard
        heard += size
        if heard > 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connect().upload(Passing(DATA).stream, began=sessions.append, heard=interrupt)
    done = connect().upload(Passing(DATA).stream, resume=sessions[-1])

    assert done.sent == len(DATA) - 50_000
    assert is_there(registry)


def test_an_interruption_is_told_even_where_the_last_answer_is_no(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.fail = [("PATCH", ".*", 403, {})]

    def interrupt(_size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remote.upload(Passing(DATA).stream, heard=interrupt)


def test_a_source_that_gives_no_more_ends_the_request_so_that_nothing_is_lost(
    registry: FakeRegistry, connect: Callable[[], Remote]
) -> None:
    registry.forgets_cut = True
    sessions: list[str] = []
    source = Passing(DATA)
    source.breaks = [(50_000, TryAgain("the hub is away"))]

    with pytest.raises(TryAgain, match="hub"):
        connect().upload(source.stream, began=sessions.append)
    done = connect().upload(source.stream, resume=sessions[-1])

    assert done.sent == len(DATA) - 50_000
    assert is_there(registry)


@pytest.mark.parametrize("patch", [True, False])
def test_no_request_stands_open_while_its_first_bytes_are_waited_for(
    registry: FakeRegistry, remote: Remote, patch: bool
) -> None:
    remote.limits = replace(remote.limits, patch=patch)
    begun = threading.Event()
    registry.before = lambda method, _path: begun.set() if method == "PATCH" else None
    source, early = Passing(DATA), list[bool]()
    source.before = lambda: early.append(begun.wait(0.1))

    remote.upload(source.stream)

    assert early == [False]
    assert is_there(registry)


def test_a_source_that_has_nothing_to_give_leaves_the_session_as_it_was(
    registry: FakeRegistry, remote: Remote
) -> None:
    source = Passing(DATA)
    source.breaks = [(0, TryAgain("the hub is away"))]

    with pytest.raises(TryAgain, match="hub"):
        remote.upload(source.stream)

    assert methods(registry) == ["POST"]


def test_who_knows_no_patch_is_told_of(registry: FakeRegistry, remote: Remote) -> None:
    registry.patch_unsupported = True

    with pytest.raises(NoAccess, match="only what has a digest beforehand"):
        remote.upload(Passing(DATA).stream)
