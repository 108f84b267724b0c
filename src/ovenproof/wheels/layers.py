"""From locked wheels to layers: which wheels share one, and how one is made."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from packaging.utils import canonicalize_name

from ovenproof.core.content import Literal
from ovenproof.core.digest import Digest, Json
from ovenproof.core.image_lock import LockedWheel
from ovenproof.core.layer import PROFILE, File, recipe
from ovenproof.errors import BadFile
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.wheels.archive import Archive, Member, folders
from ovenproof.wheels.spread import Place, Spread, spread
from ovenproof.wheels.wheel import WheelFile, read

VERSION = 1
"""Of what this module makes of a wheel. Whatever changes one byte of a layer is the next one."""
BUCKETS = 4
ALONE_FROM = 20 << 20


@dataclass(frozen=True, slots=True)
class Group:
    """The wheels of one layer."""

    title: str
    wheels: tuple[LockedWheel, ...]


def groups(wheels: Sequence[LockedWheel], *, top: Sequence[str] = ()) -> tuple[Group, ...]:
    """Which wheels share a layer, the lowest layer first.

    A big wheel has a layer of its own; a small one goes by its name into one of four, so that
    another version of it moves that one alone. The distributions of `top` change most often: each
    has its own, above all others, in the order given.
    """
    raised = [canonicalize_name(name) for name in top]
    big: list[LockedWheel] = []
    buckets: dict[int, list[LockedWheel]] = {}
    above: dict[str, LockedWheel] = {}
    for wheel in sorted(wheels, key=lambda wheel: (wheel.name, wheel)):
        if wheel.name in raised:
            above[wheel.name] = wheel
        elif wheel.content.size >= ALONE_FROM:
            big.append(wheel)
        else:
            number = int(Digest.of(wheel.name.encode()).hex[:8], 16) % BUCKETS
            buckets.setdefault(number, []).append(wheel)
    return (
        *(_alone(wheel) for wheel in big),
        *(
            Group(f"small wheels {number + 1} of {BUCKETS}", tuple(found))
            for number, found in sorted(buckets.items())
        ),
        *(_alone(above[name]) for name in raised if name in above),
    )


def prepare(
    wheels: Sequence[tuple[LockedWheel, Path]], *, place: Place, drop: Sequence[str] = ()
) -> Prepared:
    """The layer of these wheels; its bytes are inflated when they are asked for.

    Reads directories and RECORDs only. Raises BadFile or WrongBytes, naming wheel and member.
    """
    owners: dict[str, tuple[LockedWheel, Spread]] = {}
    entries: list[File] = []
    table = Openers({})
    for locked, path in sorted(wheels):
        wheel = read(path, locked.filename)
        for file in spread(wheel, place, drop):
            if _claim(owners, locked, file):
                entries.append(_entry(file))
            if isinstance(file.body, WheelFile):
                opener = functools.partial(_open, wheel.archive, file.body.member)
                table.table[file.content] = opener
    _no_file_is_a_folder(owners)
    return Prepared(recipe(entries), table)


def check_conflicts(
    wheels: Sequence[tuple[LockedWheel, Path]], *, place: Place, drop: Sequence[str] = ()
) -> None:
    """Find out, over all layers, whether two wheels want one path. Raises BadFile, naming both."""
    owners: dict[str, tuple[LockedWheel, Spread]] = {}
    for locked, path in sorted(wheels):
        for file in spread(read(path, locked.filename), place, drop):
            _claim(owners, locked, file)
    _no_file_is_a_folder(owners)


def parameters(place: Place, drop: Sequence[str] = ()) -> dict[str, Json]:
    """What a layer of wheels depends on besides the wheels, for its action's key."""
    return {
        "profile": PROFILE,
        "site": place.site,
        "scripts": place.scripts,
        "headers": place.headers,
        "data": place.data,
        "python": place.python,
        "drop": tuple(sorted(drop)),
    }


def inputs(wheels: Sequence[LockedWheel]) -> dict[str, Digest]:
    """The wheels that a layer depends on, for its action's key."""
    return {wheel.filename: wheel.content.digest for wheel in wheels}


def _claim(
    owners: dict[str, tuple[LockedWheel, Spread]], locked: LockedWheel, file: Spread
) -> bool:
    """Whether the path is new. The same file from two wheels is one file."""
    owner, other = owners.setdefault(file.path, (locked, file))
    if other is file:
        return True
    if (other.content, other.executable) != (file.content, file.executable):
        raise _conflict(file.path, owner, locked, "different files")
    return False


def _no_file_is_a_folder(owners: dict[str, tuple[LockedWheel, Spread]]) -> None:
    for folder in sorted(owners.keys() & folders(owners)):
        inside = min(path for path in owners if path.startswith(folder + "/"))
        raise _conflict(folder, owners[folder][0], owners[inside][0], "a file and a folder")


def _conflict(path: str, first: LockedWheel, second: LockedWheel, got: str) -> BadFile:
    return BadFile(
        "two wheels want the same path in an image",
        subject=path,
        got=f"{got}, from {first.filename} and {second.filename}",
        hint="leave one of them out, or choose other versions",
    )


def _entry(file: Spread) -> File:
    body = file.body if isinstance(file.body, Literal) else file.body.content
    return File(path=file.path, body=body, mode=0o755 if file.executable else 0o644)


def _open(archive: Archive, member: Member, offset: int) -> BinaryIO:
    return cast("BinaryIO", archive.open(member, offset))


def _alone(wheel: LockedWheel) -> Group:
    return Group(f"{wheel.name} {wheel.version}", (wheel,))
