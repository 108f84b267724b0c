"""What a release has to do, and what it has not: entries against their files at another commit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.cache import FakeCache

if TYPE_CHECKING:
    from tests.flow.conftest import Done, Project

TWO = "  tiny:\n    weights: {folder: ./tiny}\n  other:\n    weights: {folder: ./tiny}\n"


@pytest.fixture
def repository(project: Project) -> Project:
    """The project under git, with two entries that are locked and proven."""
    project.catalogue(TWO)
    assert project.run("build", "--all", "--output", "none").code == 0
    git(project, "init", "--quiet", "--initial-branch=main")
    (project.root / ".gitignore").write_text("/tiny/\n/dist/\n")
    commit(project)
    git(project, "tag", "before")
    return project


def git(project: Project, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=cook", "-c", "user.email=cook@kitchen.invalid", *words],
        cwd=project.root,
        env={**os.environ, "HOME": str(project.home), "GIT_CONFIG_NOSYSTEM": "1"},
        check=True,
        capture_output=True,
    )


def commit(project: Project) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "more")


def names(done: Done) -> list[str]:
    return [job["name"] for job in done.json()["include"]]


def since(project: Project, ref: str = "before") -> list[str]:
    return names(project.run("matrix", "--json", "--changed-since", ref))


def edit_flavour(project: Project, **changes: Any) -> None:
    """Write the flavour's lock anew, as another runtime would have it."""
    path = project.root / "images/tiny/image.lock"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_entry_is_a_job_with_all_that_a_workflow_has_to_know(repository: Project) -> None:
    done = repository.run(
        "matrix", "--json", "--model", "tiny", "--to", "ghcr.io/Cook/Kitchen", "--release", "v1.2.0"
    )
    (job,) = done.json()["include"]
    built = repository.build("--output", "none")
    assert job == {
        "name": "tiny",
        "flavour": "tiny",
        "needs_gpu": False,
        "runner": ["ubuntu-latest"],
        "reference": "ghcr.io/cook/kitchen:tiny",
        "tags": "tiny,tiny-v1.2.0",
        "digest": built.digest(),
        "plan": job["plan"],
    }


def test_it_needs_neither_weights_nor_a_store(repository: Project) -> None:
    known = repository.run("matrix", "--json").json()
    shutil.rmtree(repository.root / "tiny")
    shutil.rmtree(repository.cache)
    assert repository.run("matrix", "--json").json() == known
    assert all(job["digest"] for job in known["include"])


def test_without_proofs_a_job_has_no_digest_but_can_still_be_compared(repository: Project) -> None:
    edit_flavour(repository, layers={})
    empty = str(repository.home / "empty")
    done = repository.run("matrix", "--json", OVENPROOF_CACHE=empty)
    assert [job["digest"] for job in done.json()["include"]] == [None, None]
    words = ("matrix", "--json", "--changed-since", "before")
    assert names(repository.run(*words, OVENPROOF_CACHE=empty)) == []


def test_a_gpu_asks_for_a_runner_that_has_one(repository: Project) -> None:
    path = repository.root / "images/tiny/image.yaml"
    path.write_text(path.read_text().replace("needs_gpu: false", "needs_gpu: true"))
    jobs = repository.run("matrix", "--json").json()["include"]
    assert [(job["needs_gpu"], job["runner"]) for job in jobs] == [
        (True, ["self-hosted", "gpu"])
    ] * 2
    done = repository.run("matrix", "--json", "--gpu-runner", "big, h100")
    assert done.json()["include"][0]["runner"] == ["big", "h100"]


def test_what_is_not_locked_is_left_out_and_told_and_an_error_where_it_was_named(
    repository: Project,
) -> None:
    repository.catalogue(TWO + "  third:\n    weights: {folder: ./tiny}\n")
    done = repository.run("matrix", "--json")
    assert names(done) == ["other", "tiny"]
    assert "left out, because they are not locked: third\n" in done.err
    done = repository.run("matrix", "--json", "--model", "third")
    assert done.code == 4
    assert "lock --model third" in done.err


def test_a_stale_lock_is_an_error_and_no_reason_to_leave_an_entry_out(repository: Project) -> None:
    repository.catalogue(TWO.replace("folder: ./tiny}\n  other", "folder: ./elsewhere}\n  other"))
    done = repository.run("matrix", "--json")
    assert done.code == 4
    assert "the model's lock is out of date" in done.err


def test_a_change_of_words_that_no_image_contains_changes_nothing(repository: Project) -> None:
    (repository.root / "README.md").write_text("all new")
    path = repository.root / "models.yaml"
    path.write_text(f"# all new\n{path.read_text()}")
    assert since(repository) == []
    commit(repository)
    assert since(repository) == []
    assert repository.run("matrix", "--changed-since", "before").out == "nothing to release\n"


def test_a_changed_argument_changes_its_entry_alone(repository: Project) -> None:
    repository.catalogue(TWO + "    args: {max-num-seqs: 4}\n")
    assert since(repository) == ["other"]
    commit(repository)
    assert since(repository) == ["other"]
    assert since(repository, "HEAD") == []


def test_another_runtime_changes_every_entry_of_the_flavour(repository: Project) -> None:
    repository.add_wheel("spoon", "stir = 1\n")
    assert since(repository) == ["other", "tiny"]


def test_an_entry_that_was_not_there_or_not_locked_is_new(repository: Project) -> None:
    repository.catalogue(TWO + "  third:\n    weights: {folder: ./tiny}\n")
    assert repository.run("lock", "--model", "third").code == 0
    assert since(repository) == ["third"]


@pytest.mark.parametrize("broken", ["models.yaml", "models.lock", "images/tiny/image.lock"])
def test_a_time_that_gave_no_image_makes_every_image_new(repository: Project, broken: str) -> None:
    path = repository.root / broken
    whole = path.read_text()
    path.write_text("models: [}")
    commit(repository)
    path.write_text(whole)
    assert since(repository, "HEAD") == ["other", "tiny"]


def test_a_time_without_a_catalogue_makes_every_image_new(repository: Project) -> None:
    git(repository, "rm", "--quiet", "--cached", "models.yaml")
    git(repository, "commit", "--quiet", "--message", "less")
    assert since(repository, "HEAD") == ["other", "tiny"]


def test_where_the_program_lies_beside_its_images_the_older_one_tells_what_was(
    repository: Project,
) -> None:
    """The launcher, say, is part of every image: only the program of that time knows its bytes."""
    (job, _) = repository.run("matrix", "--json").json()["include"]
    answers = {"include": [job, {"name": "tiny", "digest": f"sha256:{'0' * 64}", "plan": ""}]}
    package = repository.root / "src" / "ovenproof"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(f"import json\ndef main(): print({json.dumps(answers)!r})\n")
    commit(repository)
    assert since(repository, "HEAD") == ["tiny"]
    (package / "tasks.py").write_text("def main(): raise SystemExit('no such task')\n")
    commit(repository)
    done = repository.run("matrix", "--json", "--changed-since", "HEAD")
    assert names(done) == ["other", "tiny"]
    assert "every image counts as new" in done.err


@pytest.mark.parametrize(
    "said",
    ["", "no JSON", "7", "[]", "{}", '{"include": 7}', '{"include": [7]}', '{"include": [{}]}',
     '{"include": {"name": "tiny"}}', '{"include": [["name"]]}', '{"include": [{"name": []}]}',
     "[" * 100_000, "\\xff"],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_an_older_program_that_answers_something_else_cannot_tell(
    repository: Project, said: str
) -> None:
    package = repository.root / "src" / "ovenproof"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    text = f"import sys\ndef main(): sys.stdout.buffer.write(b'{said}')\n"
    (package / "tasks.py").write_text(text)
    commit(repository)
    done = repository.run("matrix", "--json", "--changed-since", "HEAD")
    assert names(done) == ["other", "tiny"]
    assert "every image counts as new" in done.err
    assert "Traceback" not in done.err


def test_what_others_say_they_found_decides_nothing(repository: Project) -> None:
    with FakeCache() as cache:
        edit_flavour(repository, layers={})
        shutil.rmtree(repository.cache / "actions")
        words = ("build", "--model", "tiny", "--output", "none")
        done = repository.run(*words, OVENPROOF_OUTCOMES=cache.url, OVENPROOF_OUTCOMES_WRITE="1")
        assert done.code == 0
        assert cache.puts
        edit_flavour(repository, layers={})
        shutil.rmtree(repository.cache / "actions")
        cache.asked.clear()
        done = repository.run(
            "matrix", "--json", "--changed-since", "before", OVENPROOF_OUTCOMES=cache.url
        )
        assert names(done) == []
        done = repository.run("matrix", "--json", OVENPROOF_OUTCOMES=cache.url)
        assert [job["digest"] for job in done.json()["include"]] == [None, None]
        assert not cache.asked


def test_an_older_program_hears_nobody_either(repository: Project) -> None:
    package = repository.root / "src" / "ovenproof"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    answers = json.dumps(repository.run("matrix", "--json").json())
    heard = "{**os.environ}.get('OVENPROOF_OUTCOMES')"
    text = f"import os\ndef main(): print({heard} or {answers!r})\n"
    (package / "tasks.py").write_text(text)
    commit(repository)
    words = ("matrix", "--json", "--changed-since", "HEAD")
    assert names(repository.run(*words, OVENPROOF_OUTCOMES="https://cache.invalid/x")) == []


@pytest.mark.parametrize(
    ("ref", "said"),
    [("v9.9.9", "Needed a single revision"), ("--help", "Needed a single revision")],
)
def test_a_ref_that_is_none_is_told_in_the_words_of_git(
    repository: Project, ref: str, said: str
) -> None:
    done = repository.run("matrix", f"--changed-since={ref}")
    assert done.code == 2
    assert said in done.err
    assert "that `git log` knows" in done.err


def test_outside_a_repository_there_is_nothing_to_compare_with(project: Project) -> None:
    done = project.run("matrix", "--changed-since", "HEAD", GIT_CEILING_DIRECTORIES="/")
    assert done.code == 2
    assert "not a git repository" in done.err


def test_a_shallow_clone_is_told_how_to_get_the_rest(repository: Project) -> None:
    commit(repository)
    clone = repository.root.parent / "shallow"
    git(repository, "clone", "--quiet", "--depth=1", repository.root.as_uri(), str(clone))
    done = repository.run("matrix", "--changed-since", "HEAD~1", cwd=clone)
    assert done.code == 2
    assert "fetch-depth: 0" in done.err


def test_without_git_it_is_said(repository: Project) -> None:
    done = repository.run("matrix", "--changed-since", "before", PATH="/nowhere")
    assert done.code == 10
    assert "git is not here" in done.err


def test_more_jobs_than_github_takes_are_refused(project: Project) -> None:
    path = project.root / "models.lock"
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n")
    assert project.run("lock", "--model", "tiny").code == 0
    lock = json.loads(path.read_text())
    copies = [f"tiny-{number}" for number in range(257)]
    lock["models"] = dict.fromkeys(copies, lock["models"]["tiny"])
    path.write_text(json.dumps(lock))
    project.catalogue("".join(f"  {name}:\n    weights: {{folder: ./tiny}}\n" for name in copies))
    shutil.rmtree(project.root / "tiny")  # what is not there cannot have changed
    done = project.run("matrix", "--json")
    assert done.code == 2
    assert "at most 256" in done.err
    assert "257" in done.err
    done = project.run("matrix", "--json", "--model", ",".join(copies[1:]))
    assert len(names(done)) == 256


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "ghcr.io/a/b:tag"), "a repository, without a tag"),
        (("--to", "kitchen"), "no registry's host"),
        (("--release", "a/b"), "a tag of at most 128"),
        (("--release", "v" * 128), "a tag of at most 128"),
        (("--runner", ""), "a runner has no label"),
        (("--github",), "`--github` is for a step of a workflow"),
    ],
    ids=str,
)
def test_words_that_make_no_sense_are_refused(
    repository: Project, words: tuple[str, ...], said: str
) -> None:
    done = repository.run("matrix", *words)
    assert done.code == 2
    assert said in done.err


def test_a_workflow_is_handed_one_line_and_a_count(repository: Project) -> None:
    place = repository.home / "output"
    done = repository.run("matrix", "--json", "--github", GITHUB_OUTPUT=str(place))
    lines = dict(line.split("=", 1) for line in place.read_text().splitlines())
    assert json.loads(lines["matrix"]) == done.json()
    assert lines["count"] == "2"
    assert re.fullmatch(r"matrix=.*\ncount=2\n", place.read_text())


def test_a_project_in_a_folder_of_a_repository_is_compared_with_that_folder(
    make_project: Any, tmp_path: Path
) -> None:
    project: Project = make_project("nested")
    assert project.build("--output", "none").code == 0
    above = project.root.parent
    subprocess.run(["git", "init", "--quiet", str(above)], check=True)
    (above / ".gitignore").write_text("/store/\n/home/\ntiny/*.safetensors\n")
    commit(project)
    assert since(project, "HEAD") == []
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n    port: 9000\n")
    assert since(project, "HEAD") == ["tiny"]
