"""A hub on loopback, asked by the real client, and sources that read from it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ovenproof.hub.cache import HubCache
from ovenproof.hub.hub import Hub
from ovenproof.hub.place import Place
from ovenproof.sources.hub import HubSource
from ovenproof.store.seen import Seen
from ovenproof.store.store import Store
from tests.fakes.hub import FakeHub
from tests.unit.sources.repositories import TOKEN

Source: TypeAlias = Callable[..., HubSource]


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


@pytest.fixture
def hub(fake: FakeHub) -> Iterator[Hub]:
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN), waits_s=(0.01, 0.01)) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def make_source(hub: Hub, store: Store, tmp_path: Path) -> Source:
    """Makes a source of the model `org/m`, whatever else is said of it."""

    def make(kind: type[HubSource] = HubSource, **said: Any) -> HubSource:
        given: dict[str, Any] = {
            "model": "org/m",
            "revision": None,
            "model_path": "/model",
            "hub": lambda: hub,
            "cache": HubCache(tmp_path / "hub", Seen(tmp_path / "cache")),
            "store": store,
            "jobs": 2,
        }
        return kind(**{**given, **said})

    return make
