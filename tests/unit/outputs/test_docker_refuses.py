"""What a Docker engine cannot take, said before anything moves."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.client import DockerClient

from ovenproof.core.base import GZIP_TYPE, ZSTD_TYPE
from ovenproof.core.image import Image
from ovenproof.core.layer import recipe
from ovenproof.errors import MissingTool
from ovenproof.outputs.docker import Docker


class Engine:
    """An engine's API, as far as it is asked before a load."""

    def __init__(self, version: str, *, by_manifest: bool = False, has: str = "") -> None:
        self._version = version
        self._status = [["driver-type", "io.containerd.snapshotter.v1"]] if by_manifest else []
        self._has = has

    def version(self) -> Mapping[str, object]:
        return {"Version": self._version}

    def info(self) -> Mapping[str, object]:
        return {"DriverStatus": self._status}

    def images(self, **_filters: object) -> list[object]:
        return []

    def inspect_image(self, name: str) -> Mapping[str, object] | None:
        return {"Id": name} if self._has else None


def image(make_image: Callable[..., Any], media_type: str) -> Image:
    made: Image = make_image(recipe(())).image
    return replace(made, layers=(replace(made.layers[0], media_type=media_type),))


def refusals(engine: Engine, found: Image) -> tuple[Exception, ...]:
    return Docker(cast("DockerClient", SimpleNamespace(api=engine))).refuses(found)


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "20.10.5", "19.03"])
def test_an_old_engine_cannot_unpack_zstd(make_image: Callable[..., Any], version: str) -> None:
    (fault,) = refusals(Engine(version), image(make_image, ZSTD_TYPE))
    assert isinstance(fault, MissingTool)
    assert version in fault.text()


@pytest.mark.parametrize(
    ("engine", "media_type"),
    [
        (Engine("23.0.1"), ZSTD_TYPE),
        (Engine("28.1"), ZSTD_TYPE),
        (Engine("20.10.24", by_manifest=True), ZSTD_TYPE),
        (Engine("20.10.24", has="it"), ZSTD_TYPE),
        (Engine("20.10.24"), GZIP_TYPE),
    ],
    ids=["new", "newer", "containerd", "has it already", "gzip"],
)
def test_whoever_can_take_an_image_is_given_it(
    make_image: Callable[..., Any], engine: Engine, media_type: str
) -> None:
    assert refusals(engine, image(make_image, media_type)) == ()
