"""What this machine has hashed, and when it no longer believes it."""

import os
from pathlib import Path

import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import NoAccess
from ovenproof.store.seen import Seen

CONTENT = Content.of(b"weights")


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "cache")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    tick(path)
    return path


def tick(path: Path) -> None:
    """Wait until the file system's clock has gone on since this file was changed."""
    probe = path.with_name("probe")
    while True:
        probe.write_bytes(b"x")
        if probe.stat().st_mtime_ns > path.stat().st_ctime_ns:
            return


def records(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "seen").iterdir())


def test_what_was_hashed_is_recalled_by_another_process_too(
    seen: Seen, path: Path, tmp_path: Path
) -> None:
    assert seen.recall(path, "file", path.stat()) is None
    seen.remember(path, "file", path.stat(), CONTENT)
    assert seen.recall(path, "file", path.stat()) == CONTENT
    assert Seen(tmp_path / "cache").recall(path, "file", path.stat()) == CONTENT


def test_another_purpose_is_another_question(seen: Seen, path: Path) -> None:
    seen.remember(path, "file", path.stat(), CONTENT)
    assert seen.recall(path, {"layer": "/model/w", "profile": 1}, path.stat()) is None


def test_another_file_of_the_same_bytes_is_another_file(seen: Seen, path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    tick(other)
    seen.remember(path, "file", path.stat(), CONTENT)
    assert seen.recall(other, "file", other.stat()) is None


def test_a_longer_file_is_not_the_same(seen: Seen, path: Path) -> None:
    seen.remember(path, "file", path.stat(), CONTENT)
    path.write_bytes(b"weights!")
    assert seen.recall(path, "file", path.stat()) is None


def test_a_file_whose_time_was_set_back_is_not_the_same(seen: Seen, path: Path) -> None:
    """`cp -p`, `touch -r` and `tar x` restore the time that is shown, never that of the change."""
    before = path.stat()
    seen.remember(path, "file", before, CONTENT)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # until the file system's next tick
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert seen.recall(path, "file", after) is None


def test_a_file_that_changed_within_the_clock_s_tick_of_its_record_is_not_believed(
    seen: Seen, path: Path, tmp_path: Path
) -> None:
    """Such a change could leave every time as it was, so nothing but reading would find it."""
    seen.remember(path, "file", path.stat(), CONTENT)
    (record,) = records(tmp_path)
    changed = path.stat().st_ctime_ns
    for written, believed in ((changed - 1, None), (changed, None), (changed + 1, CONTENT)):
        os.utime(record, ns=(written, written))
        assert seen.recall(path, "file", path.stat()) == believed


def test_a_file_from_the_future_is_not_believed(seen: Seen, path: Path) -> None:
    later = path.stat().st_mtime_ns + 3600 * 10**9
    os.utime(path, ns=(later, later))
    tick(path)
    seen.remember(path, "file", path.stat(), CONTENT)
    assert seen.recall(path, "file", path.stat()) is None


def test_a_file_that_was_replaced_is_not_the_same(seen: Seen, path: Path) -> None:
    before = path.stat()
    seen.remember(path, "file", before, CONTENT)
    other = path.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert seen.recall(path, "file", path.stat()) is None


def test_a_flipped_bit_in_a_record_is_not_believed(seen: Seen, path: Path, tmp_path: Path) -> None:
    seen.remember(path, "file", path.stat(), CONTENT)
    (record,) = records(tmp_path)
    good = record.read_bytes()
    for place in range(len(good)):
        record.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert seen.recall(path, "file", path.stat()) is None, f"byte {place}"
    record.write_bytes(good)
    assert seen.recall(path, "file", path.stat()) == CONTENT


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_is_none(seen: Seen, path: Path, tmp_path: Path, text: bytes) -> None:
    seen.remember(path, "file", path.stat(), CONTENT)
    records(tmp_path)[0].write_bytes(text)
    assert seen.recall(path, "file", path.stat()) is None


def test_a_path_that_is_not_utf8_is_a_path(seen: Seen, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"w\xff.bin")
    path.write_bytes(b"weights")
    tick(path)
    seen.remember(path, "file", path.stat(), CONTENT)
    assert seen.recall(path, "file", path.stat()) == CONTENT


def test_a_cache_that_is_no_folder_is_said_with_a_remedy(path: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(NoAccess, match="OVENPROOF_CACHE"):
        Seen(tmp_path / "taken").remember(path, "file", path.stat(), CONTENT)


def test_what_killed_processes_left_is_swept(seen: Seen, path: Path, tmp_path: Path) -> None:
    assert seen.sweep() == 0
    seen.remember(path, "file", path.stat(), CONTENT)
    (tmp_path / "cache" / "seen" / ".ovenproof-draft-dead").write_bytes(b"{")
    assert seen.sweep() == 1
    assert seen.recall(path, "file", path.stat()) == CONTENT
