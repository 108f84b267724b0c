"""A zip file is not believed: each way in which one can lie, made by hand."""

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from ovenproof.errors import BadFile, TryAgain, WrongBytes
from ovenproof.wheels.archive import Archive, folders

TEXT = b"".join(b"slice %d of the loaf\n" % number for number in range(5000))


def written(path: Path, members: list[tuple[zipfile.ZipInfo, bytes]]) -> Archive:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return Archive(path, "loaf-1.0-py3-none-any.whl")


def member(path: str, mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = path  # the constructor would tidy it
    info.compress_type = method
    info.external_attr = mode << 16
    return info


def with_sizes(archive: Archive, declared: int) -> Archive:
    """The same archive, whose directory says another inflated size of its only member."""
    data = bytearray(archive.path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, declared)
    archive.path.write_bytes(data)
    return archive


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("offset", [0, 1, 70_000, len(TEXT) - 1, len(TEXT)])
def test_a_member_can_be_read_from_any_offset(tmp_path: Path, method: int, offset: int) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf.txt", method=method), TEXT)])
    with archive.open(archive.members()[0], offset) as stream:
        assert stream.read() == TEXT[offset:]


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf/__init__.py"), b"")])
    assert archive.read(archive.members()[0]) == b""


def test_a_folder_is_no_member(tmp_path: Path) -> None:
    made = [(member("loaf/", 0o040755), b""), (member("loaf/a.py", 0o100755), b"1")]
    (found,) = written(tmp_path / "a.whl", made).members()
    assert (found.path, found.executable) == ("loaf/a.py", True)


@pytest.mark.parametrize(
    "path",
    [
        "../evil.py",
        "loaf/../../evil.py",
        "/etc/passwd",
        "C:/evil.py",
        "loaf\\evil.py",
        "loaf//evil.py",
        "./evil.py",
        "loaf/new\nline.py",
        "..",
    ],
)
def test_a_path_that_could_leave_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    archive = written(tmp_path / "a.whl", [(member("fine.py"), b""), (member(path), b"1")])
    with pytest.raises(BadFile) as caught:
        archive.members()
    assert caught.value.where == "loaf-1.0-py3-none-any.whl"
    assert caught.value.subject == path


def test_a_path_that_hides_its_end_behind_a_nul_is_refused(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf.py"), b""), (member("fineXevil.py"), b"")])
    archive.path.write_bytes(archive.path.read_bytes().replace(b"fineXevil", b"fine\0evil"))
    with pytest.raises(BadFile):
        archive.members()


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o644, stat.S_IFIFO | 0o644, 0o040755]
)
def test_a_link_or_a_device_is_refused(tmp_path: Path, mode: int) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf/link", mode), b"/etc/passwd")])
    with pytest.raises(BadFile, match="a link or a device"):
        archive.members()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["loaf/a.py", "loaf/A.py", "LOAF/a.py"])
def test_one_name_twice_is_refused_whatever_its_case(tmp_path: Path, second: str) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf/a.py"), b"1"), (member(second), b"2")])
    with pytest.raises(BadFile, match=r"the same name as `loaf/a\.py`"):
        archive.members()


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_where_another_needs_a_folder_is_refused(tmp_path: Path, order: int) -> None:
    made = [(member("loaf"), b"1"), (member("loaf/crust/a.py"), b"2")]
    with pytest.raises(BadFile, match="needs a folder") as caught:
        written(tmp_path / "a.whl", made[::order]).members()
    assert caught.value.subject == "loaf"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf.py"), b"1")])
    data = bytearray(archive.path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.path.write_bytes(data)
    with pytest.raises(BadFile, match="an encrypted file"):
        archive.members()


def test_a_compression_that_wheels_do_not_use_is_refused(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf.py", method=zipfile.ZIP_BZIP2), TEXT)])
    with pytest.raises(BadFile, match="compression method 12"):
        archive.members()


def test_a_bomb_gives_no_more_than_it_declared(tmp_path: Path) -> None:
    bomb = with_sizes(written(tmp_path / "a.whl", [(member("bomb"), bytes(20_000_000))]), 10)
    given: list[bytes] = []
    with bomb.open(bomb.members()[0]) as stream, pytest.raises(WrongBytes, match="more bytes"):
        given.extend(iter(lambda: stream.read(4), b""))
    assert sum(map(len, given)) <= 10


def test_a_member_that_ends_early_is_wrong(tmp_path: Path) -> None:
    archive = with_sizes(written(tmp_path / "a.whl", [(member("loaf"), TEXT)]), len(TEXT) + 1)
    with pytest.raises(WrongBytes, match="fewer bytes") as caught:
        archive.read(archive.members()[0])
    assert caught.value.subject == "loaf"


def test_damaged_bytes_are_wrong(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf"), TEXT)])
    found = archive.members()[0]
    data = bytearray(archive.path.read_bytes())
    data[40:60] = bytes(20)
    archive.path.write_bytes(data)
    with pytest.raises(WrongBytes):
        archive.read(found)


def test_a_local_header_of_another_name_is_wrong(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf"), TEXT)])
    found = archive.members()[0]
    archive.path.write_bytes(archive.path.read_bytes().replace(b"loaf", b"evil", 1))
    with pytest.raises(WrongBytes, match="another header"):
        archive.open(found)


def test_a_small_member_that_is_not_small_is_refused(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf"), TEXT)])
    with pytest.raises(BadFile, match="too many"):
        archive.read(archive.members()[0], limit=len(TEXT) - 1)


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\3\4" + bytes(60)])
def test_what_is_no_zip_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.whl").write_bytes(data)
    with pytest.raises(BadFile) as caught:
        Archive(tmp_path / "a.whl", "loaf-1.0-py3-none-any.whl").members()
    assert caught.value.subject == "loaf-1.0-py3-none-any.whl"


def test_a_raw_deflate_stream_of_another_program_is_read(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("loaf"), TEXT)])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, memLevel=1)
    packed = packer.compress(TEXT) + packer.flush()
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(packed), len(TEXT), 4, 3)
    body = head + b"loaf" + b"\0\0\0" + packed
    found = archive.members()[0]
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, zlib.crc32(TEXT), len(packed), len(TEXT),
        4, 0, 0, 0, 0, found.size * 0, 0,
    ) + b"loaf"  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(body), 0)
    archive.path.write_bytes(body + entry + end)
    assert archive.read(archive.members()[0]) == TEXT


def test_the_folders_of_paths_are_all_of_them() -> None:
    assert folders(["a/b/c.py", "a/d.py", "e.py"]) == {"a", "a/b"}


def test_a_wheel_that_somebody_removes_meanwhile_is_named(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.whl", [(member("a.txt"), TEXT)])
    (found,) = archive.members()
    archive.path.unlink()
    for use in (archive.members, lambda: archive.open(found)):
        with pytest.raises(TryAgain, match="run the same command again") as caught:
            use()
        assert caught.value.subject == archive.name
