"""From a hub to a registry in one pass: nothing on disk, nothing wrong kept, nothing sent twice."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry, digest_of
from tests.flow.hub_models import (
    BIG,
    ENTRY,
    FIRST,
    MODEL,
    NAME,
    SECOND,
    TOKEN,
    files,
    given,
    kept,
    manifest,
    push,
    serve,
    use,
    weights,
)
from tests.unit.sources.repositories import tensors

if TYPE_CHECKING:
    from tests.flow.conftest import MakeProject, Project

HALF = 17 << 20


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


class At(int):
    """A place in the body of an upload. The connection is not cut there, but something is done."""

    act: Callable[[], object] | None = None

    def __le__(self, received: int) -> bool:
        if received >= int(self) and self.act is not None:
            act, self.act = self.act, None
            act()
        return False


def bodies(registry: FakeRegistry, since: int = 0) -> int:
    """Bytes that came to the registry."""
    return sum(asked.received for asked in registry.requests[since:])


def words(registry: FakeRegistry, name: str = NAME) -> tuple[str, ...]:
    return ("push", "--model", "tiny", "--to", f"{registry.address}/{name}")


def test_weights_go_from_the_hub_to_the_registry_without_touching_the_disk(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    done = push(project, registry)
    assert registry.tags[NAME] == {"tiny": done["digest"]}
    (big,) = [item for item in manifest(registry, done["digest"])["layers"] if item["size"] > BIG]
    assert digest_of(registry.blobs[NAME][big["digest"]]) == big["digest"]
    lock = project.lock()["models"]["tiny"]
    assert big["digest"] in [layer["digest"] for layer in lock["layers"].values()]
    assert kept(project) < 200_000
    assert BIG < given(hub, FIRST) < BIG + (2 << 20), "once, and its head when it was locked"
    assert bodies(registry) < BIG + (1 << 20)
    (plan,) = project.run(
        "plan", "--model", "tiny", "--output", f"registry:{registry.address}/{NAME}", "--json"
    ).json()
    assert (plan["write"], plan["stream"]["bytes"], plan["fetch"]["bytes"]) == (0, 0, 0)
    since = len(hub.requests)
    assert push(project, registry)["sent"] == 0
    assert hub.requests[since:] == []


def test_bytes_that_are_wrong_in_the_middle_leave_nothing_in_the_registry(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    assert project.run("lock", "--model", "tiny").code == 0
    before = (project.root / "models.lock").read_bytes()
    hub.wrong_bytes = {FIRST: HALF}
    done = project.run(*words(registry))
    assert done.code == 8, done
    assert FIRST in done.err
    assert "expected sha256:" in done.err
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    assert all(len(data) < BIG for data in registry.blobs[NAME].values())
    assert registry.manifests[NAME] == {}
    assert registry.tags[NAME] == {}
    assert all(upload.size < BIG for upload in registry.uploads.values()), "it was cancelled"
    assert (project.root / "models.lock").read_bytes() == before
    hub.wrong_bytes = {}
    assert registry.tags[NAME] == {} != push(project, registry)["digest"]


def test_a_hub_that_breaks_off_is_asked_for_the_rest_alone(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    assert project.run("lock", "--model", "tiny").code == 0
    before = given(hub, FIRST)
    hub.cut_after = [HALF, 1 << 20]
    done = push(project, registry)
    assert registry.tags[NAME] == {"tiny": done["digest"]}
    assert given(hub, FIRST) - before < BIG + (1 << 20)
    assert bodies(registry) < BIG + (1 << 20)


def test_a_hub_that_wants_us_to_wait_is_waited_for(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    hub.retry_after, hub.status_next = "0", [429, 503]
    assert project.run("lock", "--model", "tiny").code == 0
    hub.status_path, hub.status_next = "safetensors", [429, 503]
    assert push(project, registry)["digest"]
    assert hub.status_next == []
    hub.retry_after, hub.status_path, hub.status_next = "3600", "", [429]
    done = project.run("lock", "--model", "tiny", "--check")
    assert done.code == 6, done
    assert "try again after 3600 s" in done.err


def test_killed_in_the_middle_the_next_run_sends_only_the_rest(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    assert project.run("lock", "--model", "tiny").code == 0
    calm = make_project("calm")
    use(hub, calm)
    digest = push(calm, registry, name="calm/models")["digest"]
    process = project.start(*words(registry))
    half = At(HALF)
    half.act = lambda: process.send_signal(signal.SIGKILL)
    registry.cut_after = [half]
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    registry.cut_after = []
    assert registry.tags[NAME] == {}
    assert all(len(data) < BIG for data in registry.blobs[NAME].values())
    (upload,) = [upload for upload in registry.uploads.values() if upload.size >= HALF]
    with upload.lock:
        arrived = upload.size
    assert kept(project) < 200_000
    since = len(registry.requests)
    done = push(project, registry)
    assert done["digest"] == digest
    assert bodies(registry, since) < BIG - arrived + (1 << 20)
    assert registry.tags[NAME] == {"tiny": digest}
    assert not project.leftovers()


@pytest.mark.parametrize("arrives", [True, False])
def test_killed_while_the_last_answer_is_on_its_way_nothing_is_sent_again(
    project: Project, hub: FakeHub, registry: FakeRegistry, arrives: bool
) -> None:
    serve(hub, project)
    assert project.run("lock", "--model", "tiny").code == 0
    process = project.start(*words(registry))

    def kill(method: str, path: str) -> None:
        if method == "PUT" and "/uploads/" in path:
            process.kill()

    registry.before = kill
    if not arrives:
        registry.fail = [("PUT", "/uploads/", 0, {})]
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    registry.before = None
    assert any(len(data) > BIG for data in registry.blobs[NAME].values()) is arrives
    since = len(registry.requests)
    done = push(project, registry)
    assert registry.tags[NAME] == {"tiny": done["digest"]}
    assert bodies(registry, since) < 1 << 20
    notes = [path.read_bytes() for path in (project.cache / "notes").glob("*.json")]
    assert not any(b"_state=" in text for text in notes)


def without_hub(make_project: MakeProject, project: Project) -> Project:
    """Another machine, with the repository and nothing else; its hub is nowhere."""
    other = make_project("other")
    shutil.rmtree(other.cache)
    shutil.rmtree(other.root)
    shutil.copytree(project.root, other.root)
    return other


def test_what_is_locked_and_published_needs_no_hub_no_token_and_no_store(
    make_project: MakeProject, project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project, gated=True)
    project.environment["HF_TOKEN"] = TOKEN
    digest = push(project, registry)["digest"]
    hub.go_away()
    other = without_hub(make_project, project)
    shown = other.run("plan", "--model", "tiny", "--output", f"registry:{registry.address}/{NAME}")
    assert "send   0 B of 34.7 MB\n" in shown.out
    assert f"image  {digest}" in shown.out
    registry.tags.clear()
    again = push(other, registry, "--locked")
    assert (again["digest"], again["sent"]) == (digest, 0)
    assert registry.tags[NAME] == {"tiny": digest}
    assert other.build("--output", "none", "--locked").digest() == digest
    (big,) = [key for key, data in registry.blobs[NAME].items() if len(data) > BIG]
    del registry.blobs[NAME][big]
    registry.tags.clear()
    lost = other.run(*words(registry), "--locked")
    assert lost.code == 6, lost
    assert f"the hub does not answer: `{MODEL}" in lost.err
    assert FIRST in lost.err
    assert "hint: go online, or set HF_ENDPOINT to a mirror; then try again\n" in lost.err
    assert "Traceback" not in lost.err
    assert registry.tags[NAME] == {}


def test_the_same_files_of_two_entries_are_asked_for_once(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project, f"{ENTRY}  other:\n    model: {MODEL}\n    port: 9000\n")
    other, tiny = push(project, registry, "--all")
    assert registry.tags[NAME] == {"other": other["digest"], "tiny": tiny["digest"]}
    assert given(hub, FIRST) < BIG + (3 << 20)
    assert weights(registry, tiny["digest"]) == weights(registry, other["digest"])
    assert bodies(registry) < BIG + (1 << 20)


def test_of_a_fine_tune_that_shares_shards_only_the_rest_moves(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project, f"{ENTRY}  tuned:\n    model: org/tuned\n")
    first = push(project, registry)
    hub.repository("org/tuned").commit({**files(), SECOND: tensors(small=5001)})
    before = given(hub, FIRST)
    tuned = push(project, registry, "--model", "tuned")
    assert 0 < tuned["sent"] < 100_000
    assert given(hub, FIRST) - before < 1 << 20, "its head alone"
    assert len({*weights(registry, first["digest"])} & {*weights(registry, tuned["digest"])}) == 1


def test_the_registry_loses_its_blob_and_the_hub_gives_it_again(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    serve(hub, project)
    digest = push(project, registry)["digest"]
    (big,) = [key for key, data in registry.blobs[NAME].items() if len(data) > BIG]
    data = registry.blobs[NAME].pop(big)
    again = push(project, registry)
    assert again["digest"] == digest
    assert hashlib.sha256(registry.blobs[NAME][big]).digest() == hashlib.sha256(data).digest()
    hub.wrong_bytes = {FIRST: HALF}
    del registry.blobs[NAME][big]
    done = project.run(*words(registry))
    assert done.code == 8, done
    assert big not in registry.blobs[NAME]
