"""The default image, end to end: built, started and asked; by the careful and the careless."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from ovenproof.core.image_lock import ImageLock
from ovenproof.core.model_lock import ModelsLock
from ovenproof.store.store import Store

NAME = "smollm2-135m-chat"
ROOT = Path(__file__).parents[2]
NOBODY = 65534
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip
"""Another user, who may read this Python and this repository wherever they lie."""
BUILD = ("build", "--model", NAME)

Ovenproof = Callable[..., "subprocess.CompletedProcess[str]"]
RunImage = Callable[..., tuple[int, str]]


def test_the_image_answers(image: dict[str, Any], ovenproof: Ovenproof) -> None:
    done = ovenproof("test", "--model", NAME, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    (checks,) = json.loads(done.stdout)["passed"].values()
    assert "answer to 'What is the capital of France?'" in checks
    assert {"models", "chat", "chat streamed", "wrong model", "metrics"} <= {*checks}


def test_the_image_answers_as_any_user_on_a_read_only_root_without_network(
    image: dict[str, Any], ovenproof: Ovenproof
) -> None:
    done = ovenproof("test", "--model", NAME, "--hardened", "--json")
    assert done.returncode == 0, done.stderr + done.stdout


def test_what_a_user_gives_is_added_to_the_baked_arguments(run_image: RunImage) -> None:
    code, output = run_image("--print-command", "--max-model-len", "1024")
    assert code == 0
    assert "--max-model-len 1024" in output
    assert "--max-model-len 2048" not in output
    assert f"--served-model-name {NAME}" in output


@pytest.mark.parametrize(
    ("command", "settings", "says"),
    [
        (("--max-model-length", "1024"), {}, "--max-model-len"),
        (("--max-mod", "1024"), {}, "--max-mod"),
        ((), {}, "--shm-size"),
        ((), {"shm_size": "1g", "tmpfs": {"/model": ""}}, "/model"),
    ],
    ids=["a misspelt option", "a shortened option", "64 MiB of shm", "no model"],
)
def test_a_container_that_cannot_work_says_why_in_one_sentence(
    run_image: RunImage, command: tuple[str, ...], settings: dict[str, Any], says: str
) -> None:
    code, output = run_image(*command, **settings)
    assert code in (2, 78)
    (line,) = output.strip().splitlines()
    assert line.startswith("ovenproof: ")
    assert says in line


def test_a_stopped_container_ends_by_itself(
    image: dict[str, Any], docker_client: DockerClient
) -> None:
    """The launcher execs, so that the signal reaches vLLM, which ends with 0; a kill leaves 137."""
    container = docker_client.containers.run(
        image["image"], detach=True, init=True, shm_size="1g", labels={"org.ovenproof.test": "1"}
    )
    try:
        for line in container.logs(stream=True):
            if b"Application startup complete" in line:
                break
        container.stop(timeout=60)
        assert container.wait()["StatusCode"] == 0
    finally:
        container.remove(force=True, v=True)


def test_the_labels_say_what_the_image_is_and_how_to_run_it(
    image: dict[str, Any], docker_client: DockerClient
) -> None:
    labels = docker_client.images.get(image["image"]).labels
    assert labels["org.ovenproof.entry"] == NAME
    assert labels["org.ovenproof.run"] == image["run"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_a_changed_argument_sends_the_top_layer_alone(
    image: dict[str, Any], project: Path, ovenproof: Ovenproof, docker_client: DockerClient
) -> None:
    catalogue = project / "models.yaml"
    catalogue.write_text(
        catalogue.read_text().replace("max_model_len: 2048", "max_model_len: 1024") + "\n"
    )
    assert "max_model_len: 1024" in catalogue.read_text()
    try:
        done = ovenproof(*BUILD, "--output", "docker", "--locked", "--json", cwd=project)
        assert done.returncode == 0, done.stderr
        (built,) = json.loads(done.stdout)
        assert built["digest"] != image["digest"]
        assert 0 < built["moved"] < 1_000_000
    finally:
        docker_client.images.get(f"ovenproof:{NAME}").reload()
        ovenproof(*BUILD, "--output", "docker", "--locked")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this repository's catalogue, locks and flavours, to change at will."""
    for name in ("models.yaml", "models.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "images", tmp_path / "images")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


@pytest.fixture
def unproven(project: Path) -> Path:
    """The same, with every proof taken out of its locks: each layer must be made anew."""
    models = ModelsLock.parse((project / "models.lock").read_text(), name="models.lock")
    lock = models.models[NAME].with_proofs({})
    (project / "models.lock").write_text(models.with_model(NAME, lock).to_text())
    place = project / "images" / "cpu" / "image.lock"
    place.write_text(
        ImageLock.parse(place.read_text(), name="image.lock").with_proofs({}).to_text()
    )
    return project


@pytest.fixture
def supplies_only(filled_store: Store, tmp_path: Path) -> Iterator[Path]:
    """A store that has the supplies, under other inodes, and remembers nothing."""
    folder = tmp_path / "elsewhere" / "store"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    lock = ImageLock.parse((ROOT / "images/cpu/image.lock").read_text(), name="image.lock")
    models = ModelsLock.parse((ROOT / "models.lock").read_text(), name="models.lock")
    origin = models.models[NAME].origin["wheel"]
    assert isinstance(origin, dict)
    names = [wheel.content.digest.hex for wheel in lock.wheels]
    names += [deb.content.digest.hex for deb in lock.debs]
    names.append(str(origin["digest"]).removeprefix("sha256:"))
    for name in names:
        shutil.copyfile(filled_store.root / "blobs" / "sha256" / name, blobs / name)
    yield folder
    shutil.rmtree(folder)


def test_another_user_home_place_and_time_zone_make_the_same_image_from_nothing_remembered(
    image: dict[str, Any], unproven: Path, supplies_only: Path, ovenproof: Ovenproof
) -> None:
    subprocess.run(["chown", "-R", str(NOBODY), str(unproven)], check=True)
    done = ovenproof(
        *BUILD,
        "--output",
        "none",
        "--json",
        cwd=unproven,
        through=AS_NOBODY,
        HOME=str(unproven),
        OVENPROOF_CACHE=str(supplies_only),
        TZ="Asia/Tokyo",
        LC_ALL="C",
        PYTHONHASHSEED="7",
    )
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)
    assert built["digest"] == image["digest"]


def test_with_no_network_what_is_cached_builds_and_what_is_missing_is_named(
    image: dict[str, Any], unproven: Path, supplies_only: Path, ovenproof: Ovenproof
) -> None:
    lock = ImageLock.parse((ROOT / "images/cpu/image.lock").read_text(), name="image.lock")
    wheel = next(item for item in lock.wheels if item.distribution == "jinja2")
    (supplies_only / "blobs" / "sha256" / wheel.content.digest.hex).write_bytes(b"rotten")
    done = ovenproof(
        *BUILD,
        "--output",
        "none",
        cwd=unproven,
        OVENPROOF_CACHE=str(supplies_only),
        OVENPROOF_DEBIAN_MIRROR="http://127.0.0.1:9",
        PIP_CONFIG_FILE="/dev/null",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_RETRIES="0",
        no_proxy="*",
    )
    assert done.returncode == 6, done.stderr
    assert wheel.filename in done.stderr
    again = ovenproof(
        *BUILD, "--output", "none", "--json", cwd=unproven, OVENPROOF_CACHE=str(supplies_only)
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)[0]["digest"] == image["digest"]


def test_other_tools_take_the_layout_and_a_registry_keeps_its_digest(
    image: dict[str, Any], ovenproof: Ovenproof, registry: str, tmp_path: Path
) -> None:
    layout = tmp_path / "dist"
    done = ovenproof(*BUILD, "--output", f"layout:{layout}", "--locked", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["digest"] == image["digest"]
    there = f"docker://{registry}/{NAME}:test"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false",
         f"oci:{layout}:{NAME}", there],
        check=True,
    )  # fmt: skip
    shutil.rmtree(layout)
    found = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", there],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == image["digest"]
