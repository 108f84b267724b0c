"""The tokenizer documents, held against the `tokenizers` library, which does not write them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as TheirTokenizer

from ovenproof.errors import BadFile
from ovenproof.sources.gguf_file import Gguf, Value
from ovenproof.sources.gguf_tokenizer import (
    Tokenizer,
    read_tokenizer,
    tokenizer_config,
    tokenizer_document,
)

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ("<|end|>", "<|start|>", *ALPHABET, "Ġa", "ĠĠ", "an", "and", "Ġand", "12", "<think>")
MERGES = ("Ġ a", "Ġ Ġ", "a n", "an d", "Ġ and", "1 2")
KINDS = (3, 3, *(1 for _ in TOKENS[2:-1]), 4)

TEXTS = (
    "and then, a  1\n 2   and",
    "12 1234 x12 ½ ٣",
    "<|start|>and<|end|> <think>12</think> <|no|>",
    "Ünïcödé 🙂 中文\t\r\n",
    "",
)


def metadata(**changes: Value | None) -> dict[str, Value]:
    values: dict[str, Value | None] = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": TOKENS,
        "token_type": KINDS,
        "merges": MERGES,
        "eos_token_id": 0,
        "bos_token_id": 1,
        **changes,
    }
    return {f"tokenizer.ggml.{k}": value for k, value in values.items() if value is not None}


def read(values: Mapping[str, Value], vocabulary: int = 1000) -> Tokenizer:
    return read_tokenizer(Gguf(path=Path("x.gguf"), metadata=values), vocabulary)


def theirs(*, digits: bool, frame: bool) -> TheirTokenizer:
    """The same tokenizer, put together with the library's own classes."""
    merges = [(left, right) for left, right in (merge.split(" ") for merge in MERGES)]
    built = TheirTokenizer(
        models.BPE(vocab={token: id_ for id_, token in enumerate(TOKENS)}, merges=merges)
    )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    single = pre_tokenizers.Digits(individual_digits=True)
    built.pre_tokenizer = pre_tokenizers.Sequence([single, byte_level]) if digits else byte_level
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(token, normalized=False) for token in TOKENS[:2]])
    built.add_tokens([AddedToken("<think>", normalized=False)])
    if frame:
        built.post_processor = processors.TemplateProcessing(
            single="<|start|> $A <|end|>",
            pair="<|start|> $A <|end|> <|start|>:1 $B:1 <|end|>:1",
            special_tokens=[("<|start|>", 1), ("<|end|>", 0)],
        )
    return built


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize(("split", "digits"), [("smollm", True), ("gpt-2", False)])
def test_the_document_is_what_the_library_would_write(
    split: str, digits: bool, frame: bool
) -> None:
    ours = read(metadata(pre=split, add_bos_token=frame, add_eos_token=frame))
    document = json.loads(json.dumps(tokenizer_document(ours)))
    expected = json.loads(theirs(digits=digits, frame=frame).to_str())
    assert document == expected


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize(("split", "digits"), [("smollm", True), ("gpt-2", False)])
def test_the_library_reads_the_document_and_gives_the_same_ids(
    split: str, digits: bool, frame: bool, text: str
) -> None:
    ours = read(metadata(pre=split, add_bos_token=frame, add_eos_token=frame))
    loaded = TheirTokenizer.from_str(json.dumps(tokenizer_document(ours)))
    ids = loaded.encode(text).ids
    assert ids == theirs(digits=digits, frame=frame).encode(text).ids
    assert loaded.decode(ids, skip_special_tokens=False) == (
        f"<|start|>{text}<|end|>" if frame else text
    )


def test_digits_stand_alone_only_where_the_split_says_so() -> None:
    smollm = TheirTokenizer.from_str(json.dumps(tokenizer_document(read(metadata()))))
    gpt2 = TheirTokenizer.from_str(json.dumps(tokenizer_document(read(metadata(pre="gpt-2")))))
    assert smollm.encode("12").tokens == ["1", "2"]
    assert gpt2.encode("12").tokens == ["12"]


def test_the_named_tokens_are_in_the_config() -> None:
    ours = read(metadata(unknown_token_id=0, padding_token_id=0))
    assert tokenizer_config(ours, 2048) == {
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": False,
        "bos_token": "<|start|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "model_max_length": 2048,
        "pad_token": "<|end|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<|end|>",
    }
    without = tokenizer_config(replace(ours, begin=None, padding=None, unknown=None), 2048)
    assert {"bos_token", "pad_token", "unk_token"}.isdisjoint(without)


def test_every_end_of_turn_ends_an_answer_once() -> None:
    ours = read(metadata(eot_token_id=1, eom_token_id=0))
    assert ours.end == 0
    assert ours.ends == (0, 1)


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"model": "llama", "pre": None}, "llama (tokenizer.ggml.model), nothing"),
        ({"pre": "qwen2"}, "gpt2 (tokenizer.ggml.model), qwen2 (tokenizer.ggml.pre)"),
        ({"pre": None}, "gpt2 (tokenizer.ggml.model), nothing (tokenizer.ggml.pre)"),
    ],
)
def test_another_tokenizer_is_named_with_those_that_are_supported(
    changes: dict[str, Value | None], got: str
) -> None:
    with pytest.raises(BadFile, match="cannot be imported") as caught:
        read(metadata(**changes))
    assert str(caught.value.got).startswith(got)
    assert caught.value.expected == "gpt2/gpt-2 or gpt2/smollm"


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"token_type": KINDS[:-1]}, "token_type"),
        ({"tokens": (*TOKENS[:-1], "and")}, "tokens"),
        ({"merges": ("an x y",)}, "merges"),
        ({"merges": ("and",)}, "merges"),
        ({"merges": ("d a",)}, "merges"),
        ({"eos_token_id": len(TOKENS)}, "eos_token_id"),
        ({"eos_token_id": None}, "eos_token_id"),
        ({"padding_token_id": -1}, "padding_token_id"),
    ],
)
def test_a_contradiction_names_its_key(changes: dict[str, Value | None], subject: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(metadata(**changes))
    assert caught.value.subject == f"tokenizer.ggml.{subject}"


def test_more_tokens_than_embeddings_are_refused() -> None:
    assert read(metadata(), vocabulary=len(TOKENS)).tokens == TOKENS
    with pytest.raises(BadFile, match="embeddings"):
        read(metadata(), vocabulary=len(TOKENS) - 1)
