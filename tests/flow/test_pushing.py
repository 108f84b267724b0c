"""`push`: what the registry has does not move, and the tag moves last."""

from __future__ import annotations

import base64
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ovenproof.registry.limits import limits
from tests.fakes.registry import FakeRegistry, digest_of

if TYPE_CHECKING:
    import subprocess

    from tests.flow.conftest import MakeProject, Project

TWO = "  other:\n    weights: {folder: ./tiny}\n  tiny:\n    weights: {folder: ./tiny}\n"
CANARY = "canary-s3cret-pa55word"
WRITES = {"POST", "PATCH", "PUT", "DELETE"}
HALF = 17 << 20
"""Bytes of the big layer, which has 33 MiB."""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


class At(int):
    """A place in the body of an upload. The connection is not cut there, but something is done."""

    act: Callable[[], object]

    def __le__(self, received: int) -> bool:
        if received >= int(self) and self.act is not None:
            act, self.act = self.act, lambda: None
            act()
        return False


def push(project: Project, registry: FakeRegistry, *words: str, name: str = "a/models") -> Any:
    """`push --model tiny`, where nothing else is said; what it says to a machine."""
    to = ("--to", f"{registry.address}/{name}")
    which = () if "--all" in words else ("--model", "tiny")
    found = project.run("push", *which, *to, "--json", *words).json()
    return found if "--all" in words else found[0]


def login(project: Project, registry: FakeRegistry, password: str = CANARY) -> None:
    """What `docker login` writes."""
    path = project.home / ".docker/config.json"
    secret = base64.b64encode(f"me:{password}".encode()).decode()
    auths = {registry.address: {"auth": secret}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auths": auths}))


def writes(registry: FakeRegistry, since: int = 0) -> list[str]:
    return [
        f"{asked.method} {asked.path}"
        for asked in registry.requests[since:]
        if asked.method in WRITES
    ]


def moved(registry: FakeRegistry, since: int = 0) -> int:
    """Bytes of bodies that came."""
    return sum(asked.received for asked in registry.requests[since:])


def weightless(make_project: MakeProject, project: Project) -> Project:
    """Another machine, with the repository and nothing else: no store, no weights."""
    other = make_project("other")
    shutil.rmtree(other.cache)
    shutil.rmtree(other.root)
    shutil.copytree(project.root, other.root, ignore=shutil.ignore_patterns("tiny"))
    shutil.copytree(project.root / "images", other.root / "images", dirs_exist_ok=True)
    return other


def test_an_image_is_pushed_from_nothing_and_its_tag_last(
    project: Project, registry: FakeRegistry
) -> None:
    digest = project.build("--output", "none").digest()
    done = project.run("push", "--model", "tiny", "--to", f"{registry.address}/a/models")
    assert done.digest() == digest
    assert registry.tags["a/models"] == {"tiny": digest}
    manifest = json.loads(registry.manifests["a/models"][digest].data)
    for item in (manifest["config"], *manifest["layers"]):
        data = registry.blobs["a/models"][item["digest"]]
        assert (digest_of(data), len(data)) == (item["digest"], item["size"])
    assert writes(registry)[-2:] == [
        f"PUT /v2/a/models/manifests/{digest}",
        "PUT /v2/a/models/manifests/tiny",
    ]
    lines = dict(line.split(None, 1) for line in done.out.splitlines())
    assert lines["image"] == f"{registry.address}/a/models:tiny@{digest}"
    assert lines["sent"] == "34.7 MB"
    assert lines["use"].startswith("docker run ")
    assert lines["use"].endswith(f" {registry.address}/a/models@{digest}")
    assert "model-00001-of-00002.safetensors: done, 34.6 MB" in done.err


def test_a_second_push_sends_nothing(project: Project, registry: FakeRegistry) -> None:
    first = push(project, registry)
    assert first["there"] == first["mounted"] == 0
    since = len(registry.requests)
    second = push(project, registry)
    assert (second["sent"], second["there"]) == (0, first["sent"])
    assert writes(registry, since) == []
    assert {key: second[key] for key in ("digest", "size", "layers", "place")} == {
        key: first[key] for key in ("digest", "size", "layers", "place")
    }
    assert second["reference"] == f"{registry.address}/a/models@{first['digest']}"
    assert second["name"] == "tiny"
    assert second["run"].endswith(second["reference"])


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_what_an_ended_push_has_sent_is_not_sent_again(
    project: Project, registry: FakeRegistry, number: signal.Signals, code: int
) -> None:
    digest = project.build("--output", "none").digest()
    to = f"{registry.address}/a/models"
    process: subprocess.Popen[str] = project.start("push", "--model", "tiny", "--to", to)
    half = At(HALF)
    half.act = lambda: process.send_signal(number)
    registry.cut_after = [half]
    out, err = process.communicate()
    assert process.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    registry.cut_after = []
    assert registry.tags["a/models"] == {}
    (upload,) = [upload for upload in registry.uploads.values() if upload.size >= HALF]
    with upload.lock:
        arrived = upload.size
    kept = list((project.cache / "notes").glob("*.json"))
    assert any(b"_state=" in path.read_bytes() for path in kept)
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    since = len(registry.requests)
    again = push(project, registry)
    assert again["digest"] == digest
    assert moved(registry, since) < (35 << 20) - arrived
    assert again["sent"] < (35 << 20) - arrived
    assert registry.tags["a/models"] == {"tiny": digest}
    kept = list((project.cache / "notes").iterdir())
    assert not any(b"_state=" in path.read_bytes() for path in kept)
    assert {path.suffix for path in kept} == {".json"}
    assert not project.leftovers()
    freed = project.run("clean", "--all", "--json").json()["freed"]
    assert freed >= len(kept)
    assert not (project.cache / "notes").exists()


def test_a_connection_that_breaks_in_a_blob_costs_nothing_but_the_rest(
    project: Project, registry: FakeRegistry
) -> None:
    registry.cut_after = [HALF]
    done = push(project, registry)
    assert registry.tags["a/models"] == {"tiny": done["digest"]}
    assert moved(registry) < 36 << 20


def test_a_machine_without_weights_and_store_pushes_the_same_image(
    make_project: MakeProject, project: Project, registry: FakeRegistry
) -> None:
    first = push(project, registry)
    other = weightless(make_project, project)
    registry.tags.clear()
    again = push(other, registry, "--locked")
    assert (again["digest"], again["sent"]) == (first["digest"], 0)
    assert registry.tags["a/models"] == {"tiny": first["digest"]}
    assert not (other.cache / "blobs").exists()
    shown = other.run(
        "plan", "--model", "tiny", "--output", f"registry:{registry.address}/a/models"
    )
    assert "send   0 B of 34.7 MB\n" in shown.out


def test_where_the_runtime_changed_no_weight_byte_is_needed(
    project: Project, registry: FakeRegistry
) -> None:
    first = push(project, registry)
    project.add_wheel("cherry", "taste = 'sweet'\n")
    shutil.rmtree(project.root / "tiny")
    again = push(project, registry)
    assert again["digest"] != first["digest"]
    assert 0 < again["sent"] < 100_000
    assert again["there"] > 34_000_000


def test_what_is_neither_here_nor_there_is_named_and_no_tag_moves(
    make_project: MakeProject, project: Project, registry: FakeRegistry
) -> None:
    push(project, registry)
    other = weightless(make_project, project)
    done = other.run("push", "--model", "tiny", "--to", f"{registry.address}/b/models", "--locked")
    assert done.code != 0
    assert registry.tags["b/models"] == {}
    assert "Traceback" not in done.err


def test_another_repository_of_the_registry_gives_what_it_has(
    make_project: MakeProject, project: Project, registry: FakeRegistry
) -> None:
    first = push(project, registry)
    since = len(registry.requests)
    second = push(project, registry, name="b/models")
    assert (second["sent"], second["mounted"]) == (0, first["sent"])
    assert moved(registry, since) < 20_000
    other = weightless(make_project, project)
    text = (other.root / "models.yaml").read_text()
    (other.root / "models.yaml").write_text(
        text.replace("repository: kitchen", f"repository: {registry.address}/a/models")
    )
    words = ("plan", "--model", "tiny", "--output", f"registry:{registry.address}/c/models:x")
    shown = other.run(*words).out
    assert "send   0 B of 34.7 MB, 34.7 MB to mount\n" in shown
    assert "tag    x names nothing yet" in shown
    third = push(other, registry, "--locked", name="c/models")
    assert (third["sent"], third["mounted"]) == (0, first["sent"])


def test_a_plan_says_what_a_push_would_send_and_what_the_tag_names(
    project: Project, registry: FakeRegistry
) -> None:
    words = ("plan", "--model", "tiny", "--output", f"registry:{registry.address}/a/models")
    (before,) = project.run(*words, "--json").json()
    assert before["write"] == before["of"] > 34_000_000
    assert before["mount"] == 0
    assert before["tag"] == {"name": "tiny", "names": "none"}
    assert before["registry"] == {"blob": None, "note": limits(registry.address).note}
    assert f"\nlimits {limits(registry.address).note}\n" in f"{project.run(*words).out}\n"
    (local,) = project.run("plan", "--model", "tiny", "--output", "none", "--json").json()
    assert local["registry"] is None
    assert writes(registry) == []
    digest = push(project, registry)["digest"]
    (after,) = project.run(*words, "--json").json()
    assert (after["write"], after["of"]) == (0, before["of"])
    assert after["tag"] == {"name": "tiny", "names": digest}
    shown = project.run("push", "--dry", *words[1:3], "--to", words[4].removeprefix("registry:"))
    assert shown.out.startswith(f"{registry.address}/a/models:tiny  (")
    assert "\nstream" not in shown.out
    assert "send   0 B of 34.7 MB\n" in shown.out
    assert f"tag    tiny names {digest}" in shown.out


def test_entries_of_one_call_share_what_was_asked_and_sent(
    project: Project, registry: FakeRegistry
) -> None:
    project.catalogue(TWO)
    other, tiny = push(project, registry, "--all")
    assert registry.tags["a/models"] == {"other": other["digest"], "tiny": tiny["digest"]}
    assert other["sent"] > 34_000_000
    assert 0 < tiny["sent"] < 20_000, "the arguments have another name in them"
    since = len(registry.requests)
    push(project, registry, "--all")
    asked = [one.path for one in registry.requests[since:] if "/blobs/" in one.path]
    assert len(asked) == len({*asked})


def test_a_fault_of_one_entry_does_not_stop_the_others(
    project: Project, registry: FakeRegistry
) -> None:
    project.catalogue(TWO)
    push(project, registry, "--untagged", "--all")
    theirs = registry.add_manifest("a/models", b"{}", "application/json", "other")
    to = ("--to", f"{registry.address}/a/models")
    done = project.run("push", "--all", *to, "--was", "none")
    assert done.code == 4
    assert f"{registry.address}/a/models:other" in done.err
    assert registry.tags["a/models"]["other"] == theirs
    assert "tiny" in registry.tags["a/models"]


def test_a_fault_that_all_entries_share_is_told_once_with_their_names(
    project: Project, registry: FakeRegistry
) -> None:
    project.catalogue(TWO)
    shutil.rmtree(project.root / "tiny")
    to = ("--to", f"{registry.address}/a/models")
    for words in (("push", *to), ("build", "--output", "none")):
        done = project.run(*words, "--all")
        assert done.code != 0
        assert "other" in done.err
        assert "tiny" in done.err
        assert done.err.count("for other") == 1


def test_all_that_is_locked_is_what_a_locked_push_is_about(
    project: Project, registry: FakeRegistry
) -> None:
    assert project.run("lock", "--model", "tiny").code == 0
    project.catalogue(TWO)
    to = ("--to", f"{registry.address}/a/models")
    done = project.run("push", "--all", "--locked", *to)
    assert done.code == 0, done
    assert "note: left out, because they are not locked: other\n" in done.err
    assert {*registry.tags["a/models"]} == {"tiny"}


def test_without_a_tag_the_digest_is_all_there_is(project: Project, registry: FakeRegistry) -> None:
    done = push(project, registry, "--untagged")
    assert registry.tags["a/models"] == {}
    assert {*registry.manifests["a/models"]} == {done["digest"]}
    assert done["place"] == done["reference"] == f"{registry.address}/a/models@{done['digest']}"


def test_build_pushes_too(project: Project, registry: FakeRegistry) -> None:
    to = f"{registry.address}/a/models:v1"
    done = project.build("--push", "--to", to)
    assert registry.tags["a/models"] == {"v1": done.digest()}
    assert f"place   {to}@{done.digest()} (34.7 MB moved)" in done.out
    again = project.build("--output", f"registry:{to}")
    assert f"use     docker run --rm --init --shm-size 1g -p 8000:8000 {registry.address}" in (
        again.out
    )
    assert "(0 B moved)" in again.out


def test_a_tag_that_somebody_moves_meanwhile_stays_theirs(
    project: Project, registry: FakeRegistry
) -> None:
    theirs = registry.add_manifest("a/models", b'{"schemaVersion": 2}', "application/json")

    def meddle(method: str, path: str) -> None:
        if (method, "/manifests/sha256:" in path) == ("PUT", True):
            registry.tags["a/models"]["tiny"] = theirs

    registry.before = meddle
    words = ("push", "--model", "tiny", "--to", f"{registry.address}/a/models")
    done = project.run(*words)
    assert done.code == 4
    assert "the tag names another image than it did, and was not moved" in done.err
    assert f"`{registry.address}/a/models:tiny`" in done.err
    assert theirs in done.err
    assert "--force" in done.err
    assert registry.tags["a/models"] == {"tiny": theirs}
    registry.before = None
    since = len(registry.requests)
    assert project.run(*words, "--was", "none").code == 4
    assert writes(registry, since) == []
    assert project.run(*words, "--force").code == 0
    assert registry.tags["a/models"]["tiny"] != theirs


def test_a_registry_that_says_no_is_told_and_nothing_is_pushed(
    project: Project, registry: FakeRegistry
) -> None:
    registry.push_denied = True
    done = project.run("push", "--model", "tiny", "--to", f"{registry.address}/a/models")
    assert done.code == 5
    assert f"{registry.address}/a/models" in done.err
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    assert moved(registry) == 0
    assert registry.manifests["a/models"] == {}


def test_a_registry_that_does_not_answer_is_named(project: Project) -> None:
    done = project.run("push", "--model", "tiny", "--to", "127.0.0.1:9/a/models")
    assert done.code == 6
    assert "127.0.0.1:9" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_of_docker_is_used_and_shown_to_nobody(
    project: Project, registry: FakeRegistry, auth: Any
) -> None:
    registry.auth, registry.users, registry.token_uses = auth, {"me": CANARY}, 2
    words = ("push", "--model", "tiny", "--to", f"{registry.address}/a/models")
    refused = project.run(*words)
    assert refused.code == 5
    login(project, registry, "wrong" + CANARY)
    wrong = project.run(*words)
    assert wrong.code == 5
    login(project, registry)
    done = project.run(*words)
    assert done.code == 0, done
    kept = [path.read_bytes() for path in project.cache.rglob("*") if path.is_file()]
    kept += [path.read_bytes() for path in project.root.rglob("*.lock")]
    said = [text.encode() for one in (refused, wrong, done) for text in (one.out, one.err)]
    for secret in (CANARY, base64.b64encode(f"me:{CANARY}".encode()).decode(), "Bearer "):
        assert not any(secret.encode() in text for text in (*kept, *said))


def test_a_store_that_takes_no_notes_costs_nothing_else(
    project: Project, registry: FakeRegistry
) -> None:
    (project.cache / "notes").write_text("a file where the folder should be")
    done = push(project, registry)
    assert registry.tags["a/models"] == {"tiny": done["digest"]}


def test_a_store_that_may_not_be_written_is_enough_for_what_is_locked(
    nobodys: Project, registry: FakeRegistry
) -> None:
    assert nobodys.build("--output", "none", powerless=True).code == 0
    for path in (nobodys.cache, *nobodys.cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    to = f"{registry.address}/a/models"
    done = nobodys.run("push", "--model", "tiny", "--to", to, "--locked", powerless=True)
    assert done.code == 0, done
    assert registry.tags["a/models"] == {"tiny": done.digest()}
