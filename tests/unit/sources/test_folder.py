"""Weights from a folder: read in place, pinned, and refused when they are no longer the same."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.core import weights
from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content, Digest
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.errors import (
    BadFile,
    LockAgain,
    OvenproofError,
    Several,
    TryAgain,
    WrongBytes,
)
from ovenproof.events import Advanced, Event, Finished, Started, silent
from ovenproof.sources.folder import Folder
from ovenproof.store.seen import Seen
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import measure, read

BIG = weights.ALONE_FROM


def shard(size: int) -> bytes:
    """The head of a safetensors file of one tensor, so that the file has this size."""
    for length in range(size - 200, size):
        shape = {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}
        head = json.dumps({"t": shape}).encode()
        if 8 + len(head) + length == size:
            return struct.pack("<Q", len(head)) + head
    raise AssertionError(size)


def put(path: Path, size: int) -> Path:
    """A sparse safetensors file."""
    head = shard(size)
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(size)
    return path


def overwrite(path: Path, last: bytes) -> None:
    """Another last byte; the size stays."""
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(last)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model of one big file, one small one, and texts."""
    root = tmp_path / "weights"
    root.mkdir()
    (root / "config.json").write_text('{"architectures": ["X"]}')
    (root / "README.md").write_text("hello")
    put(root / "a.safetensors", BIG)
    put(root / "b.safetensors", 5000)
    return root


def folder(root: Path, *, model_path: str = "/model", remote_code: bool = False) -> Folder:
    return Folder(
        root,
        "weights",
        model_path=model_path,
        remote_code=remote_code,
        seen=Seen(root.parent / "cache"),
        jobs=2,
    )


def lock_of(files: tuple[LockedFile, ...]) -> ModelLock:
    return ModelLock(fingerprint=Digest.of(b""), origin={}, files=files)


def by_path(files: tuple[LockedFile, ...]) -> dict[str, LockedFile]:
    return {file.path: file for file in files}


def test_small_files_are_pinned_by_their_own_digest_and_big_ones_by_their_layers(
    root: Path,
) -> None:
    found = folder(root).resolve(silent)
    files = by_path(found.files)
    assert list(files) == ["README.md", "a.safetensors", "b.safetensors", "config.json"]
    for name in ("README.md", "b.safetensors", "config.json"):
        data = (root / name).read_bytes()
        assert files[name] == LockedFile(path=name, size=len(data), digest=Digest.of(data))
    body = LocalFile(root / "a.safetensors", BIG)
    made = Prepared(weights.layer_recipe("/model", [("a.safetensors", body)]), Openers({}))
    whole = hashlib.sha256()
    for chunk in read(made):
        whole.update(chunk)
    assert files["a.safetensors"] == LockedFile(
        path="a.safetensors", size=BIG, digest=Digest(whole.hexdigest()), pinned_by="layer"
    )


def test_where_the_folder_lies_is_not_locked(root: Path) -> None:
    found = folder(root).resolve(silent)
    moved = root.rename(root.with_name("elsewhere"))
    again = folder(moved).resolve(silent)
    assert found == again
    assert found.origin == {"kind": "folder", "folder": "weights"}


def test_the_place_in_the_image_is_part_of_a_layers_pin(root: Path) -> None:
    one = by_path(folder(root).resolve(silent).files)
    two = by_path(folder(root, model_path="/srv/model").resolve(silent).files)
    assert one["a.safetensors"].digest != two["a.safetensors"].digest
    assert one["b.safetensors"] == two["b.safetensors"]


def test_what_was_hashed_is_not_hashed_again(root: Path) -> None:
    first: list[Event] = []
    folder(root).resolve(first.append)
    assert sum(event.size for event in first if isinstance(event, Advanced)) == BIG
    assert Started(name="a.safetensors", total=BIG) in first
    assert Finished(name="a.safetensors") in first
    again: list[Event] = []
    folder(root).resolve(again.append)
    assert again == []


def test_a_file_that_changed_is_hashed_again(root: Path) -> None:
    before = by_path(folder(root).resolve(silent).files)
    overwrite(root / "a.safetensors", b"x")
    after = by_path(folder(root).resolve(silent).files)
    assert before["a.safetensors"].digest != after["a.safetensors"].digest


def test_the_bytes_come_from_the_folder_and_are_the_locked_ones(root: Path) -> None:
    source = folder(root)
    files = source.resolve(silent).files
    lock = lock_of(files)
    shelf = source.shelf(lock, silent)
    assert source.supplies(lock) == ()
    big = [(file.path, source.body(file)) for file in files if file.pinned_by == "layer"]
    made = measure(Prepared(weights.layer_recipe("/model", big), shelf))
    assert made.digest == by_path(files)["a.safetensors"].digest
    small = by_path(files)["b.safetensors"]
    assert source.body(small) == Content(small.digest, small.size)
    with shelf.open(Content(small.digest, small.size), 10) as stream:
        assert stream.read() == (root / "b.safetensors").read_bytes()[10:]


def test_the_facts_are_those_of_the_checkpoint(root: Path) -> None:
    found = folder(root).resolve(silent)
    assert found.facts["architectures"] == ["X"]
    assert isinstance(found.facts["parameters"], int)
    assert BIG < found.facts["parameters"] + 400 < BIG + 5000 + 400


def test_links_to_files_are_followed(root: Path, tmp_path: Path) -> None:
    """The cache of a model hub has a snapshot of links into a folder of blobs."""
    blob = tmp_path / "blob"
    (root / "b.safetensors").rename(blob)
    (root / "b.safetensors").symlink_to(blob)
    file = by_path(folder(root).resolve(silent).files)["b.safetensors"]
    assert file.digest == Digest.of(blob.read_bytes())


def test_what_is_no_regular_file_is_no_file_of_the_model(root: Path) -> None:
    os.mkfifo(root / "pipe.json")
    (root / "dir.json").mkdir()
    names = by_path(folder(root).resolve(silent).files)
    assert not {"pipe.json", "dir.json"} & set(names)


def test_code_is_locked_only_where_the_entry_trusts_it(root: Path) -> None:
    (root / "modeling.py").write_text("pass")
    assert "modeling.py" not in by_path(folder(root).resolve(silent).files)
    trusted = folder(root, remote_code=True).resolve(silent).files
    assert "modeling.py" in by_path(trusted)


def test_what_modelopt_wrote_beside_the_config_is_read(root: Path) -> None:
    said = {"quantization": {"quant_algo": "FP8"}}
    (root / "hf_quant_config.json").write_text(json.dumps(said))
    assert folder(root).resolve(silent).facts["quantization"] == "modelopt"


# Refusals


@pytest.mark.parametrize(
    ("reference", "told"),
    [("org/other--modeling.Model", "another repository"), ("modeling.Model", "copy it into")],
)
def test_trusted_code_that_is_not_in_the_folder_is_refused(
    root: Path, reference: str, told: str
) -> None:
    config = {"architectures": ["X"], "auto_map": {"AutoModel": reference}}
    (root / "config.json").write_text(json.dumps(config))
    folder(root).resolve(silent)
    with pytest.raises(BadFile, match=told):
        folder(root, remote_code=True).resolve(silent)


@pytest.mark.parametrize("make", [lambda path: None, Path.touch, lambda p: p.symlink_to("gone")])
def test_a_folder_that_is_not_there_is_named_as_it_was_said(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "weights")
    with pytest.raises(BadFile, match=r"models\.yaml") as caught:
        folder(tmp_path / "weights").resolve(silent)
    assert caught.value.subject == "weights"


def test_a_link_to_nowhere_is_named(root: Path) -> None:
    (root / "tokenizer.json").symlink_to("gone")
    with pytest.raises(BadFile, match="link to nowhere") as caught:
        folder(root).resolve(silent)
    assert caught.value.subject == str(root / "tokenizer.json")


@pytest.mark.parametrize(
    "name", [".git/annex/key", ".cache/lock.json", ".x", "original/consolidated.pth", "x.bin"]
)
def test_a_link_to_nowhere_that_is_not_the_models_is_left_alone(root: Path, name: str) -> None:
    before = folder(root).resolve(silent)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to("gone")
    assert folder(root).resolve(silent) == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "c.safetensors"])
def test_any_chosen_link_to_nowhere_is_named(root: Path, name: str) -> None:
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to("gone")
    with pytest.raises(BadFile, match="link to nowhere") as caught:
        folder(root).resolve(silent)
    assert caught.value.subject == str(root / name)


def test_code_in_a_hidden_folder_is_not_the_models(root: Path) -> None:
    (root / ".venv").mkdir()
    (root / ".venv" / "evil.py").write_text("pass")
    trusted = folder(root, remote_code=True).resolve(silent).files
    assert ".venv/evil.py" not in by_path(trusted)


def test_a_file_that_changes_while_it_is_hashed_is_refused_though_its_time_is_set_back(
    root: Path,
) -> None:
    path = root / "a.safetensors"
    before = path.stat()

    def change(event: Event) -> None:
        while isinstance(event, Started) and path.stat().st_ctime_ns == before.st_ctime_ns:
            overwrite(path, b"x")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(TryAgain, match="while it was read") as caught:
        folder(root).resolve(change)
    assert caught.value.subject == str(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert by_path(folder(root).resolve(silent).files)["a.safetensors"].size == BIG


def test_more_big_files_than_may_have_layers_are_pinned_by_themselves(root: Path) -> None:
    limit = weights.PINNED_BY_LAYER_LIMIT
    many = folder(root)
    for number in range(limit - 1):
        os.link(root / "a.safetensors", root / f"c{number}.safetensors")
    assert by_path(many.resolve(silent).files)["a.safetensors"].pinned_by == "layer"
    os.link(root / "a.safetensors", root / "one-more.safetensors")
    assert by_path(many.resolve(silent).files)["a.safetensors"].pinned_by == "file"


def test_a_truncated_shard_is_found_before_anything_is_hashed(root: Path) -> None:
    with (root / "a.safetensors").open("r+b") as stream:
        stream.truncate(BIG - 1)
    heard: list[Event] = []
    with pytest.raises(WrongBytes, match=r"a\.safetensors"):
        folder(root).resolve(heard.append)
    assert heard == []


def test_a_missing_shard_is_named(root: Path) -> None:
    index = {"weight_map": {"x": "a.safetensors", "y": "c.safetensors"}}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LockAgain) as caught:
        folder(root).resolve(silent)
    assert caught.value.subject == "c.safetensors"


def test_pickles_only_are_refused(root: Path) -> None:
    for name in "ab":
        (root / f"{name}.safetensors").rename(root / f"{name}.bin")
    with pytest.raises(BadFile, match="pickles"):
        folder(root).resolve(silent)


def test_a_folder_without_a_config_is_refused(root: Path) -> None:
    (root / "config.json").unlink()
    with pytest.raises(BadFile, match="no model"):
        folder(root).resolve(silent)


# Between the lock and the build


def test_a_folder_that_is_as_it_was_passes_the_check_and_is_not_read(root: Path) -> None:
    source = folder(root)
    heard: list[Event] = []
    source.check(lock_of(source.resolve(silent).files), "smol", heard.append)
    assert heard == []


def test_a_lock_from_elsewhere_passes_while_nothing_speaks_against_it(root: Path) -> None:
    """What this machine has never hashed is not hashed to make a plan; the build proves it."""
    lock = lock_of(folder(root).resolve(silent).files)
    for record in (root.parent / "cache" / "seen").iterdir():
        record.unlink()
    heard: list[Event] = []
    folder(root).check(lock, "smol", heard.append)
    assert heard == []


def test_a_folder_that_is_not_here_has_not_changed(root: Path) -> None:
    source = folder(root)
    lock = lock_of(source.resolve(silent).files)
    root.rename(root.with_name("elsewhere"))
    source.check(lock, "smol", silent)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda path: path.unlink(), LockAgain),
        (lambda path: path.write_bytes(b"short"), WrongBytes),
        (lambda path: os.truncate(path, BIG + 1), WrongBytes),
        (lambda path: overwrite(path, b"x"), WrongBytes),
    ],
)
def test_a_folder_that_changed_is_refused(
    root: Path, change: Callable[[Path], object], kind: type[OvenproofError]
) -> None:
    source = folder(root)
    lock = lock_of(source.resolve(silent).files)
    change(root / "a.safetensors")
    with pytest.raises(kind, match="invoke lock --model smol") as caught:
        source.check(lock, "smol", silent)
    assert caught.value.subject == str(root / "a.safetensors")


def test_a_file_that_was_touched_and_is_the_same_passes(root: Path) -> None:
    source = folder(root)
    lock = lock_of(source.resolve(silent).files)
    os.utime(root / "a.safetensors", ns=(0, 0))
    source.check(lock, "smol", silent)


def test_all_changes_are_named_at_once(root: Path) -> None:
    source = folder(root)
    lock = lock_of(source.resolve(silent).files)
    for name in ("README.md", "config.json"):
        (root / name).write_bytes(b"")
    with pytest.raises(Several) as caught:
        source.check(lock, "smol", silent)
    assert len(caught.value.faults) == 2


def test_a_small_file_that_changed_in_place_is_found_when_it_is_read(root: Path) -> None:
    source = folder(root)
    files = source.resolve(silent).files
    (root / "README.md").write_text("HELLO")
    lock = lock_of(files)
    small = [(file.path, source.body(file)) for file in files if file.pinned_by == "file"]
    with pytest.raises(WrongBytes):
        measure(Prepared(weights.layer_recipe("/model", small), source.shelf(lock, silent)))
