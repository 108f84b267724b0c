"""A typed reader of JSON that a program wrote: each value is checked as it is taken out.

Every fault names the document and the path of keys to the place.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ovenproof.core.digest import Content, Digest, Json
from ovenproof.errors import BadFile

RESTORE = "the file was written by a program: restore it, or delete it and lock again"


@dataclass(frozen=True, slots=True)
class Reader:
    """One object of the document, and where it stands."""

    value: Mapping[str, Json]
    name: str
    at: str = ""

    @classmethod
    def parse(cls, text: str | bytes, *, name: str) -> "Reader":
        """Read a document whose top is an object. Raises BadFile."""
        try:
            value = json.loads(
                text,
                parse_float=_no_float,
                parse_constant=_no_float,
                object_pairs_hook=_each_key_once,
            )
        except (ValueError, RecursionError) as error:
            raise BadFile(
                "this is not valid JSON", subject=name, got=str(error), hint=RESTORE
            ) from error
        if not isinstance(value, dict):
            raise BadFile(
                "this is not what it should be",
                subject=name,
                expected="an object",
                got=type(value).__name__,
                hint=RESTORE,
            )
        return cls(value, name)

    def fault(self, key: str, expected: str, got: object) -> BadFile:
        """The error to raise about a key of this object."""
        return BadFile(
            "a value is not what it should be",
            subject=self._path(key),
            where=self.name,
            expected=expected,
            got=repr(got),
            hint=RESTORE,
        )

    def only(self, *known: str) -> None:
        """Raise BadFile for a key that is none of these."""
        for key in self.value.keys() - {*known}:
            raise self.fault(key, "no such key", self.value[key])

    def has(self, key: str) -> bool:
        return key in self.value

    def json(self, key: str) -> Json:
        if key not in self.value:
            raise self.fault(key, "a value", "nothing")
        return self.value[key]

    def text(self, key: str) -> str:
        found = self.json(key)
        if not isinstance(found, str):
            raise self.fault(key, "text", found)
        return found

    def choice(self, key: str, among: Sequence[str]) -> str:
        found = self.text(key)
        if found not in among:
            raise self.fault(key, " or ".join(f"`{word}`" for word in among), found)
        return found

    def integer(self, key: str) -> int:
        found = self.json(key)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self.fault(key, "a number that is not negative", found)
        return found

    def digest(self, key: str) -> Digest:
        found = self.text(key)
        try:
            return Digest.parse(found)
        except ValueError:
            raise self.fault(key, "sha256:<64 hex digits>", found) from None

    def content(self) -> Content:
        """The `digest` and `size` of this object."""
        return Content(self.digest("digest"), self.integer("size"))

    def mapping(self, key: str) -> dict[str, Json]:
        found = self.json(key)
        if not isinstance(found, dict):
            raise self.fault(key, "an object", found)
        return found

    def below(self, key: str) -> "Reader":
        """The object under a key."""
        return self._below(key, self.json(key))

    def entries(self, key: str) -> Iterator[tuple[str, "Reader"]]:
        """Each (name, object) of an object of objects."""
        for name, item in self.mapping(key).items():
            yield name, self._below(f"{key}.{name}", item)

    def items(self, key: str) -> Iterator["Reader"]:
        """Each object of a list of objects."""
        found = self.json(key)
        if not isinstance(found, list):
            raise self.fault(key, "a list", found)
        for number, item in enumerate(found):
            yield self._below(f"{key}[{number}]", item)

    def _below(self, path: str, item: Json) -> "Reader":
        if not isinstance(item, dict):
            raise self.fault(path, "an object", item)
        return Reader(item, self.name, self._path(path))

    def _path(self, key: str) -> str:
        return f"{self.at}.{key}" if self.at else key


def _no_float(text: str) -> Json:
    raise ValueError(f"a number that is not whole: {text}")


def _each_key_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """A merge of two branches may leave a key twice; the last one would win without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"a key that stands twice: {twice}")
    return found
