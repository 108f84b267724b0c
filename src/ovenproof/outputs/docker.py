"""A Docker engine, over its API. What it has already does not travel again.

The engine keeps layers by their position in a stack: what can be left out is the longest beginning
that one of its images shares with ours.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from ovenproof.core.digest import Content
from ovenproof.core.image import Image, Layer
from ovenproof.errors import ImageFailed, MissingTool, NoSpace, OvenproofError, TryAgain
from ovenproof.events import Listener, Noted
from ovenproof.outputs.archive import stream, unique
from ovenproof.outputs.interface import OpenLayer, Written

LABEL = "org.ovenproof.entry"
"""Every image of ours carries it; only those are compared with a new one."""


def connect(environment: Mapping[str, str]) -> DockerClient:
    """The engine that DOCKER_HOST and its companions name, or the local one. Raises MissingTool."""
    try:
        client: DockerClient = DockerClient.from_env(environment=dict(environment), timeout=None)
        client.ping()
    except (DockerException, requests.RequestException, OSError) as error:
        raise MissingTool(
            "no Docker engine answers",
            subject=environment.get("DOCKER_HOST", "the default socket"),
            got=str(error).split("\n")[0],
            hint="start Docker, set DOCKER_HOST, or write a layout: --output layout:dist",
        ) from error
    return client


class Docker:
    """The images of one engine."""

    def __init__(self, client: DockerClient) -> None:
        self.client = client

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        if self._has(image):
            return ()
        return unique(image.layers[self._shared(image) :])

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        layers = self.lacks(image)
        identity = str(Content.of(image.config).digest)
        if self._has(image):
            repository, _, tag = reference.rpartition(":")
            self._ask(self.client.api.tag, identity, repository, tag)
        else:
            try:
                self._load(stream(image, reference, layers, open_layer, listener))
            except _Vanished:
                listener(Noted(text="the engine lost layers meanwhile: all of them are sent"))
                layers = unique(image.layers)
                self._load(stream(image, reference, layers, open_layer, listener))
        self._prove(image, reference)
        return Written(
            place=f"docker: {reference}",
            moved=sum(layer.content.size for layer in layers),
            use=f"docker run {reference}",
        )

    def _load(self, archive: Iterator[bytes]) -> None:
        """Send an archive. What goes wrong while producing its bytes is raised as it is."""
        failed: list[OvenproofError] = []

        def produce() -> Iterator[bytes]:
            try:
                yield from archive
            except OvenproofError as error:
                failed.append(error)
                raise

        try:
            answers: Iterable[Mapping[str, object]] = self.client.api.load_image(produce())
            faults = [str(answer["error"]) for answer in answers if "error" in answer]
        except (DockerException, requests.RequestException, OSError) as error:
            if failed:
                raise failed[0] from error
            faults = [str(error)]
        if faults:
            raise _complaint(faults[0])

    def _has(self, image: Image) -> bool:
        try:
            self._ask(self.client.api.inspect_image, str(Content.of(image.config).digest))
        except ImageNotFound:
            return False
        return True

    def _shared(self, image: Image) -> int:
        """How many layers, from the lowest, some image of the engine has in the same order."""
        wanted = [str(layer.content.digest) for layer in image.layers]
        best = 0
        for found in self._ask(self.client.api.images, filters={"label": LABEL}):
            try:
                details = self._ask(self.client.api.inspect_image, found["Id"])
            except ImageNotFound:
                continue
            best = max(best, _common(wanted, details.get("RootFS", {}).get("Layers") or []))
        return best

    def _prove(self, image: Image, reference: str) -> None:
        """An engine that took the image must say that it has these very layers."""
        details = self._ask(self.client.api.inspect_image, reference)
        wanted = [str(layer.content.digest) for layer in image.layers]
        if details["RootFS"]["Layers"] != wanted:
            raise ImageFailed(
                "the engine holds other layers than it was given",
                subject=reference,
                expected=f"{len(wanted)} layers, the last {wanted[-1]}",
                got=f"{len(details['RootFS']['Layers'])} layers",
            )

    def _ask(self, call: Callable[..., Any], *arguments: object, **options: object) -> Any:
        try:
            return call(*arguments, **options)
        except NotFound:
            raise
        except (APIError, requests.RequestException, OSError) as error:
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


def _complaint(text: str) -> OvenproofError:
    if "no space left" in text:
        return NoSpace(
            "the Docker engine has no room left",
            got=text,
            hint="free space where the engine keeps its images: docker image prune",
        )
    if "no such file or directory" in text or "invalid diffID" in text:
        return _Vanished("the Docker engine misses a layer", got=text)
    return TryAgain("the Docker engine did not take the image", got=text)
