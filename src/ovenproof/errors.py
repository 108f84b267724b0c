"""Every error, grouped by what the reader can do about it.

A class is a remedy, not a place in the code: its exit code tells a script what to do next, its
text tells a person. The form is always the same::

    error: <what could not be done>: `<subject>` (<where>)
      <the line of the file, and a caret under the word>
      expected <value> (<where that comes from>)
      got      <value> (<how it was seen>)
    hint: <one command or one edit>
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves a terminal's cursor, colours it, turns the order of letters, or is no letter."""


def visible(text: str) -> str:
    """The same text for a terminal: signs that would act on it are spelt out.

    Newlines and tabs stay. Files, names and answers of strangers are quoted in what we say.
    """
    return _UNSEEN.sub(lambda sign: ascii(sign[0])[1:-1], text)


def _on_a_line(text: str) -> str:
    """The same text where it may not begin a line, which would read as ours."""
    return text.replace("\n", "\\n")


def _indented(text: str) -> str:
    """The same text, whose other lines stand below its first."""
    return text.replace("\n", "\n" + " " * len("  expected "))


class OvenproofError(Exception):
    """Something could not be done, and the reader is told what helps."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        subject: object = None,
        where: object = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
        excerpt: str | None = None,
    ) -> None:
        self.what = what
        self.subject = None if subject is None else str(subject)
        self.where = None if where is None else str(where)
        self.expected = None if expected is None else str(expected)
        self.got = None if got is None else str(got)
        self.hint = hint
        self.excerpt = excerpt
        super().__init__(self.text())

    def text(self) -> str:
        """The whole message, as it is shown to a person, whose terminal it leaves alone."""
        head = f"error: {self.what}"
        if self.subject is not None:
            head += f": `{_on_a_line(self.subject)}`"
        if self.where is not None:
            head += f" ({_on_a_line(self.where)})"
        lines = [head]
        if self.excerpt is not None:
            lines.append(self.excerpt)
        if self.expected is not None:
            lines.append(f"  expected {_indented(self.expected)}")
        if self.got is not None:
            lines.append(f"  got      {_indented(self.got)}")
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return visible("\n".join(lines))

    def __str__(self) -> str:
        return self.text()

    def __reduce__(self) -> str | tuple[object, ...]:
        return (_revive, (type(self), self.__dict__.copy()))


def _revive(kind: type[OvenproofError], fields: dict[str, object]) -> OvenproofError:
    error = kind.__new__(kind)
    error.__dict__.update(fields)
    error.args = (error.text(),)
    return error


class BadCall(OvenproofError):
    """The command line cannot be understood: call again, corrected."""

    exit_code = 2


class BadFile(OvenproofError):
    """A file written by a person is wrong: edit it."""

    exit_code = 3


class LockAgain(OvenproofError):
    """What is locked is missing, incomplete or no longer what the world has: lock again."""

    exit_code = 4


class NoAccess(OvenproofError):
    """Somebody said no: get a token, accept a licence, log in."""

    exit_code = 5


class TryAgain(OvenproofError):
    """Something out there did not answer: try again, or set a mirror."""

    exit_code = 6


class NoSpace(OvenproofError):
    """A disk is full: free space."""

    exit_code = 7


class WrongBytes(OvenproofError):
    """Bytes are not those that were promised. They were not used."""

    exit_code = 8


class ImageFailed(OvenproofError):
    """The image was started, and did not do what it is for."""

    exit_code = 9


class MissingTool(OvenproofError):
    """A program or a service that this needs is not here: install or start it."""

    exit_code = 10


def each_once(faults: "Iterable[OvenproofError]") -> tuple[OvenproofError, ...]:
    """All faults, one by one; what several threads have found in the same words is one of them."""
    found: dict[tuple[type[OvenproofError], str], OvenproofError] = {}
    for fault in faults:
        for one in fault.faults if isinstance(fault, Several) else (fault,):
            found.setdefault((type(one), one.text()), one)
    return tuple(found.values())


class Several(OvenproofError):
    """Independent faults, found in one go and shown together."""

    def __init__(self, faults: Iterable[OvenproofError]) -> None:
        self.faults = each_once(faults)
        super().__init__(f"{len(self.faults)} faults")

    @property
    def worst(self) -> int:
        """The exit code of the first fault: the one to mend first."""
        return self.faults[0].exit_code

    def text(self) -> str:
        return "\n\n".join(fault.text() for fault in self.faults)

    def __reduce__(self) -> str | tuple[object, ...]:
        return (Several, (self.faults,))


@contextmanager
def about_entry(name: str) -> Iterator[None]:
    """Say the entry's name where a hint has `--model NAME`: whoever raised it knew none."""
    try:
        yield
    except OvenproofError as fault:
        for one in each_once([fault]):
            if one.hint is not None:
                one.hint = one.hint.replace("--model NAME", f"--model {name}")
        raise


@contextmanager
def found_in(where: object) -> Iterator[None]:
    """Say where the file is that a fault is about, unless it says so itself."""
    try:
        yield
    except OvenproofError as fault:
        for one in each_once([fault]):
            if isinstance(one, BadFile | WrongBytes) and one.where is None:
                one.where = str(where)
        raise


def raise_all(faults: Iterable[OvenproofError]) -> None:
    """Raise the faults, if any: one as itself, more of them together."""
    found = each_once(faults)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Several(found)
