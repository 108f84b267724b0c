"""Locks: the same wherever they are made, left alone where they must be, never half-believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import MakeProject, Project

Lock = dict[str, Any]
RESTORE = "hint: the file was written by a program: restore it, or delete it and lock again"


def test_the_lock_and_the_image_are_the_same_for_everybody(
    make_project: MakeProject, nobodys: Project
) -> None:
    ours = make_project("another folder, ünïcode")
    third = make_project("third")
    words = ("build", "--all", "--output", "none")
    seeds = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "OVENPROOF_JOBS": "1"}
    first = ours.run_cold(*words, umask=0o002, **seeds)
    seeds = {"PYTHONHASHSEED": "2", "TZ": "America/Lima", "LC_ALL": "C", "OVENPROOF_JOBS": "7"}
    second = third.run_cold(*words, umask=0o077, **seeds)
    assert first.digest() == second.digest() == nobodys.run(*words, powerless=True).digest()
    for name in ("models.lock", "images/tiny/image.lock"):
        (found,) = {(one.root / name).read_bytes() for one in (ours, third, nobodys)}
        assert json.loads(found)["format"] == 1


def test_the_lock_does_not_remember_in_which_order_it_was_made(make_project: MakeProject) -> None:
    models = "  one:\n    weights: {folder: ./tiny}\n  two:\n    weights: {folder: ./tiny}\n"
    made = []
    for name, order in (("forth", ("one", "two")), ("back", ("two", "one"))):
        project = make_project(name)
        project.catalogue(models)
        assert project.run("lock", "--model", order[0]).code == 0
        assert project.run("build", "--model", order[1], "--output", "none").code == 0
        assert project.run("build", "--all", "--output", "none").code == 0
        made.append((project.root / "models.lock").read_bytes())
    assert made[0] == made[1]


def test_locking_again_from_nothing_changes_no_byte(project: Project) -> None:
    digest = project.build("--output", "none").digest()
    before = (project.root / "models.lock").read_bytes()
    project.forget()
    shutil.rmtree(project.cache / "seen")
    assert project.build("--output", "none").digest() == digest
    assert (project.root / "models.lock").read_bytes() == before


def test_an_entry_that_says_its_order_has_it_although_it_was_locked_before(
    project: Project,
) -> None:
    models = "  tiny:\n    weights: {folder: ./tiny}\n"
    titles = []
    for order in ("", "    order: base-first\n", "    order: weights-first\n"):
        project.catalogue(models + order)
        assert project.build("--output", "none").code == 0
        (plan,) = project.run("plan", "--model", "tiny", "--json").json()
        titles.append([layer["title"] for layer in plan["layers"]])
    automatic, base_first, weights_first = titles
    assert automatic == weights_first
    assert base_first[0].startswith("debian")
    assert sorted(base_first) == sorted(weights_first)
    assert not weights_first[0].startswith("debian")


def test_the_heavy_part_sinks_whether_the_flavour_is_proven_yet_or_not(project: Project) -> None:
    project.add_wheel("heap", "#" * (40 << 20))
    assert project.run("lock", "--model", "tiny").code == 0
    first = (project.root / "models.lock").read_bytes()
    assert project.lock()["models"]["tiny"]["order"] == "base-first"
    assert project.build("--output", "none").code == 0
    (project.root / "models.lock").unlink()
    assert project.run("lock", "--model", "tiny").code == 0
    assert (project.root / "models.lock").read_bytes() == first


def test_a_model_is_locked_without_the_packages_of_a_proven_flavour(project: Project) -> None:
    project.build("--output", "none")
    before = (project.root / "models.lock").read_bytes()
    shutil.rmtree(project.cache)
    assert project.run("lock", "--model", "tiny").code == 0
    assert (project.root / "models.lock").read_bytes() == before


def test_a_locked_build_never_writes_a_lock(project: Project) -> None:
    assert project.run("lock", "--model", "tiny").code == 0
    lock = project.root / "images/tiny/image.lock"
    before = [(path, path.read_bytes()) for path in (project.root / "models.lock", lock)]
    assert json.loads(before[1][1])["layers"] == {}
    assert project.build("--locked", "--output", "none").code == 0
    assert [(path, path.read_bytes()) for path, _ in before] == before
    assert project.build("--output", "none").code == 0
    assert len(json.loads(lock.read_text())["layers"]) == 3


def test_a_lock_for_other_weights_is_out_of_date(project: Project) -> None:
    project.run("lock", "--model", "tiny")
    shutil.copytree(project.root / "tiny", project.root / "other")
    project.catalogue("  tiny:\n    weights: {folder: ./other}\n")
    done = project.build("--locked", "--output", "none")
    assert done.code == 4
    assert "the model's lock is out of date: `tiny` (models.lock)" in done.err
    assert project.build("--output", "none").code == 0
    assert project.lock()["models"]["tiny"]["origin"]["folder"] == "./other"


def file_zero(lock: Lock) -> Lock:
    found: Lock = lock["models"]["tiny"]["files"][0]
    return found


DAMAGES: dict[str, tuple[Callable[[Lock], object], str]] = {
    "another format": (lambda lock: lock.update(format=2), "expected format 1"),
    "files of a wrong type": (
        lambda lock: lock["models"]["tiny"].update(files=3),
        "`models.tiny.files` (models.lock)\n  expected a list",
    ),
    "no files": (lambda lock: lock["models"]["tiny"].update(files=[]), "at least one file"),
    "a file twice": (
        lambda lock: lock["models"]["tiny"]["files"].append(file_zero(lock)),
        "none twice",
    ),
    "a path out of the folder": (
        lambda lock: file_zero(lock).update(path="../../etc/passwd"),
        "`models.tiny.files[0].path` (models.lock)\n  expected a path below the model's folder",
    ),
    "an absolute path": (
        lambda lock: file_zero(lock).update(path="/etc/passwd"),
        "expected a path below the model's folder",
    ),
    "a digest that is none": (
        lambda lock: file_zero(lock).update(digest="sha256:12"),
        "expected sha256:<64 hex digits>",
    ),
}


def test_a_damaged_models_lock_is_refused_with_its_place(project: Project) -> None:
    project.run("lock", "--model", "tiny")
    path = project.root / "models.lock"
    good = path.read_text()
    for name, (damage, said) in DAMAGES.items():
        lock = json.loads(good)
        damage(lock)
        path.write_text(json.dumps(lock))
        done = project.run("list")
        assert (done.code, name) == (3, name)
        assert said in done.err, done
        assert "hint: " in done.err
    for text in (
        good[:200],
        "",
        "<<<<<<< ours\n" + good,
        good.replace('"size"', '"size": 1, "size"'),
    ):
        path.write_text(text)
        done = project.run("list")
        assert done.code == 3
        assert "error: this is not valid JSON: `models.lock`" in done.err
        assert RESTORE in done.err
    path.unlink()
    assert project.build("--output", "none").code == 0
    assert json.loads(path.read_text())["models"].keys() == {"tiny"}


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda lock: lock.update(format="1"), 3, "`format` (images/tiny/image.lock)"),
        (lambda lock: lock["wheels"][0].update(filename="../crumb.whl"), 3, "../crumb.whl"),
        (lambda lock: lock["debs"][0].update(size=-1), 3, "`debs[0].size`"),
        (lambda lock: lock.update(options=[3]), 4, "does not have the options of vLLM"),
    ],
    ids=["format", "wheel", "deb", "options"],
)
def test_a_damaged_image_lock_is_refused(
    project: Project, damage: Callable[[Lock], object], code: int, said: str
) -> None:
    path = project.root / "images/tiny/image.lock"
    lock = json.loads(path.read_text())
    damage(lock)
    path.write_text(json.dumps(lock))
    done = project.build("--output", "none")
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_layer_that_is_not_what_the_lock_says_is_not_written(project: Project) -> None:
    project.build("--output", "none")
    path = project.root / "models.lock"
    lock = project.lock()
    (small,) = (
        item for item in lock["models"]["tiny"]["layers"].values() if item["size"] < 1 << 20
    )
    small["digest"] = f"sha256:{'1' * 64}"
    path.write_text(json.dumps(lock))
    done = project.build()
    assert done.code == 8
    assert f"expected sha256:{'1' * 64}" in done.err
    assert "hint: " in done.err
    assert not (project.root / "dist/index.json").exists()
    assert not project.leftovers()


def test_an_unreadable_lock_is_no_traceback(project: Project) -> None:
    Path(project.root / "models.lock").mkdir()
    done = project.run("list")
    assert done.code == 3
    assert "the file cannot be read" in done.err
