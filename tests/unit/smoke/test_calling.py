"""The call `invoke test`, as far as it goes without an engine."""

from pathlib import Path

import pytest
from invoke import Context
from invoke.exceptions import Exit

from ovenproof.core.entry import Entry
from ovenproof.tasks.surroundings import project
from ovenproof.tasks.test import subject
from ovenproof.tasks.test import test as call

MODELS = """\
repository: kitchen
defaults: {flavour: cpu}
models:
  one: {weights: {folder: ./one}}
  two: {weights: {folder: ./two}}
"""


@pytest.fixture(autouse=True)
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def entry() -> Entry:
    return project(saves=False).catalogue().entry("one")


def test_one_image_is_not_tested_as_several_models(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ({"model": [], "all": True}, {"model": ["one", "two"]}):
        with pytest.raises(Exit) as caught:
            call(Context(), image="kitchen:other", **words)
        assert caught.value.code == 2
        assert "--image kitchen:other" in capsys.readouterr().err


def test_one_image_is_tested_as_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as caught:
        call(Context(), image="kitchen:other", model=["one"])
    assert caught.value.code == 10
    assert "unix:///nowhere/docker.sock" in capsys.readouterr().err


def test_an_image_is_asked_through_the_python_of_its_flavour(entry: Entry) -> None:
    found = subject(entry, interpreter="/usr/bin/python3.13", needs_gpu=True)
    assert found.interpreter == "/usr/bin/python3.13"
    assert found.needs_gpu
    assert found.served_names == entry.served_names
