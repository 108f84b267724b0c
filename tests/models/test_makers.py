"""The makers themselves: a test that trusts a broken model proves nothing."""

import io
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from numpy.typing import NDArray
from picklescan.scanner import scan_file_path  # type: ignore[import-untyped]

from ovenproof.sources.checkpoint import facts
from tests.models import adapter, checkpoints, quantized
from tests.models.quantized import GROUP, Method
from tests.models.tensors import bfloat16, read, write

WIDTH, WORDS = 64, ("Ġbread", "Ċ", "bread", "oven", "water", "fire", "salt", "flour")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A Llama of one block, with noise for weights."""
    folder, noise = tmp_path / "base", np.random.default_rng(0)
    folder.mkdir()
    shapes = {
        "embed_tokens": (len(WORDS), WIDTH),
        "norm": (WIDTH,),
        "layers.0.input_layernorm": (WIDTH,),
        "layers.0.self_attn.q_proj": (WIDTH, WIDTH),
        "layers.0.self_attn.v_proj": (WIDTH // 2, WIDTH),
        "layers.0.self_attn.o_proj": (WIDTH, WIDTH),
    }
    write(
        folder / "model.safetensors",
        {f"model.{name}.weight": bfloat16(noise.normal(1, 1, at)) for name, at in shapes.items()},
    )
    config = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    return folder


def steps(words: NDArray[np.int32], place: int) -> NDArray[np.uint32]:
    return (words.view(np.uint32) >> np.uint32(4 * place)) & np.uint32(15)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantized_layer_is_the_layer_within_half_a_step(
    base: Path, tmp_path: Path, method: Method
) -> None:
    """Unpacked one number at a time, by the formats' own descriptions."""
    quantized.write_quantized(base, tmp_path / method, method)
    name = "model.layers.0.self_attn.v_proj"
    wanted = read(base / "model.safetensors")[f"{name}.weight"].to_float32()
    found = read(tmp_path / method / "model.safetensors")
    words, zeros, scales = (
        found[f"{name}.{part}"].numbers for part in ("qweight", "qzeros", "scales")
    )
    for output, row in enumerate(wanted):
        for given, weight in enumerate(row):
            group = given // GROUP
            if method == "gptq":
                step = steps(words, given % 8)[given // 8, output]
                zero = steps(zeros, output % 8)[group, output // 8] + 1
            else:
                place = (0, 4, 1, 5, 2, 6, 3, 7)[output % 8]
                step = steps(words, place)[given, output // 8]
                zero = steps(zeros, place)[group, output // 8]
            got = (float(step) - float(zero)) * float(scales[group, output])
            steps_off = abs(got - weight) / float(scales[group, output])
            assert steps_off <= (0.501 if 0 < step < 15 else 3), "only the far ends may be cut off"
    config = json.loads((tmp_path / method / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == method


@pytest.mark.parametrize("rank", [2, 4])
def test_an_adapter_adds_the_word_to_whatever_comes(base: Path, tmp_path: Path, rank: int) -> None:
    adapter.write_adapter(base, tmp_path / "lora", rank=rank, word="bread")
    said = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    assert (said["peft_type"], said["r"], said["lora_alpha"]) == ("LORA", rank, 2 * rank)
    tensors = read(tmp_path / "lora/adapter_model.safetensors")
    at = "base_model.model.model.layers.0.self_attn.v_proj"
    down, up = (tensors[f"{at}.lora_{side}.weight"].numbers for side in "AB")
    assert (down.shape, up.shape) == ((rank, WIDTH), (WIDTH // 2, rank))
    model = adapter.Llama.open(base)
    tokens, norm = model.numbers("embed_tokens"), model.numbers("norm")
    entering = tokens / np.sqrt(np.square(tokens).mean(axis=1, keepdims=True))
    entering = entering * model.numbers("layers.0.input_layernorm")
    values = (2.0 * entering @ down.T @ up.T).reshape(-1, 2, 16)
    heads = values[:, [0, 0, 1, 1]].reshape(-1, WIDTH)
    state = heads @ model.numbers("layers.0.self_attn.o_proj").T
    assert {*np.argmax(state * norm @ tokens.T, axis=1)} == {WORDS.index("bread")}


def test_shards_are_valid_the_same_every_time_and_different_from_each_other(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        checkpoints.write_sharded(
            tmp_path / name, shards=2, shard_bytes=3 << 20, tensors=3, seed=seed
        )
    names = [checkpoints.shard(number, 2) for number in (1, 2)]
    bytes_of = {(folder, name): (tmp_path / folder / name).read_bytes()
                for folder in "abc" for name in names}  # fmt: skip
    assert len({*bytes_of.values()}) == 4
    index = json.loads((tmp_path / "a" / checkpoints.INDEX).read_text())
    assert sorted({*index["weight_map"].values()}) == names
    found = facts(
        (tmp_path / "a/config.json").read_bytes(),
        {name: len(bytes_of["a", name]) for name in names},
        read_start=lambda name: io.BytesIO(bytes_of["a", name]),
    )
    assert found["parameters"] == 2 * (3 << 20) // 2


def test_a_sparse_shard_takes_no_room(tmp_path: Path) -> None:
    checkpoints.write_sharded(tmp_path, shards=1, shard_bytes=10 << 30, sparse=True)
    status = (tmp_path / checkpoints.shard(1, 1)).stat()
    assert status.st_size > 10 << 30
    assert status.st_blocks * 512 < 1 << 20


class Loader(pickle.Unpickler):
    """Reads the tensors of a pickle without torch: (numbers, shape, strides, first)."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, first, shape, strides, *_: (storage, shape, strides, first)
        if (module, name) == ("torch", "FloatStorage"):
            return float
        assert (module, name) == ("collections", "OrderedDict")
        return OrderedDict

    def persistent_load(self, name: object) -> object:
        return name


def test_a_pickle_holds_its_tensors_and_calls_nothing(tmp_path: Path) -> None:
    checkpoints.write_torch(tmp_path / "two.bin", {"a": (2, 3), "b": (4,)}, bytes(40))
    with ZipFile(tmp_path / "two.bin") as archive:
        state = Loader(io.BytesIO(archive.read("two/data.pkl"))).load()
        assert len(archive.read("two/data/0")) == 40
    storage = ("storage", float, "0", "cpu", 10)
    assert state == {"a": (storage, (2, 3), (3, 1), 0), "b": (storage, (4,), (1,), 6)}
    assert scan_file_path(str(tmp_path / "two.bin")).infected_files == 0


def test_an_evil_pickle_calls_what_it_was_told_to(tmp_path: Path) -> None:
    checkpoints.write_pickled(tmp_path, calls="touch /tmp/never")
    assert scan_file_path(str(tmp_path / checkpoints.PICKLE)).infected_files == 1


def test_code_is_of_the_own_repository_or_of_another(tmp_path: Path) -> None:
    checkpoints.write_remote_code(tmp_path / "own")
    checkpoints.write_remote_code(tmp_path / "other", repository="acme/code")
    own, other = (
        json.loads((tmp_path / name / "config.json").read_text())["auto_map"]["AutoConfig"]
        for name in ("own", "other")
    )
    assert (own, other) == (
        "configuration_oven.OvenConfig",
        "acme/code--configuration_oven.OvenConfig",
    )
    assert (tmp_path / "own/modeling_oven.py").exists()
    assert not [*(tmp_path / "other").glob("*.py")]
