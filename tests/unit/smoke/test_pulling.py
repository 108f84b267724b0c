"""Which image a test lets the engine pull: one that is named by its digest, and is not there."""

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from docker.client import DockerClient
from docker.errors import APIError, ImageNotFound

from ovenproof.errors import TryAgain
from ovenproof.events import Event, Finished, Started
from ovenproof.smoke.container import pull_missing

DIGEST = f"sha256:{'1' * 64}"
IMAGE = f"localhost:5000/cook/kitchen@{DIGEST}"


class FakeEngine:
    """Has some images; a pull gives what it is told to give, one line after the other."""

    def __init__(self, *there: str, lines: tuple[Mapping[str, str] | Exception, ...] = ()) -> None:
        self.there = there
        self.lines = lines
        self.pulled: list[tuple[str, str | None]] = []
        self.heard: list[Event] = []

    @property
    def images(self) -> "FakeEngine":
        return self

    @property
    def api(self) -> "FakeEngine":
        return self

    def get(self, name: str) -> object:
        if name not in self.there:
            raise ImageNotFound("No such image")
        return object()

    def pull(
        self, repository: str, tag: str | None = None, *, stream: bool, decode: bool
    ) -> Iterator[Mapping[str, str]]:
        assert stream
        assert decode
        self.pulled.append((repository, tag))
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield line

    def ask(self, reference: str = IMAGE) -> None:
        pull_missing(cast("DockerClient", self), reference, self.heard.append)


def test_what_is_missing_is_pulled_by_its_digest_to_the_end() -> None:
    engine = FakeEngine(lines=({"status": "Pulling"}, {"status": "Done"}))
    engine.ask()
    assert engine.pulled == [("localhost:5000/cook/kitchen", DIGEST)]
    assert engine.heard == [Started(name=f"pull {IMAGE}"), Finished(name=f"pull {IMAGE}")]


def test_what_is_there_is_not_pulled() -> None:
    engine = FakeEngine(IMAGE)
    engine.ask()
    assert (engine.pulled, engine.heard) == ([], [])


@pytest.mark.parametrize("reference", ["kitchen:tiny", "localhost:5000/cook/kitchen"])
def test_what_a_tag_names_is_never_pulled(reference: str) -> None:
    engine = FakeEngine()
    engine.ask(reference)
    assert (engine.pulled, engine.heard) == ([], [])


@pytest.mark.parametrize(
    "line",
    [{"error": "manifest unknown"}, APIError("manifest unknown"), OSError("manifest unknown")],
    ids=repr,
)
def test_what_the_engine_says_of_a_pull_that_failed_is_told(
    line: Mapping[str, str] | Exception,
) -> None:
    engine = FakeEngine(lines=({"status": "Pulling"}, line))
    with pytest.raises(TryAgain, match="manifest unknown") as caught:
        engine.ask()
    assert caught.value.subject == IMAGE
    assert caught.value.hint == f"see what it says to you: docker pull {IMAGE}"
    assert engine.heard == [Started(name=f"pull {IMAGE}")]
