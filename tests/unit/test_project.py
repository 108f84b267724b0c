"""A repository's files: found from below, read, saved whole, and never over each other."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ovenproof.core.base import BaseLayer, LockedBase
from ovenproof.core.digest import Content, Digest
from ovenproof.core.flavour import Built
from ovenproof.core.image import LAYER_TYPE
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.model_lock import LockedFile, ModelLock, ModelsLock
from ovenproof.errors import BadFile, NoAccess
from ovenproof.project import Project

FLAVOUR = """\
description: {}
debian: {{suite: bookworm, packages: [python3.11]}}
python: {{version: "3.11", requirements: cpu, glibc: "2.36", vllm: vllm}}
program: [vllm]
needs_gpu: false
shm_bytes: 1
"""
CONFIG = LockedFile(path="config.json", size=2, digest=Digest.of(b"{}"))
MODEL = ModelLock(fingerprint=Digest.of(b"words"), origin={"kind": "test"}, files=(CONFIG,))
IMAGE = ImageLock(fingerprint=Digest.of(b"words"))
PROOFS = {Digest.of(b"key"): Content.of(b"layer")}


def flavour(images: Path, name: str, description: str) -> None:
    (images / name).mkdir(parents=True)
    (images / name / "image.yaml").write_text(FLAVOUR.format(description))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one flavour of its own, one of the package, and one of both."""
    root, packaged = tmp_path / "mine", tmp_path / "package" / "images"
    flavour(packaged, "cpu", "the package's")
    flavour(packaged, "both", "the package's")
    flavour(root / "images", "both", "mine")
    flavour(root / "images", "own", "mine")
    (root / "models.yaml").write_text("models: {}\n")
    return Project(root, packaged=packaged)


def test_a_project_is_found_from_any_folder_below_it(project: Project, tmp_path: Path) -> None:
    deep = project.root / "a" / "b"
    deep.mkdir(parents=True)
    assert Project.find(deep, packaged=tmp_path).root == project.root
    assert Project.find(project.root, packaged=tmp_path).root == project.root


def test_a_file_is_parsed_again_only_when_its_text_is_another(project: Project) -> None:
    project.save_model("one", MODEL)
    before = project.models_lock()
    assert project.models_lock() is before
    other = Project(project.root, packaged=project.root)
    other.save_model("two", MODEL)
    assert set(project.models_lock().models) == {"one", "two"}
    project.save_model("three", MODEL)
    assert set(other.models_lock().models) == {"one", "two", "three"}
    (project.root / "models.lock").write_text("{")
    for _ in range(2):
        with pytest.raises(BadFile):
            project.models_lock()


def test_without_a_catalogue_above_there_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").mkdir()  # a folder of that name is no catalogue
    with pytest.raises(BadFile, match=r"no models\.yaml"):
        Project.find(tmp_path, packaged=tmp_path)


def test_a_projects_own_flavours_come_first_and_the_packages_are_there_too(
    project: Project,
) -> None:
    assert project.flavours() == ["both", "cpu", "own"]
    assert project.flavour("both").flavour.description == "mine"
    assert project.flavour("own").flavour.description == "mine"
    assert project.flavour("cpu").flavour.description == "the package's"


def test_a_flavour_knows_its_files(project: Project) -> None:
    own, packaged = project.flavour("own"), project.flavour("cpu")
    assert own.lock_path == project.root / "images" / "own" / "image.lock"
    assert isinstance(own.flavour, Built)
    assert own.requirements(own.flavour.python) == project.root / "requirements" / "cpu.txt"
    assert packaged.lock_path == packaged.folder / "image.lock"


def test_a_flavour_that_nobody_has_is_said_with_the_nearest_word(project: Project) -> None:
    with pytest.raises(BadFile, match="did you mean `cpu`") as caught:
        project.flavour("cpuu")
    assert caught.value.expected == "`both` or `cpu` or `own`"
    with pytest.raises(BadFile, match="images/something-else"):
        project.flavour("something-else")


def test_only_a_projects_own_flavour_is_its_to_lock(project: Project) -> None:
    assert project.may_save(project.flavour("own"))
    assert not project.may_save(project.flavour("cpu"))


def test_where_nothing_is_locked_the_locks_are_empty(project: Project) -> None:
    assert project.models_lock() == ModelsLock()
    assert project.image_lock(project.flavour("own")) is None


def test_what_is_saved_is_read_back(project: Project) -> None:
    project.save_model("smol", MODEL)
    assert project.models_lock().models == {"smol": MODEL}
    own = project.flavour("own")
    project.save_image(own, IMAGE)
    assert project.image_lock(own) == IMAGE


def test_proofs_are_given_to_the_locks_that_they_are_of(project: Project) -> None:
    own = project.flavour("own")
    project.save_image(own, IMAGE)
    project.save_model("smol", MODEL)
    project.prove_image(own, IMAGE, PROOFS)
    project.prove_model("smol", MODEL, PROOFS)
    assert project.image_lock(own) == IMAGE.with_proofs(PROOFS)
    assert project.models_lock().models == {"smol": MODEL.with_proofs(PROOFS)}


def test_proofs_that_another_process_has_found_meanwhile_stay(project: Project) -> None:
    project.save_model("smol", MODEL)
    other = {Digest.of(b"another action"): Content.of(b"another layer")}
    project.prove_model("smol", MODEL, other)
    project.prove_model("smol", MODEL, PROOFS)
    assert project.models_lock().models["smol"].layers == {**other, **PROOFS}
    assert project.models_lock().proofs == {**other, **PROOFS}


def test_what_was_locked_otherwise_meanwhile_stays_as_it_is(project: Project) -> None:
    own = project.flavour("own")
    image = replace(IMAGE, fingerprint=Digest.of(b"another"))
    model = replace(MODEL, fingerprint=Digest.of(b"another"))
    project.save_image(own, image)
    project.save_model("smol", model)
    project.prove_image(own, IMAGE, PROOFS)
    project.prove_model("smol", MODEL, PROOFS)
    project.prove_model("gone", MODEL, PROOFS)
    assert project.image_lock(own) == image
    assert project.models_lock().models == {"smol": model}


def test_saving_one_entry_leaves_the_others(project: Project) -> None:
    project.save_model("a", MODEL)
    project.save_model("b", MODEL)
    changed = replace(MODEL, order="weights-first")
    project.save_model("a", changed)
    assert project.models_lock().models == {"a": changed, "b": MODEL}


def test_nothing_but_the_lock_lies_in_the_folder_afterwards(project: Project) -> None:
    before = {path.name for path in project.root.iterdir()}
    project.save_model("a", MODEL)
    assert {path.name for path in project.root.iterdir()} == before | {"models.lock"}


SAVE = """
import sys
from pathlib import Path
from ovenproof.core.digest import Digest
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.project import Project
project = Project(Path(sys.argv[1]), packaged=Path(sys.argv[1]))
config = LockedFile(path="config.json", size=2, digest=Digest.of(b"{}"))
lock = ModelLock(fingerprint=config.digest, origin={"kind": "test"}, files=(config,))
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    project.save_model(f"{sys.argv[2]}{number}", lock)
"""


def test_two_builds_that_end_at_once_lose_nothing(project: Project) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE, str(project.root), name],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    names = {f"{letter}{number}" for letter in "ab" for number in range(10)}
    assert set(project.models_lock().models) == names


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("models.yaml", Project.catalogue),
        ("models.lock", Project.models_lock),
        ("images/own/image.yaml", lambda project: project.flavour("own")),
    ],
)
def test_a_file_that_is_not_utf8_is_said_with_its_place(
    project: Project, name: str, read: Callable[[Project], object]
) -> None:
    (project.root / name).write_bytes(b"models:\n  \xff: 1\n")
    with pytest.raises(BadFile, match="byte 0xff at offset 10") as caught:
        read(project)
    assert caught.value.subject == str(project.root / name)


def test_a_lock_that_is_broken_is_named(project: Project) -> None:
    (project.root / "models.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(BadFile, match=r"models\.lock"):
        project.models_lock()
    (project.root / "images" / "own" / "image.lock").write_text("{}")
    with pytest.raises(BadFile, match=r"images/own/image\.lock"):
        project.image_lock(project.flavour("own"))


def test_a_lock_that_cannot_be_written_is_said_with_a_remedy(project: Project) -> None:
    (project.root / "models.lock").mkdir()
    with pytest.raises((BadFile, NoAccess), match=r"models\.lock"):
        project.save_model("a", MODEL)


ROOT = Content.of(b"root")
BASE = LockedBase(
    repository="docker.io/vllm/vllm-openai",
    tag="v1",
    digest=Digest.of(b"base"),
    index=None,
    environment={},
    layers=(BaseLayer(content=ROOT, media_type=LAYER_TYPE, diff_id=ROOT.digest),),
)


@pytest.mark.parametrize("repository", ["", "vllm", "docker.io/UPPER", "docker.io/a:t", "a b/c"])
def test_a_base_that_no_registry_can_have_is_a_fault_of_its_lock(
    project: Project, repository: str
) -> None:
    files = project.flavour("own")
    project.save_image(files, replace(IMAGE, base=BASE))
    assert project.image_lock(files) == replace(IMAGE, base=BASE)
    project.save_image(files, replace(IMAGE, base=replace(BASE, repository=repository)))
    with pytest.raises(BadFile) as caught:
        project.image_lock(files)
    assert (caught.value.where, caught.value.subject) == (
        "images/own/image.lock",
        "base.repository",
    )
    assert caught.value.got == repr(repository)
    assert "lock again" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("good", "bad", "subject"),
    [
        ('"tag": "v1"', '"tag": "v1", "tags": 1', "base.tags"),
        ('"size": 4', '"size": 4, "mediaType": "x"', "base.layers[0].mediaType"),
        (
            f'"diff_id": "{ROOT.digest}"',
            f'"diff_id": "{MODEL.fingerprint}"',
            "base.layers[0].diff_id",
        ),
    ],
)
def test_a_damaged_base_is_a_fault_of_its_lock(
    project: Project, good: str, bad: str, subject: str
) -> None:
    files = project.flavour("own")
    project.save_image(files, replace(IMAGE, base=BASE))
    text = files.lock_path.read_text()
    assert text.count(good) == 1
    files.lock_path.write_text(text.replace(good, bad))
    with pytest.raises(BadFile) as caught:
        project.image_lock(files)
    assert caught.value.subject == subject


def test_a_base_has_a_layer(project: Project) -> None:
    files = project.flavour("own")
    project.save_image(files, replace(IMAGE, base=replace(BASE, layers=())))
    with pytest.raises(BadFile, match="at least one layer"):
        project.image_lock(files)


def test_a_lock_keeps_its_mode(project: Project) -> None:
    project.save_model("one", MODEL)
    lock = project.root / "models.lock"
    assert lock.stat().st_mode & 0o777 == 0o644
    lock.chmod(0o660)
    project.save_model("two", MODEL)
    assert lock.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link_stays_one(project: Project, tmp_path: Path, there: bool) -> None:
    lock, target = project.root / "models.lock", tmp_path / "elsewhere" / "models.lock"
    target.parent.mkdir()
    if there:
        target.write_text(ModelsLock().to_text())
    lock.symlink_to(target)
    project.save_model("one", MODEL)
    assert lock.is_symlink()
    assert ModelsLock.parse(target.read_text(), name="models.lock").models == {"one": MODEL}
    assert [path.name for path in target.parent.iterdir()] == ["models.lock"]
