"""The files of a repository by digest, when they are locked.

Big ones have a sha256 on the hub and stay there. The others have git's name alone: they come, are
held against it, are kept in the store, and get a sha256 of our own.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ovenproof.core import weights
from ovenproof.core.action import Action, Outcome
from ovenproof.core.digest import Content, Json
from ovenproof.errors import BadFile, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.hub.files import HubFile, Snapshot
from ovenproof.net import crew
from ovenproof.sources.names import check_names
from ovenproof.sources.reach import Reach

AT_ONCE = 8
"""Questions to a hub at the same time."""
_CHUNK = 1 << 20

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """What a repository has at a commit. Its names and sizes are a stranger's words: checked."""

    snapshot: Snapshot
    reach: Reach
    jobs: int
    listener: Listener

    def __post_init__(self) -> None:
        check_names([file.path for file in self.snapshot.files], self.snapshot.model)
        raise_all(
            WrongBytes(
                "a repository has a file of an impossible size",
                subject=file.path,
                where=self.snapshot.model,
                got=ascii(file.size)[:40],
                hint="do not use this repository, or not from this hub",
            )
            for file in self.snapshot.files
            if type(file.size) is not int or file.size < 0
        )

    @cached_property
    def by_path(self) -> Mapping[str, HubFile]:
        return {file.path: file for file in self.snapshot.files}

    def read(self, path: str) -> bytes:
        """The bytes of a small file."""
        content = self.pin([path])[path]
        if weights.is_big(content.size):
            raise BadFile(
                "a file of the repository is too large for what it is",
                subject=path,
                where=self.snapshot.model,
                expected=f"less than {weights.ALONE_FROM} bytes",
                got=f"{content.size} bytes",
            )
        with self.reach.open(path, content) as stream:
            data = stream.read()
        if Content.of(data) != content:
            raise _changed(path, content, Content.of(data))
        return data

    def pin(self, paths: Collection[str]) -> dict[str, Content]:
        """The contents of files; the small ones among them are on this machine afterwards.

        Raises all faults at once.
        """
        files = [self.by_path[path] for path in sorted(paths)]
        found = {
            file.path: Content(file.sha256, file.size) for file in files if file.sha256 is not None
        }
        plain = [file for file in files if file.sha256 is None]
        raise_all(self._nameless(file) for file in plain if weights.is_big(file.size))
        pinned = each(self._kept, plain)
        found.update(
            {file.path: content for file, content in zip(plain, pinned, strict=True) if content}
        )
        self._bring([file for file in plain if file.path not in found], found)
        self._fetch({path: found[path] for path in paths if not weights.is_big(found[path].size)})
        return found

    def _kept(self, file: HubFile) -> Content | None:
        """What a file was found to be before, if that is still in the store."""
        known = self.reach.store.recall(_named(file).key)
        content = known.outputs.get("file") if known else None
        return content if content is not None and self.reach.store.verify(content) else None

    def _bring(self, files: Collection[HubFile], found: dict[str, Content]) -> None:
        """Files that have git's name alone."""
        if not files:
            return
        name = f"texts of {self.snapshot.model}"
        self.listener(Started(name=name, total=sum(file.size for file in files)))

        def bring(file: HubFile) -> Content:
            content = self.reach.store.add(self._checked(file), what=file.path)
            self.reach.store.remember(_named(file).key, Outcome({"file": content}))
            self.listener(Advanced(name=name, size=file.size))
            return content

        contents = each(bring, files)
        found.update({file.path: one for file, one in zip(files, contents, strict=True)})
        self.listener(Finished(name=name))

    def _checked(self, file: HubFile) -> Iterator[bytes]:
        """The bytes that git's name stands for. Raises WrongBytes at the end of others."""
        git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        if file.size:
            with closing(self.reach.hub().open(self.reach.at(file.path), 0, file.size)) as stream:
                while chunk := stream.read(_CHUNK):
                    git.update(chunk)
                    yield chunk
        if git.hexdigest() != file.blob_id:
            raise WrongBytes(
                "the hub gives other bytes than those it names",
                subject=file.path,
                where=self.snapshot.model,
                expected=f"git's {file.blob_id}, {file.size} bytes",
                got=f"git's {git.hexdigest()}",
                hint="try again; if it stays, set HF_ENDPOINT to another mirror",
            )

    def _fetch(self, wanted: Mapping[str, Content]) -> None:
        """Small files that have a sha256 on the hub, where they are not here."""
        missing = {path: one for path, one in wanted.items() if not self.reach.is_near(path, one)}
        if missing:
            from ovenproof.hub.fetch import fetch  # noqa: PLC0415  it imports an HTTP client

            pairs = [(self.reach.at(path), content) for path, content in missing.items()]
            fetch(
                self.reach.hub(),
                pairs,
                self.reach.store,
                jobs=self.jobs,
                listener=self.listener,
            )

    def _nameless(self, file: HubFile) -> BadFile:
        return BadFile(
            "the hub has no sha256 of a big file, so it cannot be locked",
            subject=file.path,
            where=self.snapshot.model,
            expected=f"a file in LFS, or less than {weights.ALONE_FROM} bytes",
            got=f"{file.size} bytes in git itself",
            hint=f'leave it out with `exclude: ["{file.path}"]`, or use another repository',
        )


def check_commit(model: str, got: str, wanted: str) -> None:
    """Whoever names a commit gets that one. Raises WrongBytes."""
    if got != wanted:
        raise WrongBytes(
            "the hub gives another commit than the one that was asked for",
            subject=model,
            expected=wanted,
            got=got,
            hint="set HF_ENDPOINT to another mirror",
        )


def each(function: Callable[[Asked], Answer], items: Iterable[Asked]) -> list[Answer]:
    """The answers, in order, some asked for at once. Raises all faults together."""
    return crew.each(function, items, AT_ONCE, go_on=True)


def _named(file: HubFile) -> Action:
    """What git's name stands for: found once, by reading it."""
    parameters: dict[str, Json] = {"blob": file.blob_id, "size": file.size}
    return Action(kind="read-git-blob", version=1, parameters=parameters)


def _changed(path: str, expected: Content, got: Content) -> WrongBytes:
    return WrongBytes(
        "the bytes of a file are not those that were promised",
        subject=path,
        expected=f"{expected.digest}, {expected.size} bytes",
        got=f"{got.digest}, {got.size} bytes",
        hint="try again; if it stays, set HF_ENDPOINT to another mirror",
    )
