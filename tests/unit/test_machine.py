"""The registries that a run shares: made once, and let go when its verb has ended."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from invoke import Context
from invoke.exceptions import Exit

from ovenproof.errors import BadCall
from ovenproof.machine import Late
from ovenproof.registry.client import Registries
from ovenproof.registry.reference import Repository
from ovenproof.tasks.shell import verb
from ovenproof.tasks.surroundings import machine


def test_threads_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    made: list[Registries] = []

    def make() -> Registries:
        time.sleep(0.05)  # so that everybody asks meanwhile
        made.append(Registries(environment={}, home=tmp_path))
        return made[-1]

    shared = Late(make)
    got: list[Registries] = []
    threads = [threading.Thread(target=lambda: got.append(shared())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 8
    shared.close()
    shared.close()
    assert is_closed(made[0])


def test_nothing_is_made_in_order_to_be_closed() -> None:
    def make() -> Registries:
        raise AssertionError("nobody asked")

    Late(make).close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_verb_lets_its_connections_go_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setenv("OVENPROOF_CACHE", str(tmp_path))
    seen: list[Registries] = []

    @verb(name="ask")
    def ask(_context: Context) -> None:
        for _ in range(2):
            here = machine()
            seen.append(here.registries())
            assert here.registries() is seen[-1]
        assert not any(map(is_closed, seen))
        if fails:
            raise BadCall("this makes no sense")

    if fails:
        with pytest.raises(Exit):
            ask(Context())
    else:
        ask(Context())
    assert len(seen) == 2
    assert all(map(is_closed, seen))


def is_closed(registries: Registries) -> bool:
    """Whether it says that it can ask nobody any more."""
    remote: Any = registries.at(Repository("127.0.0.1:1", "a/b"))
    try:
        remote.head("latest")
    except RuntimeError as fault:
        return "closed" in str(fault)
    except Exception:
        return False
    return False
