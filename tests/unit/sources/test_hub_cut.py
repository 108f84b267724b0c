"""Files that are too large for a registry: cut when they are locked, put together when read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors import safe_open

from ovenproof.core import weights
from ovenproof.core.digest import Content
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.events import silent
from ovenproof.sources.interface import Resolved
from ovenproof.store.shelf import Prepared
from ovenproof.store.store import Store
from ovenproof.store.stream import measure
from tests.fakes.hub import FakeHub, Repository
from tests.unit.sources.repositories import (
    BIG,
    CONFIG,
    INDEX,
    big_tensors,
    file,
    index_of,
    locked,
    paths,
    tensors,
)

if TYPE_CHECKING:
    from ovenproof.sources.hub import HubSource
    from tests.unit.sources.conftest import Source

SIZES = {"a": 700, "b": 800, "c": 900}
MOST = 1500


@pytest.fixture
def repository(fake: FakeHub) -> Repository:
    repository = fake.repository("org/m")
    repository.commit({"config.json": CONFIG, "model.safetensors": tensors(**SIZES)})
    return repository


def content(one: LockedFile) -> Content:
    return Content(one.digest, one.size)


def unpack(source: "HubSource", lock: ModelLock, folder: Path) -> None:
    """All locked files, as an image would hold them."""
    shelf = source.shelf(lock, silent)
    for one in lock.files:
        with shelf.open(content(one)) as stream:
            data = stream.read()
        assert Content.of(data) == content(one)
        (folder / one.path).write_bytes(data)


def values(folder: Path) -> dict[str, list[int]]:
    """Every tensor, by a reader that is not ours; the index must say where each is."""
    places = json.loads((folder / INDEX).read_bytes())["weight_map"]
    found = {}
    for name, path in places.items():
        with safe_open(folder / path, framework="numpy") as opened:
            found[name] = opened.get_tensor(name).tolist()
    return found


def whole(sizes: dict[str, int]) -> dict[str, list[int]]:
    return {
        name: [(number * 7 + len(name)) % 251 for number in range(size)]
        for name, size in sizes.items()
    }


def test_a_file_over_the_limit_is_locked_as_parts_and_an_index(
    repository: Repository, make_source: "Source", tmp_path: Path
) -> None:
    source = make_source(largest_file=MOST)
    found = source.resolve(silent)
    assert "model.safetensors" not in paths(found)
    parts = [one for one in found.files if one.cut]
    assert len(parts) > 1
    assert all(one.size <= MOST for one in parts)
    assert {one.cut.of for one in parts if one.cut} == {"model.safetensors"}
    assert file(found, INDEX).made
    assert found.facts["parameters"] == sum(SIZES.values())
    unpack(source, locked(found), tmp_path)
    assert values(tmp_path) == whole(SIZES)


def test_without_a_limit_and_below_it_nothing_is_cut(
    repository: Repository, make_source: "Source"
) -> None:
    whole_file = make_source().resolve(silent)
    assert make_source(largest_file=1 << 20).resolve(silent) == whole_file
    assert paths(whole_file) == ["config.json", "model.safetensors"]


def test_a_repository_with_an_index_keeps_what_it_says_of_others(
    fake: FakeHub, make_source: "Source", tmp_path: Path, store: Store
) -> None:
    index = index_of(**dict.fromkeys(SIZES, "one.safetensors"), z="two.safetensors")
    fake.repository("org/m").commit(
        {
            "config.json": CONFIG,
            "one.safetensors": tensors(**SIZES),
            "two.safetensors": tensors(z=50),
            INDEX: index,
        }
    )
    source = make_source(largest_file=MOST)
    found = source.resolve(silent)
    assert found.origin["index"] == {
        "digest": str(Content.of(index).digest),
        "size": len(index),
    }
    lock = locked(found)
    for emptied in (False, True):  # then the index is made again from the repository's own
        if emptied:
            store.empty()
            assert INDEX in source.distant(lock)
        folder = tmp_path / str(emptied)
        folder.mkdir()
        unpack(source, lock, folder)
        assert values(folder) == whole({**SIZES, "z": 50})
    assert "two.safetensors" in paths(found)


def test_an_index_is_made_again_without_one_of_the_repositorys(
    repository: Repository, make_source: "Source", store: Store, tmp_path: Path
) -> None:
    source = make_source(largest_file=MOST)
    lock = locked(source.resolve(silent))
    store.empty()
    unpack(source, lock, tmp_path)
    assert values(tmp_path) == whole(SIZES)


def test_parts_can_be_brought_into_the_store(
    repository: Repository, make_source: "Source", store: Store, fake: FakeHub, tmp_path: Path
) -> None:
    source = make_source(largest_file=MOST)
    lock = locked(source.resolve(silent))
    store.empty()
    distant = source.distant(lock)
    assert sorted(distant) == [one.path for one in lock.files]
    source.bring(lock, [supply.content for supply in distant.values()], silent)
    assert source.distant(lock) == {}
    fake.go_away()
    unpack(source, lock, tmp_path)


def test_a_part_is_near_where_its_original_is(
    repository: Repository, make_source: "Source", store: Store
) -> None:
    source = make_source(largest_file=MOST)
    lock = locked(source.resolve(silent))
    parts = {one.path for one in lock.files if one.cut}
    original = Content.of(tensors(**SIZES))
    assert store.has(original)
    assert not parts & {*source.distant(lock)}
    store.path(original).unlink()
    assert parts <= {*source.distant(lock)}


def test_no_part_takes_the_name_of_another_file(
    repository: Repository, make_source: "Source"
) -> None:
    parts = [one.path for one in make_source(largest_file=MOST).resolve(silent).files if one.cut]
    repository.commit(dict.fromkeys(parts, b"not chosen by the index"))
    repository.commit({INDEX: index_of(**dict.fromkeys(SIZES, "model.safetensors"))})
    again = [one.path for one in make_source(largest_file=MOST).resolve(silent).files if one.cut]
    assert len(again) == len(parts)
    assert not {*again} & {*parts}


def layers(found: Resolved, source: "HubSource") -> dict[str, Content]:
    """The layer of each part, hashed as an oven does it."""
    made = {}
    shelf = source.shelf(locked(found), silent)
    for one in found.files:
        if one.cut:
            recipe = weights.layer_recipe("/model", [(one.path, source.body(one))])
            made[one.path] = measure(Prepared(recipe, shelf))
    return made


def test_the_layers_of_big_parts_are_proven_in_the_same_pass(
    fake: FakeHub, make_source: "Source"
) -> None:
    original = big_tensors(a=BIG, b=BIG, c=1000)
    fake.repository("org/m").commit({"config.json": CONFIG, "model.safetensors": original})
    source = make_source(largest_file=BIG + 4096)
    found = source.resolve(silent)
    sent = sum(one.sent for one in fake.cdn_requests)
    assert sent < original.size + (1 << 20)
    proven = layers(found, source)
    keys = {
        weights.action(weights.Group(one.path, (one,)), "/model").key: proven[one.path]
        for one in found.files
        if one.cut and weights.is_big(one.size)
    }
    assert len(keys) == 2
    assert dict(found.layers) == keys


def test_an_original_that_was_read_once_is_not_read_again(
    fake: FakeHub, make_source: "Source"
) -> None:
    original = big_tensors(a=BIG, b=BIG)
    fake.repository("org/m").commit({"config.json": CONFIG, "model.safetensors": original})
    first = make_source(largest_file=BIG + 4096).resolve(silent)
    before = sum(one.sent for one in fake.cdn_requests)
    assert make_source(largest_file=BIG + 4096).resolve(silent) == first
    assert sum(one.sent for one in fake.cdn_requests) - before <= 2 << 18
    elsewhere = make_source(largest_file=BIG + 4096, model_path="/other").resolve(silent)
    assert elsewhere.files == first.files
    assert not elsewhere.layers.keys() & first.layers.keys()
    assert not {*elsewhere.layers.values()} & {*first.layers.values()}


@pytest.mark.parametrize("how", ["locked", "before"])
def test_what_an_earlier_lock_has_of_an_original_is_not_read_again(
    fake: FakeHub, make_source: "Source", tmp_path: Path, how: str
) -> None:
    original = big_tensors(a=BIG, b=BIG)
    repository = fake.repository("org/m")
    repository.commit({"config.json": CONFIG, "model.safetensors": original})
    most = BIG + 4096
    first = make_source(largest_file=most).resolve(silent)
    lock = replace(locked(first), layers=first.layers)
    sent = sum(one.sent for one in fake.cdn_requests)
    if how == "before":
        repository.commit({"README.md": b"new"})

    def elsewhere(name: str, **said: Any) -> Resolved:
        return make_source(store=Store(tmp_path / name), **said).resolve(silent)

    again = elsewhere("second", largest_file=most, **{how: lock})
    assert [one for one in again.files if one.cut] == [one for one in first.files if one.cut]
    assert again.layers == first.layers
    assert sum(one.sent for one in fake.cdn_requests) - sent <= 2 << 18
    wrong = tuple(
        replace(one, cut=replace(one.cut, head=Content.of(b"another"))) if one.cut else one
        for one in lock.files
    )
    for number, other in enumerate((replace(lock, files=wrong), replace(lock, files=()))):
        sent = sum(one.sent for one in fake.cdn_requests)
        found = elsewhere(f"third {number}", largest_file=most, before=other)
        assert found.layers == first.layers
        assert sum(one.sent for one in fake.cdn_requests) - sent > original.size


def test_another_limit_reads_an_original_again(fake: FakeHub, make_source: "Source") -> None:
    original = big_tensors(a=BIG, b=BIG, c=BIG)
    fake.repository("org/m").commit({"config.json": CONFIG, "model.safetensors": original})
    lock = locked(make_source(largest_file=BIG + 4096).resolve(silent))
    found = make_source(largest_file=2 * BIG + 4096, before=lock).resolve(silent)
    assert found == make_source(largest_file=2 * BIG + 4096).resolve(silent)
    assert len([one for one in found.files if one.cut]) == 2


def test_an_original_with_wrong_bytes_is_not_locked(fake: FakeHub, make_source: "Source") -> None:
    original = big_tensors(a=BIG, b=BIG)
    fake.repository("org/m").commit({"config.json": CONFIG, "model.safetensors": original})
    fake.wrong_bytes = {"model.safetensors": original.size - 5}
    with pytest.raises(WrongBytes, match="promised"):
        make_source(largest_file=BIG + 4096).resolve(silent)


@pytest.mark.parametrize("most", [700, 950])
def test_a_tensor_that_alone_is_too_large_is_named(
    repository: Repository, make_source: "Source", most: int
) -> None:
    with pytest.raises(BadFile, match="never cut"):
        make_source(largest_file=most).resolve(silent)


def test_what_cannot_be_cut_is_named_all_at_once(fake: FakeHub, make_source: "Source") -> None:
    files = {"model.safetensors": tensors(a=10), "tokenizer.json": b" " * 2000}
    fake.repository("org/m").commit({"config.json": CONFIG, **files})
    with pytest.raises(BadFile, match="only safetensors") as caught:
        make_source(largest_file=MOST).resolve(silent)
    assert caught.value.subject == "tokenizer.json"


def test_a_commit_is_kept_with_its_parts(repository: Repository, make_source: "Source") -> None:
    first = make_source(largest_file=MOST).resolve(silent)
    repository.commit({"README.md": b"new"})
    assert make_source(largest_file=MOST, locked=locked(first)).resolve(silent) == first
