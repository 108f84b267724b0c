"""`build`, `plan`, `list`, `run`, `clean`, `doctor`: what a person gets who does it right."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.hub import FakeHub

if TYPE_CHECKING:
    from tests.flow.conftest import Project


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the big ones."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.stat().st_size < 1 << 20
    }


def test_without_a_docker_engine_the_image_lands_in_dist(project: Project) -> None:
    done = project.build()
    layout = project.dist.check()
    assert layout.images() == {"tiny": done.digest()}
    assert "kitchen:tiny" in done.out
    assert "place   dist:tiny (34.7 MB moved)" in done.out


def test_the_image_has_the_weights_the_runtime_and_the_launcher(project: Project) -> None:
    project.build()
    names: dict[str, int] = {}
    for digest in project.dist.layers():
        with tarfile.open(project.dist.blob(digest)) as archive:
            names.update({member.name: member.size for member in archive if member.isfile()})
    weights = project.root / "tiny/model-00001-of-00002.safetensors"
    assert names["model/model-00001-of-00002.safetensors"] == weights.stat().st_size
    assert "model/config.json" in names
    assert "usr/share/base/words" in names
    assert "usr/local/lib/python3.11/dist-packages/vllm_tiny/__init__.py" in names
    assert not [name for name in names if name.endswith(".bin")]
    assert project.dist.config()["config"]["Labels"]["org.ovenproof.entry"] == "tiny"


def test_every_output_has_the_same_digest(project: Project) -> None:
    layout = project.build("--output", "layout:elsewhere").digest()
    archive = project.build("--output", "archive:image.tar").digest()
    assert layout == archive == project.build("--output", "none").digest()
    with tarfile.open(project.root / "image.tar") as opened:
        index = json.load(opened.extractfile("index.json") or pytest.fail("no index"))
        assert [item["digest"] for item in index["manifests"]] == [layout]
        for member in opened:
            if member.isfile() and member.name.startswith("blobs/"):
                data = opened.extractfile(member)
                assert data is not None
                found = hashlib.file_digest(data, "sha256").hexdigest()  # type: ignore[arg-type]
                assert found == Path(member.name).name
    assert not (project.root / "dist").exists()


def test_a_second_build_moves_nothing_and_changes_nothing(project: Project) -> None:
    first = project.build()
    before = tree(project.root)
    stamp = project.dist.blob(project.dist.layers()[0]).stat().st_mtime_ns
    second = project.build()
    assert second.digest() == first.digest()
    assert "(0 B moved)" in second.out
    assert second.err == "note: no Docker engine answers, so the output is layout:dist\n"
    assert tree(project.root) == before
    assert project.dist.blob(project.dist.layers()[0]).stat().st_mtime_ns == stamp


def test_json_is_all_that_is_on_stdout(project: Project) -> None:
    (built,) = project.build("--json").json()
    assert built["image"] == "kitchen:tiny"
    assert built["digest"] == project.dist.images()["tiny"]
    assert built["layers"] == len(project.dist.layers())
    assert built["moved"] == sum(layer["size"] for layer in project.dist.manifest()["layers"])
    assert project.build("--json").json()[0]["moved"] == 0


def test_progress_is_on_stderr(project: Project) -> None:
    done = project.build("--output", "none")
    assert "model-00001-of-00002.safetensors: done, 34.6 MB" in done.err
    assert "…" not in done.out
    assert [line.split()[0] for line in done.out.splitlines()] == ["image", "digest", "size"]


def test_a_plan_says_what_a_build_would_do_and_then_that_nothing_is_left(project: Project) -> None:
    (before,) = project.run("plan", "--model", "tiny", "--json").json()
    assert before["digest"]
    assert before["write"] > 34_000_000
    assert not (project.root / "models.lock").exists()
    digest = project.build().digest()
    (after,) = project.run("plan", "--model", "tiny", "--json").json()
    assert after["digest"] == before["digest"] == digest
    assert (after["read"], after["write"], after["fetch"]["bytes"]) == (0, 0, 0)
    assert [layer["digest"] for layer in after["layers"]] == project.dist.layers()
    shown = project.run("plan", "--model", "tiny").out
    assert f"image  {digest}" in shown
    assert "read   0 B to hash, in 0 layers" in shown


def test_a_locked_model_is_planned_without_its_weights(project: Project) -> None:
    digest = project.build().digest()
    shutil.rmtree(project.root / "tiny")
    (plan,) = project.run("plan", "--model", "tiny", "--locked", "--json").json()
    assert plan["digest"] == digest
    assert project.build("--locked").digest() == digest
    elsewhere = project.build("--locked", "--output", "layout:elsewhere")
    assert elsewhere.code == 4
    assert "a locked file of the weights is not there" in elsewhere.err


@pytest.mark.parametrize(
    "words",
    [
        ("build", "--dry", "--model", "tiny"),
        ("--dry", "build", "--model", "tiny"),
        ("plan", "--all"),
    ],
    ids=" ".join,
)
def test_a_dry_build_plans_and_writes_nothing(project: Project, words: tuple[str, ...]) -> None:
    before = tree(project.root)
    done = project.run(*words)
    assert done.code == 0
    assert "kitchen:tiny  (weights-first)" in done.out
    assert tree(project.root) == before


def test_a_dry_run_shows_the_command_and_starts_nothing(project: Project) -> None:
    project.build("--output", "none")
    done = project.run("run", "--dry", "--model", "tiny", "--args", "--max-model-len '12 8'")
    line = (
        "docker run --pull never --rm --init --shm-size 1g -p 8000:8000 kitchen:tiny"
        " --max-model-len '12 8'\n"
    )
    assert done.out == line
    assert project.run("--dry", "run", "--model", "tiny").out.startswith("docker run")


def test_list_shows_what_there_is_and_what_is_locked(project: Project) -> None:
    project.catalogue(
        "  tiny:\n    weights: {folder: ./tiny}\n"
        "  far:\n    model: acme/far\n    flavour: cuda\n    port: 9000\n"
    )
    project.build("--output", "none")
    rows = {row["name"]: row for row in project.run("list", "--json").json()}
    assert rows["tiny"]["locked"]
    assert rows["tiny"]["bytes"] > 34_000_000
    assert (rows["far"]["locked"], rows["far"]["bytes"], rows["far"]["port"]) == (False, None, 9000)
    head, far, tiny = project.run("list").out.splitlines()
    assert head.split() == ["NAME", "FLAVOUR", "PORT", "WEIGHTS", "LOCKED"]
    assert far.split()[:2] == ["far", "cuda"]
    assert far.endswith("no")
    assert tiny.endswith("34.6 MB")


def test_clean_keeps_the_store_and_clean_all_empties_it(project: Project) -> None:
    project.build("--output", "none")
    (project.cache / "tmp/left").mkdir()
    (project.cache / "tmp/left/blob").write_bytes(b"x" * 1000)
    (project.cache / "seen/.ovenproof-draft-1").write_bytes(b"x" * 1000)
    assert project.run("--dry", "clean", "--json").json()["freed"] == 0
    assert project.run("clean", "--json").json()["freed"] == 2000
    assert not project.leftovers()
    assert project.run("clean", "--json").json()["freed"] == 0
    emptied = project.run("clean", "--all", "--json").json()
    assert emptied["freed"] == emptied["bytes"] > 0
    assert not project.cache.exists()


def test_clean_all_removes_nothing_but_the_store(project: Project) -> None:
    (project.cache / "thesis.tex").write_text("three years")
    assert project.run("clean", "--all").code == 0
    assert [path.name for path in project.cache.iterdir()] == ["thesis.tex"]


def test_the_doctor_answers_with_nothing_in_reach(project: Project) -> None:
    found = {item["name"]: item for item in project.run("doctor", "--json").json()}
    assert found["Python"]["fine"]
    assert not found["Docker engine"]["fine"]
    assert "--output layout" in found["Docker engine"]["hint"]
    assert project.run("doctor").code == 0


def test_the_doctor_says_whose_login_a_push_would_use(project: Project) -> None:
    def login() -> dict[str, Any]:
        found = {item["name"]: item for item in project.run("doctor", "--json").json()}
        item = found["registry login"]
        assert isinstance(item, dict)
        return item

    assert login()["fine"]
    assert "at no registry" in login()["detail"]
    catalogue = project.root / "models.yaml"
    catalogue.write_text("repository: ghcr.io/cook/models\n" + _without_repository(catalogue))
    assert not login()["fine"]
    assert login()["hint"] == "docker login ghcr.io"
    config = project.home / ".docker" / "config.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text('{"auths": {"ghcr.io": {"auth": "Y29vazpzZWNyZXQtY2FuYXJ5"}}}')
    assert login()["fine"]
    assert login()["detail"] == f"ghcr.io: from {config}"


def test_the_doctor_says_which_hub_answers_and_whose_token_it_gets(project: Project) -> None:
    def asked(**environment: Any) -> Any:
        done = project.run("doctor", "--json", **environment)
        assert "canary" not in done.out + done.err
        return {item["name"]: item for item in done.json()}["hub"]

    cache = project.home / ".cache/huggingface"
    with FakeHub(token="hf_canary") as hub:
        here = {"HF_ENDPOINT": hub.endpoint}
        found = asked(**here)
        assert found["fine"]
        assert found["detail"] == f"{hub.endpoint} answers, no token, cache in {cache / 'hub'}"
        found = asked(**here, HF_TOKEN="hf_canary", HF_HUB_CACHE="/there")
        assert found["fine"]
        assert found["detail"] == f"{hub.endpoint} answers, token from HF_TOKEN, cache in /there"
        cache.mkdir(parents=True)
        (cache / "token").write_text("hf_other_canary\n")
        found = asked(**here)
        assert not found["fine"]
        assert "refuses the token (HTTP status 401)" in found["detail"]
        assert f"token from {cache / 'token'}" in found["detail"]
    for endpoint, said in [("http://me:canary@127.0.0.1:9", "does not answer"), ("x", "HF_ENDP")]:
        found = asked(HF_ENDPOINT=endpoint, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        assert not found["fine"]
        assert found["hint"]
        assert said in found["detail"]


def test_the_doctor_survives_a_proxy_that_nobody_can_use(project: Project) -> None:
    done = project.run(
        "doctor", "--json", HTTPS_PROXY="socks5://me:canary@127.0.0.1:9", NO_PROXY=""
    )
    found = {item["name"]: item for item in done.json()}["hub"]
    assert not found["fine"]
    assert "HTTPS_PROXY" in found["hint"]
    assert "canary" not in done.out + done.err


def _without_repository(catalogue: Path) -> str:
    lines = catalogue.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("repository:"))


def test_it_works_from_a_folder_below(project: Project) -> None:
    below = project.root / "docs" / "deep"
    below.mkdir(parents=True)
    done = project.build(cwd=below)
    assert project.dist.check().images() == {"tiny": done.digest()}
    assert not (below / "dist").exists()
    named = project.build("--output", "layout:here", cwd=below)
    assert named.digest() == done.digest()
    assert (below / "here" / "index.json").exists()


def test_invoke_and_the_console_script_are_the_same(project: Project) -> None:
    invoke = [str(Path(sys.executable).parent / "invoke")]
    words = ("build", "--model", "tiny", "--output", "none", "--json")
    ours = project.run_cold(*words)
    theirs = project.run_cold(*words, program=invoke)
    assert (theirs.code, theirs.out) == (0, ours.out)
    assert project.run_cold("build", program=invoke) == project.run("build")
    tasks = [
        line.split()[0] for line in project.run("--list").out.splitlines()[2:] if line[2:3] > " "
    ]
    for name in tasks:
        assert name in project.run_cold("--list", program=invoke).out
    assert {"build", "plan", "lock", "list", "test", "run", "clean", "doctor"} <= {*tasks}


def test_several_models_share_what_they_have_in_common(project: Project) -> None:
    project.catalogue(
        "  one:\n    weights: {folder: ./tiny}\n  two:\n    weights: {folder: ./tiny}\n"
        "    port: 9000\n"
    )
    first, second = project.run("build", "--all", "--json").json()
    assert first["moved"] > 34_000_000
    assert second["moved"] < 20_000
    layout = project.dist.check()
    assert layout.images() == {"one": first["digest"], "two": second["digest"]}
    assert layout.layers("one")[:-1] == layout.layers("two")[:-1]
    both = project.run("build", "--model", "two,one", "--model", "two", "--json").json()
    assert [item["name"] for item in both] == ["two", "one"]


def test_one_model_that_fails_does_not_stop_the_others(project: Project) -> None:
    project.catalogue(
        "  absent:\n    weights: {folder: ./nowhere}\n"
        "  hub:\n    model: acme/far\n"
        "  tiny:\n    weights: {folder: ./tiny}\n"
    )
    done = project.run("build", "--all", "--json")
    assert done.code == 3
    assert [item["name"] for item in json.loads(done.out)] == ["tiny"]
    assert done.err.count("error: ") == 2
    assert "./nowhere" in done.err
    assert "acme/far" in done.err
    assert project.dist.check().images().keys() == {"tiny"}


def test_a_changed_argument_changes_the_top_layer_alone(project: Project) -> None:
    first = project.build().digest()
    layers = project.dist.layers()
    lock = (project.root / "models.lock").read_bytes()
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n    args: {max-num-seqs: 4}\n")
    done = project.build("--locked")
    assert done.digest() != first
    assert project.dist.layers()[:-1] == layers[:-1]
    assert project.dist.layers()[-1] != layers[-1]
    size = project.dist.blob(project.dist.layers()[-1]).stat().st_size
    assert f"({size / 1000:.1f} kB moved)" in done.out
    assert (project.root / "models.lock").read_bytes() == lock


def test_a_terminal_that_knows_ascii_only_is_no_obstacle(project: Project) -> None:
    shutil.move(project.root / "tiny", project.root / "fünf")
    project.catalogue("  tiny:\n    weights: {folder: ./fünf}\n")
    built = project.run_cold("build", "--all", "--output", "none", PYTHONIOENCODING="ascii")
    assert built.code == 0
    assert project.run_cold("list", PYTHONIOENCODING="ascii").code == 0
    listed = project.run_cold("list", "--json", PYTHONIOENCODING="ascii")
    assert listed.json()[0]["weights"] == "folder ./fünf"


def test_a_reader_that_goes_away_is_no_error(project: Project) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = project.start("list", "--json")
    assert process.stdout is not None
    process.stdout.close()
    os.close(writer)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.wait()
