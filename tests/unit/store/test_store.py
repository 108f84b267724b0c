"""The store: what it keeps, what it refuses, and what it no longer believes."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.errors import NoAccess, NoSpace, TryAgain, WrongBytes
from ovenproof.store.shelf import Absent
from ovenproof.store.store import Store

BREAD = b"bread" * 1000
LOAF = Content.of(BREAD)
KEY = Digest.of(b"an action")
OUTCOME = Outcome({"layer": LOAF, "other": Content.of(b"x")})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> list[str]:
    """Everything that lies in the store, but the locks."""
    return sorted(
        str(path.relative_to(store.root))
        for path in store.root.rglob("*")
        if not path.is_dir() and path.parent.name != "locks"
    )


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def run(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Another process that has the package in reach."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# Keeping


def test_what_is_added_can_be_opened_and_is_read_only(store: Store) -> None:
    assert store.add([BREAD[:7], b"", BREAD[7:]]) == LOAF
    assert store.has(LOAF)
    with store.open(LOAF) as stream:
        assert stream.read() == BREAD
    assert store.path(LOAF).stat().st_mode & 0o777 == 0o444
    assert files(store) == [f"blobs/sha256/{LOAF.digest.hex}"]


def test_nothing_at_all_is_content_too(store: Store) -> None:
    empty = store.add([])
    assert empty == Content.of(b"")
    with store.open(empty) as stream:
        assert stream.read() == b""


def test_adding_twice_keeps_one(store: Store) -> None:
    store.add([BREAD])
    assert store.add([BREAD], expected=LOAF) == LOAF
    assert len(files(store)) == 1


def test_bytes_that_were_not_promised_are_not_kept(store: Store) -> None:
    for promised in (Content.of(b"other"), Content(LOAF.digest, LOAF.size + 1)):
        with pytest.raises(WrongBytes, match="torch") as caught:
            store.add([BREAD], expected=promised, what="torch.whl")
        assert str(promised.digest) in str(caught.value.expected)
        assert str(LOAF.digest) in str(caught.value.got)
    assert files(store) == []
    assert not store.has(LOAF)


def test_an_interruption_leaves_nothing(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield BREAD
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(chunks())
    assert files(store) == []


def test_a_file_is_adopted_by_a_rename(store: Store) -> None:
    with store.temporary() as folder:
        path = folder / "made"
        path.write_bytes(BREAD)
        inode = path.stat().st_ino
        assert store.adopt(path, expected=LOAF) == LOAF
        assert not path.exists()
    assert store.path(LOAF).stat().st_ino == inode


def test_a_wrong_file_is_not_adopted(store: Store) -> None:
    with store.temporary() as folder:
        (folder / "made").write_bytes(b"other")
        with pytest.raises(WrongBytes):
            store.adopt(folder / "made", expected=LOAF)
    assert files(store) == []


def test_what_is_not_there_is_absent(store: Store) -> None:
    assert not store.has(LOAF)
    assert not store.verify(LOAF)
    with pytest.raises(Absent):
        store.open(LOAF)
    assert not store.root.exists()  # asking makes nothing


def test_a_name_with_another_size_is_not_that_content(store: Store) -> None:
    store.add([BREAD])
    assert not store.has(Content(LOAF.digest, LOAF.size - 1))


# Rot


@pytest.mark.parametrize("place", [0, len(BREAD) // 2, len(BREAD) - 1])
def test_a_flipped_bit_is_found_on_open_and_thrown_away(store: Store, place: int) -> None:
    store.add([BREAD])
    damage(store.path(LOAF), flip(BREAD, place))
    later = Store(store.root)
    assert later.has(LOAF)  # by name and size it is still there
    with pytest.raises(Absent):
        later.open(LOAF)
    assert files(store) == []
    assert later.add([BREAD]) == LOAF


@pytest.mark.parametrize("data", [b"", BREAD[:-1], BREAD + b"x"])
def test_a_blob_of_another_length_is_thrown_away(store: Store, data: bytes) -> None:
    store.add([BREAD])
    damage(store.path(LOAF), data)
    for one in (store, Store(store.root)):  # also in the process that has proven it
        assert not one.has(LOAF)
        assert not one.verify(LOAF)
    assert files(store) == []


def test_a_blob_that_somebody_removed_is_absent_though_it_was_proven(store: Store) -> None:
    store.add([BREAD])
    store.path(LOAF).unlink()
    with pytest.raises(Absent):
        store.open(LOAF)


def test_a_blob_is_hashed_once_in_a_process(store: Store) -> None:
    store.add([BREAD])
    reader = Store(store.root)
    assert reader.verify(LOAF)
    damage(store.path(LOAF), flip(BREAD, 0))
    assert reader.verify(LOAF), "it was hashed a second time"
    assert not Store(store.root).verify(LOAF)


def test_what_is_open_stays_readable_whoever_empties_the_store(store: Store) -> None:
    store.add([BREAD])
    with Store(store.root).open(LOAF, 5) as stream:
        store.empty()
        assert stream.read() == BREAD[5:]


# Remembered outcomes


def test_an_outcome_is_remembered_for_every_process(store: Store) -> None:
    assert store.recall(KEY) is None
    store.remember(KEY, OUTCOME)
    assert store.recall(KEY) == OUTCOME
    assert Store(store.root).recall(KEY) == OUTCOME
    assert store.recall(Digest.of(b"another action")) is None


def test_the_last_outcome_counts(store: Store) -> None:
    store.remember(KEY, OUTCOME)
    store.remember(KEY, Outcome({}))
    assert store.recall(KEY) == Outcome({})


def test_a_flipped_bit_in_a_record_is_not_believed(store: Store) -> None:
    store.remember(KEY, OUTCOME)
    path = store.root / "actions" / f"{KEY.hex}.json"
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(flip(good, place))
        assert store.recall(KEY) is None, f"byte {place}"
    path.write_bytes(good)
    assert store.recall(KEY) == OUTCOME


def test_a_truncated_record_is_not_believed(store: Store) -> None:
    store.remember(KEY, OUTCOME)
    path = store.root / "actions" / f"{KEY.hex}.json"
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        assert store.recall(KEY) is None, f"{size} bytes"


def test_a_record_under_another_key_is_not_believed(store: Store) -> None:
    store.remember(KEY, OUTCOME)
    other = Digest.of(b"another action")
    actions = store.root / "actions"
    (actions / f"{KEY.hex}.json").rename(actions / f"{other.hex}.json")
    assert store.recall(other) is None


# All of it


def test_an_emptied_store_is_as_new_and_touches_nobody_elses_files(store: Store) -> None:
    store.add([BREAD])
    store.remember(KEY, OUTCOME)
    (store.root / "seen").mkdir()
    (store.root / "mine.txt").write_bytes(b"mine")
    with store.temporary(), store.locked(KEY):
        store.empty()
    assert [path.name for path in store.root.iterdir()] == ["mine.txt"]
    assert not store.verify(LOAF)
    assert store.recall(KEY) is None
    assert store.add([BREAD]) == LOAF
    (store.root / "mine.txt").unlink()
    store.empty()
    assert not store.root.exists()


def test_a_store_that_is_emptied_under_somebody_who_adds_is_said(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield BREAD
        store.empty()

    with pytest.raises(TryAgain, match="the store was emptied") as caught:
        store.add(chunks())
    assert caught.value.subject == str(store.root)
    assert files(store) == []


def test_what_the_producer_complains_of_is_not_said_of_the_store(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield BREAD
        raise PermissionError(errno.EACCES, "Permission denied", "weights")

    with pytest.raises(PermissionError, match="weights"):
        store.add(chunks())
    assert files(store) == []


def test_the_size_is_of_what_the_store_keeps(store: Store) -> None:
    assert store.size() == 0
    store.add([BREAD])
    (store.root / "mine.txt").write_bytes(b"mine")
    assert store.size() == len(BREAD)


def test_the_size_can_be_asked_while_others_work(store: Store) -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            with store.temporary() as folder:
                for name in "abcdefgh":
                    (folder / name).mkdir()
                    (folder / name / "file").write_bytes(b"")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert [store.size() for _ in range(200)] == [0] * 200
    finally:
        done.set()
        worker.join()


# Temporary folders and locks


def test_a_temporary_folder_is_gone_afterwards_whatever_happened(store: Store) -> None:
    seen: list[Path] = []

    def fail() -> None:
        with store.temporary() as folder:
            seen.append(folder)
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [folder.exists() for folder in seen] == [False]


HOLD = """
import sys
from pathlib import Path
from ovenproof.core.digest import Digest
from ovenproof.store.store import Store
store = Store(Path(sys.argv[1]))
what = store.temporary() if sys.argv[2] == "folder" else store.locked(Digest.of(b"name"))
with what as folder:
    if folder:
        (folder / "half").write_bytes(b"half")
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(
    store: Store,
) -> None:
    with (
        run(HOLD, str(store.root), "folder") as dead,
        run(HOLD, str(store.root), "folder") as alive,
    ):
        for process in (dead, alive):
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
        dead.kill()
        dead.wait()
        assert len(files(store)) == 2
        assert store.sweep() == 1
        assert len(files(store)) == 1
        assert store.sweep() == 0
        alive.communicate("")
    assert files(store) == []


def test_sweeping_touches_nothing_that_is_kept(store: Store) -> None:
    assert store.sweep() == 0
    store.add([BREAD])
    store.remember(KEY, OUTCOME)
    before = files(store)
    assert store.sweep() == 0
    assert files(store) == before


def test_a_sweep_in_the_middle_of_an_add_takes_nothing_away(store: Store) -> None:
    done = threading.Event()
    faults: list[BaseException] = []

    def add_many(name: str) -> None:
        try:
            for number in range(100):
                store.add([f"{name}{number}".encode()])
        except BaseException as fault:
            faults.append(fault)

    def sweep_on() -> None:
        while not done.is_set():
            store.sweep()

    sweeper = threading.Thread(target=sweep_on)
    adders = [threading.Thread(target=add_many, args=(name,)) for name in "ab"]
    for thread in (sweeper, *adders):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    sweeper.join()
    assert faults == []
    assert len(files(store)) == 200


def test_a_lock_is_for_one_at_a_time_and_a_killed_process_lets_go(store: Store) -> None:
    name = Digest.of(b"name")
    entered = threading.Event()

    def enter() -> None:
        with store.locked(name):
            entered.set()

    with run(HOLD, str(store.root), "lock") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        with store.locked(Digest.of(b"other name")):
            pass  # another name does not wait
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        holder.kill()
        waiting.join(30)
    assert entered.is_set()


# Bad luck

ADD_FOREVER = """
import sys
from pathlib import Path
from random import Random
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Digest
from ovenproof.store.store import Store
store = Store(Path(sys.argv[1]))
print("started", flush=True)
number = 0
while True:
    data = Random(number % 5).randbytes(300_000)
    content = store.add(data[start : start + 50_000] for start in range(0, 300_000, 50_000))
    store.remember(Digest.of(b"%d" % (number % 5)), Outcome({"layer": content}))
    number += 1
"""


def test_after_a_kill_at_any_moment_nothing_half_written_is_believed(store: Store) -> None:
    bodies = [Random(number).randbytes(300_000) for number in range(5)]
    moments = Random(7)
    for _ in range(12):
        with run(ADD_FOREVER, str(store.root)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.001, 0.05))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        later = Store(store.root)
        for number, data in enumerate(bodies):
            content = Content.of(data)
            if later.has(content):
                with later.open(content) as stream:
                    assert stream.read() == data
            outcome = later.recall(Digest.of(b"%d" % number))
            if outcome is not None:
                assert outcome == Outcome({"layer": content})
                assert later.verify(content)
    store.sweep()
    known = {f"blobs/sha256/{Content.of(data).digest.hex}" for data in bodies}
    known |= {f"actions/{Digest.of(b'%d' % number).hex}.json" for number in range(5)}
    assert set(files(store)) <= known


ADD_ONCE = """
import sys
from pathlib import Path
from ovenproof.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    print(Store(Path(sys.argv[1])).add([b"bread" * 1000]).digest)
"""


def test_two_processes_that_add_the_same_at_once_are_both_right(store: Store) -> None:
    with run(ADD_ONCE, str(store.root)) as one, run(ADD_ONCE, str(store.root)) as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = one.communicate()[0] + two.communicate()[0]
    assert answers.split() == [str(LOAF.digest)] * 40
    assert Store(store.root).verify(LOAF)
    assert files(store) == [f"blobs/sha256/{LOAF.digest.hex}"]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_leaves_nothing(store: Store, full_disk: None) -> None:
    store.add([BREAD])
    with pytest.raises(NoSpace, match="OVENPROOF_CACHE") as caught:
        store.add(bytes(4096) for _ in range(100))
    assert caught.value.subject == str(store.root)
    with pytest.raises(NoSpace):
        store.remember(KEY, Outcome({f"file {number}": LOAF for number in range(1000)}))
    assert files(store) == [f"blobs/sha256/{LOAF.digest.hex}"]
    assert store.recall(KEY) is None


def test_a_store_whose_place_is_taken_by_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    store = Store(tmp_path / "taken")
    assert store.recall(KEY) is None
    assert not store.has(LOAF)
    assert not store.verify(LOAF)
    for write in (
        lambda: store.add([BREAD]),
        lambda: store.remember(KEY, OUTCOME),
        lambda: store.locked(KEY).__enter__(),
    ):
        with pytest.raises(NoAccess, match="OVENPROOF_CACHE"):
            write()
