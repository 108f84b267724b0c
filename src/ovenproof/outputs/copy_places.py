"""Where a copy goes: a repository of a registry, or the folder of an OCI layout."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from ovenproof.core.digest import Content, Digest
from ovenproof.core.manifest import Manifest
from ovenproof.errors import BadCall, OvenproofError
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.net.crew import each
from ovenproof.outputs.copy import Graph
from ovenproof.outputs.layout_folder import LayoutFolder, entry
from ovenproof.outputs.place import elsewhere, writing
from ovenproof.registry.client import Blob
from ovenproof.registry.send import Sender, Sent, tell_there
from ovenproof.registry.tags import Guard, Was, look, move_tag

_HINT = "free space, or choose another layout:DIR"


class ToRegistry:
    """A repository; what its registry has already is mounted, the rest is sent."""

    def __init__(
        self, sender: Sender, *, tag: str | None, was: Was = None, force: bool = False
    ) -> None:
        self._sender = sender
        self._remote = sender.remote
        self._tag = tag
        self._was = was
        self._force = force
        self._guard: Guard | None = None

    def begin(self, root: Manifest) -> Digest | None:
        if self._tag is None:
            return None
        if self._guard is None:
            wanted = root.digest.digest
            self._guard = look(self._remote, self._tag, wanted, was=self._was, force=self._force)
        return self._guard.seen

    def refuses(self, graph: Graph) -> tuple[OvenproofError, ...]:
        limits = self._remote.limits
        large = [
            f"{one.content.digest}, {one.content.size} bytes"
            for one in graph.blobs
            if limits.blob is not None
            and one.content.size > limits.blob
            and not self._remote.has(one.content)
        ]
        long = [
            f"{one.digest.digest}, {one.digest.size} bytes"
            for one in graph.manifests
            if one.digest.size > limits.manifest
        ]
        kinds = (("blob", large, limits.blob), ("manifest", long, limits.manifest))
        return tuple(
            BadCall(
                f"the registry does not take a {kind} of this size",
                subject=self._remote.repository,
                expected=f"{most} bytes at most ({limits.note})",
                got=got,
                hint="copy to a registry that takes it, or to layout:DIR",
            )
            for kind, found, most in kinds
            for got in found
        )

    def foresee(self, blobs: Sequence[Blob]) -> Sent:
        every = {blob.content for blob in blobs}
        there = self._sender.there(every)
        homes = {home for blob in blobs for home in blob.homes}
        mounted = self._sender.mountable(every - there, sorted(homes))
        return Sent(sent=_size(every - there - mounted), mounted=_size(mounted), there=_size(there))

    def take(self, blobs: Sequence[Blob], listener: Listener) -> Sent:
        return self._sender.send(blobs, listener)

    def put(self, manifest: Manifest) -> None:
        digest = manifest.digest.digest
        if self._remote.head(str(digest)) == digest and self._is_listed(manifest):
            return
        if manifest.subject is not None:
            self._remote.refer(manifest)
        else:
            self._remote.put_manifest(manifest, str(digest))

    def _is_listed(self, manifest: Manifest) -> bool:
        """Whether the registry says of it that it refers to its subject, if it has one."""
        if manifest.subject is None:
            return True
        found = self._remote.referrers(manifest.subject.content.digest)
        return any(item.content.digest == manifest.digest.digest for item in found)

    def finish(self, root: Manifest) -> None:
        if self._tag is not None:
            assert self._guard is not None
            move_tag(self._remote, root, self._tag, self._guard)
            self._guard = None


class ToLayout:
    """A folder. Other images in it stay; a blob that lies there in its full size is believed."""

    def __init__(
        self,
        folder: LayoutFolder,
        *,
        tag: str | None,
        jobs: int,
        was: Was = None,
        force: bool = False,
    ) -> None:
        self._folder = folder
        self._tag = tag
        self._jobs = jobs
        self._was = was
        self._force = force
        self._guard: Guard | None = None
        self._referring: list[Manifest] = []

    def begin(self, root: Manifest) -> Digest | None:
        if self._tag is None:
            return None
        if self._guard is None:
            name, now = f"layout:{self._folder.root}:{self._tag}", self._folder.tagged(self._tag)
            guard = Guard(tag=name, seen=now, was=self._was, force=self._force)
            guard.check(now, root.digest.digest)
            self._guard = guard
        return self._guard.seen

    def refuses(self, graph: Graph) -> tuple[OvenproofError, ...]:
        self._folder.entries()  # a folder that is no layout is told before anything moves
        return ()

    def foresee(self, blobs: Sequence[Blob]) -> Sent:
        every = {blob.content for blob in blobs}
        there = frozenset(filter(self._folder.has, every))
        return Sent(sent=_size(every - there), there=_size(there))

    def take(self, blobs: Sequence[Blob], listener: Listener) -> Sent:
        foreseen = self.foresee(blobs)
        lacking = [blob for blob in blobs if not self._folder.has(blob.content)]
        tell_there(len(blobs) - len(lacking), len(blobs), listener)
        lacking.sort(key=lambda blob: (-blob.content.size, blob.content.digest))

        def write(blob: Blob) -> None:
            self._folder.put(blob.content, elsewhere(_heard(blob, listener)))

        with writing(self._folder.root, hint=_HINT):
            self._folder.sweep()
            each(write, lacking, self._jobs)
        return foreseen

    def put(self, manifest: Manifest) -> None:
        with writing(self._folder.root, hint=_HINT):
            self._folder.put(manifest.digest, (manifest.data,))
        if manifest.subject is not None:
            self._referring.append(manifest)

    def finish(self, root: Manifest) -> None:
        """List the image, and what refers to it: a layout knows no other way to find that."""
        others = [one for one in self._referring if one.digest != root.digest]
        items = [entry(one.digest, one.media_type) for one in others]
        items.append(entry(root.digest, root.media_type, tag=self._tag))
        with writing(self._folder.root, hint=_HINT):
            self._folder.enlist(items, self._tag, allow=partial(self._allow, root))
        self._guard = None

    def _allow(self, root: Manifest, now: Digest | None) -> None:
        assert self._guard is not None
        self._guard.check(now, root.digest.digest)


def _heard(blob: Blob, listener: Listener) -> Iterator[bytes]:
    """A blob's bytes, while a listener hears how far they are."""
    listener(Started(name=blob.title, total=blob.content.size))
    for chunk in blob.open(0):
        listener(Advanced(name=blob.title, size=len(chunk)))
        yield chunk
    listener(Finished(name=blob.title))


def _size(contents: Iterable[Content]) -> int:
    return sum(content.size for content in contents)
