"""A repository of the fake hub: branches, tags, and commits that are named after their content."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.fakes.hub.content import Body, Content

Gate: TypeAlias = Literal["auto", "manual", False]
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit."""

    content: Content
    lfs: bool

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def blob_id(self) -> str:
        """git's name for it: of the pointer, where the bytes are in LFS."""
        return (self.content.pointer if self.lfs else self.content).git_sha1

    @property
    def etag(self) -> str:
        return self.content.sha256 if self.lfs else self.blob_id

    @property
    def xet_hash(self) -> str:
        return hashlib.sha256(b"xet" + self.content.sha256.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    files: Mapping[str, Entry]
    """Sorted by path."""


@dataclass(kw_only=True, eq=False)
class Repository:
    """Its attributes may be set at any time."""

    name: str
    gated: Gate = False
    private: bool = False
    disabled: bool = False
    license: str | None = None
    card: Mapping[str, object] = field(default_factory=dict)
    """More of the card's metadata, such as `license_name`."""
    lfs_from: int = 10_000_000
    """Files of so many bytes go to LFS, and those with a suffix of weights in any case."""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def card_data(self) -> dict[str, object]:
        return {**({"license": self.license} if self.license else {}), **self.card}

    def commit(
        self, files: Mapping[str, Body | None], *, branch: str = "main", tag: str | None = None
    ) -> str:
        """Add and change files of a branch, and take away those given as None; gives the commit."""
        parent = self.branches.get(branch)
        before = dict(self.commits[parent].files) if parent else {}
        kept = {path: entry for path, entry in before.items() if path not in files}
        return self._add(kept, files, parent, branch, tag)

    def force_push(
        self, branch: str, files: Mapping[str, Body | None], *, keep_old: bool = False
    ) -> str:
        """Another history for a branch: these files alone.

        What only the old history led to vanishes, unless it is kept.
        """
        sha = self._add({}, files, None, branch, None)
        if not keep_old:
            reached = {*self.branches.values(), *self.tags.values()}
            for start in tuple(reached):
                at: str | None = start
                while at:
                    reached.add(at)
                    at = self.commits[at].parent
            self.commits = {at: commit for at, commit in self.commits.items() if at in reached}
        return sha

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag, a full reference, or a commit's own name."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(short) or self.tags.get(short) or revision
        return self.commits.get(sha)

    def _add(
        self,
        kept: Mapping[str, Entry],
        files: Mapping[str, Body | None],
        parent: str | None,
        branch: str,
        tag: str | None,
    ) -> str:
        new = {path: self._entry(path, body) for path, body in files.items() if body is not None}
        tree = dict(sorted({**kept, **new}.items()))
        names = {path: (entry.size, entry.etag) for path, entry in tree.items()}
        said = json.dumps([self.name, parent, names], sort_keys=True)
        sha = hashlib.sha1(said.encode()).hexdigest()
        title = f"commit {len(self.commits) + 1}"
        self.commits[sha] = Commit(sha, parent, title, tree)
        self.branches[branch] = sha
        if tag is not None:
            self.tags[tag] = sha
        return sha

    def _entry(self, path: str, body: Body) -> Entry:
        content = Content(body)
        return Entry(content, content.size >= self.lfs_from or path.endswith(LFS_SUFFIXES))
