"""The default image, built once for the whole suite, and ways to run things in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from docker.client import DockerClient

from ovenproof.core.digest import Content
from ovenproof.core.model_lock import ModelsLock
from ovenproof.sources.gguf_wheel import extract_gguf
from ovenproof.sources.package import locked_wheel
from ovenproof.store.store import Store
from ovenproof.tasks.surroundings import cache_folder
from tests.system.registries import served

NAME = "smollm2-135m-chat"
ROOT = Path(__file__).parents[2]
LABEL = {"org.ovenproof.test": "1"}

Ovenproof: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
RunImage: TypeAlias = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def ovenproof() -> Ovenproof:
    """Calls the program as a user does."""

    def call(
        *words: str, cwd: Path = ROOT, through: Sequence[str] = (), **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        program = Path(sys.executable).with_name("ovenproof")
        return subprocess.run(
            [*through, str(program), *words],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def image(ovenproof: Ovenproof, docker_client: DockerClient) -> dict[str, Any]:
    """The default image, in the Docker engine: what `build --json` says of it."""
    done = ovenproof("build", "--model", NAME, "--output", "docker", "--locked", "--json")
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)
    assert isinstance(built, dict)
    return built


@pytest.fixture(scope="session")
def filled_store(ovenproof: Ovenproof, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store, with everything in it that the default image is made of.

    An engine that had the image before asks for no layer, and then nothing is fetched.
    """
    layout = tmp_path_factory.mktemp("filling") / "layout"
    done = ovenproof("build", "--model", NAME, "--output", f"layout:{layout}", "--locked")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(layout)
    return Store(cache_folder())


@pytest.fixture(scope="session")
def run_image(image: dict[str, Any], docker_client: DockerClient) -> RunImage:
    """Runs the image to its end: (exit code, everything that it printed)."""

    def run(*command: str, **settings: Any) -> tuple[int, str]:
        container = docker_client.containers.create(
            image["image"], list(command), labels=LABEL, **settings
        )
        try:
            container.start()
            code = int(container.wait()["StatusCode"])
            return code, container.logs().decode(errors="replace")
        finally:
            container.remove(force=True, v=True)

    return run


@pytest.fixture(scope="session")
def image_python(run_image: RunImage) -> Callable[[str, dict[Path, str]], str]:
    """Runs a script by the image's own Python, with its torch and transformers."""

    def run(script: str, mounts: dict[Path, str]) -> str:
        volumes = {str(place): {"bind": at, "mode": "ro"} for place, at in mounts.items()}
        code, output = run_image(
            "-c", script, entrypoint="/usr/bin/python3.11", volumes=volumes, user="0"
        )
        assert code == 0, output
        return output

    return run


@pytest.fixture(scope="session")
def smollm2_folder(filled_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted model, as a folder."""
    folder = tmp_path_factory.mktemp("smollm2")
    for file in _lock().models[NAME].files:
        content = Content(file.digest, file.size)
        assert filled_store.verify(content), "an image was built from it just now"
        shutil.copyfile(filled_store.path(content), folder / file.path)
    return folder


@pytest.fixture(scope="session")
def smollm2_gguf(filled_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF that the model was converted from."""
    place = tmp_path_factory.mktemp("gguf") / "model.gguf"
    extract_gguf(filled_store.path(locked_wheel(_lock().models[NAME]).content), place)
    return place


def _lock() -> ModelsLock:
    return ModelsLock.parse((ROOT / "models.lock").read_text(), name="models.lock")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry of our own on a free port of loopback: `127.0.0.1:PORT`."""
    with served(tmp_path / "registry") as address:
        yield address


@pytest.fixture
def other_registry(tmp_path: Path) -> Iterator[str]:
    """A second one, which has nothing of the first."""
    with served(tmp_path / "other-registry") as address:
        yield address


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
