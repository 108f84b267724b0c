"""A 4-bit checkpoint on the real engine: locked, baked, served by vLLM's kernel for CPUs."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.client import DockerClient

from tests.models.quantized import Method, shuffle_scales, write_quantized

ROOT = Path(__file__).parents[2]
KITCHEN = "ovenproof-quantized"
CATALOGUE = f"""\
repository: {KITCHEN}
models:
  smollm2:
    license: Apache-2.0
    flavour: cpu
    dtype: float16
    max_model_len: 2048
    args:
      enforce-eager: true
      kv-cache-memory-bytes: 268435456
      max-num-seqs: 8
      max-num-batched-tokens: 2048
    expect:
      - prompt: What is the capital of France?
        contains: Paris
    variants:
      gptq: {{weights: {{folder: gptq}}, quantization: gptq}}
      awq: {{weights: {{folder: awq}}, quantization: awq}}
"""

Ovenproof = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path, docker_client: DockerClient) -> Iterator[Path]:
    """A project of two entries, whose folders are still to be written; its images are removed."""
    (tmp_path / "models.yaml").write_text(CATALOGUE)
    for folder in ("images", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    yield tmp_path
    for image in docker_client.images.list(name=KITCHEN):
        docker_client.images.remove(image.tags[0], force=True)


def bake(project: Path, method: Method, ovenproof: Ovenproof) -> None:
    for verb in (("lock",), ("build", "--output", "docker")):
        done = ovenproof(*verb, "--model", f"smollm2-{method}", cwd=project)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_model_in_4_bits_knows_the_capital_of_france(
    project: Path, smollm2_folder: Path, ovenproof: Ovenproof, method: Method
) -> None:
    write_quantized(smollm2_folder, project / method, method)
    bake(project, method, ovenproof)
    lock = json.loads((project / "models.lock").read_text())["models"][f"smollm2-{method}"]
    assert lock["facts"]["quantization"] == method
    done = ovenproof("test", "--model", f"smollm2-{method}", "--json", cwd=project)
    assert done.returncode == 0, done.stderr + done.stdout
    (checks,) = json.loads(done.stdout)["passed"].values()
    assert {"chat", "chat streamed", "answer to 'What is the capital of France?'"} <= {*checks}


def test_a_model_that_was_packed_wrongly_starts_but_does_not_pass(
    project: Path, smollm2_folder: Path, ovenproof: Ovenproof
) -> None:
    write_quantized(smollm2_folder, project / "gptq", "gptq")
    shuffle_scales(project / "gptq")
    bake(project, "gptq", ovenproof)
    done = ovenproof("test", "--model", "smollm2-gptq", "--json", cwd=project)
    assert done.returncode == 9, done.stderr + done.stdout
    assert "answer to 'What is the capital of France?'" in done.stderr


def test_an_entry_that_names_another_method_is_not_locked(
    project: Path, smollm2_folder: Path, ovenproof: Ovenproof
) -> None:
    write_quantized(smollm2_folder, project / "awq", "gptq")
    done = ovenproof("lock", "--model", "smollm2-awq", cwd=project)
    assert done.returncode == 3
    assert "write `quantization: gptq`" in done.stderr
