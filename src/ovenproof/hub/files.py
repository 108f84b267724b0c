"""What a hub says of a repository, as values."""

from dataclasses import dataclass, field

from ovenproof.core.digest import Digest
from ovenproof.errors import BadFile


class NoRevision(BadFile):
    """The hub shows the repository, and says that it has no such revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository at a commit."""

    path: str
    size: int
    blob_id: str
    """git's name of what git keeps: of the file, or of the pointer to a big one."""
    sha256: Digest | None
    """Of big files (LFS) alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at a commit."""

    model: str
    commit: str
    files: tuple[HubFile, ...]
    """By path."""
    gated: bool
    license: str | None
    """As the model's card names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a file is: repository, commit, path in it."""

    model: str
    commit: str
    path: str
    locked: bool = field(default=True, compare=False)
    """Whether a lock promises that it is there; False while it is locked for the first time."""

    def __str__(self) -> str:
        return f"{self.model}/{self.path}"
