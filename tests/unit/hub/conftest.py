"""A hub of ours with one model in it, asked by a hub that hardly waits."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovenproof.core.digest import Content
from ovenproof.hub.hub import Hub, Located
from ovenproof.hub.place import Place
from ovenproof.store.store import Store
from tests.fakes.hub import FakeHub

MODEL = "acme/tiny"
TOKEN = "hf_canary0123456789"
WAITS_S = (0.001, 0.002, 0.002)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What was put into the hub."""

    commit: str
    files: dict[str, bytes]

    def at(self, path: str) -> Located:
        return Located(model=MODEL, commit=self.commit, path=path)

    def wanted(self, *paths: str) -> list[tuple[Located, Content]]:
        return [(self.at(path), Content.of(self.files[path])) for path in paths or self.files]


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def model(fake: FakeHub) -> Model:
    chance = random.Random(4)
    files = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": chance.randbytes(1_000_000),
        "a folder/ö.txt": b"text",
    }
    repository = fake.repository(MODEL, license="apache-2.0")
    return Model(commit=repository.commit(files, tag="v1"), files=files)


@pytest.fixture
def hub(fake: FakeHub) -> Iterator[Hub]:
    with Hub(Place(endpoint=fake.endpoint), waits_s=WAITS_S) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
