"""`lock` of a model on the hub: what is written down, what stays, moves on, and is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.hub import FakeHub, Repository, Sparse
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import (
    BIG,
    ENTRY,
    FIRST,
    MODEL,
    SECOND,
    TOKEN,
    config,
    files,
    given,
    push,
    serve,
    use,
)
from tests.unit.sources.repositories import INDEX, big_tensors, index_of, tensors, torch_file

if TYPE_CHECKING:
    from tests.flow.conftest import Done, Project

LOCK = ("lock", "--model", "tiny")
TEMPLATE = json.dumps({"chat_template": "good morning\n{{ messages }}"}).encode()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


def move_on(repository: Repository) -> str:
    """Another commit on main: a key of the config, a line of the template, the big shard."""
    return repository.commit(
        {
            "config.json": config(rope_theta=10000),
            "tokenizer_config.json": TEMPLATE,
            FIRST: big_tensors(7, big=BIG),
        }
    )


def snapshot(project: Project) -> dict[str, bytes]:
    """The whole project, and what the store says of actions."""
    return {str(path): path.read_bytes() for path in project.root.rglob("*") if path.is_file()}


def refused(done: Done, code: int, *said: str) -> None:
    """It ended so, said that, gave a hint, and wrote no lock."""
    assert done.code == code, done
    for text in said:
        assert text in done.err
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    assert TOKEN not in done.err + done.out


def test_commit_files_facts_licence_and_gate_are_written_down(
    project: Project, hub: FakeHub
) -> None:
    repository = serve(hub, project, gated="manual")
    done = project.run(*LOCK, HF_TOKEN=TOKEN)
    assert done.code == 0, done
    assert "locked tiny: 8 files, 34.6 MB" in done.out
    locked = project.lock()["models"]["tiny"]
    commit = repository.commits[repository.branches["main"]]
    assert locked["origin"] == {
        "kind": "hub",
        "model": MODEL,
        "revision": None,
        "commit": commit.sha,
        "gated": True,
    }
    assert locked["facts"]["license"] == "apache-2.0"
    assert locked["facts"]["architectures"] == ["LlamaForCausalLM"]
    assert locked["facts"]["context length"] == 4096
    assert locked["facts"]["parameters"] == BIG + 5000
    assert {file["path"]: (file["digest"], file["size"]) for file in locked["files"]} == {
        path: (f"sha256:{entry.content.sha256}", entry.size)
        for path, entry in commit.files.items()
        if path != "pytorch_model.bin"
    }
    assert given(hub, FIRST) < 2 << 20, "of a big file the head is enough"
    assert given(hub, "pytorch_model.bin") == 0


def test_what_is_locked_stays_where_it_is_although_main_moves(
    project: Project, hub: FakeHub
) -> None:
    repository = serve(hub, project)
    assert project.run(*LOCK).code == 0
    before = snapshot(project)
    move_on(repository)
    assert project.run(*LOCK).code == 0
    assert project.build("--output", "none").code == 0
    assert project.lock()["models"]["tiny"]["origin"]["commit"] != repository.branches["main"]
    (project.root / "models.yaml").write_text(
        (project.root / "models.yaml").read_text() + "    revision: main\n"
    )
    assert project.run(*LOCK).code == 0, "another revision, even of the same commit, is looked up"
    after = project.lock()["models"]["tiny"]["origin"]
    assert (after["commit"], after["revision"]) == (repository.branches["main"], "main")
    assert snapshot(project) != before


def test_a_check_says_what_changed_upstream_and_writes_nothing(
    project: Project, hub: FakeHub
) -> None:
    repository = serve(hub, project)
    unlocked = project.run(*LOCK, "--check")
    refused(unlocked, 4, "this model is not locked: `tiny`")
    assert project.run(*LOCK).code == 0
    before = snapshot(project)
    same = project.run(*LOCK, "--check")
    assert (same.code, same.out) == (0, "tiny: nothing has changed\n")
    old, new = repository.branches["main"], move_on(repository)
    done = project.run(*LOCK, "--check")
    refused(done, 4, "what is upstream is no longer what is locked: `tiny`")
    lines = done.out.splitlines()
    assert lines[0] == "tiny: 3 files changed, 34.6 MB will move"
    assert f"  origin    ~ commit  {old} -> {new}" in lines
    for path in ("config.json", FIRST, "tokenizer_config.json"):
        assert any(line.startswith(f"  file      ~ {path}  ") for line in lines)
    assert "  value     + config.json: rope_theta  10000" in lines
    assert [line for line in lines if line.startswith("  template")] == [
        "  template  -hello",
        "  template  +good morning",
    ]
    told = project.run(*LOCK, "--check", "--json")
    assert told.code == 4
    (changes,) = json.loads(told.out)["tiny"]["changes"].values()
    assert [one["path"] for one in changes["files"]] == [
        "config.json",
        FIRST,
        "tokenizer_config.json",
    ]
    assert BIG < changes["moves"] < BIG + 20_000
    assert snapshot(project) == before


def test_an_upgrade_moves_on_and_says_what_is_new(project: Project, hub: FakeHub) -> None:
    repository = serve(hub, project)
    assert project.run(*LOCK).code == 0
    new = move_on(repository)
    done = project.run(*LOCK, "--upgrade")
    assert done.code == 0, done
    assert "tiny: 3 files changed, 34.6 MB will move" in done.out
    assert "  template  +good morning" in done.out
    assert project.lock()["models"]["tiny"]["origin"]["commit"] == new
    again = project.run(*LOCK, "--upgrade", "--json").json()
    assert again["tiny"]["changes"]["tiny"]["files"] == []
    assert project.run(*LOCK, "--check").code == 0


def test_a_commit_that_a_force_push_took_away_is_named_and_an_upgrade_helps(
    project: Project, hub: FakeHub
) -> None:
    repository = serve(hub, project)
    assert project.run(*LOCK).code == 0
    old, before = repository.branches["main"], snapshot(project)
    new = repository.force_push("main", files(seed=3))
    with FakeRegistry() as registry:
        to = ("--to", f"{registry.address}/a/models")
        for done in (project.run(*LOCK), project.run("push", "--model", "tiny", *to)):
            refused(done, 4, MODEL, old, "lock --model tiny --upgrade")
        assert registry.tags["a/models"] == {}
        assert snapshot(project) == before
        assert project.run(*LOCK, "--upgrade").code == 0
        assert project.lock()["models"]["tiny"]["origin"]["commit"] == new
        assert registry.tags["a/models"] == {} != push(project, registry)


REFUSALS: dict[str, tuple[dict[str, Any], str | None, int, tuple[str, ...]]] = {
    "gated, nobody": ({"gated": True}, None, 5, ("the model is gated", "accept it at")),
    "gated, a stranger": ({"gated": True}, "hf_stranger", 5, ("the model is gated", "HF_TOKEN")),
    "private, nobody": (
        {"private": True},
        None,
        3,
        ("the hub knows no such model, or does not show it", "set HF_TOKEN"),
    ),
    "private, a stranger": (
        {"private": True},
        "hf_stranger",
        3,
        ("the hub knows no such model, or does not show it", "HF_TOKEN"),
    ),
    "an unknown token": ({}, "hf_unknown", 5, ("HTTP status 401",)),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_who_may_not_is_told_so(project: Project, hub: FakeHub, name: str) -> None:
    said, token, code, texts = REFUSALS[name]
    serve(hub, project, **said)
    hub.other_tokens = {"hf_stranger"}
    project.environment.update({"HF_TOKEN": token} if token else {})
    done = project.run(*LOCK)
    refused(done, code, MODEL, *texts)
    assert not (project.root / "models.lock").exists()
    assert not token or token not in done.err


def test_what_the_hub_does_not_have_is_named(project: Project, hub: FakeHub) -> None:
    serve(hub, project, f"{ENTRY}    revision: v9\n  other:\n    model: org/nobody\n")
    refused(project.run(*LOCK), 3, "the hub has no such revision of the model: `v9`", MODEL)
    refused(project.run("lock", "--model", "other"), 3, "`org/nobody`")
    refused(project.run(*LOCK, HF_ENDPOINT="hub.example"), 2, "HF_ENDPOINT is not the address")
    refused(project.run(*LOCK, HF_ENDPOINT="http://127.0.0.1:9"), 6, "the hub does not answer")
    with FakeRegistry() as registry:  # something answers, but it is no hub
        refused(project.run(*LOCK, HF_ENDPOINT=registry.url), 6, "org/model")
    assert not (project.root / "models.lock").exists()


class Evil:
    """Runs a command as soon as it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, ("touch evil",)


def lock_with(project: Project, hub: FakeHub, changes: dict[str, Any], said: str = "") -> Done:
    """Lock, from nothing, a model whose files differ so from the usual ones."""
    (project.root / "models.lock").unlink(missing_ok=True)
    hub.repository(MODEL).commit(
        {path: body for path, body in {**files(), **changes}.items() if body is not None}
    )
    use(hub, project, ENTRY + said)
    return project.run(*LOCK)


def locked_paths(project: Project) -> set[str]:
    return {file["path"] for file in project.lock()["models"]["tiny"]["files"]}


TENSORS = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n."
"""The pickle of a file that torch.save writes, as far as it says what it would call."""
SHARDLESS = {FIRST: None, SECOND: None, INDEX: None}


def test_pickles_are_taken_by_who_says_so_and_only_clean_ones(
    project: Project, hub: FakeHub
) -> None:
    clean = {**SHARDLESS, "pytorch_model.bin": torch_file(TENSORS)}
    refused(lock_with(project, hub, clean), 3, "allow_pickle")
    evil = {**SHARDLESS, "pytorch_model.bin": torch_file(pickle.dumps(Evil()))}
    done = lock_with(project, hub, evil, "    allow_pickle: true\n")
    refused(done, 3, "pytorch_model.bin", "system")
    assert not (project.root / "evil").exists()
    assert not (project.root / "models.lock").exists()
    done = lock_with(project, hub, clean, "    allow_pickle: true\n")
    assert done.code == 0, done
    assert f"the weights of {MODEL} are pickles" in done.err
    assert "pytorch_model.bin" in locked_paths(project)


def test_code_is_baked_by_who_trusts_it_and_never_that_of_others(
    project: Project, hub: FakeHub
) -> None:
    own = config(auto_map={"AutoModel": "modeling.Model"})
    code = {"config.json": own, "modeling.py": b"import helpers\n", "helpers.py": b""}
    untrusted = lock_with(project, hub, code)
    assert untrusted.code == 0, untrusted
    assert not {path for path in locked_paths(project) if path.endswith(".py")}
    trust = "    trust_remote_code: true\n"
    assert lock_with(project, hub, code, trust).code == 0
    assert {"modeling.py", "helpers.py"} <= locked_paths(project)
    foreign = config(auto_map={"AutoModel": "other/code--modeling.Model"})
    refused(lock_with(project, hub, {"config.json": foreign}, trust), 3, "other/code")


def test_include_and_exclude_change_the_choice_and_are_written_down(
    project: Project, hub: FakeHub
) -> None:
    said = '    include: ["*.pdf"]\n    exclude: ["*.md"]\n'
    more = {"paper.pdf": b"%PDF", "docs/more.pdf": b"%PDF-2"}
    assert lock_with(project, hub, more, said).code == 0
    assert {"paper.pdf", "docs/more.pdf"} <= locked_paths(project)
    assert "README.md" not in locked_paths(project)
    origin = project.lock()["models"]["tiny"]["origin"]
    assert (origin["include"], origin["exclude"]) == (["*.pdf"], ["*.md"])
    use(hub, project)
    done = project.build("--output", "none", "--locked")
    refused(done, 4, "the model's lock is out of date: `tiny`")


def test_of_two_formats_one_is_taken(project: Project, hub: FakeHub) -> None:
    both = {"consolidated.safetensors": tensors(big=70), "params.json": b"{}", "tekken.json": b"{}"}
    assert lock_with(project, hub, both).code == 0
    assert FIRST in locked_paths(project)
    assert "consolidated.safetensors" not in locked_paths(project)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({SECOND: None}, 4, SECOND),
        ({"../climbs.json": b"{}"}, 8, "../climbs.json"),
        ({SECOND: b"\xff" * 7 + b"\x00" + b"{}"}, 8, SECOND),
        ({FIRST: Sparse(BIG, 0, (BIG * 2).to_bytes(8, "little") + b"{}")}, 8, FIRST),
        ({INDEX: index_of(big="../../etc/passwd")}, 3, "../../etc/passwd"),
    ],
    ids=["a missing shard", "a name", "a header", "a big header", "an index"],
)
def test_a_repository_that_is_not_whole_or_lies_is_refused(
    project: Project, hub: FakeHub, changes: dict[str, Any], code: int, said: str
) -> None:
    refused(lock_with(project, hub, changes), code, said)
    assert not (project.root / "models.lock").exists()
    assert given(hub, FIRST) < 2 << 20


def test_a_changed_models_yaml_is_not_blamed_on_the_hub(project: Project, hub: FakeHub) -> None:
    serve(hub, project)
    assert project.run(*LOCK).code == 0
    use(hub, project, ENTRY.replace(MODEL, "org/another"))
    for words in ((*LOCK, "--check"), ("export-cache", "--all"), ("plan", "--all", "--locked")):
        refused(project.run(*words), 4, "tiny")
    (row,) = project.run("list", "--json").json()
    assert (row["locked"], row["stale"]) == (False, True)
    assert "out of date" in project.run("list").out


def test_a_lock_whose_origin_somebody_has_edited_is_out_of_date(
    project: Project, hub: FakeHub
) -> None:
    serve(hub, project)
    assert project.run(*LOCK).code == 0
    lock = project.root / "models.lock"
    lock.write_text(lock.read_text().replace(f'"model": "{MODEL}"', '"model": "evil/model"'))
    refused(project.run("plan", "--model", "tiny", "--locked"), 4, "out of date")


def test_a_check_tells_that_the_locked_commit_is_gone_though_the_files_are_the_same(
    project: Project, hub: FakeHub
) -> None:
    repository = serve(hub, project)
    assert project.run(*LOCK).code == 0
    repository.force_push("main", {**files(), "notes.xyz": b"nobody bakes this"})
    done = project.run(*LOCK, "--check")
    assert "nothing has changed but where it comes from" in done.out
    refused(done, 4, "no longer has the commit")


def test_where_the_proof_could_not_be_kept_no_weights_are_sent(
    nobodys: Project, hub: FakeHub
) -> None:
    serve(hub, nobodys)
    assert nobodys.run(*LOCK).code == 0
    with FakeRegistry() as registry:
        nobodys.root.chmod(0o555)
        words = ("push", "--model", "tiny", "--to", f"{registry.address}/a/models")
        done = nobodys.run(*words, powerless=True)
        nobodys.root.chmod(0o755)
        refused(done, 5, "could not be written into the lock", "--locked")
        assert not any(registry.blobs.values())


def test_what_the_entry_claims_is_held_against_the_checkpoint(
    project: Project, hub: FakeHub
) -> None:
    for claim in ("    quantization: awq\n", "    max_model_len: 9000\n"):
        refused(lock_with(project, hub, {}, claim), 3, claim.split(":")[0].strip())


def test_a_model_that_is_not_there_does_not_keep_the_others_from_being_locked(
    project: Project, hub: FakeHub
) -> None:
    serve(hub, project, f"  other:\n    model: org/nobody\n{ENTRY}")
    done = project.run("lock", "--all", "--json")
    refused(done, 3, "`org/nobody`", "for other")
    assert json.loads(done.out).keys() == {"tiny"}
    assert project.lock()["models"].keys() == {"tiny"}


def test_a_mirror_is_a_hub_too(project: Project, hub: FakeHub) -> None:
    """Files come from it without a redirect, whole where a range was asked for, and gzipped."""
    hub.redirect_to_cdn = hub.redirect_to_cache = False
    hub.ignore_range = hub.compress = True
    serve(hub, project)
    assert project.run(*LOCK, HF_ENDPOINT=f"{hub.endpoint}/").code == 0
    assert locked_paths(project) == {*files()} - {"pytorch_model.bin"}
    with FakeRegistry() as registry:
        assert push(project, registry)["sent"] > BIG
