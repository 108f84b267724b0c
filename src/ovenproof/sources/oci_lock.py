"""Locking a model in a registry: its files by digest, with as few bytes as will do.

Texts and headers are read. Files are not, wherever the registry's digests say enough: a raw layer
is a file, and a layer that we would make ourselves is known by its own digest.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.manifest import Manifest
from ovenproof.core.model_lock import LockedFile
from ovenproof.errors import WrongBytes, found_in
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.sources.checkpoint import QUANTIZED, facts, word
from ovenproof.sources.interface import Resolved
from ovenproof.sources.names import check_names
from ovenproof.sources.oci_files import Lying, Remote, fetch, files, is_own_layer
from ovenproof.sources.remote_code import check_beside
from ovenproof.sources.selection import Selection, select
from ovenproof.store.chunks import stream_of
from ovenproof.store.store import Store
from ovenproof.store.stream import CHUNK

LICENSES = "org.opencontainers.image.licenses"
_TEXT_LIMIT = 64 << 20
"""A text that says what the other files are is read whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """A model in a registry on its way into a lock."""

    remote: Remote
    reference: str
    model_path: str
    remote_code: bool
    store: Store
    jobs: int

    def resolve(self, manifest: Manifest, listener: Listener) -> Resolved:
        """Choose the files and pin them. Raises BadFile for what is no model that can be read."""
        found = files(manifest, self.remote, self.reference)
        check_names(found, self.reference, hint="do not use this model, or push it again")
        texts: dict[str, bytes] = {}

        def read(name: str) -> bytes:
            if name not in texts:
                texts[name] = self._read(found[name])
            return texts[name]

        chosen = select(tuple(found), read=read, remote_code=self.remote_code, where=self.reference)
        if self.remote_code:
            hint = "push the model again with this file in it"
            check_beside(chosen.texts, read, self.reference, hint=hint)
        said = self._facts(found, chosen, read)
        if (named := word(manifest.annotations.get(LICENSES))) is not None:
            said["license"] = named
        locked = self._lock([found[path] for path in chosen.paths], listener)
        _compare(texts, locked, self.reference)
        places: dict[str, Json] = {
            path: {"digest": str(item.blob.digest), "size": item.blob.size, "start": item.start}
            for path, item in sorted(found.items())
            if path in chosen.paths and not item.is_blob
        }
        origin: dict[str, Json] = {
            "kind": "oci",
            "reference": self.reference,
            "digest": str(manifest.digest.digest),
            **({"places": places} if places else {}),
        }
        return Resolved(origin=origin, files=locked, facts=said)

    def _read(self, item: Lying) -> bytes:
        if item.size > _TEXT_LIMIT:
            raise WrongBytes(
                "a text of the model is too large to be one",
                subject=item.path,
                where=self.reference,
                expected=f"{_TEXT_LIMIT} bytes at most",
                got=f"{item.size} bytes",
            )
        return fetch(self.remote, item.blob, item.start, item.size)

    def _facts(
        self,
        found: Mapping[str, Lying],
        chosen: Selection,
        read: Callable[[str], bytes],
    ) -> dict[str, Json]:
        if "config.json" not in chosen.texts:
            return {}

        def start(name: str) -> BinaryIO:
            return stream_of(self.remote.open(found[name].blob, found[name].start))

        sizes = {name: found[name].size for name in chosen.weights}
        beside = read(QUANTIZED) if QUANTIZED in chosen.texts else None
        with found_in(self.reference):
            return facts(read("config.json"), sizes, read_start=start, beside=beside)

    def _lock(self, items: Sequence[Lying], listener: Listener) -> tuple[LockedFile, ...]:
        # More of them would have to share layers, so each is pinned by its own digest instead.
        big = sum(weights.is_big(item.size) for item in items)
        done, left = [], dict[Content, list[Lying]]()
        for item in items:
            if item.is_blob:
                done.append(LockedFile(path=item.path, size=item.size, digest=item.blob.digest))
            elif (
                weights.is_big(item.size)
                and big <= weights.PINNED_BY_LAYER_LIMIT
                and is_own_layer(item, self.remote, self.model_path)
            ):
                digest = item.blob.digest
                done.append(
                    LockedFile(path=item.path, size=item.size, digest=digest, pinned_by="layer")
                )
            else:
                left.setdefault(item.blob, []).append(item)
        measure = partial(self._measure, listener=listener)
        with ThreadPoolExecutor(self.jobs) as pool:
            for found in pool.map(measure, left, left.values()):
                done += found
        return tuple(sorted(done))

    def _measure(
        self, blob: Content, items: Sequence[Lying], *, listener: Listener
    ) -> list[LockedFile]:
        """Read an archive once, to its end, for the digests of the files in it. Small ones stay."""
        found, at = [], 0
        name = items[0].path if len(items) == 1 else f"{items[0].path} and {len(items) - 1} more"
        listener(Started(name=name, total=blob.size))
        with closing(stream_of(heard(self.remote.open(blob), name, listener))) as stream:
            for item in sorted(items, key=lambda item: item.start):
                for _ in take(stream, item.start - at):
                    pass
                chunks = take(stream, item.size)
                digest = _hash(chunks) if weights.is_big(item.size) else self._keep(chunks)
                found.append(LockedFile(path=item.path, size=item.size, digest=digest))
                at = item.start + item.size
            while stream.read(CHUNK):  # the end proves all that went before it
                pass
        listener(Finished(name=name))
        return found

    def _keep(self, chunks: Iterator[bytes]) -> Digest:
        return self.store.add(chunks).digest


def take(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """So many bytes; fewer are found out by whoever knows what they should be."""
    while size > 0 and (chunk := stream.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def _hash(chunks: Iterator[bytes]) -> Digest:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return Digest(found.hexdigest())


def heard(chunks: Iterator[bytes], name: str, listener: Listener) -> Iterator[bytes]:
    """The same chunks; the listener is told of each."""
    for chunk in chunks:
        listener(Advanced(name=name, size=len(chunk)))
        yield chunk


def _compare(texts: Mapping[str, bytes], locked: Sequence[LockedFile], where: str) -> None:
    """Refuse a registry that gave other bytes when it was asked for a part of a blob."""
    digests = {file.path: file.digest for file in locked}
    for path, data in texts.items():
        if digests.get(path, found := Digest.of(data)) != found:
            raise WrongBytes(
                "the registry gave two things for one file",
                subject=path,
                where=where,
                expected=digests[path],
                got=found,
                hint="try again; if it stays, the registry, or something before it, is broken",
            )
