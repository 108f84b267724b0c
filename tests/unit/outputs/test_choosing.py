"""Which words mean which place; and what they mean where nothing is said."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ovenproof.errors import BadCall, MissingTool
from ovenproof.outputs.archive import Archive
from ovenproof.outputs.layout import Layout
from ovenproof.tasks.outputs import choose


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named an engine, and where Docker's program would look there is none."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    settings = tmp_path / "docker"
    meta = settings / "contexts" / "meta" / sha256(b"nobody").hexdigest()
    meta.mkdir(parents=True)
    (settings / "config.json").write_text(json.dumps({"currentContext": "nobody"}))
    endpoint = {"Host": f"unix://{tmp_path}/no.sock", "SkipTLSVerify": False}
    (meta / "meta.json").write_text(
        json.dumps({"Name": "nobody", "Metadata": {}, "Endpoints": {"docker": endpoint}})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(settings))


def test_words_mean_places(tmp_path: Path) -> None:
    layout, archive = choose("layout:a:b", tmp_path), choose("archive:x.tar", tmp_path)
    assert isinstance(layout, Layout)
    assert layout.root == Path("a:b")
    assert isinstance(archive, Archive)
    assert archive.path == Path("x.tar")
    assert choose("none", tmp_path) is None


@pytest.mark.parametrize("text", ["layout", "layout:", "archive:", "docker:x", "none:x", "dist"])
def test_other_words_are_refused_with_those_that_are_meant(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadCall, match="layout:DIR"):
        choose(text, tmp_path)


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_a_layout_in_the_project_is_chosen_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    output = choose("", tmp_path)
    assert isinstance(output, Layout)
    assert output.root == Path("../dist")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "layout:../dist" in told.err


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("name", "value"), [("DOCKER_HOST", "unix:///nowhere/x.sock"), ("DOCKER_CONTEXT", "nobody")]
)
def test_an_engine_that_somebody_named_has_to_answer(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(MissingTool, match=value):
        choose("", tmp_path)
