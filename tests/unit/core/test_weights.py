"""How a model's files become layers: big ones alone, small ones together."""

import itertools
from pathlib import Path

import pytest

from ovenproof.core.action import Action
from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content, Digest
from ovenproof.core.model_lock import LockedFile
from ovenproof.core.weights import (
    ALONE_FROM,
    Group,
    action,
    big_groups,
    layer_recipe,
    layer_size,
    pinned,
    small_group,
)
from ovenproof.errors import BadFile


def locked(path: str, size: int, *, by_layer: bool = False) -> LockedFile:
    return LockedFile(
        path=path,
        size=size,
        digest=Digest.of(path.encode()),
        pinned_by="layer" if by_layer else "file",
    )


CONFIG = locked("config.json", 700)
ALMOST = locked("almost.bin", ALONE_FROM - 1)
EXACT = locked("exact.safetensors", ALONE_FROM)
SHARDS = [locked(f"model-{number:05}.safetensors", 4 << 30) for number in range(7)]


def test_a_file_is_big_from_32_mib_on() -> None:
    files = [CONFIG, EXACT, ALMOST]
    assert big_groups(files, 10) == (Group("exact.safetensors", (EXACT,)),)
    assert small_group(files) == Group("model files", (ALMOST, CONFIG))


def test_without_small_files_there_is_no_group_of_them() -> None:
    assert small_group(SHARDS) is None
    assert big_groups([CONFIG], 10) == ()


def test_big_files_come_alone_and_in_the_order_of_their_paths() -> None:
    groups = big_groups(list(reversed(SHARDS)), 7)
    assert [group.files for group in groups] == [(shard,) for shard in SHARDS]
    assert [group.title for group in groups] == [shard.path for shard in SHARDS]


def test_where_layers_are_short_neighbours_share() -> None:
    for limit in (1, 2, 3, 6, 0, -5):
        groups = big_groups(SHARDS, limit)
        assert len(groups) <= max(limit, 1)
        assert list(itertools.chain(*(group.files for group in groups))) == SHARDS
    assert big_groups(SHARDS, 1)[0].title == "model-00000.safetensors … model-00006.safetensors"


def test_a_file_that_is_pinned_by_its_layer_shares_it_with_nobody() -> None:
    own = [locked(f"model-{number:05}.safetensors", 4 << 30, by_layer=True) for number in (1, 4)]
    files = [*own, *(shard for shard in SHARDS if shard.path not in {file.path for file in own})]
    for limit in (3, 4, 6, 7):
        groups = big_groups(files, limit)
        assert len(groups) <= limit
        assert sorted(file for group in groups for file in group.files) == sorted(files)
        assert [group.files for group in groups if set(group.files) & set(own)] == [
            (file,) for file in own
        ]


def test_where_no_layers_are_left_the_model_is_refused_rather_than_pinned_wrongly() -> None:
    own = [locked(f"{number}.safetensors", ALONE_FROM, by_layer=True) for number in range(3)]
    assert len(big_groups(own, 3)) == 3
    with pytest.raises(BadFile, match="more layers") as caught:
        big_groups(own, 2)
    assert (caught.value.expected, caught.value.got) == ("2 layers of weights at most", "3")


def test_the_layer_lies_below_the_models_folder() -> None:
    made = layer_recipe("/srv/model", [("sub/config.json", CONFIG_BODY), ("a", CONFIG_BODY)])
    assert [entry.path for entry in made.entries] == [
        "srv",
        "srv/model",
        "srv/model/a",
        "srv/model/sub",
        "srv/model/sub/config.json",
    ]


CONFIG_BODY = Content.of(b"{}")


def test_the_key_depends_on_folder_path_size_digest_and_pin() -> None:
    base = Group("t", (locked("w", 40),))
    others = [
        Group("t", (locked("v", 40),)),
        Group("t", (locked("w", 41),)),
        Group("t", (locked("w", 40, by_layer=True),)),
        Group("t", (LockedFile(path="w", size=40, digest=Digest.of(b"other")),)),
        Group("t", ()),
    ]
    keys = {action(group, "/model").key for group in (base, *others)}
    keys.add(action(base, "/other").key)
    assert len(keys) == 7


def test_the_title_is_not_in_the_key() -> None:
    group = Group("t", (locked("w", 40),))
    assert action(Group("other", group.files), "/model").key == action(group, "/model").key


def test_a_file_pinned_by_its_layer_is_a_proof_of_that_layer() -> None:
    file = locked("model.safetensors", ALONE_FROM, by_layer=True)
    (group,) = big_groups([file], 10)
    body = LocalFile(Path("/anywhere"), file.size)
    size = layer_recipe("/model", [(file.path, body)]).size
    assert pinned([file, CONFIG], "/model") == {
        action(group, "/model").key: Content(file.digest, size)
    }


@pytest.mark.parametrize("files", [(CONFIG,), (EXACT,), (ALMOST, CONFIG), tuple(SHARDS)])
def test_an_action_tells_the_size_of_its_layer_without_the_files(
    files: tuple[LockedFile, ...],
) -> None:
    bodies = [(file.path, LocalFile(Path("/anywhere"), file.size)) for file in files]
    made = layer_recipe("/srv/model", bodies)
    assert layer_size(action(Group("t", files), "/srv/model")) == made.size


def test_another_action_tells_no_size() -> None:
    assert layer_size(Action(kind="wheels", version=1)) is None
