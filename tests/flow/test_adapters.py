"""LoRA adapters: small layers over the base model's own, which stay what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import (
    ENTRY,
    FIRST,
    MODEL,
    given,
    layers,
    push,
    serve,
    unpacked,
    use,
    weights,
)
from tests.unit.sources.repositories import tensors

if TYPE_CHECKING:
    from tests.flow.conftest import Project

PLAIN = ENTRY.replace("tiny", "plain")
TWO = f"""{PLAIN}{ENTRY}    adapters:
      - {{name: sql, model: org/sql}}
      - {{name: haiku, model: org/haiku, revision: v1}}
"""


def adapter(rank: int, size: int, base: str = MODEL) -> dict[str, bytes]:
    said = {
        "peft_type": "LORA",
        "r": rank,
        "base_model_name_or_path": base,
        "target_modules": ["q_proj"],
    }
    return {
        "adapter_config.json": json.dumps(said).encode(),
        "adapter_model.safetensors": tensors(lora=size),
        "README.md": b"# An adapter\n",
        "optimizer.pt": b"not for the image",
    }


@pytest.fixture
def hub(project: Project) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        serve(hub, project, TWO)
        hub.repository("org/sql").commit(adapter(8, 3000))
        hub.repository("org/haiku").commit(adapter(32, 4000), tag="v1")
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def serve_json(registry: FakeRegistry, digest: str) -> Any:
    return json.loads(unpacked(registry, digest)["opt/ovenproof/serve.json"])


@pytest.fixture
def lora(project: Project) -> None:
    """The flavour's vLLM has the options that adapters need."""
    path = project.root / "images/tiny/image.lock"
    lock = json.loads(path.read_text())
    lock["options"] += [
        ["nothing", False, ["--enable-lora", "--no-enable-lora"]],
        ["some", False, ["--lora-modules"]],
        ["one", False, ["--max-lora-rank"]],
    ]
    path.write_text(json.dumps(lock))


def of_adapters(registry: FakeRegistry, digest: str) -> dict[str, str]:
    """Adapter -> its layer."""
    return {
        paths[0].split("/")[1]: layer
        for layer, paths in layers(registry, digest).items()
        if paths[0].startswith("adapters/")
    }


@pytest.mark.usefixtures("lora")
def test_adapters_are_layers_of_their_own_over_those_of_the_model(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    plain = push(project, registry, "--model", "plain")["digest"]
    done = push(project, registry)
    assert 0 < done["sent"] < 100_000
    digest = done["digest"]
    assert weights(registry, digest) == weights(registry, plain)
    found = of_adapters(registry, digest)
    assert found.keys() == {"sql", "haiku"}
    assert sorted(layers(registry, digest)[found["sql"]]) == [
        "adapters/sql/README.md",
        "adapters/sql/adapter_config.json",
        "adapters/sql/adapter_model.safetensors",
    ]
    assert unpacked(registry, digest)["adapters/haiku/adapter_model.safetensors"] == tensors(
        lora=4000
    )
    (said,) = (one for one in [serve_json(registry, digest)["arguments"]])
    at = said.index("--enable-lora")
    assert said[at : at + 6] == [
        "--enable-lora",
        "--lora-modules",
        "sql=/adapters/sql",
        "haiku=/adapters/haiku",
        "--max-lora-rank",
        "32",
    ]
    assert "--enable-lora" not in serve_json(registry, plain)["arguments"]
    shared = {*layers(registry, digest)} & {*layers(registry, plain)}
    assert len(shared) == len(layers(registry, plain)) - 1, "all but the arguments"


@pytest.mark.usefixtures("lora")
def test_where_an_adapter_changes_nothing_else_moves(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    before = push(project, registry)["digest"]
    asked = given(hub, FIRST)
    new = hub.repositories["org/sql"].commit({"adapter_model.safetensors": tensors(lora=3333)})
    hub.repositories["org/haiku"].commit({"adapter_model.safetensors": tensors(lora=1)})
    assert push(project, registry)["digest"] == before, "it is locked"
    check = project.run("lock", "--model", "tiny", "--check")
    assert check.code == 4, check
    assert "adapter sql: 1 file changed" in check.out
    assert "tiny: nothing has changed" in check.out
    assert "haiku" not in check.out, "its tag stands where it stood"
    done = project.run("lock", "--model", "tiny", "--upgrade")
    assert done.code == 0, done
    assert new in done.out
    after = push(project, registry)
    old, now = of_adapters(registry, before), of_adapters(registry, after["digest"])
    assert old["haiku"] == now["haiku"]
    assert old["sql"] != now["sql"]
    assert {*layers(registry, after["digest"])} - {*layers(registry, before)} == {now["sql"]}
    assert after["sent"] == len(registry.blobs["a/models"][now["sql"]])
    assert given(hub, FIRST) - asked < 3 << 20
    assert project.lock()["models"]["tiny"]["adapters"]["sql"]["origin"]["commit"] == new


@pytest.mark.usefixtures("lora")
def test_an_adapter_more_leaves_the_weights_where_they_are_locked(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    project.catalogue(ENTRY)
    first = push(project, registry)["digest"]
    commit = project.lock()["models"]["tiny"]["origin"]["commit"]
    hub.repositories[MODEL].commit({"config.json": b'{"architectures": ["Y"]}'})
    use(hub, project, TWO)
    late = project.build("--output", "none", "--locked")
    assert late.code == 4, late
    done = push(project, registry)
    assert project.lock()["models"]["tiny"]["origin"]["commit"] == commit
    assert weights(registry, done["digest"]) == weights(registry, first)
    project.catalogue(ENTRY)
    assert push(project, registry)["digest"] == first, "and one less gives the first image again"


@pytest.mark.usefixtures("lora")
def test_a_layout_and_a_machine_without_the_hub_have_them_too(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    digest = push(project, registry)["digest"]
    assert project.build().digest() == digest
    project.dist.check()
    hub.go_away()
    assert push(project, registry, "--locked")["sent"] == 0


def test_a_vllm_that_has_no_adapters_says_so(project: Project, hub: FakeHub) -> None:
    done = project.build("--output", "none")
    assert done.code != 0
    assert "--enable-lora" in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("lora")
def test_what_is_no_adapter_is_named_with_its_entry(project: Project, hub: FakeHub) -> None:
    hub.repository("org/haiku").commit({"config.json": b"{}"}, tag="v1")
    done = project.run("lock", "--model", "tiny")
    assert done.code == 3, done
    assert "this is no adapter: `org/haiku`" in done.err
    hub.repository("org/haiku").commit(adapter(4, 10, base="org/others"), tag="v1")
    done = project.run("lock", "--model", "tiny")
    assert done.code == 0, done
    assert "the adapter org/haiku was made for 'org/others', not for org/model" in done.err
