"""Models of a hub on loopback, and projects that bake them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from tests.unit.sources.repositories import INDEX, big_tensors, index_of, tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.hub import FakeHub, Repository
    from tests.fakes.hub.content import Body
    from tests.fakes.registry import FakeRegistry
    from tests.flow.conftest import Project

TOKEN = "hf_canaryCANARYcanary0123456789"
BIG = 33 << 20
"""From 32 MiB on, a file is a layer of its own."""
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
NAME = "a/models"
MODEL = "org/model"
ENTRY = f"  tiny:\n    model: {MODEL}\n"


def config(**said: Any) -> bytes:
    """A config.json."""
    found = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096, **said}
    return json.dumps(found).encode()


def files(seed: int = 0, **others: Body) -> dict[str, Body]:
    """A model of two shards, one of them big, and what must not come with it."""
    return {
        "config.json": config(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": json.dumps({"chat_template": "hello\n{{ messages }}"}).encode(),
        "LICENSE": b"Do as you like.\n",
        "README.md": b"# A model\n",
        "pytorch_model.bin": b"never read",
        INDEX: index_of(big=FIRST, small=SECOND),
        FIRST: big_tensors(seed, big=BIG),
        SECOND: tensors(small=5000),
        **others,
    }


def serve(
    hub: FakeHub, project: Project, models: str = ENTRY, model: str = MODEL, **said: Any
) -> Repository:
    """A repository with a model in it, and a project that bakes it."""
    repository = hub.repository(model, **{"license": "apache-2.0", **said})
    repository.commit(files())
    use(hub, project, models)
    return repository


def use(hub: FakeHub, project: Project, models: str = ENTRY) -> None:
    """The hub is where the project asks; these are its entries."""
    project.environment["HF_ENDPOINT"] = hub.endpoint
    project.catalogue(models)


def push(project: Project, registry: FakeRegistry, *words: str, name: str = NAME) -> Any:
    """`push --model tiny`, where nothing else is said; what it says to a machine."""
    to = ("--to", f"{registry.address}/{name}")
    which = () if {"--all", "--model"} & {*words} else ("--model", "tiny")
    found = project.run("push", *which, *to, "--json", *words).json()
    return found if "--all" in words else found[0]


def given(hub: FakeHub, path: str = "") -> int:
    """Bytes that went out of files whose path ends so."""
    everything = [*hub.requests, *hub.cdn_requests]
    return sum(
        one.sent
        for one in everything
        if one.path.endswith(path) and not one.path.startswith("/api/models")
    )


def kept(project: Project) -> int:
    """Bytes in the store, without the wheels and packages of the flavour."""
    lock = json.loads((project.root / "images/tiny/image.lock").read_text())
    theirs = {item["digest"].removeprefix("sha256:") for item in (*lock["debs"], *lock["wheels"])}
    places = (path for path in project.cache.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in places if path.name not in theirs)


def manifest(registry: FakeRegistry, digest: str, name: str = NAME) -> Any:
    return json.loads(registry.manifests[name][digest].data)


def layers(registry: FakeRegistry, digest: str, name: str = NAME) -> dict[str, list[str]]:
    """Layer -> the files in it, of those that are not archives of packages; lowest first."""
    found = {}
    for layer in manifest(registry, digest, name)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs[name][layer["digest"]])) as archive:
            found[layer["digest"]] = [one.name for one in archive if one.isfile()]
    return found


def unpacked(registry: FakeRegistry, digest: str, name: str = NAME) -> dict[str, bytes]:
    """All files of an image, by their paths."""
    found: dict[str, bytes] = {}
    for layer in manifest(registry, digest, name)["layers"]:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs[name][layer["digest"]])) as archive:
            for one in archive:
                if one.isfile() and (stream := archive.extractfile(one)):
                    found[one.name] = stream.read()
    return found


def weights(registry: FakeRegistry, digest: str, name: str = NAME) -> list[str]:
    """Layers that lie below /model, and nowhere else."""
    return [
        layer
        for layer, paths in layers(registry, digest, name).items()
        if all(path.startswith("model/") for path in paths)
    ]


def blobs(registry: FakeRegistry, *names: str) -> Mapping[str, bytes]:
    """Everything in some repositories, or in all."""
    return {
        digest: data
        for name in names or tuple(registry.blobs)
        for digest, data in registry.blobs[name].items()
    }
