"""A page: the lines of a file that a person wrote, and how a fault in it is shown."""

import re
import unicodedata
from dataclasses import dataclass

from ovenproof.errors import BadFile

TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}")
"""What access tokens look like."""
SECRET_NAME = re.compile(
    r"TOKEN(?![A-Z])|SECRET|PASSWORD|PASSWD|PASSPHRASE|API[_-]?KEY|ACCESS_KEY|PRIVATE_KEY", re.I
)
"""What things are called that nobody else may read. `TOKENS` and `TOKENIZERS` are none."""
_SECRET_VALUE = re.compile(rf"((?:{SECRET_NAME.pattern})[\w.-]*[\"']?\s*:\s*)(\S.*)", re.I)
LOGIN = re.compile(r"[^\s\"':]+:[^\s\"']*@(?!sha256:)")
"""A user and a password, before a host."""
_WIDTH = 96


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text: the first line and the first column are 1."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of a file, and how a fault in it is shown."""

    name: str
    lines: tuple[str, ...]

    def fault(
        self,
        what: str,
        mark: Mark,
        *,
        subject: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> BadFile:
        """The error, with its place and the line itself."""
        return BadFile(
            what,
            subject=subject,
            where=self.place(mark),
            expected=expected,
            got=got,
            hint=hint,
            excerpt=self.excerpt(mark),
        )

    def place(self, mark: Mark) -> str:
        """`file:line:column`, as editors and terminals understand it."""
        return f"{self.name}:{mark.line}:{mark.column}"

    def excerpt(self, mark: Mark) -> str:
        """The line, and carets under the word. What looks like a secret is starred out."""
        line = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        line = _SECRET_VALUE.sub(lambda found: found[1] + "*" * len(found[2]), line)
        line = LOGIN.sub(lambda found: "*" * len(found[0]), line)
        line = TOKEN.sub(lambda found: "*" * len(found[0]), line).replace("\t", " ")
        start = mark.column - 1
        cut = max(0, start - _WIDTH // 2) if len(line) > _WIDTH else 0
        shown = line[cut : cut + _WIDTH]
        word = shown[start - cut : start - cut + mark.length]
        indent, length = _width(shown[: start - cut]), max(1, _width(word))
        return f"{mark.line:>5} | {shown.rstrip()}\n      | {' ' * indent}{'^' * length}"


def _width(text: str) -> int:
    """Columns of a terminal: the wide characters of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
