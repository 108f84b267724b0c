"""Headers of tar profile 1, held against the standard library's reader."""

import io
import tarfile

import pytest

from ovenproof.core import tar
from ovenproof.core.tar import Member, header, padding


def file(path: str, size: int = 0) -> Member:
    return Member(path=path, kind=tar.FILE, mode=0o644, size=size)


def read(member: Member) -> tarfile.TarInfo:
    """What the standard library understands of a header."""
    data = header(member) + tar.END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.next()
    assert found is not None
    return found


def has_pax(member: Member) -> bool:
    return len(header(member)) > tar.BLOCK


def test_a_header_is_one_block_that_names_nobody_and_no_time() -> None:
    found = read(file("etc/passwd", size=100))
    assert (found.name, found.size, found.mode) == ("etc/passwd", 100, 0o644)
    assert (found.uid, found.gid, found.uname, found.gname) == (0, 0, "", "")
    assert found.mtime == 315532800
    assert found.isreg()
    assert len(header(file("etc/passwd"))) == 512


def test_the_header_is_ustar_to_the_byte() -> None:
    block = header(file("a"))
    assert block[257:265] == b"ustar\x0000"
    assert block[124:136] == b"00000000000\0"
    assert block[136:148] == b"02263523000\0"
    assert int(block[148:154], 8) == sum(block[:148]) + sum(block[156:]) + 8 * 32
    assert block[154:156] == b"\0 "


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (tar.FILE, tarfile.TarInfo.isreg),
        (tar.DIRECTORY, tarfile.TarInfo.isdir),
        (tar.SYMLINK, tarfile.TarInfo.issym),
        (tar.HARDLINK, tarfile.TarInfo.islnk),
    ],
)
def test_each_kind_is_read_as_itself(kind: bytes, check: object) -> None:
    found = read(Member(path="a", kind=kind, mode=0o644, target="b"))
    assert callable(check)
    assert check(found)


@pytest.mark.parametrize("mode", [0, 0o644, 0o755, 0o1777, 0o4755, 0o2755, 0o7777])
def test_every_mode_is_kept(mode: int) -> None:
    assert read(Member(path="a", kind=tar.FILE, mode=mode)).mode == mode


@pytest.mark.parametrize(
    "path",
    [
        "n" * 100,
        "p" * 155 + "/" + "n" * 100,
        "p" * 154 + "/" + "n" * 100,
        "a/" + "n" * 100,
        "a/b/" + "n" * 98,
        "/".join(["part"] * 30),
        "p" * 155 + "/" + "n",
    ],
)
def test_what_ustar_can_say_needs_no_pax_header(path: str) -> None:
    assert not has_pax(file(path))
    assert read(file(path)).name == path


@pytest.mark.parametrize(
    "path",
    [
        "n" * 101,
        "p" * 156 + "/n",
        "p" * 155 + "/" + "n" * 101,
        "a/" + "n" * 101,
        "é",
        "a/ü/b",
        "模型/权重.safetensors",
        "n" * 4000,
        "é" * 70,
        "a\nb/" + "n" * 101,
    ],
)
def test_what_ustar_cannot_say_stands_in_a_pax_header(path: str) -> None:
    assert has_pax(file(path))
    found = read(file(path))
    assert found.name == path
    assert set(found.pax_headers) == {"path"}


def test_a_directory_keeps_its_slash_however_long_it_is() -> None:
    for path in ("d/", "p" * 150 + "/" + "n" * 99 + "/", "n" * 300 + "/", "é" * 200 + "/"):
        data = header(Member(path=path, kind=tar.DIRECTORY, mode=0o755))
        assert data[-512:-412].rstrip(b"\0").endswith(b"/")
        found = read(Member(path=path, kind=tar.DIRECTORY, mode=0o755))
        assert found.isdir()
        assert found.name == path[:-1]


def test_the_prefix_never_takes_a_directorys_last_slash() -> None:
    """`name` would be empty, and a reader that joins the two would see a path to nothing."""
    path = "n" * 100 + "/"
    assert has_pax(Member(path=path, kind=tar.DIRECTORY, mode=0o755))
    assert read(Member(path=path, kind=tar.DIRECTORY, mode=0o755)).name == "n" * 100


@pytest.mark.parametrize(("target", "pax"), [("t" * 100, False), ("t" * 101, True), ("ß", True)])
@pytest.mark.parametrize("kind", [tar.SYMLINK, tar.HARDLINK])
def test_a_link_target_is_kept(target: str, pax: bool, kind: bytes) -> None:
    member = Member(path="link", kind=kind, mode=0o777, target=target)
    assert has_pax(member) is pax
    assert read(member).linkname == target


@pytest.mark.parametrize(
    ("size", "pax"), [(8**11 - 1, False), (8**11, True), (60 << 30, True), (1 << 63, True)]
)
def test_a_size_from_8_gib_on_stands_in_a_pax_header(size: int, pax: bool) -> None:
    assert has_pax(file("model.safetensors", size=size)) is pax
    assert read(file("model.safetensors", size=size)).size == size


def test_what_stands_in_for_a_path_is_printable_and_fits() -> None:
    block = header(file("weights/é" + "n" * 200))[-512:]
    assert block[:100] == b"weights/??" + b"n" * 90
    assert block[345:500] == bytes(155)


def test_the_length_of_a_pax_record_counts_its_own_digits() -> None:
    """The hard lengths are those where the number itself grows a digit."""
    for length in (*range(101, 130), *range(960, 1020), 9979, 9980, 9990, 10000):
        path = "n" * length
        data = header(file(path))
        size = int(data[124:135], 8)
        record = data[512 : 512 + size]
        digits, _, rest = record.partition(b" ")
        assert int(digits) == len(record)
        assert rest == b"path=" + path.encode() + b"\n"


def test_pax_records_are_in_order_and_all_there() -> None:
    member = Member(path="é", kind=tar.SYMLINK, mode=0o777, target="ü", size=8**11)
    data = header(member)
    keys = [line.split(b" ", 1)[1].split(b"=")[0] for line in data[512:].split(b"\n")[:3]]
    assert keys == [b"linkpath", b"path", b"size"]


@pytest.mark.parametrize(
    ("size", "fill"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (60 << 30, 0)]
)
def test_padding_fills_the_last_block(size: int, fill: int) -> None:
    assert padding(size) == bytes(fill)


@pytest.mark.parametrize("mode", [-1, 8**7])
def test_a_number_that_does_not_fit_is_refused(mode: int) -> None:
    with pytest.raises(ValueError, match="octal"):
        header(Member(path="a", kind=tar.FILE, mode=mode))
