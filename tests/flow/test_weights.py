"""A model's folder that has changed, or that no server could serve."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Project

BIG, SMALL = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
AGAIN = "run `ovenproof lock --model tiny` to lock what is there now"


def change(path: Path) -> None:
    """Another byte, the same size."""
    with path.open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        stream.write(b"x")


@pytest.mark.parametrize("name", [BIG, SMALL, "tokenizer.json"])
def test_a_changed_file_is_refused_until_it_is_locked_again(project: Project, name: str) -> None:
    path = project.root / "tiny" / name
    first = project.build("--output", "none").digest()
    change(path)
    for words in (("build", "--model", "tiny", "--output", "none"), ("plan", "--model", "tiny")):
        done = project.run(*words)
        assert done.code == 8
        assert f"a file of the weights is not what was locked: `{path}`" in done.err
        assert f"hint: {AGAIN}" in done.err
    assert project.run("lock", "--model", "tiny").code == 0
    assert project.build("--output", "none").digest() != first


def test_a_changed_file_that_this_machine_never_hashed_is_found_when_it_is_read(
    project: Project,
) -> None:
    project.build("--output", "none")
    shutil.rmtree(project.cache / "seen")
    change(project.root / "tiny" / BIG)
    done = project.build()
    assert done.code == 8
    assert f"the bytes of the layer `{BIG}` are not those that were promised" in done.err
    assert "hint: " in done.err
    assert not (project.root / "dist/index.json").exists()
    assert not project.leftovers()


def test_a_file_that_was_only_touched_is_fine(project: Project) -> None:
    first = project.build("--output", "none").digest()
    for path in (project.root / "tiny").iterdir():
        os.utime(path, (1, 1))
    assert project.build("--output", "none", "--locked").digest() == first


def test_a_truncated_and_a_lost_file_are_told_together(project: Project) -> None:
    project.build("--output", "none")
    folder = project.root / "tiny"
    os.truncate(folder / BIG, 1 << 20)
    (folder / SMALL).unlink()
    done = project.build("--output", "none")
    assert done.code == 8
    assert "got      1048576 bytes" in done.err
    assert f"a locked file of the weights is not there: `{folder / SMALL}`" in done.err
    assert f"hint: bring it back, or {AGAIN}" in done.err
    again = project.run("lock", "--model", "tiny")
    assert again.code == 4
    assert f"names files that are not there: `{SMALL}` (./tiny)" in again.err
    with (folder / SMALL).open("wb") as stream:
        stream.write(b"12345678{}")
    again = project.run("lock", "--model", "tiny")
    assert again.code == 8
    assert "a safetensors file is not as long as its header says" in again.err


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_shard(folder: Path) -> None:
    (folder / BIG).unlink()


def pickles_only(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()


def shard_from_outside(folder: Path) -> None:
    index = {"weight_map": {"a": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def link_to_nowhere(folder: Path) -> None:
    (folder / "vocab.json").symlink_to("blobs/123")


def folder_of_a_link_to_nowhere(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


def file_instead_of_a_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("model")


def name_that_is_no_text(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).write_text("{}")


FAULTS = [
    (no_config, 3, "it has neither config.json nor params.json: `./tiny`"),
    (broken_config, 3, "this is not valid JSON: `config.json`"),
    (no_shard, 4, f"names files that are not there: `{BIG}`"),
    (pickles_only, 3, "the weights are pickles"),
    (shard_from_outside, 4, "names files that are not there: `../other.safetensors`"),
    (link_to_nowhere, 3, "got      a link to nowhere"),
    (folder_of_a_link_to_nowhere, 3, "got      a link to nowhere at"),
    (file_instead_of_a_folder, 3, "got      a file at"),
    (name_that_is_no_text, 3, "a name that no image can hold: `'\\udcff.json'`"),
]


@pytest.mark.parametrize(
    ("spoil", "code", "said"), FAULTS, ids=lambda item: getattr(item, "__name__", "")
)
def test_a_folder_that_is_no_model_is_refused(
    project: Project, spoil: object, code: int, said: str
) -> None:
    assert callable(spoil)
    spoil(project.root / "tiny")
    done = project.build("--output", "none")
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (project.root / "models.lock").exists()


def test_a_link_to_the_folder_is_as_good_as_the_folder(project: Project) -> None:
    first = project.build("--output", "none")
    shutil.move(project.root / "tiny", project.home / "weights")
    (project.root / "tiny").symlink_to(project.home / "weights")
    second = project.build("--output", "layout:other")
    assert second.digest() == first.digest()


def test_claims_that_the_checkpoint_denies_are_told_together(project: Project) -> None:
    project.catalogue(
        "  tiny:\n    weights: {folder: ./tiny}\n    quantization: awq\n    dtype: float16\n"
        "    max_model_len: 9999\n"
    )
    done = project.build("--output", "none")
    assert done.code == 3
    assert "expected none (config.json of the weights)\n  got      awq (models.yaml)" in done.err
    assert "hint: leave `quantization` out" in done.err
    assert "expected 4096 at most (config.json of the weights)" in done.err


def test_a_config_that_json_does_not_allow_cannot_break_the_lock(project: Project) -> None:
    config = '{"max_position_embeddings": NaN, "dtype": 0.5, "architectures": [Infinity]}'
    (project.root / "tiny/config.json").write_text(config)
    assert project.build("--output", "none").code == 0
    assert project.build("--output", "none", "--locked").code == 0


def test_weights_that_may_not_be_read_are_named(nobodys: Project) -> None:
    config = nobodys.root / "tiny/config.json"
    config.chmod(0)
    done = nobodys.build("--output", "none", powerless=True)
    assert done.code == 5
    assert f"the weights cannot be read: `{config}`" in done.err
    config.chmod(0o644)
    (nobodys.root / "tiny").chmod(0)
    done = nobodys.build("--output", "none", powerless=True)
    assert done.code == 5
    assert "Permission denied" in done.err
