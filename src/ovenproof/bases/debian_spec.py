"""What a root file system has besides its packages, and what of them it leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from ovenproof.core.digest import Json
from ovenproof.core.layer import PROFILE, check_path

VERSION = 2
"""Of the code that turns packages and a spec into a layer: raised when its result changes."""

DROP = (
    "usr/share/bash-completion/*",
    "usr/share/bug/*",
    "usr/share/doc-base/*",
    "usr/share/doc/*/*",
    "usr/share/info/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "*/__pycache__",
    "*/__pycache__/*",
    # base-files has them as directories, and its script turns them into links.
    "var/lock",
    "var/run",
)
LINKS = MappingProxyType(
    {
        "bin": "usr/bin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
        "sbin": "usr/sbin",
        "var/lock": "/run/lock",
        "var/run": "/run",
    }
)
"""What every root has: the merged /usr, and what base-files' script links."""
KEEP = ("usr/share/doc/*/copyright",)


def _check_fields(*fields: str) -> None:
    for text in fields:
        if ":" in text or "\n" in text or not text:
            raise ValueError(f"not a field of a colon-separated file: {text!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str = "/nonexistent"
    login: str = "/usr/sbin/nologin"
    """The program that a login starts."""

    def __post_init__(self) -> None:
        _check_fields(self.name, self.home, self.login)

    def line(self) -> str:
        return f"{self.name}:x:{self.uid}:{self.gid}:{self.name}:{self.home}:{self.login}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A line of /etc/group."""

    name: str
    gid: int

    def __post_init__(self) -> None:
        _check_fields(self.name)

    def line(self) -> str:
        return f"{self.name}:x:{self.gid}:\n"


ROOT = User(name="root", uid=0, gid=0, home="/root", login="/bin/bash")
NOBODY = User(name="nobody", uid=65534, gid=65534)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSpec:
    """Paths are relative to the root, without a slash at their end."""

    users: tuple[User, ...] = (ROOT, NOBODY)
    groups: tuple[Group, ...] = (Group(name="root", gid=0), Group(name="nogroup", gid=65534))
    directories: Mapping[str, int] = field(
        default_factory=lambda: {"run": 0o755, "run/lock": 0o1777, "tmp": 0o1777, "var/tmp": 0o1777}
    )
    """Directory -> mode; every other directory is 0755."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Link -> target: alternatives, and what else there is besides LINKS."""
    drop: tuple[str, ...] = DROP
    """Patterns of paths that packages have and the image has not; `*` also stands for slashes."""
    keep: tuple[str, ...] = KEEP
    """Patterns of what stays although `drop` says otherwise."""

    def __post_init__(self) -> None:
        for path in (*self.directories, *self.links):
            check_path(path)
        for name in ("directories", "links"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def drops(self, path: str) -> bool:
        """Whether a package's entry at this path is left out."""
        return any(fnmatchcase(path, pattern) for pattern in self.drop) and not any(
            fnmatchcase(path, pattern) for pattern in self.keep
        )


def layer_parameters(spec: RootSpec) -> dict[str, Json]:
    """What belongs in the key of the action that makes the layer, besides the packages."""
    return {
        "root": VERSION,
        "profile": PROFILE,
        "users": [user.line() for user in spec.users],
        "groups": [group.line() for group in spec.groups],
        "directories": dict(spec.directories),
        "links": {**LINKS, **spec.links},
        "drop": [*sorted(spec.drop)],
        "keep": [*sorted(spec.keep)],
    }
