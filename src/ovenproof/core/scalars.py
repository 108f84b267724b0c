"""Readers of single values: what a word or a number of models.yaml may be, and what an error says.

Each is a function from a plain value to the value that is meant; pydantic calls them. They raise
`wrong(...)` or `secret(...)`, which the catalogue turns into an error with a place.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping

from pydantic_core import PydanticCustomError

from ovenproof.core.document import Number

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"0\.[0-9]+|1(\.0+)?")
_SIZE = re.compile(r"([1-9][0-9]*)(MB|GB|TB|MiB|GiB|TiB|)")
_UNITS = {"": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
YAML_1_1 = {
    word: value
    for value, words in (("true", "yes on y"), ("false", "no off n"))
    for base in words.split()
    for word in (base, base.capitalize(), base.upper())
}
_SYSTEM = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "run"}
    | {"sbin", "sys", "tmp", "usr", "var"}
)


def wrong(expected: str, hint: str | None = None) -> PydanticCustomError:
    """The value does not fit."""
    return PydanticCustomError("wrong", "wrong value", {"expected": expected, "hint": hint})


def secret(what: str, hint: str) -> PydanticCustomError:
    """The value would be baked into the image, where everybody reads it."""
    return PydanticCustomError("secret", "secret", {"what": what, "hint": hint})


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The hint that names the known word nearest to this one."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean `{found[0]}`?" if found else None


def listed(words: Iterable[str]) -> str:
    """`a`, `b`, `c`."""
    return ", ".join(f"`{word}`" for word in words)


def text(value: object, *, expected: str = "a text") -> str:
    """Any text; an unquoted number is the text that was written."""
    if isinstance(value, bool):
        raise wrong(expected, f'quotes make a text of it: "{str(value).lower()}"')
    if not isinstance(value, str):
        raise wrong(expected)
    if found := _CONTROL.search(value):
        raise wrong(f"{expected} without control characters", f"remove U+{ord(found[0]):04X}")
    return str(value)


def filled(value: object) -> str:
    """A text that is not empty."""
    found = text(value)
    if not found.strip():
        raise wrong("a text that is not empty")
    return found


def matching(pattern: str, expected: str, *, most: int = 255) -> Callable[[object], str]:
    """A text of a certain form."""
    form = re.compile(pattern)

    def read(value: object) -> str:
        found = text(value, expected=expected)
        if not form.fullmatch(found) or len(found) > most:
            lower = found.lower()
            helps = found != lower and form.fullmatch(lower) and len(lower) <= most
            raise wrong(expected, f"in lower case it would do: `{lower}`" if helps else None)
        return found

    return read


def whole(low: int, high: int | None = None) -> Callable[[object], int]:
    """A whole number in plain decimal digits."""
    expected = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def read(value: object) -> int:
        if not isinstance(value, Number):
            quoted = isinstance(value, str) and _WHOLE.fullmatch(value)
            raise wrong(expected, f"remove the quotes: {value}" if quoted else None)
        if not _WHOLE.fullmatch(value):
            raise wrong(expected, "plain decimal digits: no leading zero, no 0o or 0x, no dot")
        if len(value) > 18 or not low <= int(value) <= (high if high is not None else int(value)):
            raise wrong(expected)
        return int(value)

    return read


def size(least: int) -> Callable[[object], int]:
    """A number of bytes, plain or with a unit: 10GB is 10**10, 10GiB is 10 * 2**30."""
    expected = "a number of bytes, such as 500MB, 5GiB or 10000000000"

    def read(value: object) -> int:
        if not isinstance(value, str) or len(value) > 18:
            raise wrong(expected)
        if not (found := _SIZE.fullmatch(value)):
            raise wrong(expected, _size_hint(value))
        if (amount := int(found[1]) * _UNITS[found[2]]) < least:
            raise wrong(f"{expected}, and at least {least}")
        return amount

    return read


def _size_hint(value: str) -> str | None:
    if re.fullmatch(r"[0-9]+\.[0-9]+ ?[A-Za-z]*", value):
        return "a whole number of a smaller unit: 1500MB, not 1.5GB"
    letters = value.replace(" ", "").lower().removesuffix("b") + "b"
    for unit in _UNITS:
        number = letters.removesuffix(unit.lower())
        if unit and number != letters and _SIZE.fullmatch(number + unit):
            return f"write `{number}{unit}`"
    return None


def glob(value: object) -> str:
    """A pattern over paths of files below one folder."""
    expected = "a pattern over file names, such as `*.json`"
    found = text(value, expected=expected)
    if "\\" in found:
        raise wrong(expected, "folders end in `/`")
    if any(part in ("", ".", "..") for part in found.split("/")):
        raise wrong(f"{expected}: no `..`, no `.`, no empty name, no `/` at its ends")
    return found


def unique(what: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """At least one of them, and none twice."""

    def read(values: tuple[str, ...]) -> tuple[str, ...]:
        if not values or len(set(values)) < len(values):
            raise wrong(f"at least one {what}, and each of them once")
        return values

    return read


def fraction(value: object) -> str:
    """A number above 0 and at most 1, kept as the decimal text that was written."""
    expected = "a decimal number above 0 and at most 1"
    if not isinstance(value, Number):
        quoted = isinstance(value, str) and _FRACTION.fullmatch(value)
        raise wrong(expected, f"remove the quotes: {value}" if quoted else None)
    if not _FRACTION.fullmatch(value) or not value.strip("0."):
        raise wrong(expected, "for example 0.9")
    return str(value)


def flag(value: object) -> bool:
    """`true` or `false`, and no other word for them."""
    if isinstance(value, bool):
        return value
    meant = YAML_1_1.get(value) if isinstance(value, str) else None
    raise wrong("`true` or `false`", f"write `{meant}`" if meant else None)


def one_of(
    known: Iterable[str], others: Mapping[str, str] | None = None
) -> Callable[[object], str]:
    """One of some words. `others` are words that people use elsewhere for the same things."""
    words = tuple(known)
    renamed = others or {}

    def read(value: object) -> str:
        expected = f"one of {listed(words)}"
        found = text(value, expected=expected)
        if found in words:
            return found
        if found in renamed:
            raise wrong(expected, f"write `{renamed[found]}`")
        raise wrong(expected, nearest(found, words))

    return read


def model_path(value: object) -> str:
    """An absolute, normal path inside the image, away from the system's own folders."""
    expected = "an absolute path in the image, such as /model"
    found = text(value, expected=expected)
    parts = found.split("/")
    if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
        raise wrong(expected, "no `.`, no `..`, no double slash, no slash at the end")
    if not re.fullmatch(r"[A-Za-z0-9_.+/-]+", found) or len(found) > 200:
        raise wrong(f"{expected}, of letters, digits and `_.+-`")
    if parts[1] in _SYSTEM:
        raise wrong(expected, f"`/{parts[1]}` belongs to the system: take `/model`")
    return found
