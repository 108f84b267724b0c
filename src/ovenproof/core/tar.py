"""Tar profile 1: the bytes around a file in a layer.

Written out here, because the standard library's `tarfile` has changed its bytes between Python
versions. The format is POSIX.1-1988 ustar; a POSIX.1-2001 (pax) extended header stands before an
entry only where ustar cannot say it. Whatever changes one byte of this is profile 2.
"""

from dataclasses import dataclass

BLOCK = 512
MTIME = 315532800
"""1980-01-01T00:00:00Z, the earliest time that zip tools can say."""
END = bytes(2 * BLOCK)
"""Two zero blocks; no padding to a record of twenty."""

FILE, HARDLINK, SYMLINK, DIRECTORY, EXTENDED = b"0", b"1", b"2", b"5", b"x"
_USTAR_SIZE_LIMIT = 8**11


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of an archive, as its header says it. A directory's path ends in a slash."""

    path: str
    kind: bytes
    mode: int
    size: int = 0
    target: str = ""


def padding(size: int) -> bytes:
    """The zeros that fill a file's last block."""
    return bytes(-size % BLOCK)


def header(member: Member) -> bytes:
    """A member's header blocks, the pax header before them where one is needed."""
    path = member.path.encode()
    target = member.target.encode()
    records: dict[str, bytes] = {}
    split = _split(path) if path.isascii() else None
    if split is None:
        records["path"] = path
        split = (b"", _stand_in(path))
    if not target.isascii() or len(target) > 100:
        records["linkpath"] = target
        target = _stand_in(target)
    size = member.size
    if size >= _USTAR_SIZE_LIMIT:
        records["size"] = str(size).encode()
        size = 0
    prefix, name = split
    block = _block(name, prefix, member.kind, member.mode, size, target)
    return (_extended(records) if records else b"") + block


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """(prefix, name) as ustar wants them, the name as long as can be; None where nothing fits."""
    if len(path) <= 100:
        return b"", path
    slash = path.find(b"/", max(len(path) - 101, 0), len(path) - 1)
    if slash < 1 or slash > 155:
        return None
    return path[:slash], path[slash + 1 :]


def _stand_in(text: bytes) -> bytes:
    """What the ustar field holds when the pax header has the truth: printable, and cut to fit."""
    printable = bytes(byte if 32 <= byte < 127 else ord("?") for byte in text)
    if len(printable) <= 100:
        return printable
    return printable[:99] + (b"/" if text.endswith(b"/") else printable[99:100])


def _extended(records: dict[str, bytes]) -> bytes:
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    block = _block(b"././@PaxHeader", b"", EXTENDED, 0o644, len(data), b"")
    return block + data + padding(len(data))


def _record(key: str, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts its own digits."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _block(name: bytes, prefix: bytes, kind: bytes, mode: int, size: int, target: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        _octal(mode, 8),
        _octal(0, 8),  # uid
        _octal(0, 8),  # gid
        _octal(size, 12),
        _octal(MTIME, 12),
        b" " * 8,  # the checksum counts itself as blanks
        kind,
        target.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(32),  # user name
        bytes(32),  # group name
        _octal(0, 8),  # device major
        _octal(0, 8),  # device minor
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def _octal(value: int, width: int) -> bytes:
    text = b"%0*o" % (width - 1, value)
    if value < 0 or len(text) >= width:
        raise ValueError(f"{value} does not fit {width - 1} octal digits")
    return text + b"\0"
