"""A file that is larger than a registry takes: cut along its tensors, and the same tensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from safetensors import safe_open

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import (
    FIRST,
    MODEL,
    NAME,
    SECOND,
    files,
    given,
    kept,
    manifest,
    push,
    unpacked,
    use,
    weights,
)
from tests.unit.sources.repositories import INDEX, big_tensors, index_of, tensors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import MakeProject, Project

MB = 1_000_000
ENTRY = f"  tiny:\n    model: {MODEL}\n    largest_file: 36MB\n"
SHARD = big_tensors(4, a=20 * MB, b=15 * MB, c=34 * MB, d=11)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repository(MODEL).commit(
            {
                **files(),
                FIRST: SHARD,
                SECOND: tensors(small=5000),
                INDEX: index_of(a=FIRST, b=FIRST, c=FIRST, d=FIRST, small=SECOND),
            }
        )
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def read_all(folder: Path, index: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What the safetensors library finds where the index says that it is."""
    found = {}
    for name, path in index["weight_map"].items():
        with safe_open(folder / path, framework="numpy") as opened:
            tensor = opened.get_tensor(name)
            found[name] = (str(tensor.dtype), tensor.shape, tensor.tobytes())
    return found


def test_the_parts_have_the_tensors_of_the_whole_and_nothing_else(
    make_project: MakeProject,
    project: Project,
    hub: FakeHub,
    registry: FakeRegistry,
    folder: Path,
) -> None:
    use(hub, project, ENTRY)
    assert project.run("lock", "--model", "tiny").code == 0
    locked = {file["path"]: file for file in project.lock()["models"]["tiny"]["files"]}
    assert FIRST not in locked
    parts = [file for file in locked.values() if "cut" in file]
    original = hub.repositories[MODEL].find("main")
    assert original is not None
    for part in parts:
        assert part["size"] <= 36 * MB
        assert f"sha256:{original.files[FIRST].content.sha256}" in json.dumps(part["cut"])
    assert sum(part["size"] for part in parts) < original.files[FIRST].size + 10_000
    assert kept(project) < 200_000
    digest = push(project, registry)["digest"]
    assert max(one["size"] for one in manifest(registry, digest)["layers"]) < 36 * MB + 10_000
    for path, data in unpacked(registry, digest).items():
        if path.startswith("model/"):
            (folder / "image").mkdir(exist_ok=True)
            (folder / "image" / path.removeprefix("model/")).write_bytes(data)
    (folder / "hub").mkdir()
    for path, entry in original.files.items():
        (folder / "hub" / path).write_bytes(b"".join(entry.content.read()))
    images, hubs = (json.loads((folder / one / INDEX).read_text()) for one in ("image", "hub"))
    assert images["weight_map"].keys() == hubs["weight_map"].keys()
    assert read_all(folder / "image", images) == read_all(folder / "hub", hubs)
    assert {*images["weight_map"].values()} == {
        path.name for path in (folder / "image").glob("*.safetensors")
    }
    other = make_project("other")
    use(hub, other, ENTRY)
    assert push(other, registry, name="b/models")["digest"] == digest


def test_parts_are_planned_locked_and_published_again_without_the_hub(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    use(hub, project, ENTRY)
    digest = push(project, registry)["digest"]
    before, lock = given(hub, FIRST), (project.root / "models.lock").read_bytes()
    assert project.run("lock", "--model", "tiny").code == 0
    assert (project.root / "models.lock").read_bytes() == lock
    assert project.run("lock", "--model", "tiny", "--check").code == 0
    assert given(hub, FIRST) - before < 2 * MB, "its head alone"
    hub.go_away()
    other = make_project("other")
    shutil.rmtree(other.cache)
    shutil.rmtree(other.root)
    shutil.copytree(project.root, other.root)
    (plan,) = other.run(
        "plan", "--model", "tiny", "--output", f"registry:{registry.address}/{NAME}", "--json"
    ).json()
    assert (plan["digest"], plan["write"]) == (digest, 0)
    again = push(other, registry, "--locked")
    assert (again["digest"], again["sent"]) == (digest, 0)


def test_a_part_that_the_registry_lost_is_read_from_the_hub_again(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    use(hub, project, ENTRY)
    digest = push(project, registry)["digest"]
    lost = weights(registry, digest)[1]
    size, before = len(registry.blobs[NAME].pop(lost)), given(hub, FIRST)
    again = push(project, registry)
    assert (again["digest"], again["sent"]) == (digest, size)
    assert given(hub, FIRST) - before < size + 2 * MB
    assert project.build().digest() == digest
    project.dist.check()
    project.check_store()


def test_wrong_bytes_are_in_no_part(project: Project, hub: FakeHub, registry: FakeRegistry) -> None:
    use(hub, project, ENTRY)
    hub.wrong_bytes = {FIRST: 30 * MB}
    done = project.run("lock", "--model", "tiny")
    assert done.code == 8, done
    assert not (project.root / "models.lock").exists()
    hub.wrong_bytes = {}
    assert project.run("lock", "--model", "tiny").code == 0
    hub.wrong_bytes = {FIRST: 30 * MB}
    to = ("--to", f"{registry.address}/{NAME}")
    for done in (project.run("push", "--model", "tiny", *to), project.build()):
        assert done.code == 8, done
        assert "part-01-of-02" in done.err
        assert "hint: try again; if it stays" in done.err
    assert registry.tags[NAME] == {}
    assert not (project.root / "dist/index.json").exists()
    project.check_store()


def test_a_tensor_that_is_larger_than_that_is_named(project: Project, hub: FakeHub) -> None:
    use(hub, project, ENTRY.replace("36MB", "30MB"))
    done = project.run("lock", "--model", "tiny")
    assert done.code == 3, done
    assert f"`{FIRST}` (tensor 'c')" in done.err
    assert "hint: " in done.err
