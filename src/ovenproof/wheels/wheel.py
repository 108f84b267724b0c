"""A wheel: an archive whose RECORD says what every file of it is. No code of it is ever run.

Binary distribution format, https://packaging.python.org/specifications/binary-distribution-format/
"""

import base64
import binascii
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from types import MappingProxyType

from packaging.utils import canonicalize_name

from ovenproof.core.digest import Content, Digest
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.wheels.archive import Archive, Member

_SIGNATURES = ("RECORD.jws", "RECORD.p7s")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """One file of a wheel: where it lies in the archive, and the content that RECORD promises."""

    member: Member
    content: Content

    @property
    def path(self) -> str:
        return self.member.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """What a wheel holds; made by `read`, and then all of it has been checked but the contents."""

    archive: Archive
    stem: str
    """`NAME-VERSION`, as it begins its `.dist-info` and `.data` folders."""
    files: Mapping[str, WheelFile]
    """By path; all but RECORD itself, which changes when a wheel is spread out."""

    @property
    def info(self) -> str:
        return f"{self.stem}.dist-info"

    def text(self, path: str) -> str | None:
        """A file of the wheel as text; None where it has none of that name."""
        file = self.files.get(path)
        return None if file is None else self.read(file).decode("utf-8")

    def read(self, file: WheelFile) -> bytes:
        """All of a small file, checked. Raises WrongBytes."""
        data = self.archive.read(file.member)
        if Content.of(data) != file.content:
            raise _disagreement(self.archive.name, file.path, file.content, Content.of(data))
        return data


def read(path: Path, filename: str) -> Wheel:
    """Read what a wheel holds. Raises BadFile or WrongBytes, naming the wheel and the member."""
    archive = Archive(path, filename)
    members = {member.path: member for member in archive.members()}
    stem = _stem(filename, members)
    record = members.get(f"{stem}.dist-info/RECORD")
    if record is None:
        raise BadFile("a wheel has no RECORD", subject=filename)
    promised = _record(archive, record)
    unlisted = {record.path, *(f"{stem}.dist-info/{name}" for name in _SIGNATURES)}
    files: dict[str, WheelFile] = {}
    for member in members.values():
        if member.path in unlisted:
            continue
        content = promised.pop(member.path, None)
        if content is None:
            raise _disagreement(filename, member.path, "no digest of it", "a file")
        if content.size != member.size:
            raise _disagreement(
                filename, member.path, f"{content.size} bytes", f"{member.size} bytes"
            )
        files[member.path] = WheelFile(member=member, content=content)
    if missing := sorted(set(promised) - unlisted):
        raise _disagreement(filename, missing[0], "a file", "no such file")
    wheel = Wheel(archive=archive, stem=stem, files=MappingProxyType(files))
    _check_format(wheel)
    return wheel


def _stem(filename: str, members: Mapping[str, Member]) -> str:
    """The NAME-VERSION of the one .dist-info folder, which must be the wheel's own."""
    folders = {path.split("/")[0] for path in members if "/" in path}
    infos = sorted(folder for folder in folders if folder.endswith(".dist-info"))
    if len(infos) == 1:
        stem = infos[0].removesuffix(".dist-info")
        if canonicalize_name(stem.split("-")[0]) == canonicalize_name(
            filename.split("-", maxsplit=1)[0]
        ):
            return stem
    raise BadFile(
        "a wheel does not say what it is",
        subject=filename,
        expected="one .dist-info folder, of the name in the wheel's own",
        got=", ".join(infos) or "none",
        hint="choose another version of this package",
    )


def _record(archive: Archive, member: Member) -> dict[str, Content | None]:
    """What RECORD promises, by path; None for those it lists without a digest."""
    found: dict[str, Content | None] = {}
    try:
        for row in csv.reader(io.StringIO(archive.read(member).decode("utf-8"), newline="")):
            if not row:
                continue
            path, digest, size = row
            if path in found:
                raise ValueError(f"`{path}` is listed twice")
            found[path] = Content(_digest(digest), int(size)) if digest and size else None
    except (ValueError, csv.Error) as error:
        raise BadFile(
            "a wheel's RECORD cannot be read",
            subject=archive.name,
            expected="a path, its sha256 and its size on each line",
            got=error,
            hint="choose another version of this package",
        ) from error
    return found


def _digest(text: str) -> Digest:
    algorithm, _equals, value = text.partition("=")
    if algorithm != "sha256":
        raise ValueError(f"a digest that is no sha256: {text!r}")
    try:
        return Digest(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex())
    except binascii.Error:
        raise ValueError(f"not a digest: {text!r}") from None


def _check_format(wheel: Wheel) -> None:
    text = wheel.text(f"{wheel.info}/WHEEL")
    version = HeaderParser().parsestr(text or "").get("Wheel-Version", "")
    if version.split(".")[0] != "1":
        raise BadFile(
            "a wheel has a format that is not known here",
            subject=wheel.archive.name,
            expected="Wheel-Version: 1.x",
            got=version or "none",
        )


def _disagreement(filename: str, path: str, expected: object, got: object) -> WrongBytes:
    return WrongBytes(
        "a wheel and its RECORD disagree",
        subject=path,
        where=filename,
        expected=f"{expected} (RECORD)",
        got=f"{got} (the archive)",
        hint="choose another version of this package",
    )
