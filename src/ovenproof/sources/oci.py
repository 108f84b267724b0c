"""Weights from a registry: a ModelPack artifact, or an image that holds nothing but a model.

Their bytes stream from the registry when somebody reads them, unless they were brought here.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from ovenproof.core.content import Body
from ovenproof.core.digest import Content
from ovenproof.core.manifest import Manifest, Platform
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.core.reader import Reader
from ovenproof.errors import BadCall, BadFile, LockAgain, OvenproofError, raise_all
from ovenproof.events import Finished, Listener, Started
from ovenproof.registry.reference import Reference, Repository, parse
from ovenproof.sources.interface import Resolved
from ovenproof.sources.oci_files import Lying, Remote
from ovenproof.sources.oci_lock import Locking, heard, take
from ovenproof.store.chunks import stream_of
from ovenproof.store.shelf import Absent, Shelf
from ovenproof.store.store import Store

PLATFORM = Platform("linux", "amd64")
"""Which image of an index is meant; the weights are the same in all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OciArtifact:
    """A model in a registry. What `locked` pins by digest stays, whatever the tag names now."""

    reference: str
    model_path: str
    remote_code: bool
    at: Callable[[Repository], Remote]
    store: Store
    jobs: int
    locked: ModelLock | None = None

    @property
    def homes(self) -> tuple[str, ...]:
        """The repository, from which a registry may mount the blobs that are layers of ours."""
        return (str(self._wanted().repository),)

    def resolve(self, listener: Listener) -> Resolved:
        remote = self._remote()
        locking = Locking(
            remote=remote,
            reference=self.reference,
            model_path=self.model_path,
            remote_code=self.remote_code,
            store=self.store,
            jobs=self.jobs,
        )
        return locking.resolve(self._manifest(remote), listener)

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        return ()

    def distant(self, lock: ModelLock) -> Mapping[str, Supply]:
        places = _places(lock)
        found = {file.path: _whole(file, places[file.path]) for file in lock.files}
        return {
            path: Supply(kind="weights", name=path, content=content)
            for path, content in found.items()
            if not self.store.has(content)
        }

    def bring(self, lock: ModelLock, wanted: Collection[Content], listener: Listener) -> None:
        places = _places(lock)
        found = {_whole(file, places[file.path]): places[file.path] for file in lock.files}
        bring = partial(self._bring, self._remote(), listener=listener)
        with ThreadPoolExecutor(self.jobs) as pool:
            faults = pool.map(bring, wanted, [found[content] for content in wanted])
            raise_all(fault for fault in faults if fault is not None)

    def body(self, file: LockedFile) -> Body:
        """A locked file. Where its layer pins it, its own digest is unknown: the layer's stands in.

        Nobody but our shelf knows such a content; who takes its bytes checks the layer's digest.
        """
        return Content(file.digest, file.size)

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        places = _places(lock)
        table = {Content(file.digest, file.size): places[file.path] for file in lock.files}
        return _Blobs(self.store, self._remote, table)

    def _wanted(self) -> Reference:
        try:
            return parse(self.reference)
        except BadCall as fault:
            raise BadFile(
                fault.what,
                subject=fault.subject,
                where="models.yaml, weights.oci",
                expected=fault.expected,
                got=fault.got,
                hint=fault.hint,
            ) from fault

    def _remote(self) -> Remote:
        return self.at(self._wanted().repository)

    def _manifest(self, remote: Remote) -> Manifest:
        wanted, origin = self._wanted(), self.locked.origin if self.locked else {}
        pinned = origin.get("digest") if origin.get("reference") == self.reference else None
        found = self._named(remote, str(pinned or wanted.target), locked=bool(pinned))
        if not found.is_index:
            return found
        try:
            chosen = found.for_platform(PLATFORM)
        except BadCall as fault:
            if len(found.manifests) != 1:
                raise BadFile(
                    f"the model's index has no single image for {PLATFORM}",
                    subject=self.reference,
                    got=fault.expected,
                    hint="name the one that is meant by its digest in `weights: {oci: …}`",
                ) from fault
            (chosen,) = found.manifests
        return self._named(remote, str(chosen.content.digest), locked=bool(pinned))

    def _named(self, remote: Remote, target: str, *, locked: bool) -> Manifest:
        found = remote.manifest(target)
        if found is None and locked:
            raise LockAgain(
                "the registry no longer has the model that is locked, or hides it",
                subject=self.reference,
                got=f"nothing under {target}",
                hint="run `invoke lock --model NAME --upgrade` to lock what is there now",
            )
        if found is None:
            raise BadFile(
                "the model is not in the registry",
                subject=self.reference,
                got=f"nothing under {target}",
                hint="correct `weights: {oci: …}`; a registry may say the same of what one may not"
                " see: log in",
            )
        return found

    def _bring(
        self, remote: Remote, content: Content, item: Lying, *, listener: Listener
    ) -> OvenproofError | None:
        start, size = (0, item.blob.size) if content == item.blob else (item.start, item.size)
        try:
            with self.store.locked(content.digest):
                if self.store.verify(content):
                    return None
                listener(Started(name=item.path, total=size))
                chunks = heard(remote.open(item.blob, start), item.path, listener)
                with closing(stream_of(chunks)) as stream:
                    self.store.add(take(stream, size), expected=content, what=item.path)
                listener(Finished(name=item.path))
        except OvenproofError as fault:
            return fault
        return None


@dataclass(frozen=True, slots=True)
class _Blobs:
    """The locked files: from the store, else from the registry as they are read."""

    store: Store
    remote: Callable[[], Remote]
    table: Mapping[Content, Lying]

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        if content not in self.table:
            raise Absent(content)
        item = self.table[content]
        by_layer = content.digest == item.blob.digest
        kept, start = (item.blob, item.start) if by_layer else (content, 0)
        if self.store.verify(kept):
            return self.store.open(kept, start + offset)
        return stream_of(self.remote().open(item.blob, item.start + offset))


def _places(lock: ModelLock) -> dict[str, Lying]:
    """Where each locked file lies; a raw layer is the file, and its digest says it all."""
    top = Reader(lock.origin, "models.lock", "origin")
    said = dict(top.entries("places")) if top.has("places") else {}
    found = {}
    for file in lock.files:
        place = said.get(file.path)
        found[file.path] = Lying(
            path=file.path,
            blob=place.content() if place else Content(file.digest, file.size),
            start=place.integer("start") if place else 0,
            size=file.size,
        )
    return found


def _whole(file: LockedFile, item: Lying) -> Content:
    """What lies in the store once a file is brought there: the file, or the layer that pins it."""
    return item.blob if file.pinned_by == "layer" else Content(file.digest, file.size)
