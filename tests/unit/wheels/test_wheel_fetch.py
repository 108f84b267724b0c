"""Fetching with the real pip, from a folder of wheels made by hand; nothing leaves this machine."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedWheel
from ovenproof.errors import (
    BadFile,
    LockAgain,
    MissingTool,
    NoAccess,
    NoSpace,
    OvenproofError,
    Several,
    TryAgain,
    WrongBytes,
)
from ovenproof.events import Advanced, Event, Finished, Started
from ovenproof.store.store import Store
from ovenproof.wheels.download import Wanted, fault, wheel_bytes
from ovenproof.wheels.fetch import batches, fetch, lock
from ovenproof.wheels.pip import Pip
from ovenproof.wheels.requirements import Pin
from ovenproof.wheels.target import Target

BakeWheel = Callable[..., Path]
NOBODY = Pip(environment={}, python="/nonexistent/python")
"""A pip that cannot be called without being noticed."""
SILENT_INDEX = "http://127.0.0.1:9/simple"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def pip(tmp_path: Path) -> Pip:
    """pip with the folder of hand-made wheels as its only index."""
    return pip_with(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "wheels"))


def pip_with(**settings: str) -> Pip:
    environment = {"PATH": os.defpath, "PIP_CONFIG_FILE": os.devnull, **settings}
    return Pip(environment=environment, arguments=("--retries=0", "--timeout=1"))


def locked(path: Path) -> LockedWheel:
    return LockedWheel(path.name, Content.of(path.read_bytes()))


def pin(wheel: LockedWheel, *more: Digest) -> Pin:
    digests = tuple(sorted((wheel.content.digest, *more)))
    return Pin(wheel.distribution.replace("_", "-"), wheel.version, digests)


def ask(
    wheels: list[LockedWheel],
    store: Store,
    pip: Pip,
    heard: Callable[[Event], None] = lambda _event: None,
    **indexes: str,
) -> None:
    fetch(wheels, store, target=Target(), pip=pip, indexes=indexes, listener=heard)


def test_what_is_fetched_lies_in_the_store(bake_wheel: BakeWheel, store: Store, pip: Pip) -> None:
    wheels = [
        locked(bake_wheel()),
        locked(bake_wheel("jam", tag="cp311-cp311-manylinux_2_28_x86_64")),
    ]
    heard: list[Event] = []
    ask(wheels, store, pip, heard.append)
    assert all(store.verify(wheel.content) for wheel in wheels)
    total = sum(wheel.content.size for wheel in wheels)
    name = f"fetch {wheels[1].filename} and 1 more"
    assert heard[0] == Started(name=name, total=total)
    assert heard[-1] == Finished(name=name)
    assert sum(event.size for event in heard if isinstance(event, Advanced)) <= total
    assert list((store.root / "tmp").iterdir()) == []


def test_nobody_is_called_when_nothing_lacks(bake_wheel: BakeWheel, store: Store, pip: Pip) -> None:
    wheel = locked(bake_wheel())
    ask([wheel], store, pip)
    ask([wheel], store, NOBODY)
    with pytest.raises(FileNotFoundError):
        ask([locked(bake_wheel("jam"))], store, NOBODY)


def test_what_has_rotted_is_fetched_again(bake_wheel: BakeWheel, store: Store, pip: Pip) -> None:
    wheel = locked(bake_wheel())
    ask([wheel], store, pip)
    path = store.path(wheel.content)
    path.chmod(0o644)
    path.write_bytes(bytes(wheel.content.size))
    fresh = Store(store.root)
    ask([wheel], fresh, pip)
    assert Content.of(path.read_bytes()) == wheel.content


def test_other_bytes_are_refused_and_named(bake_wheel: BakeWheel, store: Store, pip: Pip) -> None:
    wheel = locked(bake_wheel())
    bake_wheel(files={"toast/__init__.py": b"slices = 3\n"})
    with pytest.raises(WrongBytes) as caught:
        ask([wheel], store, pip)
    assert caught.value.subject == wheel.filename
    assert not store.has(wheel.content)


def test_a_version_that_is_gone_asks_for_a_new_lock(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    path = bake_wheel()
    wheel = locked(path)
    path.unlink()
    bake_wheel(version="2.0")
    with pytest.raises(LockAgain) as caught:
        ask([wheel], store, pip)
    assert caught.value.subject == wheel.filename


def test_one_bad_wheel_stops_no_other(bake_wheel: BakeWheel, store: Store, pip: Pip) -> None:
    good = [locked(bake_wheel(name)) for name in ("butter", "jam", "zest")]
    gone, other = bake_wheel("honey"), bake_wheel("milk")
    bad = [locked(gone), locked(other)]
    gone.unlink()
    bake_wheel("milk", files={"milk.py": b"sour"})
    with pytest.raises(Several) as caught:
        ask([*bad, *good], store, pip)
    kinds = [(type(found), found.subject) for found in caught.value.faults]
    assert kinds == [(LockAgain, bad[0].filename), (WrongBytes, bad[1].filename)]
    assert all(store.verify(wheel.content) for wheel in good)


def test_without_a_network_every_missing_wheel_is_named(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    wheels = [locked(bake_wheel(name)) for name in ("butter", "honey", "jam")]
    ask(wheels[:1], store, pip)
    with pytest.raises(TryAgain) as caught:
        ask(wheels, store, pip_with(PIP_INDEX_URL=SILENT_INDEX))
    assert caught.value.subject == ", ".join(wheel.filename for wheel in wheels[1:])


def test_the_own_index_of_a_wheel_is_asked_only_when_the_others_lack_it(
    bake_wheel: BakeWheel, store: Store, pip: Pip, tmp_path: Path
) -> None:
    path = bake_wheel("torch", "2.13.0+cpu")
    wheel = locked(path)
    ask([wheel], store, pip, torch=SILENT_INDEX)
    assert store.verify(wheel.content)

    own = tmp_path / "own" / "torch"
    own.mkdir(parents=True)
    path.rename(own / path.name)
    (own / "index.html").write_text(f'<a href="{path.name}">{path.name}</a>')
    (tmp_path / "empty").mkdir()
    second = Store(tmp_path / "second")
    empty = (tmp_path / "empty").as_uri()
    ask([wheel], second, pip_with(PIP_INDEX_URL=empty), torch=own.parent.as_uri())
    assert second.verify(wheel.content)


def test_an_own_index_that_does_not_answer_keeps_nobody_else_from_answering(
    bake_wheel: BakeWheel, store: Store, pip: Pip, tmp_path: Path
) -> None:
    path = bake_wheel("torch")
    torch, jam = locked(path), locked(bake_wheel("jam"))
    path.unlink()
    links = (tmp_path / "wheels").as_uri()
    silent = pip_with(PIP_INDEX_URL=(tmp_path / "none").as_uri(), PIP_FIND_LINKS=links)
    with pytest.raises(TryAgain) as caught:
        ask([torch, jam], store, silent, torch=SILENT_INDEX)
    assert caught.value.subject == torch.filename
    assert store.verify(jam.content)


def test_a_lock_names_the_file_and_is_remembered(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    best = locked(bake_wheel("jam", tag="cp311-cp311-manylinux_2_36_x86_64"))
    plain = locked(bake_wheel("jam"))
    foreign = locked(bake_wheel("jam", tag="cp311-cp311-win_amd64"))
    pins = [
        pin(locked(bake_wheel())),
        pin(best, plain.content.digest, foreign.content.digest),
    ]
    found = lock(pins, store, target=Target(), pip=pip, indexes={})
    assert [wheel.filename for wheel in found] == [best.filename, "toast-1.0-py3-none-any.whl"]
    assert found[0].content == best.content
    assert lock(pins, store, target=Target(), pip=NOBODY, indexes={}) == found


def test_a_lock_for_another_target_takes_another_file(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    new = locked(bake_wheel("jam", tag="cp311-cp311-manylinux_2_36_x86_64"))
    old = locked(bake_wheel("jam", tag="cp311-abi3-manylinux2014_x86_64"))
    pins = [pin(new, old.content.digest)]
    for glibc, wheel in (((2, 36), new), ((2, 35), old)):
        found = lock(pins, store, target=Target(glibc=glibc), pip=pip, indexes={})
        assert found == (wheel,)


def test_a_pin_without_digests_is_locked_as_what_the_index_has(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    wheel = locked(bake_wheel())
    found = lock([Pin("toast", "1.0", ())], store, target=Target(), pip=pip, indexes={})
    assert found == (wheel,)


def test_a_pin_whose_bytes_have_changed_is_not_locked(
    bake_wheel: BakeWheel, store: Store, pip: Pip
) -> None:
    wheel = locked(bake_wheel())
    bake_wheel(files={"toast/__init__.py": b"slices = 3\n"})
    with pytest.raises(WrongBytes) as caught:
        lock([pin(wheel)], store, target=Target(), pip=pip, indexes={})
    assert caught.value.subject == "toast==1.0"


def pip_that_brings(path: Path, tmp_path: Path) -> Pip:
    """A pip that checks nothing and always brings this file."""
    fake = tmp_path / "pip"
    fake.write_text(f'#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\nexec cp "{path}" "$2"\n')
    fake.chmod(0o755)
    return Pip(environment={"PATH": os.defpath}, python=str(fake))


def test_wrong_bytes_for_a_pin_never_get_into_the_store(
    bake_wheel: BakeWheel, store: Store, tmp_path: Path
) -> None:
    path = bake_wheel()
    right = locked(path)
    pip = pip_that_brings(path, tmp_path)
    wrong = bake_wheel(files={"toast/__init__.py": b"slices = 3\n"})
    with pytest.raises(WrongBytes, match="other bytes") as caught:
        lock([pin(right)], store, target=Target(), pip=pip, indexes={})
    assert caught.value.subject == "toast==1.0"
    assert caught.value.got == str(locked(wrong).content.digest)
    assert not store.has(locked(wrong).content)
    assert lock([pin(locked(wrong))], store, target=Target(), pip=pip, indexes={}) == (
        locked(wrong),
    )


class Forgetful(Store):
    """A store that is emptied whenever somebody looks away."""

    def recall(self, key: Digest) -> Outcome | None:
        return None


def test_a_pin_that_is_lost_on_the_way_is_named_and_not_left_out(
    bake_wheel: BakeWheel, pip: Pip, tmp_path: Path
) -> None:
    pins = [pin(locked(bake_wheel(name))) for name in ("toast", "jam")]
    with pytest.raises(TryAgain, match="not in the store") as caught:
        lock(pins, Forgetful(tmp_path / "store"), target=Target(), pip=pip, indexes={})
    assert caught.value.subject == "jam==1.0, toast==1.0"


def test_what_pip_says_is_told_without_passwords() -> None:
    wanted = Wanted(pin=Pin("toast", "1.0", (Digest.of(b""),)))
    said = "ERROR: 403 Client Error: Forbidden for url: https://me:se@cret@m.example/simple/"
    found = fault(said, wanted=[wanted])
    assert found.got == "ERROR: 403 Client Error: Forbidden for url: https://m.example/simple/"


def test_big_wheels_travel_alone_and_small_ones_together() -> None:
    def wanted(name: str, size: int, index: str | None = None) -> Wanted:
        content = Content(Digest.of(name.encode()), size)
        return Wanted.of(LockedWheel(f"{name}-1.0-py3-none-any.whl", content), index)

    small = [wanted(f"crumb{number}", 1) for number in range(25)]
    big, apart = wanted("loaf", 100 << 20), wanted("jar", 1, "https://example.org/simple")
    found = list(batches([*small[:3], big, *small[3:], apart]))
    assert found[:2] == [(big,), (apart,)]
    assert [len(batch) for batch in found[2:]] == [12, 12, 1]


@pytest.mark.parametrize(
    "filename",
    ["toast.whl", "toast-1.0.zip", "toast-1.0\n--pre-py3-none-any.whl", "-r x-1-a-b-c.whl"],
)
def test_a_lock_that_names_no_wheel_is_refused(store: Store, filename: str) -> None:
    with pytest.raises(BadFile, match="a lock names a wheel that is none"):
        ask([LockedWheel(filename, Content.of(b"toast"))], store, NOBODY)


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", WrongBytes),
        ("OSError: [Errno 28] No space left on device", NoSpace),
        ("ERROR: HTTP error 403 while getting X\nERROR: 403 Client Error: Forbidden", NoAccess),
        (
            "WARNING: The repository located at a.example is not a trusted or secure host\n"
            "ERROR: No matching distribution found for toast==1.0",
            NoAccess,
        ),
        ("ERROR: 503 Server Error: Service Unavailable for url: X", TryAgain),
        (
            "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken\n"
            "ERROR: No matching distribution found for toast==1.0",
            TryAgain,
        ),
        ("ERROR: No matching distribution found for toast==1.0", LockAgain),
        ("/usr/bin/python3: No module named pip", MissingTool),
        ("something that nobody has seen before", TryAgain),
    ],
)
def test_what_pip_says_becomes_what_the_reader_can_do(log: str, kind: type[OvenproofError]) -> None:
    wanted = Wanted(pin=Pin("toast", "1.0", (Digest.of(b""),)))
    found = fault(log, wanted=[wanted])
    assert type(found) is kind
    assert found.subject == "toast==1.0"


def test_a_python_without_pip_is_a_missing_tool(tmp_path: Path, store: Store) -> None:
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\necho "{sys.executable}: No module named pip" >&2\nexit 1\n')
    fake.chmod(0o755)
    wheel = LockedWheel("toast-1.0-py3-none-any.whl", Content.of(b"toast"))
    with pytest.raises(MissingTool):
        ask([wheel], store, Pip(environment={"PATH": os.defpath}, python=str(fake)))


@pytest.mark.parametrize(
    "said",
    [
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 28] Kein Platz auf dem Gerät",
        "WARNING: Retrying (Retry(total=4)): [Errno 28] No space left on device\n"
        "ERROR: No matching distribution found for toast==1.0",
        "OSError: [Errno 122] Disk quota exceeded",
    ],
)
def test_a_full_disk_is_told_once_and_is_nobody_elses_fault(
    tmp_path: Path, store: Store, said: str
) -> None:
    """On it no file could hold what pip says, so pip must speak into a pipe."""
    fake, calls = tmp_path / "python", tmp_path / "calls"
    fake.write_text(
        f"#!/bin/sh\necho called >> {calls}\n[ -p /dev/stdout ] && cat {tmp_path}/said\nexit 2\n"
    )
    fake.chmod(0o755)
    (tmp_path / "said").write_text(said)
    wheels = [
        LockedWheel(f"{name}-1.0-py3-none-any.whl", Content.of(name.encode()))
        for name in ("butter", "honey", "jam")
    ]
    with pytest.raises(NoSpace) as caught:
        ask(wheels, store, Pip(environment={"PATH": os.defpath}, python=str(fake)))
    assert caught.value.subject == ", ".join(wheel.filename for wheel in wheels)
    assert calls.read_text() == "called\n"


def test_pips_folders_may_vanish_while_their_wheels_are_counted(tmp_path: Path) -> None:
    (tmp_path / "jam.whl").write_bytes(b"12345")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(20):
                (tmp_path / f"tracker-{number}").mkdir()
            for number in range(20):
                (tmp_path / f"tracker-{number}").rmdir()

    pip = threading.Thread(target=come_and_go)
    pip.start()
    try:
        assert {wheel_bytes(tmp_path) for _ in range(1000)} == {5}
    finally:
        stop.set()
        pip.join()
