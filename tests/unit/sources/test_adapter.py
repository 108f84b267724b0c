"""LoRA adapters of the hub: two files and a few texts, locked as a model is."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.events import Event, silent
from ovenproof.sources.adapter import HubAdapter
from tests.fakes.hub import FakeHub
from tests.fakes.hub.content import Body
from tests.unit.sources.repositories import file, locked, notes, paths, tensors

if TYPE_CHECKING:
    from tests.unit.sources.conftest import Source

WEIGHTS = tensors(lora=64)


def config(**said: Any) -> bytes:
    usual = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16.0,
        "target_modules": ["v_proj", "q_proj"],
        "base_model_name_or_path": "org/base",
    }
    return json.dumps({**usual, **said}).encode()


def commit(fake: FakeHub, files: dict[str, Body | None] | None = None, **said: Any) -> None:
    repository = fake.repository("org/m", license="mit")
    whole = {"adapter_config.json": config(**said), "adapter_model.safetensors": WEIGHTS}
    repository.commit({**whole, **(files or {})})


def test_an_adapter_is_its_config_its_weights_and_the_texts_of_a_lawyer(
    fake: FakeHub, make_source: "Source"
) -> None:
    other: dict[str, Body | None] = {
        "README.md": b"#",
        "LICENSE": b"MIT",
        "tokenizer.json": b"{}",
        "optimizer.pt": b"no",
        "training_args.bin": b"no",
        "checkpoint-1/adapter_model.safetensors": b"no",
        "handler.py": b"",
    }
    commit(fake, other)
    source = make_source(HubAdapter, model_path="/adapters/sql", base="org/base")
    events: list[Event] = []
    found = source.resolve(events.append)
    assert paths(found) == [
        "LICENSE",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert found.facts == {
        "rank": 8,
        "base model": "org/base",
        "target modules": ["q_proj", "v_proj"],
        "license": "mit",
    }
    assert found.origin["kind"] == "hub"
    assert notes(events) == []
    one = file(found, "adapter_model.safetensors")
    with source.shelf(locked(found), silent).open(Content(one.digest, one.size)) as stream:
        assert stream.read() == WEIGHTS


def test_the_rank_is_the_largest_that_any_module_has(fake: FakeHub, make_source: "Source") -> None:
    commit(fake, rank_pattern={"q_proj": 32}, target_modules="all-linear")
    facts = make_source(HubAdapter).resolve(silent).facts
    assert (facts["rank"], facts["target modules"]) == (32, "all-linear")


def test_another_base_model_is_told_and_taken(fake: FakeHub, make_source: "Source") -> None:
    commit(fake)
    events: list[Event] = []
    assert make_source(HubAdapter, base="org/other").resolve(events.append).files
    (note,) = notes(events)
    assert "org/base" in note
    assert "org/other" in note


def test_a_pickle_is_refused_with_a_way_out(fake: FakeHub, make_source: "Source") -> None:
    commit(fake, {"adapter_model.safetensors": None, "adapter_model.bin": b"x"})
    with pytest.raises(BadFile, match=r"pickle(.|\n)*save_pretrained"):
        make_source(HubAdapter, allow_pickle=True).resolve(silent)


def test_a_repository_that_is_no_adapter_is_named(fake: FakeHub, make_source: "Source") -> None:
    fake.repository("org/m").commit({"config.json": b"{}", "model.safetensors": WEIGHTS})
    with pytest.raises(BadFile, match="no adapter"):
        make_source(HubAdapter).resolve(silent)


@pytest.mark.parametrize(
    "said",
    [{"peft_type": "IA3"}, {"peft_type": None}, {"r": 0}, {"r": "8"}, {"r": True},
     {"rank_pattern": {"a": -1}}, {"r": 513}, {"use_dora": True}, {"modules_to_save": ["lm_head"]},
     {"lora_bias": True}, {"init_lora_weights": "pissa_niter_4"}, {"layer_replication": [[0, 4]]}],
)  # fmt: skip
def test_a_config_that_vllm_cannot_serve_is_refused(
    fake: FakeHub, make_source: "Source", said: dict[str, Any]
) -> None:
    commit(fake, **said)
    with pytest.raises(BadFile, match=r"adapter_config\.json"):
        make_source(HubAdapter).resolve(silent)


@pytest.mark.parametrize(
    "said",
    [{"init_lora_weights": True}, {"init_lora_weights": "gaussian"}, {"modules_to_save": ["score"]},
     {"use_dora": False, "layer_replication": None, "modules_to_save": None}],
)  # fmt: skip
def test_what_vllm_serves_is_taken(
    fake: FakeHub, make_source: "Source", said: dict[str, Any]
) -> None:
    commit(fake, **said)
    assert make_source(HubAdapter).resolve(silent).facts["rank"] == 8


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff"])
def test_a_config_that_is_none_is_said(fake: FakeHub, make_source: "Source", text: bytes) -> None:
    commit(fake, {"adapter_config.json": text})
    with pytest.raises(BadFile, match=r"adapter_config\.json"):
        make_source(HubAdapter).resolve(silent)


def test_a_head_that_lies_is_refused(fake: FakeHub, make_source: "Source") -> None:
    commit(fake, {"adapter_model.safetensors": WEIGHTS + b"more"})
    with pytest.raises(WrongBytes, match="not as long"):
        make_source(HubAdapter).resolve(silent)


@pytest.mark.parametrize("modules", [["q"] * 201, ["q", "\x1b[2J"], ["q" * 201], "q\n", 7])
def test_words_that_no_person_can_read_are_no_facts(
    fake: FakeHub, make_source: "Source", modules: object
) -> None:
    commit(fake, target_modules=modules, base_model_name_or_path="org/\x1b[2Jbase")
    found = make_source(HubAdapter, base="org/base").resolve(silent)
    assert found.facts.keys() & {"base model", "target modules"} == set()
