"""Servers of the benches, each in a process of its own, that say how many bytes went by."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for tests.fakes, here and in the processes that are spawned


@dataclass(frozen=True, slots=True)
class Served:
    """Where a server is, and the bytes of files that it gave or took so far."""

    address: str
    bytes: Callable[[], int]


@contextmanager
def hub(folder: Path) -> Iterator[Served]:
    """The hub of the tests, which serves `organisation/name/files` without a redirect."""
    with _spawned(_serve_hub, folder) as served:
        yield served


@contextmanager
def fake_registry() -> Iterator[Served]:
    """The registry of the tests: it keeps uploads that were cut, and no blob's bytes."""
    with _spawned(_serve_registry) as served:
        yield served


@contextmanager
def docker_registry(place: Path) -> Iterator[Served]:
    """Debian's docker-registry on a new folder. What it writes to files is what it was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    settings = place.with_suffix(".yml")
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}}}}}\n"
        f"http: {{addr: '{address}'}}\nlog: {{level: error}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            assert process.poll() is None, "the registry did not start"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Served(address, lambda: _written(process.pid))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)
        os.sync()  # what one run left to write must not slow the next one down


def settled(server: Served) -> int:
    """The count, once it stands still: what was on its way has come."""
    before = -1
    while before != (now := server.bytes()):
        before = now
        time.sleep(0.1)
    return now


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith("wchar:")]
    return int(found.split()[1])


@contextmanager
def _spawned(serve: Callable[..., None], *words: object) -> Iterator[Served]:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(theirs, *words), daemon=True)
    process.start()
    theirs.close()

    def ask() -> int:
        ours.send(None)
        return int(ours.recv())

    try:
        yield Served(ours.recv(), ask)
    finally:
        process.terminate()
        process.join()


def _serve_hub(told: Connection, folder: Path) -> None:
    from tests.fakes.hub import FakeHub  # noqa: PLC0415
    from tests.fakes.hub.__main__ import serve  # noqa: PLC0415

    with FakeHub(redirect_to_cdn=False) as served:
        serve(served, folder)
        for repository in served.repositories.values():
            for commit in repository.commits.values():
                for entry in commit.files.values():
                    assert entry.etag  # hashed now, before anything is timed
        told.send(served.endpoint)
        while True:
            told.recv()
            told.send(sum(asked.sent for asked in served.requests))


def _serve_registry(told: Connection) -> None:
    from tests.fakes.registry import FakeRegistry  # noqa: PLC0415

    with FakeRegistry(discard=True) as served:
        told.send(served.address)
        while True:
            told.recv()
            told.send(sum(asked.received for asked in served.requests))
