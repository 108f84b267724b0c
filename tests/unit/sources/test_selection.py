"""Which files of a repository are the model."""

import json
from typing import Any

import pytest

from ovenproof.errors import BadFile, LockAgain, Several
from ovenproof.sources.formats import INDEX
from ovenproof.sources.selection import Selection, select

TEXTS = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def index_of(*names: object) -> bytes:
    return json.dumps({"weight_map": {f"tensor{n}": name for n, name in enumerate(names)}}).encode()


def choose(
    *paths: str, index: bytes = index_of(*SHARDS), remote_code: bool = False, **wishes: Any
) -> Selection:
    def read(name: str) -> bytes:
        assert name.endswith(".index.json"), f"{name} was read"
        return index

    return select(paths, read=read, remote_code=remote_code, where="repo", **wishes)


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
        "tokenizer.model.v3",
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


# Mistral's format


def test_the_hugging_face_format_is_preferred_to_mistrals() -> None:
    found = choose(
        "model.safetensors", "config.json", "consolidated.safetensors", "params.json", "tekken.json"
    )
    assert found.paths == ("config.json", "model.safetensors", "tekken.json")
    assert not found.mistral


def test_with_a_config_but_no_weights_for_it_it_is_mistrals_all_the_same() -> None:
    found = choose("config.json", "consolidated.safetensors", "params.json", "tekken.json")
    assert found.weights == ("consolidated.safetensors",)
    assert found.mistral


def test_mistrals_index_is_respected_too() -> None:
    shards = ("consolidated-00001-of-00002.safetensors", "consolidated-00002-of-00002.safetensors")
    own = "consolidated.safetensors.index.json"
    found = choose(*shards, own, "consolidated.safetensors", "params.json", index=index_of(*shards))
    assert found.paths == (*shards, own, "params.json")
    with pytest.raises(LockAgain):
        choose(shards[0], own, "params.json", index=index_of(*shards))


# Pickles


def test_pickles_are_taken_where_they_are_allowed_and_there_is_nothing_else() -> None:
    rest = ("config.json", "training_args.bin", "optimizer.pt")
    assert choose("model.safetensors", "pytorch_model.bin", *rest, allow_pickle=True).weights == (
        "model.safetensors",
    )
    found = choose("pytorch_model.bin", "other.bin", "model.pt", *rest, allow_pickle=True)
    assert found.weights == found.pickles == ("pytorch_model.bin",)
    assert choose("other.bin", "model.pt", *rest, allow_pickle=True).weights == ("other.bin",)
    assert choose("model.pt", *rest, allow_pickle=True).weights == ("model.pt",)
    with pytest.raises(BadFile, match="no weights"):
        choose(*rest, allow_pickle=True)


def test_an_index_of_pickles_is_respected_and_kept() -> None:
    shards = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    own = "pytorch_model.bin.index.json"
    paths = (*shards, own, "config.json", "pytorch_model.bin")
    found = choose(*paths, index=index_of(*shards), allow_pickle=True)
    assert found.weights == shards
    assert own in found.texts
    with pytest.raises(BadFile, match="another kind"):
        choose(*paths, index=index_of("model.safetensors"), allow_pickle=True)


# What an entry includes and excludes

WHOLE = ("config.json", "model.safetensors", "README.md", "1_Pooling/config.json", "a.png", "x.py")


def test_what_is_included_comes_on_top() -> None:
    found = choose(*WHOLE, include=["1_Pooling/*", "*.png"])
    assert found.paths == ("1_Pooling/config.json", "README.md", "a.png", "config.json",
                           "model.safetensors")  # fmt: skip
    assert choose(*WHOLE, include=["README*"]) == choose(*WHOLE)


def test_what_is_excluded_is_not_there() -> None:
    assert choose(*WHOLE, exclude=["*.md"]).texts == ("config.json",)
    assert choose(*WHOLE, exclude=["nothing*"]) == choose(*WHOLE)
    found = choose(*WHOLE, include=["*.png", "*.json"], exclude=["1_*"], remote_code=True)
    assert found.paths == ("README.md", "a.png", "config.json", "model.safetensors", "x.py")


def test_the_format_can_be_chosen_by_excluding_the_other() -> None:
    paths = ("model.safetensors", "config.json", "consolidated.safetensors", "params.json")
    assert choose(*paths, exclude=["config.json"]).weights == ("consolidated.safetensors",)
    assert choose(*paths, exclude=["params.json", "cons*"]).weights == ("model.safetensors",)


def test_a_pattern_that_includes_nothing_is_told() -> None:
    with pytest.raises(Several) as caught:
        choose(*WHOLE, include=["*.gguf", "README.md", "readme.md"])
    assert [fault.subject for fault in caught.value.faults] == ["*.gguf", "readme.md"]
    with pytest.raises(BadFile, match="names no file"):
        choose(*WHOLE, include=["README.md"], exclude=["*.md"])
    with pytest.raises(BadFile, match="names no file"):
        choose(*WHOLE, ".hidden/a.png", include=[".hidden/*"])


PICKLES = ("head.pt", "a.PT", "a.pkl", "a.Pickle", "a.joblib", "a.npy", "a.npz", "a.CKPT")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("x.py", "trust_remote_code"),
        ("X.PY", "trust_remote_code"),
        *((name, "allow_pickle") for name in PICKLES),
        ("consolidated.safetensors", "beside which"),
    ],
)
def test_what_may_not_be_baked_is_not_included_either(path: str, match: str) -> None:
    with pytest.raises(BadFile, match=match):
        choose(*WHOLE, "X.PY", *PICKLES, "consolidated.safetensors", include=[path])


def test_a_licence_is_no_code_and_no_pickle() -> None:
    names = ["LICENSE.pkl", "NOTICE.BIN", "LICENSE.py", "LICENSE.txt"]
    found = choose(*WHOLE, *names, allow_pickle=True)
    assert [path for path in found.texts if path in names] == ["LICENSE.txt"]


def test_what_is_included_may_be_allowed() -> None:
    found = choose(*WHOLE, "head.pt", include=["*.py", "*.pt"], remote_code=True, allow_pickle=True)
    assert found.pickles == ("head.pt",)
    assert found.weights == ("model.safetensors",)


@pytest.mark.parametrize("exclude", [[SHARDS[0]], ["*.safetensors"]])
def test_a_set_that_an_exclusion_broke_is_refused(exclude: list[str]) -> None:
    with pytest.raises(LockAgain, match="exclude"):
        choose(*SHARDS, INDEX, "config.json", exclude=exclude)


def test_without_its_index_all_the_weights_are_taken() -> None:
    paths = (*SHARDS, INDEX, "extra.safetensors", "config.json")
    assert choose(*paths, exclude=[INDEX]).weights == ("extra.safetensors", *SHARDS)


MODULES = json.dumps([{"path": "", "type": "T"}, {"path": "1_Pooling"}, {"path": "2_Dense"}])


def test_an_embedding_model_keeps_what_follows_its_encoder() -> None:
    others = ("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors")
    paths = ("config.json", "model.safetensors", "modules.json", "onnx/model.onnx", *others)
    found = select(
        (*paths, "2_Dense/pytorch_model.bin", "3_Other/config.json"),
        read=lambda _name: MODULES.encode(),
        where="here",
        remote_code=False,
    )
    assert found.weights == ("model.safetensors",)
    assert found.texts == (*others[:1], *others[1:], "config.json", "modules.json")


@pytest.mark.parametrize("text", ["{", "{}x", "[1]", '[{"type": "T"}]'])
def test_a_list_of_modules_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(BadFile, match="modules cannot be read"):
        select(
            ("config.json", "model.safetensors", "modules.json"),
            read=lambda _name: text.encode(),
            where="here",
            remote_code=False,
        )
