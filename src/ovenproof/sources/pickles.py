"""Weights that are pickles: scanned for what they would call, before anybody loads them.

A scanner knows what is known to be dangerous. It proves nothing, so the risk is told as well; and
what it cannot read is refused like what it refuses.
"""

import io
import logging
import zipfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from ovenproof.core.digest import Json
from ovenproof.errors import BadFile, OvenproofError
from ovenproof.sources.ranged import Ranged

_SCANNER = "picklescan"
_LIMIT = 32 << 20
"""So many bytes of a file are looked at. What describes 10,000 tensors takes a tenth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a file would import, as `module.name`, sorted; none of it is known to be dangerous."""

    path: str
    known: tuple[str, ...]
    """What every file of weights imports."""
    unknown: tuple[str, ...]


def scan(
    path: str, size: int, open_range: Callable[[int, int], BinaryIO], *, limit: int = _LIMIT
) -> Scanned:
    """Look into a pickle. Raises BadFile for what would call something dangerous.

    Only the parts that are pickles are read, and not the tensors beside them.
    """
    from picklescan.scanner import (  # type: ignore[import-untyped]  # noqa: PLC0415  for pickles alone
        SafetyLevel,
        scan_bytes,
    )

    logging.getLogger(_SCANNER).setLevel(logging.CRITICAL)  # the result says the same
    stream = cast("BinaryIO", io.BufferedReader(Ranged(open_range, size, limit=limit, name=path)))
    try:
        _check_zip(stream, path)
        found = scan_bytes(stream, path, PurePosixPath(path).suffix.lower())
    except OvenproofError:
        raise
    except Exception as error:  # a hostile file may raise anything in there
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    names = {f"{one.module}.{one.name}": one.safety for one in found.globals}
    bad = sorted(name for name, safety in names.items() if safety is SafetyLevel.Dangerous)
    if bad or found.issues_count:
        raise BadFile(
            "a pickle of the weights would run what it should not when it is loaded",
            subject=path,
            expected="tensors and nothing else",
            got=_safe(bad) or f"{found.issues_count} dangerous imports",
            hint="do not load this file; use a model with safetensors",
        )
    if found.scan_err or not names:
        raise _unreadable(path, "a broken pickle" if found.scan_err else "no pickle of tensors")
    return Scanned(
        path=path,
        known=_having(names, SafetyLevel.Innocuous),
        unknown=_having(names, SafetyLevel.Suspicious),
    )


def fact(found: Collection[Scanned]) -> dict[str, Json]:
    """What a lock records of the scans."""
    names = {name for one in found for name in (*one.known, *one.unknown)}
    return {"scanner": f"{_SCANNER} {version(_SCANNER)}", "globals": len(names)}


def risk(found: Collection[Scanned], where: str) -> str:
    """What a person is told."""
    unknown = sorted({name for one in found for name in one.unknown})
    text = (
        f"the weights of {where} are pickles, which can run code when they are loaded;"
        f" {_SCANNER} finds nothing that is known to be dangerous"
    )
    return text + (f", and imports that it does not know: {_safe(unknown)}" if unknown else "")


def _check_zip(stream: BinaryIO, path: str) -> None:
    """Refuse packed members: torch writes none, and a few bytes of them may become gigabytes."""
    beginning = stream.read(4)
    stream.seek(0)
    if beginning != b"PK\x03\x04":
        return
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
    stream.seek(0)
    if any(one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 1 for one in members):
        raise _unreadable(path, "packed or encrypted members, which torch does not write")
    if not any(one.filename.endswith(".pkl") for one in members):
        raise _unreadable(path, "a zip without a pickle")


def _unreadable(path: str, got: str) -> BadFile:
    return BadFile(
        "a pickle of the weights cannot be looked into",
        subject=path,
        expected="a file that torch.save has written",
        got=ascii(got)[1:-1][:200],
        hint="exclude it, or use a model with safetensors",
    )


def _having(names: dict[str, object], safety: object) -> tuple[str, ...]:
    return tuple(sorted(name for name, found in names.items() if found is safety))


def _safe(names: Iterable[str]) -> str:
    """Names that a stranger chose, for a person's screen."""
    return ascii(", ".join(names))[1:-1][:300]
