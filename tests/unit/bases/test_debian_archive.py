"""Opening a .deb: what is whole is unpacked once, what is not is named."""

import lzma
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from ovenproof.bases.debian_archive import unpack
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import NoAccess, TryAgain, WrongBytes
from ovenproof.store.store import Store

MakeDeb: TypeAlias = Callable[..., tuple[LockedDeb, Path]]
WriteDeb: TypeAlias = Callable[[bytes], tuple[LockedDeb, Path]]
HELLO = [("file", "./usr/share/hello", "hello\n")]


def member(name: str, body: bytes, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{length:<10}`\n".encode()
    return header + body + b"\n" * (len(body) % 2)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_the_data_comes_out_the_same_however_it_is_compressed(
    make_deb: MakeDeb, store: Store, suffix: str
) -> None:
    plain, plain_path = make_deb(HELLO, name="plain", suffix="")
    other, other_path = make_deb(HELLO, name="other", suffix=suffix)

    one = unpack(plain, plain_path, store)
    two = unpack(other, other_path, store)

    assert one.data == two.data
    with store.open(two.data) as stream:
        assert b"hello\n" in stream.read()


def test_a_package_is_unpacked_once(make_deb: MakeDeb, store: Store) -> None:
    deb, path = make_deb(HELLO)
    first = unpack(deb, path, store)
    path.unlink()

    assert unpack(deb, path, store) == first


def test_an_unpacked_archive_that_has_rotted_is_unpacked_again(
    make_deb: MakeDeb, store: Store
) -> None:
    deb, path = make_deb(HELLO)
    first = unpack(deb, path, store)
    blob = store.path(first.data)
    blob.chmod(0o644)
    blob.write_bytes(b"\1" + blob.read_bytes()[1:])

    again = Store(store.root)
    assert unpack(deb, path, again) == first
    assert again.verify(first.data)


def test_a_package_other_than_the_locked_one_is_named(make_deb: MakeDeb, store: Store) -> None:
    deb, path = make_deb(HELLO, name="libexample1")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)

    with pytest.raises(WrongBytes, match=r"not the one that is locked: `libexample1`"):
        unpack(deb, path, store)


def test_a_package_that_somebody_removes_meanwhile_is_named(
    make_deb: MakeDeb, store: Store
) -> None:
    deb, path = make_deb(HELLO, name="libexample1")
    path.unlink()

    with pytest.raises(TryAgain, match="run the same command again") as caught:
        unpack(deb, path, store)
    assert caught.value.subject == "libexample1"


def test_a_package_that_cannot_be_opened_is_told_with_its_place(
    make_deb: MakeDeb, store: Store
) -> None:
    deb, path = make_deb(HELLO)
    path.unlink()
    path.mkdir()

    with pytest.raises(NoAccess, match="a package cannot be read") as caught:
        unpack(deb, path, store)
    assert caught.value.subject == str(path)


def test_a_truncated_package_is_named(make_deb: MakeDeb, store: Store) -> None:
    deb, path = make_deb(HELLO, name="libexample1")
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(WrongBytes, match="`libexample1`"):
        unpack(deb, path, store)


def test_damaged_compression_is_found_although_the_lock_agrees(
    write_deb: WriteDeb, store: Store
) -> None:
    body = bytearray(lzma.compress(bytes(10240)))
    body[len(body) // 2] ^= 0xFF
    data = b"!<arch>\n" + member("control.tar", bytes(1024)) + member("data.tar.xz", bytes(body))
    deb, path = write_deb(data)

    with pytest.raises(WrongBytes, match=r"a whole `data\.tar\.xz`"):
        unpack(deb, path, store)


def test_compression_that_ends_early_is_found(write_deb: WriteDeb, store: Store) -> None:
    body = lzma.compress(bytes(10240))[:-16]
    data = b"!<arch>\n" + member("control.tar", bytes(1024)) + member("data.tar.xz", body)
    deb, path = write_deb(data)

    with pytest.raises(WrongBytes, match=r"a whole `data\.tar\.xz`"):
        unpack(deb, path, store)


def test_a_compression_that_is_not_read_here_is_named(make_deb: MakeDeb, store: Store) -> None:
    deb, path = make_deb(HELLO, suffix=".zst")

    with pytest.raises(WrongBytes, match=r"got +`data\.tar\.zst`"):
        unpack(deb, path, store)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "something else at its start"),
        (b"PK\3\4 this is a zip", "something else at its start"),
        (b"!<arch>\n" + member("data.tar", b"x", size=99), "an earlier end of the file"),
        (b"!<arch>\n" + b"x" * 60, "something else"),
        (b"!<arch>\n" + member("data.tar", b"x")[:30], "something else"),
        (b"!<arch>\n" + member("data.tar", b"x") * 2, "`data.tar` twice"),
        (b"!<arch>\n" + member("debian-binary", b"2.0\n"), "debian-binary"),
        (b"!<arch>\n", "none"),
    ],
)
def test_what_is_no_package_is_refused(
    write_deb: WriteDeb, store: Store, data: bytes, complaint: str
) -> None:
    deb, path = write_deb(data)

    with pytest.raises(WrongBytes) as caught:
        unpack(deb, path, store)
    assert caught.value.got == complaint
