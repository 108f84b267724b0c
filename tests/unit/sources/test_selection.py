"""Which files of a repository are the model."""

import json

import pytest

from ovenproof.errors import BadFile, LockAgain
from ovenproof.sources.selection import INDEX, Selection, select

TEXTS = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def index_of(*names: object) -> bytes:
    return json.dumps({"weight_map": {f"tensor{n}": name for n, name in enumerate(names)}}).encode()


def choose(*paths: str, index: bytes = index_of(*SHARDS), remote_code: bool = False) -> Selection:
    def read(name: str) -> bytes:
        assert name == INDEX, f"{name} was read"
        return index

    return select(paths, read=read, remote_code=remote_code, where="repo")


def test_one_safetensors_file_and_its_texts() -> None:
    found = choose("model.safetensors", *TEXTS)
    assert found.weights == ("model.safetensors",)
    assert found.texts == tuple(sorted(TEXTS))
    assert found.paths == tuple(sorted(["model.safetensors", *TEXTS]))


def test_with_an_index_only_its_files() -> None:
    found = choose(*SHARDS, INDEX, "extra.safetensors", "config.json")
    assert found.weights == tuple(SHARDS)
    assert INDEX in found.texts


@pytest.mark.parametrize(
    "other",
    [
        "consolidated.safetensors",
        "consolidated.00.pth",
        "consolidated-00001-of-00002.safetensors",
        "params.json",
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "flax_model.msgpack",
        "rust_model.ot",
        "model.gguf",
        "model.onnx",
        "original/consolidated.00.pth",
        "original/params.json",
        "onnx/model.onnx",
        "training_args.bin",
        "picture.png",
        ".gitattributes",
        ".hidden.json",
        ".hidden.safetensors",
        ".cache/huggingface/config.json",
        "modeling_orion.py",
        "consolidated.safetensors.index.json",
    ],
)
def test_what_else_lies_in_a_repository_is_left_out(other: str) -> None:
    assert other not in choose("model.safetensors", *TEXTS, other).paths


@pytest.mark.parametrize(
    "text",
    [
        "LICENSE",
        "LICENSE.txt",
        "License.md",
        "NOTICE",
        "USE_POLICY.md",
        "README.md",
        "vocab.txt",
        "merges.txt",
        "tokenizer.model",
        "tekken.json",
        "chat_template.jinja",
        "qwen.tiktoken",
        "preprocessor_config.json",
    ],
)
def test_texts_that_a_tokenizer_a_template_or_a_lawyer_needs_are_kept(text: str) -> None:
    assert text in choose("model.safetensors", "config.json", text).texts


def test_without_config_json_it_is_mistrals_format() -> None:
    found = choose("consolidated.safetensors", "params.json", "tekken.json", "model.safetensors")
    assert found.weights == ("consolidated.safetensors",)
    assert found.texts == ("params.json", "tekken.json")


def test_code_is_baked_only_where_the_entry_trusts_it() -> None:
    paths = ("model.safetensors", "config.json", "modeling.py", "lib/deep.py", ".git/hook.py")
    assert choose(*paths).texts == ("config.json",)
    assert choose(*paths, remote_code=True).texts == ("config.json", "lib/deep.py", "modeling.py")


def test_the_order_of_the_listing_does_not_matter() -> None:
    paths = [*SHARDS, INDEX, *TEXTS, "a.py", "b.py"]
    assert choose(*paths, remote_code=True) == choose(*reversed(paths), remote_code=True)


def test_a_shard_that_the_index_names_and_nobody_has_is_named() -> None:
    with pytest.raises(LockAgain) as caught:
        choose(SHARDS[0], INDEX, "config.json")
    assert caught.value.subject == SHARDS[1]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/model.safetensors", 7])
def test_an_index_that_points_elsewhere_finds_nothing(name: object) -> None:
    with pytest.raises((LockAgain, BadFile)):
        choose(*SHARDS, INDEX, "config.json", index=index_of(name, *SHARDS))


@pytest.mark.parametrize(
    "index", [b"", b"{", b"[]", b"{}", b'{"weight_map": 1}', b'{"weight_map": {"a": []}}', b"\xff"]
)
def test_an_index_that_is_none_is_said(index: bytes) -> None:
    with pytest.raises(BadFile, match="index"):
        choose(*SHARDS, INDEX, "config.json", index=index)


def test_an_index_of_nothing_is_no_weights() -> None:
    with pytest.raises(BadFile, match="no weights"):
        choose(*SHARDS, INDEX, "config.json", index=b'{"weight_map": {}}')


def test_pickles_alone_are_refused_with_a_way_out() -> None:
    with pytest.raises(BadFile, match=r"pickles(.|\n)*save_pretrained") as caught:
        choose("pytorch_model.bin", "config.json")
    assert caught.value.subject == "pytorch_model.bin"


def test_an_index_cannot_smuggle_a_pickle_in() -> None:
    with pytest.raises(BadFile, match="safetensors"):
        choose("evil.bin", "config.json", INDEX, index=index_of("evil.bin"))


def test_a_folder_that_is_no_model_says_what_it_has() -> None:
    names = [f"{letter}.txt" for letter in "abcdefg"]
    with pytest.raises(BadFile, match="no model") as caught:
        choose(*names)
    assert caught.value.got == "a.txt, b.txt, c.txt, d.txt, e.txt and 2 more"
    with pytest.raises(BadFile) as caught:
        choose()
    assert caught.value.got == "an empty folder"


def test_a_config_without_weights_says_so() -> None:
    with pytest.raises(BadFile, match="no weights"):
        choose("config.json", "model.gguf")
