"""A Docker engine, over its API. What it has already does not travel again.

Docker's own store keeps layers by their position in a stack: what can be left out is the longest
beginning that one of its images shares with ours. With containerd's store an engine names images by
their manifests, and takes an archive only if all layers are in it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from docker.client import DockerClient
from docker.errors import NotFound

from ovenproof.core.base import ZSTD_TYPE
from ovenproof.core.digest import Content
from ovenproof.core.image import Image, Layer
from ovenproof.engine import FAULTS
from ovenproof.errors import ImageFailed, MissingTool, NoSpace, OvenproofError, TryAgain
from ovenproof.events import Listener, Noted
from ovenproof.outputs.archive import stream, unique
from ovenproof.outputs.interface import OpenLayer, Written

LABEL = "org.ovenproof.entry"
"""Every image of ours carries it; only those are compared with a new one."""
_CONTAINERD = "io.containerd.snapshotter"
_UNPACKS_ZSTD = 23
"""From this version on an engine unpacks zstd."""
_MISSING = re.compile(
    r"no such file or directory|invalid diffID|content digest sha256:[0-9a-f]{64}: not found"
)


class Docker:
    """The images of one engine."""

    def __init__(self, client: DockerClient) -> None:
        self.client = client

    absorber = None

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        if self._inspect(self._name(image)) is not None:
            return ()
        return self._needed(image)

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        if not any(layer.media_type == ZSTD_TYPE for layer in image.layers) or self._by_manifest:
            return ()
        zstd = [layer for layer in self.lacks(image) if layer.media_type == ZSTD_TYPE]
        if not zstd:
            return ()
        version = str((self._ask(self.client.api.version) or {}).get("Version", ""))
        major = version.partition(".")[0]
        if major.isdecimal() and int(major) >= _UNPACKS_ZSTD:
            return ()
        return (
            MissingTool(
                "this Docker engine cannot unpack layers that zstd compressed",
                subject=zstd[0].title,
                expected=f"version {_UNPACKS_ZSTD} or later, or containerd's store",
                got=f"version {version}",
                hint="push the image to a registry, or choose a base of gzip layers",
            ),
        )

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        layers: tuple[Layer, ...] = ()
        if not self._tag(image, reference):
            layers = self._needed(image)
            try:
                self._load(stream(image, reference, layers, open_layer, listener))
            except _Vanished:
                if layers == unique(image.layers):
                    raise
                listener(Noted(text="the engine lost layers meanwhile: all of them are sent"))
                layers = unique(image.layers)
                self._load(stream(image, reference, layers, open_layer, listener))
        self._prove(image, reference)
        return Written(
            place=f"docker: {reference}",
            moved=sum(layer.content.size for layer in layers),
            use=None,
        )

    def _load(self, archive: Iterator[bytes]) -> None:
        """Send an archive. What goes wrong while producing its bytes is raised as it is."""
        failed: list[Exception] = []

        def produce() -> Iterator[bytes]:
            try:
                yield from archive
            except Exception as error:
                failed.append(error)
                raise

        try:
            answers: Iterable[Mapping[str, object]] = self.client.api.load_image(produce())
            faults = [str(answer["error"]) for answer in answers if "error" in answer]
        except FAULTS as error:
            if failed:
                raise failed[0] from failed[0].__cause__
            faults = [str(error)]
        if faults:
            raise _complaint(faults[0])

    @cached_property
    def _by_manifest(self) -> bool:
        """Is containerd's the store? Asked once."""
        status = (self._ask(self.client.api.info) or {}).get("DriverStatus") or ()
        return any(_CONTAINERD in str(value) for pair in status for value in pair)

    def _name(self, image: Image) -> str:
        """What the engine calls the image, whatever its tags."""
        content = image.digest if self._by_manifest else Content.of(image.config)
        return str(content.digest)

    def _needed(self, image: Image) -> tuple[Layer, ...]:
        """The layers that an archive of an image that is not there must have."""
        shared = 0 if self._by_manifest else self._shared(image)
        return unique(image.layers[shared:])

    def _shared(self, image: Image) -> int:
        """How many layers, from the lowest, some image of the engine has in the same order."""
        wanted = [str(layer.diff_id) for layer in image.layers]
        best = 0
        for found in self._ask(self.client.api.images, filters={"label": LABEL}) or ():
            details = self._inspect(found["Id"])
            if details is not None:
                best = max(best, _common(wanted, _layers(details)))
        return best

    def _tag(self, image: Image, reference: str) -> bool:
        """Give an image that is there one more name. False where it is not there."""
        repository, _, tag = reference.rpartition(":")
        return bool(self._ask(self.client.api.tag, self._name(image), repository, tag))

    def _prove(self, image: Image, reference: str) -> None:
        """An engine that took the image must say that it has these very layers."""
        details = self._inspect(reference)
        if details is None:
            raise TryAgain(
                "the engine took the image, but has none of that name now", subject=reference
            )
        wanted = [str(layer.diff_id) for layer in image.layers]
        found = _layers(details)
        if found != wanted:
            raise ImageFailed(
                "the engine holds other layers than it was given",
                subject=reference,
                expected=f"{len(wanted)} layers, the last {wanted[-1]}",
                got=f"{len(found)} layers, {_common(wanted, found)} of them in their place",
            )

    def _inspect(self, name: str) -> Mapping[str, Any] | None:
        details: Mapping[str, Any] | None = self._ask(self.client.api.inspect_image, name)
        return details

    def _ask(self, call: Callable[..., Any], *arguments: object, **options: object) -> Any:
        """What the engine answers; None where it knows no such thing."""
        try:
            return call(*arguments, **options)
        except NotFound:
            return None
        except FAULTS as error:
            raise TryAgain("the Docker engine did not answer as it should", got=error) from error


class _Vanished(TryAgain):
    """The engine asks for a layer that it was believed to have."""


def _common(wanted: list[str], found: list[str]) -> int:
    count = 0
    for ours, theirs in zip(wanted, found, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _layers(details: Mapping[str, Any]) -> list[str]:
    return (details.get("RootFS") or {}).get("Layers") or []


def _complaint(text: str) -> OvenproofError:
    if "no space left" in text:
        return NoSpace(
            "the Docker engine has no room left",
            got=text,
            hint="free space where the engine keeps its images: docker image prune",
        )
    if _MISSING.search(text):
        return _Vanished("the Docker engine misses a layer", got=text)
    return TryAgain("the Docker engine did not take the image", got=text)
