"""What every suite may use; and which suites this machine runs.

`tests/system` needs other people's programs. It is collected only where OVENPROOF_SUITES names
`system`, and there a program that is missing fails a test instead of skipping it.
"""

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from docker.client import DockerClient
from docker.errors import DockerException

from ovenproof.core.action import Action
from ovenproof.core.digest import Content
from ovenproof.core.image import Image, Layer, Settings, assemble
from ovenproof.core.layer import Recipe
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import checked, measure, read

collect_ignore = [] if "system" in os.environ.get("OVENPROOF_SUITES", "").split(",") else ["system"]

LABELS = {
    "org.ovenproof.entry": "test",
    "org.ovenproof.test": "1",
    "org.opencontainers.image.title": "test",
}


class Baked:
    """A small image, and its layers' bytes; it remembers which of them were asked for."""

    def __init__(self, recipes: tuple[Recipe, ...], labels: dict[str, str]) -> None:
        self.asked: list[Content] = []
        self.bytes: dict[Content, bytes] = {}
        layers = []
        for number, recipe in enumerate(recipes):
            prepared = Prepared(recipe, Openers({}))
            content = measure(prepared)
            self.bytes[content] = b"".join(read(prepared))
            action = Action(kind="test", version=1, inputs={"layer": content.digest})
            layers.append(Layer(content=content, title=f"layer {number}", action=action))
        settings = Settings(
            entrypoint=("/hello",),
            environment={"PATH": "/bin"},
            labels={**LABELS, **labels},
            port=8000,
            user="0",
            working_dir="/",
        )
        self.image: Image = assemble(tuple(layers), settings)

    def open(self, layer: Layer, offset: int = 0) -> Iterator[bytes]:
        """As a build opens a layer: in pieces, and proven before the last of them is given."""
        self.asked.append(layer.content)
        data = self.bytes[layer.content]
        pieces = (data[start : start + 700] for start in range(offset, len(data), 700))
        return pieces if offset else checked(pieces, layer.content, layer.title)


MakeImage: TypeAlias = Callable[..., Baked]


@pytest.fixture
def make_image() -> MakeImage:
    """Makes a small image of recipes, lowest first; `label` makes two of one stack differ."""

    def make(*recipes: Recipe, label: str = "") -> Baked:
        return Baked(recipes, {"org.ovenproof.test.label": label} if label else {})

    return make


@pytest.fixture(scope="session")
def docker_client() -> Iterator[DockerClient]:
    """A real engine: the one that DOCKER_HOST names, or the local one."""
    try:
        client = DockerClient.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        pytest.fail(f"no Docker engine answers: {error}")
    yield client
    client.close()
