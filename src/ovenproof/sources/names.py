"""File names that a stranger gives: what may become a path in an image, and what is refused."""

from collections.abc import Collection, Iterator
from unicodedata import category

from ovenproof.core.layer import check_path
from ovenproof.errors import OvenproofError, WrongBytes, raise_all

_LONGEST_PART = 255
"""Bytes; file systems take no more."""
_LONGEST = 1024


_HINT = "do not use this repository, or not from this hub"


def check_names(paths: Collection[str], where: object, *, hint: str = _HINT) -> None:
    """Refuse names that climb out or that no file system holds. WrongBytes, all faults at once."""
    folders = {folder for path in paths for folder in _above(path)}
    faults: list[OvenproofError] = []
    seen: set[str] = set()
    for path in paths:
        fault = _fault(path)
        if path in folders:
            fault = "the name of a file and of a folder"
        elif path in seen:
            fault = "the name of two files"
        seen.add(path)
        if fault is not None:
            faults.append(
                WrongBytes(
                    "a repository names a file that cannot be one",
                    subject=ascii(path)[:200],
                    where=where,
                    expected="a path below the repository",
                    got=fault,
                    hint=hint,
                )
            )
    raise_all(faults)


def _fault(path: str) -> str | None:
    try:
        check_path(path)
    except ValueError:
        return "a path that leads elsewhere, or that is no text"
    if "\\" in path:
        return "a backslash, which other systems take for a slash"
    if any(category(sign) in ("Cc", "Cf", "Zl", "Zp") for sign in path):
        return "signs that nobody can see"
    encoded = path.encode()
    if len(encoded) > _LONGEST or any(len(part) > _LONGEST_PART for part in encoded.split(b"/")):
        return f"{len(encoded)} bytes of name"
    return None


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path
