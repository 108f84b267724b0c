"""Weights from the hub: a commit, and files that stay there until somebody needs their bytes."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ovenproof.core.content import Body
from ovenproof.core.digest import Content, Json
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.core.reader import Reader
from ovenproof.errors import LockAgain, OvenproofError, WrongBytes, found_in, raise_all
from ovenproof.events import Listener, Noted
from ovenproof.hub.cache import HubCache
from ovenproof.hub.files import NoRevision, Snapshot
from ovenproof.sources.hub_checkpoint import Looked, look_into
from ovenproof.sources.hub_cut import Cuts, Cutter
from ovenproof.sources.hub_files import HubFiles, check_commit, each
from ovenproof.sources.hub_shelf import HubShelf, content_of
from ovenproof.sources.interface import Resolved
from ovenproof.sources.reach import Reach
from ovenproof.sources.selection import Selection, select
from ovenproof.store.shelf import Shelf
from ovenproof.store.store import Store

if TYPE_CHECKING:
    from ovenproof.hub.hub import Hub

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A model on the hub."""

    model: str
    revision: str | None
    """A branch, a tag or a commit, as models.yaml says it; None for the main branch."""
    model_path: str
    hub: "Callable[[], Hub]"
    """Made late: with it an HTTP client is imported."""
    cache: HubCache
    store: Store
    jobs: int
    remote_code: bool = False
    allow_pickle: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    largest_file: int | None = None
    """Larger ones are cut. None: there is no limit."""
    locked: ModelLock | None = None
    """What is locked already: its commit is kept, if it is one of this model and revision."""
    before: ModelLock | None = None
    """What was locked when nothing of it has to be kept: what it knows is not found out again."""

    @property
    def homes(self) -> tuple[str, ...]:
        return ()

    def resolve(self, listener: Listener) -> Resolved:
        kept = self._kept()
        snapshot = self._look(kept)
        files = HubFiles(
            snapshot=snapshot,
            reach=self._reach(snapshot.commit, locked=kept is not None),
            jobs=self.jobs,
            listener=listener,
        )
        chosen = self._choose(files)
        pins = files.pin(chosen.paths)
        if kept is not None and self.locked is not None:
            changed = [_changed(file, files, pins) for file in self.locked.files]
            raise_all(fault for fault in changed if fault is not None)
        with found_in(self.model):
            looked = self._look_into(files, chosen, pins)
            self._tell_doubts(listener)
            cuts = self._cut(files, chosen, pins, looked)
        whole = (
            LockedFile(path=path, size=content.size, digest=content.digest)
            for path, content in pins.items()
            if path not in cuts.replaced
        )
        return Resolved(
            origin=self._origin(snapshot, cuts),
            files=tuple(sorted((*whole, *cuts.files))),
            facts=looked.facts,
            layers=cuts.layers,
        )

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        return ()

    def distant(self, lock: ModelLock) -> Mapping[str, Supply]:
        shelf = self._shelf(lock)
        return {
            file.path: Supply(kind="weights", name=file.path, content=content_of(file))
            for file in lock.files
            if not shelf.is_near(file)
        }

    def bring(self, lock: ModelLock, wanted: Collection[Content], listener: Listener) -> None:
        from ovenproof.hub.fetch import fetch  # noqa: PLC0415  it imports an HTTP client

        shelf = self._shelf(lock)
        files = [file for file in lock.files if content_of(file) in {*wanted}]
        plain = [file for file in files if file.cut is None and not file.made]
        pairs = [(shelf.reach.at(file.path), content_of(file)) for file in plain]

        def fetch_plain() -> None:
            if pairs:
                fetch(self.hub(), pairs, self.store, jobs=self.jobs, listener=listener)

        others = [partial(shelf.keep, file, listener) for file in files if file not in plain]
        calls: list[Callable[[], None]] = [fetch_plain, *others]
        each(lambda call: call(), calls)

    def body(self, file: LockedFile) -> Body:
        return content_of(file)

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        self._tell_doubts(listener)
        return self._shelf(lock)

    def _choose(self, files: HubFiles) -> Selection:
        return select(
            files.by_path,
            read=files.read,
            where=self.model,
            remote_code=self.remote_code,
            include=self.include,
            exclude=self.exclude,
            allow_pickle=self.allow_pickle,
        )

    def _look_into(self, files: HubFiles, chosen: Selection, pins: Mapping[str, Content]) -> Looked:
        return look_into(files, chosen, pins, remote_code=self.remote_code)

    def _cut(
        self, files: HubFiles, chosen: Selection, pins: Mapping[str, Content], looked: Looked
    ) -> Cuts:
        if self.largest_file is None:
            return Cuts()
        return Cutter(
            repository=files,
            chosen=chosen,
            pins=pins,
            heads=looked.heads,
            most=self.largest_file,
            model_path=self.model_path,
            before=self.locked or self.before,
        ).cut()

    def _origin(self, snapshot: Snapshot, cuts: Cuts) -> dict[str, Json]:
        found: dict[str, Json] = {
            "kind": "hub",
            "model": self.model,
            "revision": self.revision,
            "commit": snapshot.commit,
            "gated": snapshot.gated,
        }
        if self.include:
            found["include"] = list(self.include)
        if self.exclude:
            found["exclude"] = list(self.exclude)
        if cuts.index is not None:
            found["index"] = {"digest": str(cuts.index.digest), "size": cuts.index.size}
        return found

    def _kept(self) -> str | None:
        """The locked commit, if what is locked is what is asked for."""
        if self.locked is None:
            return None
        said = self.locked.origin
        if (said.get("kind"), said.get("model")) != ("hub", self.model):
            return None
        return _commit(self.locked) if said.get("revision") == self.revision else None

    def _look(self, kept: str | None) -> Snapshot:
        if kept is None:
            found = self.hub().look(self.model, self.revision)
            if self.revision is not None and _COMMIT.fullmatch(self.revision):
                check_commit(self.model, found.commit, self.revision.lower())
            return found
        hub = self.hub()
        try:
            found = hub.look(self.model, kept)
        except NoRevision as fault:
            raise LockAgain(
                "the hub no longer has the commit that is locked",
                subject=self.model,
                where=f"commit {kept}",
                got=fault.what,
                hint="run `invoke lock --model NAME --upgrade` to lock what is there now",
            ) from fault
        check_commit(self.model, found.commit, kept)
        return found

    def _tell_doubts(self, listener: Listener) -> None:
        """What in the hub's cache is not what its name promises: told once, and not used."""
        for path in sorted(self.cache.doubted):
            self.cache.doubted.discard(path)
            listener(Noted(text=f"{path} in the hub's cache is damaged, and not used"))

    def _shelf(self, lock: ModelLock) -> HubShelf:
        return HubShelf(lock=lock, reach=self._reach(_commit(lock)))

    def _reach(self, commit: str, *, locked: bool = True) -> Reach:
        return Reach(
            model=self.model,
            commit=commit,
            hub=self.hub,
            cache=self.cache,
            store=self.store,
            locked=locked,
        )


def _changed(
    file: LockedFile, files: HubFiles, pins: Mapping[str, Content]
) -> OvenproofError | None:
    """What is wrong where a commit no longer has a file that was locked from it."""
    path, content = file.path, content_of(file)
    if file.made:
        return None
    if file.cut is not None:
        path, content = file.cut.of, file.cut.original
    got: object = "nothing"
    if there := files.by_path.get(path):
        found = pins.get(path)
        if found == content or (found is None and there.size == content.size):
            return None
        got = f"{found.digest}, {found.size} bytes" if found else f"{there.size} bytes"
    return WrongBytes(
        "a file of the repository has changed, and its commit has not",
        subject=path,
        where=f"{files.snapshot.model}, commit {files.snapshot.commit}",
        expected=f"{content.digest}, {content.size} bytes (models.lock)",
        got=got,
        hint="somebody has tampered with the hub or a mirror: set HF_ENDPOINT to another one",
    )


def _commit(lock: ModelLock) -> str:
    return Reader(lock.origin, "models.lock", "origin").text("commit")
