"""Other shapes of the same blobs: weights alone, and ModelPack; and both read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import (
    BIG,
    FIRST,
    MODEL,
    NAME,
    given,
    kept,
    layers,
    manifest,
    push,
    serve,
    unpacked,
    weights,
)

if TYPE_CHECKING:
    from tests.flow.conftest import MakeProject, Project


@pytest.fixture
def hub(project: Project) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        serve(hub, project)
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def bodies(registry: FakeRegistry, since: int = 0) -> int:
    """Bytes that came to the registry."""
    return sum(asked.received for asked in registry.requests[since:])


def reader(make_project: MakeProject, reference: str, more: str = "") -> Project:
    """Another machine's project, whose weights are those of a registry."""
    other = make_project("reader")
    other.catalogue(f"  tiny:\n    weights: {{oci: '{reference}'}}\n{more}")
    return other


def model_files(registry: FakeRegistry, digest: str, name: str = NAME) -> dict[str, bytes]:
    """What lies below /model in an image."""
    found = unpacked(registry, digest, name)
    return {path: data for path, data in found.items() if path.startswith("model/")}


def test_weights_alone_are_the_images_own_layers(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    image = push(project, registry)["digest"]
    since, asked = len(registry.requests), given(hub)
    done = push(project, registry, "--as", "weights")
    assert registry.tags[NAME] == {"tiny": image, "tiny-weights": done["digest"]}
    assert bodies(registry, since) < 10_000
    assert done["sent"] == 0
    assert given(hub) == asked
    assert [*layers(registry, done["digest"])] == weights(registry, image)
    assert push(project, registry)["digest"] == image, "and the image is still what it was"


def test_weights_alone_first_and_then_the_image(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    alone = push(project, registry, "--as", "weights")
    assert alone["sent"] > BIG
    assert kept(project) < 200_000
    image = push(project, registry)
    assert image["sent"] < 200_000
    assert given(hub, FIRST) < BIG + (2 << 20)
    assert [*layers(registry, alone["digest"])] == weights(registry, image["digest"])


def test_a_modelpack_is_the_files_byte_for_byte(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    image = push(project, registry)["digest"]
    done = push(project, registry, "--as", "modelpack")
    assert registry.tags[NAME] == {"tiny": image, "tiny-modelpack": done["digest"]}
    assert kept(project) < 200_000
    made = manifest(registry, done["digest"])
    assert made["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    found = {
        layer["annotations"]["org.cncf.model.filepath"]: registry.blobs[NAME][layer["digest"]]
        for layer in made["layers"]
    }
    commit = hub.repositories[MODEL].find("main")
    assert commit is not None
    assert found == {
        path: b"".join(entry.content.read())
        for path, entry in commit.files.items()
        if path != "pytorch_model.bin"
    }
    since = len(registry.requests)
    assert push(project, registry, "--as", "modelpack")["digest"] == done["digest"]
    assert bodies(registry, since) == 0


def test_a_modelpack_is_one_pass_too_and_wrong_bytes_are_never_in_one(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    hub.wrong_bytes = {FIRST: 1 << 20}
    to = ("--to", f"{registry.address}/{NAME}", "--as", "modelpack")
    done = project.run("push", "--model", "tiny", *to)
    assert done.code == 8, done
    assert registry.tags[NAME] == {}
    assert all(len(data) < BIG for data in registry.blobs[NAME].values())
    hub.wrong_bytes = {}
    assert push(project, registry, "--as", "modelpack")["sent"] > BIG
    assert kept(project) < 200_000


def test_a_modelpack_goes_into_a_layout_and_into_no_engine(project: Project, hub: FakeHub) -> None:
    done = project.build("--as", "modelpack", "--output", "layout:dist")
    assert done.code == 0, done
    assert {*project.dist.images()} == {"tiny-modelpack"}
    for output in ("archive:x.tar", "docker"):
        refused = project.build("--as", "modelpack", "--output", output)
        assert refused.code == 2, refused
        assert "ModelPack" in refused.err
    assert project.build("--as", "sandwich").code == 2


@pytest.mark.parametrize("shape", ["weights", "modelpack"])
def test_either_is_read_back_by_who_has_no_hub(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry, shape: str
) -> None:
    image = push(project, registry)["digest"]
    push(project, registry, "--as", shape)
    hub.go_away()
    other = reader(make_project, f"{registry.address}/{NAME}:tiny-{shape}")
    locked = other.run("lock", "--model", "tiny")
    assert locked.code == 0, locked
    assert kept(other) < 200_000
    since = len(registry.requests)
    done = push(other, registry, name="b/models")
    assert model_files(registry, done["digest"], "b/models") == model_files(registry, image)
    assert weights(registry, done["digest"], "b/models") == weights(registry, image)
    if shape == "weights":
        assert bodies(registry, since) < 200_000, "mounted"
    assert kept(other) < 200_000
    facts = [one.lock()["models"]["tiny"]["facts"] for one in (project, other)]
    for key in ("architectures", "context length", "parameters", "license"):
        assert facts[0].get(key) == facts[1].get(key), key
    assert other.build().code == 0
    other.dist.check()


def test_what_was_read_back_is_pinned_and_an_upgrade_moves_on(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    push(project, registry, "--as", "weights")
    other = reader(make_project, f"{registry.address}/{NAME}:tiny-weights")
    first = push(other, registry, name="b/models")["digest"]
    hub.repositories[MODEL].commit({"tokenizer.json": b'{"version": "2.0"}'})
    assert project.run("lock", "--model", "tiny", "--upgrade").code == 0
    push(project, registry, "--as", "weights")
    assert push(other, registry, name="b/models")["digest"] == first
    assert other.run("lock", "--model", "tiny").code == 0
    assert push(other, registry, name="b/models")["digest"] == first
    check = other.run("lock", "--model", "tiny", "--check")
    assert check.code == 4, check
    assert "tiny: 1 file changed" in check.out
    assert other.run("lock", "--model", "tiny", "--upgrade").code == 0
    assert push(other, registry, name="b/models")["digest"] != first


def test_what_is_not_in_the_registry_is_named(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    other = reader(make_project, f"{registry.address}/{NAME}:nothing")
    done = other.run("lock", "--model", "tiny")
    assert done.code == 3, done
    assert "the model is not in the registry" in done.err
    other.catalogue("  tiny:\n    weights: {oci: '127.0.0.1:9/a/b:c'}\n")
    assert other.run("lock", "--model", "tiny").code == 6
    push(project, registry, "--as", "weights")
    other.catalogue(f"  tiny:\n    weights: {{oci: '{registry.address}/{NAME}:tiny-weights'}}\n")
    assert other.run("lock", "--model", "tiny").code == 0
    (big,) = [key for key, data in registry.blobs[NAME].items() if len(data) > BIG]
    data = registry.blobs[NAME].pop(big)
    done = other.build()
    assert done.code != 0
    assert "Traceback" not in done.err
    registry.blobs[NAME][big] = data
    registry.serves_instead[big] = data[:5000] + b"x" + data[5001:]
    done = other.build()
    assert done.code == 8, done
    assert not (other.root / "dist/index.json").exists()
