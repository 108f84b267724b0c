"""A whole small model, written by the `gguf` package and imported."""

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

import ovenproof
from ovenproof.errors import BadFile, OvenproofError, WrongBytes
from ovenproof.sources.gguf_import import VERSION, convert

WIDTH, INNER, HEADS, KEY_HEADS, LAYERS = 64, 96, 4, 2, 2
TOKENS = ["<|end|>", "<|start|>", *(chr(code) for code in range(33, 127)), "th", "the"]
MERGES = ["t h", "th e"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}ü"
SHAPES = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // 2, WIDTH),
    "attn_v": (WIDTH // 2, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_norm": (WIDTH,),
    "ffn_gate": (INNER, WIDTH),
    "ffn_up": (INNER, WIDTH),
    "ffn_down": (WIDTH, INNER),
}
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def blocks(kind: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """A tensor's bytes, from integers alone, so that no version of numpy can change them."""
    count, state = int(np.prod(shape)), seed * 7919 + 1
    numbers = []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % (1 << 31)
        numbers.append((state >> 16) % 256)
    if kind == "F32":
        return (np.array(numbers, np.float32).reshape(shape) - 128) / np.float32(96)
    size = {"Q8_0": (2, 32), "Q4_1": (4, 16)}[kind]
    rows = []
    for block in range(count // 32):
        scales = struct.pack("<2e", 0.001 * (1 + block % 7), -0.01 * (block % 5))[: size[0]]
        rows.append(scales + bytes(numbers[block * 32 : block * 32 + size[1]]))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(shape[0], -1)


def write_model(
    path: Path,
    *,
    tied: bool = True,
    architecture: str = "llama",
    leave_out: str = "",
    extra: str = "",
    add: tuple[str, ...] = (),
    split: str = "smollm",
    rope_width: int = WIDTH // HEADS,
    inner: int = INNER,
    vocabulary: int = len(TOKENS),
) -> dict[str, NDArray[np.float32]]:
    """Write a GGUF; the answer has its tensors as the `gguf` package dequantizes them."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(inner)
    writer.add_vocab_size(vocabulary)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(rope_width)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, *(1 for _ in TOKENS[2:])])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for key in add:
        writer.add_uint32(key, 8)
    shapes = {
        "token_embd": (len(TOKENS), WIDTH),
        "output_norm": (WIDTH,),
        **({} if tied else {"output": (len(TOKENS), WIDTH)}),
        **({extra: (8,)} if extra else {}),
        **{f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in SHAPES.items()},
    }
    written = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        kind = "F32" if len(shape) == 1 else ("Q8_0" if seed % 2 else "Q4_1")
        data = blocks(kind, shape, seed)
        known = gguf.GGMLQuantizationType[kind]
        if name != leave_out:
            writer.add_tensor(f"{name}.weight", data, raw_dtype=known)
        written[name] = np.asarray(gguf.dequantize(data, known), np.float32).reshape(shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def imported(gguf_file: Path, out: Path) -> Path:
    out.mkdir()
    convert(gguf_file, out)
    return out


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    """A safetensors file by its specification, each bfloat16 widened to a single."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + size])
    assert head.pop("__metadata__") == {"format": "pt"}
    assert max(item["data_offsets"][1] for item in head.values()) == len(data) - 8 - size
    found = {}
    for name, item in head.items():
        assert item["dtype"] == "BF16"
        start, end = (8 + size + offset for offset in item["data_offsets"])
        bits = np.frombuffer(data[start:end], "<u2").astype(np.uint32) << np.uint32(16)
        found[name] = bits.view(np.float32).reshape(item["shape"])
    return found


IMPORT = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from ovenproof.sources.gguf_import import convert
convert(pathlib.Path("m.gguf"), pathlib.Path("out"))
"""


def import_elsewhere(
    folder: Path, environment: dict[str, str], before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Import `m.gguf` of the folder into its `out`, in a process of its own."""
    (folder / "out").mkdir()
    return subprocess.run(
        [sys.executable, "-B", "-c", before + IMPORT, str(Path(ovenproof.__file__).parents[1])],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def as_hugging_face(stored: str, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows of q and k where Hugging Face has them: row by row, from the definition."""
    heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(stored.rpartition(".")[2])
    if heads is None:
        return numbers
    depth = len(numbers) // heads
    result = np.empty_like(numbers)
    for row in range(len(numbers)):
        head, within = divmod(row, depth)
        pair, half = divmod(within, 2)
        result[head * depth + half * depth // 2 + pair] = numbers[row]
    return result


def hugging_face_name(stored: str) -> str:
    if stored.startswith("blk."):
        _, layer, part = stored.split(".")
        return f"model.layers.{layer}.{NAMES[part]}.weight"
    return {
        "token_embd": "model.embed_tokens.weight",
        "output_norm": "model.norm.weight",
        "output": "lm_head.weight",
    }[stored]


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_is_there_in_its_order_to_half_a_step(tmp_path: Path, tied: bool) -> None:
    written = write_model(tmp_path / "m.gguf", tied=tied)
    loaded = load(imported(tmp_path / "m.gguf", tmp_path / "out") / "model.safetensors")

    assert sorted(loaded) == sorted(hugging_face_name(name) for name in written)
    assert ("lm_head.weight" in loaded) is not tied
    for stored, numbers in written.items():
        expected = as_hugging_face(stored, numbers)
        found = loaded[hugging_face_name(stored)]
        assert found.shape == expected.shape
        # A bfloat16 has eight significant bits: the nearest is off by 2**-8 of the number at most.
        assert np.all(np.abs(found - expected) <= np.abs(expected) * np.float32(2**-8))
    q = loaded["model.layers.0.self_attn.q_proj.weight"]
    assert not np.allclose(q, written["blk.0.attn_q"], rtol=0.01)


@pytest.mark.parametrize("tied", [True, False])
def test_the_config_says_what_the_metadata_says(tmp_path: Path, tied: bool) -> None:
    write_model(tmp_path / "m.gguf", tied=tied)
    out = imported(tmp_path / "m.gguf", tmp_path / "out")
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 1,
        "dtype": "bfloat16",
        "eos_token_id": 0,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "rope_theta": 100000.0,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": len(TOKENS),
    }
    assert json.loads((out / "generation_config.json").read_text("utf-8")) == {
        "bos_token_id": 1,
        "eos_token_id": [0],
        "pad_token_id": 0,
    }
    assert (out / "chat_template.jinja").read_bytes() == TEMPLATE.encode()


GOLDEN = {
    "chat_template.jinja": "4deb669246fe5f9eed5df78de28c76942dcd93ce879bbd086fef248b828e007d",
    "config.json": "bcbd730c01c3c7e0aa61b3c01e361ab39a641a4658fef218443791bb62b08662",
    "generation_config.json": "f2b8c9c129f7bd9dcadef6e7f3d2fe2dc159509f97f1dda2b5ee157ea86123ee",
    "model.safetensors": "521cc95264134dee10ae1a9b9307a4d074c9881a486303bdd4edfe080f669785",
    "tokenizer.json": "8f3080e00e9c5748cca5b694531dee1e3aa681d970d7d96ae5c661a06b86a929",
    "tokenizer_config.json": "7dd44f5040034fbe02dcb306eb9349d62c7dcaae7d44c4fd2a1afa30904626dd",
}
"""Of `write_model` as it is. Whoever changes one of these changes VERSION too."""


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_bytes_of_this_version_stay_what_they_are(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    assert VERSION == 1
    assert digests(imported(tmp_path / "m.gguf", tmp_path / "out")) == GOLDEN


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
    ],
)
def test_the_bytes_do_not_depend_on_the_environment(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    write_model(tmp_path / "m.gguf")
    process = import_elsewhere(tmp_path, environment)
    assert process.stderr == ""
    assert digests(tmp_path / "out") == GOLDEN


def test_a_full_disk_says_how_much_room_is_needed(tmp_path: Path) -> None:
    written = write_model(tmp_path / "m.gguf")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))"
    process = import_elsewhere(tmp_path, {}, limit)
    size = 2 * sum(numbers.size for numbers in written.values())
    assert "NoSpace: error: there is no room left on the disk" in process.stderr
    assert f"hint: free {size} bytes" in process.stderr


def test_another_architecture_is_named_with_the_supported_one(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", architecture="qwen2", split="qwen2")
    with pytest.raises(BadFile, match="`qwen2`") as caught:
        imported(tmp_path / "m.gguf", tmp_path / "out")
    assert str(caught.value.expected).startswith("llama")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_tokenizer_is_named_before_anything_is_written(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", split="llama-bpe")
    with pytest.raises(BadFile, match="`gpt2/llama-bpe`"):
        imported(tmp_path / "m.gguf", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("key", ["llama.expert_count", "llama.rope.scaling.factor"])
def test_a_property_that_is_not_understood_is_refused(tmp_path: Path, key: str) -> None:
    write_model(tmp_path / "m.gguf", add=(key,))
    with pytest.raises(BadFile, match="not understood") as caught:
        imported(tmp_path / "m.gguf", tmp_path / "out")
    assert caught.value.subject == key


def test_a_rotation_of_half_a_head_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", rope_width=8)
    with pytest.raises(BadFile, match=r"`llama\.rope\.dimension_count`"):
        imported(tmp_path / "m.gguf", tmp_path / "out")


@pytest.mark.parametrize("name", ["token_embd", "output_norm", "blk.1.attn_v"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    write_model(tmp_path / "m.gguf", leave_out=name)
    with pytest.raises(BadFile, match=f"{name}.weight"):
        imported(tmp_path / "m.gguf", tmp_path / "out")


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", extra="rope_freqs")
    with pytest.raises(BadFile, match=r"also rope_freqs\.weight"):
        imported(tmp_path / "m.gguf", tmp_path / "out")


def test_a_tensor_of_another_shape_is_named_with_both(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", inner=INNER - 32)
    with pytest.raises(BadFile, match=r"`blk\.0\.ffn_down\.weight`") as caught:
        imported(tmp_path / "m.gguf", tmp_path / "out")
    assert (caught.value.expected, caught.value.got) == ("(64, 64)", "(64, 96)")


def test_a_vocabulary_of_another_size_than_the_embedding_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", vocabulary=len(TOKENS) + 1)
    with pytest.raises(BadFile, match=r"`llama\.vocab_size`"):
        imported(tmp_path / "m.gguf", tmp_path / "out")


def test_a_key_of_the_tokenizer_may_be_new(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", add=("tokenizer.ggml.something_new", "general.new"))
    assert digests(imported(tmp_path / "m.gguf", tmp_path / "out")) == GOLDEN


@pytest.mark.parametrize("keep", [0, 3, 24, 1000, -1])
def test_a_file_cut_off_is_never_imported(tmp_path: Path, keep: int) -> None:
    write_model(tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes().rstrip(b"\0")
    (tmp_path / "m.gguf").write_bytes(data[:keep])
    with pytest.raises(WrongBytes):
        imported(tmp_path / "m.gguf", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_damage_to_the_head_is_a_clear_error_or_another_model(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    whole = (tmp_path / "m.gguf").read_bytes()
    refused = 0
    for number, at in enumerate(range(0, 3000, 37)):
        damaged = whole[:at] + bytes([whole[at] ^ 0x91]) + whole[at + 1 :]
        (tmp_path / "d.gguf").write_bytes(damaged)
        try:
            imported(tmp_path / "d.gguf", tmp_path / f"out{number}")
        except OvenproofError:
            refused += 1
    assert refused > 40


def test_a_folder_with_something_in_it_is_not_written_into(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    with pytest.raises(ValueError, match="not an empty folder"):
        convert(tmp_path / "m.gguf", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]
