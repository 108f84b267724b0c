"""pip on this machine: how it is called, and which indexes its own configuration names.

Mirrors, proxies, certificates and credentials are whatever pip's configuration says; nothing of
that is ours. uv does not read it, so for uv it is said again, in variables rather than arguments,
because other users of the machine see arguments.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ovenproof.core.address import shown
from ovenproof.errors import MissingTool

_LINE = re.compile(r"(?P<section>[\w:]+)\.(?P<option>[\w.-]+)=(?P<value>.*)")
_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|\[Errno 28\]|\(os error 28\)", re.IGNORECASE
)
_SECTIONS = ("global", "download", ":env:")
"""Those that count for `pip download`, the last one strongest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pip:
    """A Python that has pip, and what is said to pip besides its own configuration."""

    environment: Mapping[str, str]
    """Given to the program whole; where temporary files go is added."""
    python: str = sys.executable
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "environment", MappingProxyType(dict(self.environment)))

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-m", "pip", *arguments]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipIndex:
    """What pip's configuration says about where packages come from."""

    options: Mapping[str, str] = field(default_factory=dict)
    """`index-url`, `extra-index-url`, `find-links`, …: the strongest value of each."""

    @classmethod
    def ask(cls, pip: Pip) -> "PipIndex":
        """Ask pip itself, which knows where its files are. Raises MissingTool."""
        answer = subprocess.run(  # noqa: PLW1510  # what went wrong is told below
            pip.command("config", "list"),
            env=dict(pip.environment),
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            raise MissingTool(
                "pip does not answer",
                subject=" ".join(pip.command("config", "list")),
                got=tail(answer.stderr, 1),
                hint="install pip into the environment that runs ovenproof",
            )
        return cls.parse(answer.stdout)

    @classmethod
    def parse(cls, listing: str) -> "PipIndex":
        """Read what `pip config list` prints."""
        found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
        for line in listing.splitlines():
            match = _LINE.fullmatch(line.strip())
            if match and match["section"] in found:
                found[match["section"]][match["option"]] = _unquote(match["value"])
        merged: dict[str, str] = {}
        for section in _SECTIONS:
            merged.update(found[section])
        return cls(options=merged)

    def for_uv(self) -> dict[str, str]:
        """The same, as the variables that uv reads. A variable is here only if pip says it."""
        said: dict[str, str | None] = {
            "UV_DEFAULT_INDEX": self.options.get("index-url"),
            "UV_INDEX": self._words("extra-index-url", " "),
            "UV_FIND_LINKS": self._words("find-links", ","),
            "UV_INSECURE_HOST": self._words("trusted-host", " "),
            "UV_KEYRING_PROVIDER": self._keyring(),
            "UV_HTTP_TIMEOUT": self.options.get("timeout", self.options.get("default-timeout")),
            "SSL_CERT_FILE": self.options.get("cert"),
            "SSL_CLIENT_CERT": self.options.get("client-cert"),
            "ALL_PROXY": self.options.get("proxy"),
        }
        return {name: value for name, value in said.items() if value}

    @property
    def arguments_for_uv(self) -> tuple[str, ...]:
        """What uv takes no variable for."""
        return ("--no-index",) if self._yes("no-index") else ()

    def _words(self, option: str, separator: str) -> str | None:
        return separator.join(self.options.get(option, "").split()) or None

    def _yes(self, option: str) -> bool:
        return self.options.get(option, "").lower() in ("1", "true", "yes", "on")

    def _keyring(self) -> str | None:
        return "subprocess" if self.options.get("keyring-provider") == "subprocess" else None


def is_full(said: str) -> bool:
    """Whether a program complains of a disk without room, in whatever words it does."""
    return _FULL.search(said) is not None


def tail(log: str, lines: int = 3) -> str:
    """The last lines of a program's output that say something, without anybody's password."""
    return shown(" / ".join(line.strip() for line in _said(log)[-lines:])) or "nothing"


def _said(log: str) -> Sequence[str]:
    return [line for line in log.splitlines() if line.strip()]


def _unquote(value: str) -> str:
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return str(found)
