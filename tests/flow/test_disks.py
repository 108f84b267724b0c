"""Disks that are full, and places that may not be written: told clearly, and nothing is broken."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Project

Mount: TypeAlias = Callable[..., None]
LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
from ovenproof.tasks import main
sys.argv[0] = "ovenproof"
main()
"""
"""The console script, where no file may become longer than 1 MiB."""


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Puts a small disk at a folder, or makes it larger."""
    mounted: list[Path] = []

    def put(folder: Path, size: str) -> None:
        options = f"remount,size={size}" if folder in mounted else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if (
            os.geteuid() != 0
            or subprocess.run(command, check=False, capture_output=True).returncode
        ):
            pytest.skip("no disk can be mounted here; another test sets a limit instead")
        mounted.append(folder)

    yield put
    for folder in {*mounted}:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_that_does_not_fit_is_no_room_left(project: Project) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    for output, place in (("layout:out", "out"), ("archive:out.tar", "out.tar")):
        words = ("build", "--model", "tiny", "--output", output)
        done = project.run_cold(*words, program=[sys.executable, "-c", LIMITED])
        assert done.code == 7
        assert f"error: there is no room left on the disk: `{place}`" in done.err
        assert done.err.count("hint: ") == 1
        assert not project.leftovers()
    assert not (project.root / "out.tar").exists()
    assert not (project.root / "out/index.json").exists()
    assert project.build("--output", "layout:out").code == 0


def test_a_full_disk_under_the_layout_keeps_what_was_there(project: Project, mount: Mount) -> None:
    project.catalogue(
        "  small:\n    weights: {folder: ./small}\n  tiny:\n    weights: {folder: ./tiny}\n"
    )
    shutil.copytree(project.root / "tiny", project.root / "small")
    (project.root / "small/model-00001-of-00002.safetensors").unlink()
    index = '{"weight_map": {"small": "model-00002-of-00002.safetensors"}}'
    (project.root / "small/model.safetensors.index.json").write_text(index)
    project.dist.root.mkdir()
    mount(project.dist.root, "8m")
    assert project.build(model="small").code == 0
    before = project.dist.check().images()
    done = project.build()
    assert done.code == 7
    assert "there is no room left on the disk: `dist`" in done.err
    assert project.dist.check().images() == before
    assert not project.leftovers()
    mount(project.dist.root, "80m")
    assert project.build().code == 0
    assert project.dist.check().images().keys() == {"small", "tiny"}


def test_a_full_disk_under_the_store_is_told_and_then_forgotten(
    project: Project, mount: Mount
) -> None:
    kept = project.home / "kept"
    shutil.copytree(project.cache, kept)
    mount(project.cache, "56k")
    shutil.copytree(kept, project.cache, dirs_exist_ok=True)
    done = project.build()
    assert done.code == 7
    assert f"there is no room left on the disk: `{project.cache}" in done.err
    assert "OVENPROOF_CACHE" in done.err
    assert "Traceback" not in done.err
    project.check_store()
    mount(project.cache, "2m")
    assert project.build().code == 0
    project.dist.check()
    assert not project.leftovers()


def test_a_project_that_may_not_be_written_is_told(nobodys: Project) -> None:
    nobodys.root.chmod(0o555)
    done = nobodys.build("--output", "none", powerless=True)
    assert done.code == 5
    assert "into the lock, so nothing is begun" in done.err
    assert f"`{nobodys.root}/models.lock`" in done.err
    nobodys.root.chmod(0o755)
    assert nobodys.build("--output", "none", powerless=True).code == 0


def test_a_layout_that_may_not_be_written_is_told(nobodys: Project) -> None:
    nobodys.dist.root.mkdir(mode=0o555)
    done = nobodys.build(powerless=True)
    assert done.code == 5
    assert "this place cannot be written: `dist`" in done.err
    assert "--output layout:DIR" in done.err
    (nobodys.root / "file").write_text("")
    done = nobodys.build("--output", "archive:file/image.tar", powerless=True)
    assert done.code == 5
    assert "Traceback" not in done.err


def test_a_store_that_may_not_be_written_is_told_and_one_that_is_complete_is_enough(
    nobodys: Project,
) -> None:
    nobodys.cache.chmod(0o555)
    done = nobodys.build("--output", "none", powerless=True)
    assert done.code == 5
    assert f"this place cannot be written: `{nobodys.cache}" in done.err
    assert "OVENPROOF_CACHE" in done.err
    nobodys.cache.chmod(0o755)
    digest = nobodys.build("--output", "none", powerless=True).digest()
    for path in (nobodys.cache, *nobodys.cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert nobodys.build("--output", "none", powerless=True).digest() == digest
