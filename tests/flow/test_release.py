"""The steps of release.yml, in their order, against a registry here: what they do is what they say.

Docker, GitHub's own program and the image test are played here by scripts that write down how they
were called; tests/system has the real ones.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.registry import FakeRegistry
from tests.fakes.workflow import Runner, StepFailed

if TYPE_CHECKING:
    from tests.flow.conftest import Project

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
TWO = "  tiny:\n    weights: {folder: ./tiny}\n  other:\n    weights: {folder: ./tiny}\n"
RELEASE = "github.ref_type == 'tag' && github.ref_name || ''"
PLAYED = """\
#!/bin/sh
printf '%s' "$(basename "$0")" >>"$CALLS"
printf ' %s' "$@" >>"$CALLS"
echo >>"$CALLS"
"""
INV = """\
#!/bin/sh
if [ "$1" = test ]; then
    echo "inv $*" >>"$CALLS"
    exit $TEST_FAILS
fi
exec {ovenproof} "$@"
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def kitchen(project: Project) -> Project:
    """A project with two entries that are locked and proven, and its own `./inv`."""
    project.catalogue(TWO)
    assert project.run("build", "--all", "--output", "none").code == 0
    programs = project.home / "bin"
    programs.mkdir()
    (programs / "gh").write_text(PLAYED)
    inv = project.root / "inv"
    inv.write_text(INV.format(ovenproof=Path(sys.executable).with_name("ovenproof")))
    for path in (*programs.iterdir(), inv):
        path.chmod(0o755)
    return project


def release(kitchen: Project, registry: FakeRegistry, name: str = "v1.0.0", **more: str) -> Runner:
    """One run of the workflow, ready to go."""
    folder = kitchen.home / f"run-{name}"
    folder.mkdir()
    shutil.rmtree(kitchen.root / "released", ignore_errors=True)
    since = more.pop("since", "")
    return Runner.read(
        WORKFLOW,
        checkout=kitchen.root,
        folder=folder,
        environment={
            **kitchen.environment,
            "PATH": f"{kitchen.home / 'bin'}:{kitchen.environment['PATH']}",
            "CALLS": str(folder / "calls"),
            "TEST_FAILS": "0",
            "GITHUB_REPOSITORY": "Cook/Kitchen",
            **more,
        },
        values={
            "github.repository": "Cook/Kitchen",
            "github.token": "not-a-token",
            "inputs.changed_since": since,
            RELEASE: name,
        },
        replaced={"ghcr.io": registry.address},
    )


def calls(run: Runner) -> list[str]:
    return (run.folder / "calls").read_text().splitlines()


def digests(kitchen: Project) -> dict[str, str]:
    jobs = kitchen.run("matrix", "--json").json()["include"]
    return {job["name"]: job["digest"] for job in jobs}


def test_every_image_is_pushed_then_tested_and_only_then_gets_its_tags(
    kitchen: Project, registry: FakeRegistry
) -> None:
    seen: dict[str, list[dict[str, str]]] = {}
    run = release(kitchen, registry)
    run.look = lambda step: seen.setdefault(step, []).append(dict(registry.tags["cook/kitchen"]))
    run.run()
    known = digests(kitchen)
    repository = f"{registry.address}/cook/kitchen"
    assert seen["Pull it, start it and ask it"] == [
        {},
        {"other": known["other"], "other-v1.0.0": known["other"]},
    ]
    assert registry.tags["cook/kitchen"] == {
        tag: known[name] for name in known for tag in (name, f"{name}-v1.0.0")
    }
    images = {name: f"{repository}@{digest}" for name, digest in known.items()}
    played = [f"inv test --model {name} --image {images[name]}" for name in ("other", "tiny")]
    publish = "gh release create v1.0.0 --repo Cook/Kitchen --verify-tag --notes-file note.md"
    assert calls(run) == [*played, publish]


def test_the_note_has_every_image_by_digest_with_the_line_that_starts_it(
    kitchen: Project, registry: FakeRegistry
) -> None:
    run = release(kitchen, registry)
    run.run()
    text = (kitchen.root / "note.md").read_text()
    assert run.summary.read_text() == text
    assert text.index("| other |") < text.index("| tiny |")
    for name, digest in digests(kitchen).items():
        assert f"| {name} | `{digest}` | " in text
        line = next(line for line in text.splitlines() if line.endswith(f"@{digest}"))
        assert line.startswith("docker run ")


def test_what_the_workflow_runs_is_what_it_is_said_to_run(
    kitchen: Project, registry: FakeRegistry
) -> None:
    run = release(kitchen, registry)
    run.run()
    (image, *_) = [job["name"] for job in kitchen.run("matrix", "--json").json()["include"]]
    steps = run.workflow["jobs"]["image"]["steps"]
    assert [step["name"] for step in steps] == [
        "Check out",
        "Log in to the registry",
        "Push by digest",
        "Read what was pushed",
        "Pull it, start it and ask it",
        "Move its tags",
        "Keep what was pushed",
    ]
    assert image == "other"
    assert len(run.ran) == len(run.workflow["jobs"]["plan"]["steps"]) + 2 * len(steps) + len(
        run.workflow["jobs"]["note"]["steps"]
    )


def test_an_image_that_does_not_answer_gets_no_tag_and_no_note(
    kitchen: Project, registry: FakeRegistry
) -> None:
    run = release(kitchen, registry, TEST_FAILS="9")
    with pytest.raises(StepFailed, match=r"\./inv test"):
        run.run()
    assert not registry.tags["cook/kitchen"]
    assert digests(kitchen)["other"] in registry.manifests["cook/kitchen"]
    assert not (kitchen.root / "note.md").exists()


def test_the_next_release_sends_what_has_changed_and_needs_no_weights_for_it(
    kitchen: Project, registry: FakeRegistry
) -> None:
    release(kitchen, registry).run()
    before = digests(kitchen)
    sent = len(registry.requests)
    kitchen.catalogue(TWO + "    args: {max-num-seqs: 4}\n")
    shutil.rmtree(kitchen.root / "tiny")
    shutil.rmtree(kitchen.cache)
    run = release(kitchen, registry, "v1.1.0")
    run.run()
    after = digests(kitchen)
    assert after["tiny"] == before["tiny"]
    assert after["other"] != before["other"]
    assert registry.tags["cook/kitchen"] == {
        "other": after["other"],
        "other-v1.0.0": before["other"],
        "other-v1.1.0": after["other"],
        "tiny": before["tiny"],
        "tiny-v1.0.0": before["tiny"],
        "tiny-v1.1.0": before["tiny"],
    }
    moved = [asked.received for asked in registry.requests[sent:]]
    assert sum(moved) < 1_000_000  # the launcher's layer, configs and manifests


def test_a_release_of_nothing_runs_no_job_and_writes_no_note(
    kitchen: Project, registry: FakeRegistry
) -> None:
    run = release(kitchen, registry)
    run.workflow = {**run.workflow, "jobs": dict(run.workflow["jobs"])}
    (kitchen.root / "models.lock").unlink()
    del run.workflow["jobs"]["note"]  # GitHub skips a job whose `needs` was skipped
    run.run()
    assert run.values["needs.plan.outputs.count"] == "0"
    assert not registry.manifests["cook/kitchen"]


def test_a_tag_can_be_guarded(kitchen: Project, registry: FakeRegistry) -> None:
    release(kitchen, registry).run()
    known = digests(kitchen)
    image = f"{registry.address}/cook/kitchen@{known['tiny']}"
    done = kitchen.run("tag", image, "fresh,other", "--was", "none")
    assert done.code == 4
    assert "the tag names another image" in done.err
    assert "fresh" not in registry.tags["cook/kitchen"]  # all are looked at before one is moved
    assert kitchen.run("tag", image, "other", "--was", known["tiny"]).code == 4
    assert registry.tags["cook/kitchen"]["other"] == known["other"]
    done = kitchen.run("tag", image, "other", "--was", known["other"], "--json")
    assert done.json()["tags"] == {"other": {"moved": True}}
    done = kitchen.run("tag", image, "other", "--was", known["other"])
    assert done.out == f"{registry.address}/cook/kitchen:other (it names this image already)\n"
    registry.tags["cook/kitchen"]["other"] = known["other"]
    assert kitchen.run("tag", image, "other", "--was", "none", "--force").code == 2
    assert kitchen.run("tag", image, "other", "--force").code == 0
    assert registry.tags["cook/kitchen"]["other"] == known["tiny"]


def test_an_image_that_is_not_there_or_has_no_digest_is_not_tagged(
    kitchen: Project, registry: FakeRegistry
) -> None:
    nowhere = f"{registry.address}/cook/kitchen@sha256:{'0' * 64}"
    done = kitchen.run("tag", nowhere, "x")
    assert done.code == 2
    assert "the registry has no such image" in done.err
    done = kitchen.run("tag", f"{registry.address}/cook/kitchen:tiny", "x")
    assert done.code == 2
    assert "named by its digest" in done.err
    for tags in ("", "a,", "a@b", "-a", "a b"):
        done = kitchen.run("tag", nowhere, tags)
        assert done.code == 2, tags
    assert not registry.requests or all(asked.method != "PUT" for asked in registry.requests)


PUSHED = {
    "name": "tiny",
    "reference": f"ghcr.io/cook/kitchen@sha256:{'1' * 64}",
    "digest": f"sha256:{'1' * 64}",
    "size": 2_450_000_000,
    "sent": 34_300,
    "run": "docker run --rm kitchen:tiny",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "[7]",
        "[{}]",
        json.dumps([{**PUSHED, "digest": "sha256:1"}]),
        json.dumps([{**PUSHED, "name": "a|b\n# c"}]),
        json.dumps([{**PUSHED, "run": "docker run 'x"}]),
        json.dumps([{**PUSHED, "run": ""}]),
        json.dumps([{**PUSHED, "size": 0.5}]),
    ],
)
def test_a_damaged_file_is_named_and_no_note_is_written(project: Project, text: str) -> None:
    folder = project.root / "released"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps([PUSHED]))
    (folder / "bad.json").write_text(text)
    for words in (("note", "released", "--output", "note.md"), ("pushed", "released/bad.json")):
        done = project.run(*words)
        assert done.code == 3, done
        assert "released/bad.json" in done.err
        assert "Traceback" not in done.err
    assert not (project.root / "note.md").exists()


def test_a_missing_file_is_named(project: Project) -> None:
    (project.root / "empty").mkdir()
    for words, code in ((("note", "nowhere"), 3), (("note", "empty"), 3), (("pushed", "no"), 3)):
        done = project.run(*words)
        assert done.code == code
        assert f"`{words[1]}`" in done.err


def test_a_note_has_one_order_whatever_the_files_are_called(project: Project) -> None:
    folder = project.root / "released"
    folder.mkdir()
    second: dict[str, Any] = {**PUSHED, "name": "a-first"}
    (folder / "1.json").write_text(json.dumps([PUSHED]))
    (folder / "2.json").write_text(json.dumps([second]))
    text = project.run("note", "released").out
    (folder / "1.json").write_text(json.dumps([second, PUSHED]))
    (folder / "2.json").unlink()
    assert project.run("note", "released").out == text
    assert text.index("a-first") < text.index("tiny")
    assert "| 2.45 GB | 34.3 kB |" in text
    assert f"docker run --rm ghcr.io/cook/kitchen@sha256:{'1' * 64}\n" in text


def test_a_file_of_two_images_is_no_answer_to_which_one_was_pushed(project: Project) -> None:
    (project.root / "two.json").write_text(json.dumps([PUSHED, {**PUSHED, "name": "other"}]))
    done = project.run("pushed", "two.json")
    assert done.code == 2
    assert "tiny, other" in done.err
