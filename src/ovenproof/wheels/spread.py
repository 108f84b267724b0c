"""Where the files of a wheel go in an image, and the few that are written anew.

What an installer does, and nothing else: scripts get the image's interpreter, entry points become
programs, RECORD says what is there. RECORD is written anew because `importlib.metadata` (which
transformers asks at import), scanners and `pip uninstall` in a derived image all read it, and the
wheel's own names places where nothing lies. No bytecode: it would tell the time of its source.
"""

import base64
import configparser
import csv
import fnmatch
import io
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ovenproof.core.content import Literal
from ovenproof.core.digest import Content
from ovenproof.errors import BadFile
from ovenproof.wheels.wheel import Wheel, WheelFile

_BYTECODE = ("*.pyc", "*.pyo", "*/__pycache__/*")
_POINT = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<object>[\w.]+)\s*(\[.*\])?")
_PROGRAM = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things lie in the image; the defaults are Debian's for what is not Debian's own."""

    site: str = "usr/local/lib/python3.11/dist-packages"
    scripts: str = "usr/local/bin"
    headers: str = "usr/local/include/python3.11"
    data: str = "usr/local"
    python: str = "/usr/bin/python3.11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One file in the image: bytes of the wheel by reference, or bytes that were written anew."""

    path: str
    body: WheelFile | Literal
    executable: bool

    @property
    def content(self) -> Content:
        return self.body.content if isinstance(self.body, WheelFile) else Content.of(self.body.data)


def spread(wheel: Wheel, place: Place, drop: Sequence[str] = ()) -> tuple[Spread, ...]:
    """The wheel's files in the image, without those whose path there fits a pattern of `drop`."""
    unwanted = re.compile("|".join(fnmatch.translate(glob) for glob in (*_BYTECODE, *drop)))
    info = f"{place.site}/{wheel.info}"
    found: dict[str, Spread] = {}
    for file in (*_placed(wheel, place), *_programs(wheel, place)):
        if unwanted.match(file.path):
            continue
        other = found.setdefault(file.path, file)
        if other is not file and isinstance(other.body, WheelFile):
            raise _refusal(wheel, file.path, "two of its files want to lie there")
    installer = Literal(b"ovenproof\n")
    found[f"{info}/INSTALLER"] = Spread(path=f"{info}/INSTALLER", body=installer, executable=False)
    record = f"{info}/RECORD"
    text = _record(found.values(), record, place.site)
    found[record] = Spread(path=record, body=Literal(text), executable=False)
    return tuple(found[path] for path in sorted(found))


def _placed(wheel: Wheel, place: Place) -> Iterator[Spread]:
    below = f"{wheel.stem}.data/"
    for file in wheel.files.values():
        if not file.path.startswith(below):
            yield Spread(
                path=f"{place.site}/{file.path}", body=file, executable=file.member.executable
            )
            continue
        category, _slash, rest = file.path.removeprefix(below).partition("/")
        folder = {
            "purelib": place.site,
            "platlib": place.site,
            "scripts": place.scripts,
            "headers": f"{place.headers}/{wheel.stem.split('-')[0]}",
            "data": place.data,
        }.get(category)
        if folder is None or not rest:
            raise _refusal(wheel, file.path, "a place that wheels do not have")
        script = category == "scripts"
        yield Spread(
            path=f"{folder}/{rest}",
            body=_script(wheel, file, place) if script else file,
            executable=script or file.member.executable,
        )


def _script(wheel: Wheel, file: WheelFile, place: Place) -> WheelFile | Literal:
    """A script with the image's interpreter, where the wheel leaves it open; a program as it is."""
    with wheel.archive.open(file.member) as stream:
        start = stream.read(min(8, file.content.size))
    if not start.startswith(b"#!python"):
        return file
    _first, newline, rest = wheel.read(file).partition(b"\n")
    return Literal(b"#!" + place.python.encode() + newline + rest)


def _programs(wheel: Wheel, place: Place) -> Iterator[Spread]:
    """The programs that the wheel's entry points ask for, in our words."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(wheel.text(f"{wheel.info}/entry_points.txt") or "")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _refusal(wheel, "entry_points.txt", str(error)) from error
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            match = _POINT.fullmatch(value.strip())
            if match is None or not _PROGRAM.fullmatch(name) or name in (".", ".."):
                raise _refusal(wheel, "entry_points.txt", f"`{name} = {value}`")
            text = _program(place.python, match["module"], match["object"])
            yield Spread(path=f"{place.scripts}/{name}", body=Literal(text), executable=True)


def _program(python: str, module: str, function: str) -> bytes:
    """Guarded, because a process that multiprocessing spawns imports it once more."""
    name = function.split(".", maxsplit=1)[0]
    lines = (
        f"#!{python}",
        "import sys",
        "",
        f"from {module} import {name}",
        "",
        'if __name__ == "__main__":',
        f"    sys.exit({function}())",
    )
    return ("\n".join(lines) + "\n").encode()


def _record(files: Iterable[Spread], record: str, site: str) -> bytes:
    """RECORD of what lies in the image: sorted, and itself without a digest."""

    def named(path: str) -> str:
        """From the site folder. Absolute, because `relpath` takes others from where we run."""
        return posixpath.relpath(f"/{path}", f"/{site}")

    rows = [(named(record), "", "")]
    for file in files:
        encoded = base64.urlsafe_b64encode(bytes.fromhex(file.content.digest.hex)).decode()
        digest = f"sha256={encoded.rstrip('=')}"
        rows.append((named(file.path), digest, str(file.content.size)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return text.getvalue().encode()


def _refusal(wheel: Wheel, path: str, got: str) -> BadFile:
    return BadFile(
        "a wheel cannot be spread out in an image",
        subject=path,
        where=wheel.archive.name,
        got=got,
        hint="choose another version of this package",
    )
