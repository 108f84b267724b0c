"""Hand-made Debian packages, good and bad."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from ovenproof.core.digest import Content
from ovenproof.core.image_lock import LockedDeb
from ovenproof.store.store import Store

Member: TypeAlias = tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, int]
MakeDeb: TypeAlias = Callable[..., tuple[LockedDeb, Path]]

KINDS = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": bytes,
}


def tar_of(members: Sequence[Member]) -> bytes:
    """A tar archive of (kind, name, text or target, mode)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for kind, name, *rest in members:
            info = tarfile.TarInfo(name)
            info.type = KINDS[kind]
            info.mtime, info.uid, info.uname = 1_700_000_000, 1000, "somebody"
            text = str(rest[0]) if rest else ""
            info.mode = int(str(rest[1])) if len(rest) > 1 else 0o644
            if kind == "file":
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                archive.addfile(info)
    return buffer.getvalue()


def ar_of(members: Sequence[tuple[str, bytes]]) -> bytes:
    """An `ar` archive, written after deb(5)."""
    data = b"!<arch>\n"
    for name, body in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        data += body + b"\n" * (len(body) % 2)
    return data


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def write_deb(tmp_path: Path) -> Callable[[bytes, str], tuple[LockedDeb, Path]]:
    """Bytes -> a file with a lock that agrees with it."""

    def write(data: bytes, name: str = "sample") -> tuple[LockedDeb, Path]:
        path = tmp_path / f"{name}.deb"
        path.write_bytes(data)
        deb = LockedDeb(
            name=name,
            version="1.0",
            archive="debian",
            path=f"pool/main/{name}.deb",
            content=Content.of(data),
        )
        return deb, path

    return write


@pytest.fixture
def make_deb(write_deb: Callable[[bytes, str], tuple[LockedDeb, Path]]) -> MakeDeb:
    """Members of data.tar -> a package."""

    def make(
        members: Sequence[Member],
        *,
        name: str = "sample",
        suffix: str = ".xz",
        data: bytes | None = None,
    ) -> tuple[LockedDeb, Path]:
        control = tar_of(
            [
                ("file", "./control", f"Package: {name}\nVersion: 1.0\n"),
                ("file", "./postinst", "#!/bin/sh\nexit 1\n", 0o755),
                ("file", "./md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/share/empty\n"),
            ]
        )
        plain = tar_of(members) if data is None else data
        parts = [
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", gzip.compress(control)),
            (f"data.tar{suffix}", COMPRESS[suffix](plain)),
        ]
        return write_deb(ar_of(parts), name)

    return make
