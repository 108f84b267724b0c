"""Files that are whole or not there; drafts of the living and the dead."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovenproof.errors import NoAccess, NoSpace
from ovenproof.store.disk import PREFIX, draft, remove_opened, sweep, write_file, writing_to

HOLD = """
import sys
from pathlib import Path
from ovenproof.store.disk import draft
with draft(Path(sys.argv[1])) as write:
    write(b"half")
    print("holding", flush=True)
    sys.stdin.read()
"""


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of writing `tmp_path/file`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "file")],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def test_a_file_is_written_with_its_folder_and_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    before = os.umask(0o077)
    try:
        write_file(path, [b"one ", b"", b"two"], mode=0o664)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one two"
    assert path.stat().st_mode & 0o7777 == 0o664
    assert list(path.parent.iterdir()) == [path]


def test_nobody_sees_a_file_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with draft(path) as write:
        write(b"new")
        assert path.read_bytes() == b"old"
        assert len(drafts(tmp_path)) == 1
    assert path.read_bytes() == b"new"
    assert drafts(tmp_path) == []


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_interruption_leaves_the_old_file_and_no_draft(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"new" * 100_000
        raise fault

    with pytest.raises(fault):
        write_file(path, chunks())
    assert path.read_bytes() == b"old"
    assert drafts(tmp_path) == []


def test_the_draft_of_a_living_process_stays(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert sweep(tmp_path) == 0
    assert len(drafts(tmp_path)) == 1
    holder.communicate("")
    assert (tmp_path / "file").read_bytes() == b"half"


def test_the_draft_of_a_killed_process_goes(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert len(drafts(tmp_path)) == 1
    assert sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_sweeping_takes_no_file_of_the_users(tmp_path: Path) -> None:
    """An archive is written where the user says: that folder has other hidden files."""
    for name in (".draft-letter", ".draft-1.txt", ".tmp123", "tmp123", "file"):
        (tmp_path / name).write_bytes(b"mine")
    assert sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 5


def test_sweeping_a_folder_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == 0


def test_a_sweep_in_the_middle_of_a_write_takes_nothing_away(tmp_path: Path) -> None:
    """Between the making of a draft and the lock on it a sweeper may come by."""
    done = threading.Event()
    faults: list[BaseException] = []

    def write_many(name: str) -> None:
        try:
            for number in range(100):
                write_file(tmp_path / f"{name}{number}", [b"x"])
        except BaseException as fault:
            faults.append(fault)

    def sweep_on() -> None:
        while not done.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=sweep_on)
    writers = [threading.Thread(target=write_many, args=(name,)) for name in "ab"]
    for thread in (sweeper, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    sweeper.join()
    assert faults == []
    assert len(list(tmp_path.iterdir())) == 200


def fail(number: int) -> Callable[[], None]:
    def call() -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_with_a_remedy(number: int) -> None:
    with (
        pytest.raises(NoSpace, match="hint: free something") as caught,
        writing_to(Path("/cache"), hint="free something"),
    ):
        fail(number)()
    assert caught.value.subject == "/cache"


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST]
)
def test_a_place_that_cannot_be_written_is_said_with_a_remedy(number: int) -> None:
    with pytest.raises(NoAccess, match="hint: ask"), writing_to(Path("/cache"), hint="ask"):
        fail(number)()


def test_any_other_complaint_goes_through_as_it_is() -> None:
    with pytest.raises(OSError, match="Input/output"), writing_to(Path("/cache"), hint=""):
        fail(errno.EIO)()


def test_only_the_file_that_is_open_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"rotten")
    with path.open("rb") as stream:
        write_file(path, [b"fresh"])  # by somebody else, meanwhile
        remove_opened(path, stream)
    assert path.read_bytes() == b"fresh"
    with path.open("rb") as stream:
        remove_opened(path, stream)
        assert not path.exists()
        remove_opened(path, stream)  # somebody was faster
