"""What moved between two locks, as a person judges it."""

import json
from collections.abc import Mapping

from ovenproof.core.difference import Change, Difference, difference
from ovenproof.core.digest import Digest, Json
from ovenproof.core.model_lock import LockedFile, ModelLock

SHARD = 40 << 20


def compare(
    before: Mapping[str, bytes | int],
    after: Mapping[str, bytes | int],
    facts: Mapping[str, Json] | None = None,
) -> Difference:
    """Locks of some texts and, by their sizes, some weights."""
    texts: dict[Digest, bytes] = {}

    def lock(files: Mapping[str, bytes | int], commit: str, own: Mapping[str, Json]) -> ModelLock:
        locked = []
        for path, given in files.items():
            data = given if isinstance(given, bytes) else f"{path}{given}".encode()
            size = len(given) if isinstance(given, bytes) else given
            digest = Digest.of(data)
            texts[digest] = data
            locked.append(LockedFile(path=path, size=size, digest=digest))
        return ModelLock(
            fingerprint=Digest.of(b""),
            origin={"kind": "hub", "commit": commit},
            files=tuple(locked),
            facts=own,
        )

    old, new = lock(before, "a" * 40, {"dtype": "float16"}), lock(after, "b" * 40, facts or {})
    return difference(old, new, lambda file: texts.get(file.digest))


def config(**values: object) -> bytes:
    return json.dumps(values).encode()


def test_the_same_files_are_no_difference_whatever_the_commit() -> None:
    found = compare(
        {"config.json": config(a=1), "w": SHARD}, {"config.json": config(a=1), "w": SHARD}
    )
    assert found.nothing
    assert found.moves == 0
    assert found.origin == (Change(path="commit", before="a" * 40, after="b" * 40),)


def test_files_come_go_and_change() -> None:
    found = compare(
        {"gone": b"1", "same": b"2", "other": b"3"}, {"same": b"2", "other": b"4", "new": b"5"}
    )
    assert [(one.path, one.before is None, one.after is None) for one in found.files] == [
        ("gone", False, True),
        ("new", True, False),
        ("other", False, False),
    ]


def test_keys_of_a_config_are_named_down_to_where_they_differ() -> None:
    old = config(rope_theta=10000.0, rope={"factor": 2, "type": "x"}, gone=True)
    new = config(rope_theta=500000.0, rope={"factor": 4, "type": "x"}, new=[1])
    found = compare({"config.json": old}, {"config.json": new})
    assert found.values == (
        Change(path="config.json: gone", before="true", after=None),
        Change(path="config.json: new", before=None, after="[1]"),
        Change(path="config.json: rope.factor", before="2", after="4"),
        Change(path="config.json: rope_theta", before="10000.0", after="500000.0"),
    )


def test_a_chat_template_is_compared_by_its_lines_wherever_it_is_kept() -> None:
    old = config(chat_template="{% one %}\nsame\n", eos_token="</s>")
    new = b"{% two %}\nsame\n"
    found = compare({"tokenizer_config.json": old}, {"chat_template.jinja": new})
    assert found.template == ("-{% one %}", "+{% two %}")
    assert [one.path for one in found.values] == ["tokenizer_config.json: eos_token"]


def test_only_what_is_new_moves_and_small_files_move_together() -> None:
    before: dict[str, bytes | int] = {
        "a.safetensors": SHARD,
        "b.safetensors": SHARD,
        "x": b"12",
        "y": b"3",
    }
    assert compare(before, {**before, "b.safetensors": SHARD + 1}).moves == SHARD + 1
    assert compare(before, {**before, "x": b"21"}).moves == 3
    assert compare(before, {"another.safetensors": SHARD, **before}).moves == SHARD


def test_a_file_with_another_name_moves_because_its_layer_holds_the_name() -> None:
    digest = Digest.of(b"w")

    def lock(path: str) -> ModelLock:
        file = LockedFile(path=path, size=SHARD, digest=digest)
        return ModelLock(fingerprint=digest, origin={}, files=(file,))

    assert difference(lock("a"), lock("b"), lambda _file: None).moves == SHARD


def test_facts_are_compared() -> None:
    found = compare({}, {"x": b""}, {"dtype": "bfloat16", "license": "mit"})
    assert found.facts == (
        Change(path="dtype", before="float16", after="bfloat16"),
        Change(path="license", before=None, after="mit"),
    )


def test_texts_that_nobody_has_any_more_and_texts_that_are_broken_differ_as_files_alone() -> None:
    broken: list[bytes] = [b"{", b"[1]", b"\xff", b"[" * 100_000]
    for text in broken:
        found = compare({"config.json": b"{}"}, {"config.json": text})
        assert [one.path for one in found.files] == ["config.json"]
        assert not found.values


def test_it_can_be_said_to_a_machine() -> None:
    found = compare({"config.json": config(a=1)}, {"config.json": config(a=2)}).to_json()
    assert json.loads(json.dumps(found))["values"] == [
        {"path": "config.json: a", "before": "1", "after": "2"}
    ]


def test_all_files_of_an_adapter_move_together() -> None:
    def lock(text: bytes) -> ModelLock:
        files = (
            LockedFile(path="adapter_model.safetensors", size=SHARD, digest=Digest.of(b"w")),
            LockedFile(path="README.md", size=len(text), digest=Digest.of(text)),
        )
        return ModelLock(fingerprint=Digest.of(b""), origin={}, files=files)

    def moves(before: bytes, after: bytes) -> int:
        return difference(lock(before), lock(after), lambda _file: None, one_layer=True).moves

    assert moves(b"1234", b"12345") == SHARD + 5
    assert moves(b"1", b"1") == 0
