"""A model of a hub and its LoRA adapters on the real engine, each answering by its own name.

The model's one file is cut into parts on the way, so that the engine reads those and a made index.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from ovenproof.smoke.ask import QUESTION, chat, models
from ovenproof.smoke.container import Conditions, started, wait
from ovenproof.smoke.report import Subject
from tests.fakes.hub import FakeHub
from tests.models.adapter import write_adapter

ROOT = Path(__file__).parents[2]
KITCHEN = "ovenproof-adapters"
BASE = "smollm2-adapted"
WORDS = {"tiny": (8, "bread"), "wide": (32, "oven")}
"""By the adapter's name: its rank, and the word that it says again and again."""
CATALOGUE = f"""\
repository: {KITCHEN}
models:
  {BASE}:
    license: Apache-2.0
    model: bakery/smollm2
    largest_file: 100MB
    flavour: cpu
    dtype: bfloat16
    max_model_len: 2048
    args:
      enforce-eager: true
      kv-cache-memory-bytes: 268435456
      max-num-seqs: 8
      max-num-batched-tokens: 2048
    expect:
      - prompt: What is the capital of France?
        equals: The capital of France is Paris.
    adapters:
      - {{name: tiny, model: bakery/tiny, revision: main}}
      - {{name: wide, model: bakery/wide, revision: main}}
"""

Ovenproof = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(smollm2_folder: Path, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with the model and both adapters."""
    with FakeHub() as hub:
        hub.repository("bakery/smollm2").commit(
            {path.name: path for path in smollm2_folder.iterdir()}
        )
        for name, (rank, word) in WORDS.items():
            folder = tmp_path / "adapters" / name
            write_adapter(smollm2_folder, folder, rank=rank, word=word)
            hub.repository(f"bakery/{name}").commit(
                {path.name: path.read_bytes() for path in folder.iterdir()}
            )
        yield hub


@pytest.fixture
def project(tmp_path: Path, docker_client: DockerClient) -> Iterator[Path]:
    """A project of one entry; its image is removed from the engine."""
    root = tmp_path / "project"
    for folder in ("images", "requirements"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "models.yaml").write_text(CATALOGUE)
    yield root
    # By its label: an image whose tag went to a newer one has no name any more.
    for image in docker_client.images.list(filters={"label": f"org.ovenproof.entry={BASE}"}):
        docker_client.images.remove(image.id, force=True)


def bake(project: Path, hub: FakeHub, ovenproof: Ovenproof) -> dict[str, Any]:
    """Lock and build the entry; what `build --json` says of it."""
    done = ovenproof("lock", "--model", BASE, cwd=project, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    done = ovenproof(
        "build", "--model", BASE, "--output", "docker", "--json",
        cwd=project, HF_ENDPOINT=hub.endpoint,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)
    assert isinstance(built, dict)
    return built


def test_each_adapter_answers_by_its_own_name_and_the_model_by_its(
    project: Path, hub: FakeHub, ovenproof: Ovenproof
) -> None:
    """Rank 32 is more than vLLM takes by itself: without `--max-lora-rank` nothing would start."""
    built = bake(project, hub, ovenproof)
    subject = Subject(served_names=(BASE, *WORDS), port=8000, interpreter="/usr/bin/python3.11")
    files = json.loads((project / "models.lock").read_text())["models"][BASE]["files"]
    assert len([file for file in files if "cut" in file]) == 3
    assert [file["path"] for file in files if "made" in file] == ["model.safetensors.index.json"]
    with started(built["image"], subject, Conditions(), os.environ) as running:
        wait(running, running.send, timeout_s=300)
        models(running.send, subject.served_names)
        for name, (_, word) in WORDS.items():
            assert chat(running.send, name, QUESTION).startswith(3 * word)
        assert chat(running.send, BASE, QUESTION) == "The capital of France is Paris."


def test_the_image_test_asks_the_adapters_too(
    project: Path, hub: FakeHub, ovenproof: Ovenproof
) -> None:
    bake(project, hub, ovenproof)
    done = ovenproof("test", "--model", BASE, "--json", cwd=project)
    assert done.returncode == 0, done.stderr + done.stdout
    (checks,) = json.loads(done.stdout)["passed"].values()
    assert {"models", "chat", *(f"chat as {name}" for name in WORDS)} <= {*checks}


def test_a_newer_adapter_moves_itself_and_the_arguments_alone(
    project: Path, hub: FakeHub, ovenproof: Ovenproof, tmp_path: Path, smollm2_folder: Path
) -> None:
    """The upper one of both: an engine takes every layer again that lies above a new one."""
    first = bake(project, hub, ovenproof)
    write_adapter(smollm2_folder, tmp_path / "newer", rank=32, word="soup")
    weights = (tmp_path / "newer/adapter_model.safetensors").read_bytes()
    hub.repositories["bakery/wide"].commit({"adapter_model.safetensors": weights})
    assert bake(project, hub, ovenproof)["digest"] == first["digest"], "its commit is locked"
    done = ovenproof("lock", "--model", BASE, "--upgrade", cwd=project, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stderr
    second = bake(project, hub, ovenproof)
    assert second["digest"] != first["digest"]
    assert len(weights) < second["moved"] < len(weights) + 1_000_000
