"""A flavour that builds on an image in a registry: locked, planned, built and pushed."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.registry import FakeRegistry, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.flow.conftest import Done, Project

HOME = "vllm/vllm-openai"
GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
FLAVOUR = """\
description: an image of somebody else's
base:
  image: IMAGE
  options: vllm-tiny==1.0
program: [/usr/bin/env, vllm, serve]
needs_gpu: false
shm_bytes: 1048576
"""
PARSER = '''
def make_arg_parser(parser):
    """As vLLM's, with what this test needs of it."""
    parser.add_argument("--model", type=str)
    parser.add_argument("--served-model-name", type=str, nargs="+")
    parser.add_argument("--host", type=str)
    parser.add_argument("--port", type=int)
    parser.add_argument("--dtype", type=str)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--max-num-seqs", type=int)
    return parser
'''


@dataclass
class Base:
    """What somebody published, and the registry that has it."""

    registry: FakeRegistry
    repository: str = HOME
    seed: int = 0
    layers: list[bytes] = field(default_factory=list)
    digest: str = ""

    def publish(self, *, count: int = 3, kind: str = GZIP, architecture: str = "amd64") -> Base:
        """An index with our platform and another, under the tag `v1`."""
        self.layers = [_layer(f"{self.seed}.{number}") for number in range(count)]
        ours = self._image(self.layers, kind, architecture)
        other = self._image([_layer("other")], kind, "s390x")
        self.digest = str(ours["digest"])
        document = {"schemaVersion": 2, "mediaType": LIST, "manifests": [other, ours]}
        self._put(document, LIST, "v1")
        return self

    def _image(self, layers: list[bytes], kind: str, architecture: str) -> dict[str, Any]:
        config = {
            "os": "linux",
            "architecture": architecture,
            "config": {
                "Env": ["PATH=/opt/vllm/bin:/usr/bin", "LD_LIBRARY_PATH=/cuda", "HOME=/root"],
                "Entrypoint": ["vllm", "serve"],
                "User": "root",
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [digest_of(gzip.decompress(data)) for data in layers],
            },
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(CONFIG, json.dumps(config).encode()),
            "layers": [self._blob(kind, data) for data in layers],
        }
        described = self._put(document, MANIFEST)
        return {**described, "platform": {"os": "linux", "architecture": architecture}}

    def _blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = self.registry.add_blob(self.repository, data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def _put(self, document: Any, media_type: str, *tags: str) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = self.registry.add_manifest(self.repository, data, media_type, *tags)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    @property
    def digests(self) -> list[str]:
        return [digest_of(data) for data in self.layers]

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.layers)

    def opened(self) -> list[str]:
        """The layers whose bytes somebody asked for, each time that it happened."""
        asked = [item.path.rpartition("/")[2] for item in self.registry.requests if _is_get(item)]
        return [digest for digest in asked if digest in self.digests]


def _is_get(asked: Any) -> bool:
    return bool(asked.method == "GET" and "/blobs/sha256:" in asked.path)


def _layer(word: str) -> bytes:
    """A file that no compression shrinks, in a compressed layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = random.Random(word).randbytes(200_000)
        info = tarfile.TarInfo(f"base/{word}")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def base(registry: FakeRegistry) -> Base:
    return Base(registry).publish()


@pytest.fixture
def based(project: Project, base: Base) -> Project:
    """The project, with a flavour that builds on what was published."""
    write(project, f"{base.registry.address}/{HOME}:v1")
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n", flavour="based")
    wheels = project.root.parent / "wheels"
    _wheel(wheels)
    del project.environment["PIP_INDEX_URL"]
    project.environment.update(PIP_FIND_LINKS=str(wheels), PIP_NO_INDEX="1")
    return project


def write(project: Project, image: str) -> None:
    place = project.root / "images" / "based"
    place.mkdir(parents=True, exist_ok=True)
    (place / "image.yaml").write_text(FLAVOUR.replace("IMAGE", image))


def _wheel(folder: Path) -> None:
    folder.mkdir()
    info = "vllm_tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "vllm_tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("vllm/entrypoints/openai/cli_args.py", PARSER)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: vllm-tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def lock_of(project: Project) -> Any:
    return json.loads((project.root / "images/based/image.lock").read_text())


def build(project: Project, *words: str, **environment: str) -> Done:
    return project.build("--output", "layout:dist", *words, **environment)


def test_the_base_is_locked_by_the_digest_of_its_image_for_our_platform(
    based: Project, base: Base
) -> None:
    assert based.run("lock", "--flavour", "based").code == 0
    lock = lock_of(based)["base"]
    assert (lock["repository"], lock["tag"]) == (f"{base.registry.address}/{HOME}", "v1")
    assert lock["digest"] == base.digest
    assert lock["index"] not in (None, base.digest)
    assert [layer["digest"] for layer in lock["layers"]] == base.digests
    assert base.opened() == []


def test_the_image_has_the_bases_layers_as_they_were(based: Project, base: Base) -> None:
    done = build(based)
    assert done.code == 0, done.err
    manifest = based.dist.manifest()
    listed = {layer["digest"]: layer for layer in manifest["layers"]}
    for data, digest in zip(base.layers, base.digests, strict=True):
        assert based.dist.blob(digest).read_bytes() == data
        assert listed[digest]["mediaType"] == OCI_GZIP
    unpacked = [digest_of(gzip.decompress(data)) for data in base.layers]
    found = based.dist.config()["rootfs"]["diff_ids"]
    place = based.dist.layers().index(base.digests[0])
    assert found[place : place + 3] == unpacked


def test_the_bases_variables_lie_under_ours_and_its_paths_survive(based: Project) -> None:
    build(based)
    config = based.dist.config()["config"]
    variables = dict(line.split("=", 1) for line in config["Env"])
    assert variables["PATH"] == "/opt/vllm/bin:/usr/bin"
    assert variables["LD_LIBRARY_PATH"] == "/cuda"
    assert variables["HOME"] == "/tmp/ovenproof"
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-IS", "/opt/ovenproof/launch.py"]
    assert config["User"] == "2000:0"


def test_the_image_says_what_it_is_based_on(based: Project, base: Base) -> None:
    build(based)
    labels = based.dist.config()["config"]["Labels"]
    assert labels["org.opencontainers.image.base.name"] == f"{base.registry.address}/{HOME}:v1"
    assert labels["org.opencontainers.image.base.digest"] == base.digest
    assert labels["org.ovenproof.vllm"] == "vllm-tiny 1.0"
    annotations = based.dist.manifest()["annotations"]
    assert annotations["org.opencontainers.image.base.digest"] == base.digest


@pytest.mark.parametrize("order", ["weights-first", "base-first"])
def test_the_heavier_part_lies_at_the_bottom_or_where_the_entry_says(
    based: Project, base: Base, order: str
) -> None:
    based.catalogue(f"  tiny:\n    weights: {{folder: ./tiny}}\n    order: {order}\n", "based")
    build(based)
    place = based.dist.layers().index(base.digests[0])
    assert place == (1 if order == "weights-first" else 0)
    based.catalogue("  tiny:\n    weights: {folder: ./tiny}\n", "based")
    build(based)
    assert based.dist.layers()[0] not in base.digests, "33 MB of weights are heavier"


def test_nothing_of_the_base_is_kept_here(based: Project, base: Base) -> None:
    build(based)
    assert lock_of(based)["layers"] == {}, "what is taken as it is needs no proof"
    assert sorted(base.opened()) == sorted(base.digests), "each streamed once"
    held = {path.name for path in (based.cache / "blobs/sha256").iterdir()}
    assert not {digest.removeprefix("sha256:") for digest in base.digests} & held
    before = len(base.opened())
    build(based)
    assert len(base.opened()) == before, "the layout has them"


def test_a_plan_says_what_will_stream_and_moves_nothing(based: Project, base: Base) -> None:
    based.run("lock", "--flavour", "based")
    based.run("lock", "--model", "tiny")
    (planned,) = based.run("plan", "--all", "--output", "layout:dist", "--json").json()
    assert planned["stream"] == {"bytes": base.size, "layers": 3}
    assert planned["digest"] is not None
    done = based.run("plan", "--all", "--output", "layout:dist")
    assert "stream" in done.out
    assert base.opened() == []
    assert build(based).digest() == planned["digest"]
    (planned,) = based.run("plan", "--all", "--output", "layout:dist", "--json").json()
    assert planned["stream"] == {"bytes": 0, "layers": 0}


def test_a_base_that_moved_is_followed_only_by_locking_again(based: Project, base: Base) -> None:
    first = build(based).digest()
    was = base.digest
    base.seed = 1
    base.publish()
    again = build(based)
    assert (again.digest(), lock_of(based)["base"]["digest"]) == (first, was)
    done = based.run("lock", "--flavour", "based")
    assert done.code == 0, done.err
    assert lock_of(based)["base"]["digest"] == base.digest
    assert was.removeprefix("sha256:")[:12] in done.err
    assert build(based).digest() != first


def test_a_mirror_is_asked_instead_and_the_image_is_the_same(based: Project, base: Base) -> None:
    own = build(based).digest()
    name = f"{base.registry.address}/{HOME}"
    with FakeRegistry() as other:
        mirrored = Base(other, f"hub/{HOME}").publish()
        before = len(base.registry.requests)
        mirror = f"{other.address}/hub"
        assert based.run("lock", "--flavour", "based", OVENPROOF_BASE_URL=mirror).code == 0
        done = based.build("--output", "layout:mirrored", OVENPROOF_BASE_URL=mirror)
        assert done.digest() == own
        assert sorted(mirrored.opened()) == sorted(base.digests)
    assert len(base.registry.requests) == before
    assert lock_of(based)["base"]["repository"] == name


def test_bytes_that_are_not_the_bases_never_become_an_image(based: Project, base: Base) -> None:
    based.run("lock", "--flavour", "based")
    data = bytearray(base.layers[1])
    data[1000] ^= 1
    base.registry.serves_instead[base.digests[1]] = bytes(data)
    done = build(based)
    assert done.code == 8, done.err
    assert not (based.root / "dist/index.json").exists()
    assert not based.dist.blob(base.digests[1]).exists()


def test_a_connection_that_is_cut_goes_on_where_it_was(based: Project, base: Base) -> None:
    based.run("lock", "--flavour", "based")
    base.registry.cut_download_after = [100_000]
    assert build(based).code == 0
    for data, digest in zip(base.layers, base.digests, strict=True):
        assert based.dist.blob(digest).read_bytes() == data
    assert base.registry.cut_download_after == []


@pytest.mark.parametrize(
    ("image", "code", "says"),
    [
        ("HOST/vllm/vllm-openai:v2", 3, "the base is not there"),
        ("HOST/vllm/other:v1", 3, "the base is not there"),
        ("HOST/vllm/vllm-openai", 3, "image.yaml:3:"),
        ("HOST/vllm/vllm-openai:-v1", 3, "image.yaml:3:"),
        ("HOST/Vllm:v1", 3, "this is no name of an image"),
    ],
    ids=["no tag", "no repository", "unpinned", "a bad tag", "a bad name"],
)
def test_a_base_that_cannot_be_had_is_told(
    based: Project, base: Base, image: str, code: int, says: str
) -> None:
    write(based, image.replace("HOST", base.registry.address))
    done = based.run("lock", "--flavour", "based")
    assert (done.code, says in done.err) == (code, True), done.err
    assert not (based.root / "images/based/image.lock").exists()


def test_an_index_without_our_platform_is_told(based: Project, base: Base) -> None:
    base.publish(architecture="arm64")
    done = based.run("lock", "--flavour", "based")
    assert done.code == 3
    assert "linux/arm64" in done.err
    assert "linux/amd64" in done.err


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "only its owner"),
        ("application/vnd.oci.image.layer.v1.tar+brotli", "of a kind that is not known"),
    ],
)
def test_layers_that_cannot_be_taken_are_told(
    based: Project, base: Base, kind: str, says: str
) -> None:
    base.publish(kind=kind)
    done = based.run("lock", "--flavour", "based")
    assert done.code == 3
    assert done.err.count(says) == 3


def test_a_base_that_leaves_no_room_is_told(based: Project, base: Base) -> None:
    base.publish(count=118)
    done = based.run("lock", "--flavour", "based")
    assert done.code == 3
    assert "118 layers" in done.err


def test_what_is_not_locked_is_told_where_nothing_may_be_locked(based: Project) -> None:
    done = build(based, "--locked")
    assert done.code == 4
    assert "invoke lock --flavour based" in done.err.replace("`ovenproof ", "`invoke ")


def test_within_one_registry_the_base_is_mounted_and_never_moves(
    based: Project, base: Base
) -> None:
    done = based.run(
        "push", "--model", "tiny", "--to", f"{base.registry.address}/kitchen/tiny:v1", "--json"
    )
    assert done.code == 0, done.err
    assert base.opened() == []
    assert set(base.digests) <= base.registry.blobs["kitchen/tiny"].keys()


def test_to_another_registry_the_base_streams_through(based: Project, base: Base) -> None:
    with FakeRegistry() as other:
        to = f"{other.address}/kitchen/tiny:v1"
        done = based.run("push", "--model", "tiny", "--to", to, "--json")
        assert done.code == 0, done.err
        assert sorted(base.opened()) == sorted(base.digests)
        for data, digest in zip(base.layers, base.digests, strict=True):
            assert other.blobs["kitchen/tiny"][digest] == data
        before = len(base.registry.requests)
        again = based.run("push", "--model", "tiny", "--to", f"{to}-again", "--json")
        assert again.code == 0, again.err
        assert len(base.registry.requests) == before, "what is there is asked of nobody"
