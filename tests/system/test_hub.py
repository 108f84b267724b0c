"""A hub's models in real registries: in one pass, killed on the way, and when the hub is gone."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import FakeHub, Repository
from tests.flow.conftest import Project, Warm, write_project
from tests.flow.hub_models import ENTRY, files, given, use
from tests.system.registries import served
from tests.unit.sources.repositories import INDEX, big_tensors, index_of

ROOT = Path(__file__).parents[2]
SHARDS = {f"layer.{number}": f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)}
SHARD = 40 << 20
WHOLE = len(SHARDS) * SHARD


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as found:
        yield found


@pytest.fixture
def model(hub: FakeHub) -> Repository:
    """160 MiB in four shards."""
    shards = {
        path: big_tensors(number, **{name: SHARD})
        for number, (name, path) in enumerate(SHARDS.items())
    }
    texts = {path: body for path, body in files().items() if not path.startswith("model")}
    found = hub.repository("org/model", license="apache-2.0")
    found.commit({**texts, **shards, INDEX: index_of(**SHARDS)})
    return found


@pytest.fixture
def project(hub: FakeHub, model: Repository, tmp_path: Path) -> Iterator[Project]:
    """Bakes that model; its runtime is a few files."""
    warm = Warm(tmp_path)
    found = write_project(tmp_path / "project", warm)
    use(hub, found)
    yield found
    warm.end()


def push(project: Project, address: str, *words: str) -> Any:
    """`push --model tiny`: what it says to a machine."""
    to = ("--to", f"{address}/a/models", "--json")
    (found,) = project.run("push", "--model", "tiny", *to, *words).json()
    return found


def tool(*command: object) -> bytes:
    done = subprocess.run([*map(str, command)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied(address: str, tag: str, layout: Path) -> Path:
    """An image, fetched by skopeo."""
    place = f"docker://{address}/a/models:{tag}"
    words = ("--preserve-digests", "--src-tls-verify=false")
    tool("skopeo", "--insecure-policy", "copy", *words, place, f"oci:{layout}:{tag}")
    return layout


def large_blobs(place: Path) -> int:
    """How many blobs a registry has in its folder that are a shard's layer."""
    return sum(path.stat().st_size > SHARD for path in place.rglob("blobs/*/*/*/data"))


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_one_pass_needs_next_to_no_disk_and_gives_the_hubs_own_bytes(
    project: Project, model: Repository, registry: str, small_disk: Path, tmp_path: Path
) -> None:
    shutil.copytree(project.cache, small_disk / "store")
    before = sum(path.stat().st_size for path in small_disk.rglob("*") if path.is_file())
    places = {"OVENPROOF_CACHE": str(small_disk / "store"), "TMPDIR": str(small_disk)}
    project.environment.update(places)

    pushed = push(project, registry)

    kept = sum(path.stat().st_size for path in small_disk.rglob("*") if path.is_file())
    assert kept - before < 1_000_000
    assert WHOLE < pushed["sent"] < WHOLE + 1_000_000
    assert push(project, registry)["sent"] == 0
    layout = copied(registry, "tiny", tmp_path / "layout")
    index = json.loads((layout / "index.json").read_bytes())
    assert [item["digest"] for item in index["manifests"]] == [pushed["digest"]]
    tool("umoci", "unpack", "--rootless", "--image", f"{layout}:tiny", tmp_path / "bundle")
    weights = tmp_path / "bundle/rootfs/model"
    commit = model.commits[model.branches["main"]]
    found = {path.name: sha256(path) for path in weights.iterdir()}
    assert {*SHARDS.values(), INDEX, "config.json", "tokenizer.json"} <= found.keys()
    assert found == {path: commit.files[path].content.sha256 for path in found}


def test_bytes_that_are_not_what_is_locked_stay_nowhere(
    hub: FakeHub, project: Project, tmp_path: Path
) -> None:
    assert project.run("lock", "--model", "tiny").code == 0
    wrong = SHARDS["layer.3"]
    hub.wrong_bytes[wrong] = SHARD - 5
    with served(tmp_path / "served") as address:
        to = f"{address}/a/models"
        done = project.run("push", "--model", "tiny", "--to", to)
        assert done.code == 8
        assert wrong in done.err
        assert large_blobs(tmp_path / "served") < len(SHARDS)
        assert not [*(tmp_path / "served").rglob("_manifests/tags/*")]
        hub.wrong_bytes.clear()
        pushed = push(project, address)
        assert pushed["sent"] < WHOLE
        assert large_blobs(tmp_path / "served") == len(SHARDS)
        copied(address, "tiny", tmp_path / "layout")


def test_a_release_moves_no_weights_when_the_hub_is_gone(
    hub: FakeHub, project: Project, registry: str, tmp_path: Path
) -> None:
    """Not on this machine either: what is locked is enough."""
    first = push(project, registry)
    before = given(hub)
    hub.go_away()
    empty = write_project(tmp_path / "other", project.warm)
    shutil.copyfile(project.root / "models.lock", empty.root / "models.lock")
    use(hub, empty, ENTRY + "    max_model_len: 1024\n")

    second = push(empty, registry, "--locked")

    assert second["digest"] != first["digest"]
    assert second["sent"] < 1_000_000
    assert second["there"] > WHOLE
    layout = copied(registry, "tiny", tmp_path / "layout")
    index = json.loads((layout / "index.json").read_bytes())
    assert [item["digest"] for item in index["manifests"]] == [second["digest"]]
    assert given(hub) == before


@pytest.mark.parametrize("kind", ["docker", "fake"])
def test_killed_anywhere_the_next_run_ends_in_the_same_digest(kind: str, tmp_path: Path) -> None:
    """A registry that keeps what was cut loses next to nothing; the other, what was under way."""
    shard, kills = 33 << 20, 5
    done = tool(
        sys.executable, ROOT / "bench/hub_killed.py", "--json", "--registry", kind,
        "--kills", kills, "--by", "bytes", "--shards", 6, "--mib", 33, "--folder", tmp_path,
    )  # fmt: skip
    said = json.loads(done)
    calm, *killed = said["outcomes"][kind]
    whole = said["size"]
    assert [one["digest"] for one in killed] == [calm["digest"]] * kills
    assert all(one["killed"] is not None for one in killed)
    assert max(one["read"] for one in killed) > 1.05 * calm["read"], "none was cut"
    again = max(one["sent"] for one in killed) - whole
    assert again < (0.12 * whole if kind == "fake" else 1.1 * said["at_once"] * shard)
