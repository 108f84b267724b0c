"""Which words mean which place; and what they mean where nothing is said."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ovenproof.errors import BadCall, BadFile, MissingTool
from ovenproof.outputs.archive import Archive
from ovenproof.outputs.interface import Output
from ovenproof.outputs.layout import Layout
from ovenproof.outputs.registry import Registry
from ovenproof.project import Project
from ovenproof.tasks.outputs import Tagging, choose, pushed_to
from ovenproof.tasks.surroundings import machine


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two entries, and a store of its own."""
    monkeypatch.setenv("OVENPROOF_CACHE", str(tmp_path / "store"))
    write(tmp_path, "kitchen")
    return Project(tmp_path, packaged=tmp_path / "packaged")


def write(root: Path, repository: str) -> None:
    entries = "".join(f"  {name}: {{weights: {{folder: ./w}}}}\n" for name in ("one", "two"))
    text = f"repository: {repository}\ndefaults: {{flavour: cpu}}\nmodels:\n{entries}"
    (root / "models.yaml").write_text(text)


def chosen(text: str, here: Project) -> Output | None:
    return choose(text, here, machine(), ["one"])("one")


def target(output: Output | None) -> str:
    """What a registry's output pushes to."""
    assert isinstance(output, Registry)
    tag = output.tag.name if output.tag else "no tag"
    return f"{output.repository}:{tag}"


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


def test_words_mean_places(here: Project) -> None:
    layout, archive = chosen("layout:a:b", here), chosen("archive:x.tar", here)
    assert isinstance(layout, Layout)
    assert layout.root == Path("a:b")
    assert isinstance(archive, Archive)
    assert archive.path == Path("x.tar")
    assert chosen("none", here) is None
    assert target(chosen("registry:here:5000/a/b:v1", here)) == "here:5000/a/b:v1"
    assert target(chosen("registry:ghcr.io/a/b", here)) == "ghcr.io/a/b:one"


@pytest.mark.parametrize(
    "text", ["layout", "layout:", "archive:", "docker:x", "none:x", "dist", "registry:", "registry"]
)
def test_other_words_are_refused_with_those_that_are_meant(text: str, here: Project) -> None:
    with pytest.raises(BadCall, match="layout:DIR"):
        chosen(text, here)


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_a_layout_in_the_project_is_chosen_and_told(
    here: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.root / "below").mkdir()
    monkeypatch.chdir(here.root / "below")
    output = chosen("", here)
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
    name: str, value: str, here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(MissingTool, match=value):
        chosen("", here)


# Where a push goes


def pushed(to: str | None, here: Project, *names: str, tagging: Tagging | None = None) -> list[str]:
    where = pushed_to(to, here.catalogue(), machine(), names, tagging)
    return [target(where(name)) for name in names]


def test_without_words_a_push_goes_to_the_catalogues_repository(here: Project) -> None:
    write(here.root, "here:5000/a/models")
    assert pushed(None, here, "one", "two") == ["here:5000/a/models:one", "here:5000/a/models:two"]


def test_an_empty_text_is_not_the_same_as_no_words(here: Project) -> None:
    write(here.root, "here:5000/a/models")
    with pytest.raises(BadCall, match="names nothing"):
        pushed("", here, "one")


@pytest.mark.parametrize("repository", ["kitchen", "you/models"])
def test_a_catalogue_whose_repository_is_at_no_registry_says_what_to_write(
    here: Project, repository: str
) -> None:
    write(here.root, repository)
    with pytest.raises(BadFile, match=r"models\.yaml") as caught:
        pushed(None, here, "one")
    assert "ghcr.io/you/models" in str(caught.value.hint)
    assert "--to" in str(caught.value.hint)


def test_a_tag_is_the_callers_or_else_the_entrys_name(here: Project) -> None:
    assert pushed("here:5000/a/b:v1", here, "one") == ["here:5000/a/b:v1"]
    assert pushed("here:5000/a/b", here, "one", "two") == ["here:5000/a/b:one", "here:5000/a/b:two"]


def test_one_tag_is_not_for_several_models(here: Project) -> None:
    with pytest.raises(BadCall, match="one, two"):
        pushed("here:5000/a/b:v1", here, "one", "two")


def test_without_a_tag_to_move_the_callers_is_not_minded(here: Project) -> None:
    untagged = Tagging(untagged=True)
    made = pushed("here:5000/a/b:v1", here, "one", "two", tagging=untagged)
    assert made == ["here:5000/a/b:no tag"] * 2


@pytest.mark.parametrize("to", ["here:5000/a/b@sha256:" + "0" * 64, "models", "UPPER.io/A"])
def test_what_is_no_place_to_push_to_is_refused(here: Project, to: str) -> None:
    with pytest.raises(BadCall):
        pushed(to, here, "one")


def test_nobody_is_asked_before_something_is_pushed(here: Project) -> None:
    assert pushed("127.0.0.1:9/a/b", here, "one") == ["127.0.0.1:9/a/b:one"]
