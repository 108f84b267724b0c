"""release.yml with everything real: the default image, a registry of Debian's, and an engine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from tests.fakes.workflow import Runner

NAME = "smollm2-135m-chat"
ROOT = Path(__file__).parents[2]
RELEASE = "github.ref_type == 'tag' && github.ref_name || ''"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This repository as a job has it, but for `.venv`: the program is the one that is tested."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("models.yaml", "models.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("images", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    inv = folder / "inv"
    inv.write_text(f'#!/bin/sh\nexec {Path(sys.executable).with_name("ovenproof")} "$@"\n')
    inv.chmod(0o755)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A `gh` that publishes nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    gh = folder / "gh"
    gh.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/gh\n')
    gh.chmod(0o755)
    return folder


@pytest.fixture
def clean_engine(docker_client: DockerClient, registry: str) -> Iterator[None]:
    """What was pulled from the registry goes with it."""
    yield
    for image in docker_client.images.list():
        for name in (*image.attrs["RepoTags"], *image.attrs["RepoDigests"]):
            if name.startswith(registry):
                docker_client.images.remove(name)


def test_the_steps_of_a_release_push_test_and_then_tag_the_default_image(
    image: dict[str, Any],
    registry: str,
    checkout: Path,
    programs: Path,
    clean_engine: None,
    tmp_path: Path,
) -> None:
    tags: dict[str, str] = {}

    def look(step: str) -> None:
        tags[step] = tag_of(registry)

    run = Runner.read(
        ROOT / ".github" / "workflows" / "release.yml",
        checkout=checkout,
        folder=tmp_path,
        environment={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        values={
            "github.repository": "Cook/Kitchen",
            "github.token": "not-a-token",
            "inputs.changed_since": "",
            RELEASE: "v1.0.0",
        },
        replaced={"ghcr.io": registry},
        look=look,
    )
    run.run()
    assert tags["Pull it, start it and ask it"] == ""
    assert tags["Keep what was pushed"] == image["digest"]
    note = (checkout / "note.md").read_text()
    assert f"{registry}/cook/kitchen@{image['digest']}" in note
    assert (tmp_path / "gh").read_text().startswith("release create v1.0.0 ")


def tag_of(registry: str) -> str:
    """What the image's tag names, by skopeo; nothing where there is no such tag."""
    done = subprocess.run(
        [
            "skopeo", "inspect", "--tls-verify=false", "--no-tags", "--format", "{{.Digest}}",
            f"docker://{registry}/cook/kitchen:{NAME}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done.stdout.strip()
