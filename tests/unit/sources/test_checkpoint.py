"""What a checkpoint says of itself, and what is found out before anything is built from it."""

import io
import json
import struct
from typing import Any, BinaryIO

import pytest

from ovenproof.errors import BadFile, OvenproofError, Several, WrongBytes
from ovenproof.sources.checkpoint import check_claims, describe, facts

CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 8192, "dtype": "bf16"}


def shard(*tensors: tuple[str, list[int], int], **metadata: str) -> bytes:
    """A safetensors file: (dtype, shape, bytes) of each tensor, and zeros for the tensors."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for number, (dtype, shape, size) in enumerate(tensors):
        header[f"t{number}"] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return with_header(json.dumps(header).encode(), end)


def with_header(text: bytes, size: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text + bytes(size)


GOOD = shard(("BF16", [2, 3], 12), ("F32", [], 4), format="pt")


class Counting(io.BytesIO):
    """Knows how far it was read."""

    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counting.furthest = max(Counting.furthest, self.tell())
        return data


def ask(config: object = CONFIG, **files: bytes) -> dict[str, Any]:
    def start(name: str) -> BinaryIO:
        return Counting(files[name])

    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    sizes = {name: len(data) for name, data in files.items()}
    return dict(facts(text, sizes, read_start=start))


def test_the_facts_of_a_checkpoint() -> None:
    assert ask(a=GOOD, b=shard(("BF16", [10], 20))) == {
        "architectures": ["LlamaForCausalLM"],
        "parameters": 17,
        "tensor dtypes": {"BF16": 16, "F32": 1},
        "dtype": "bf16",
        "context length": 8192,
    }


def test_no_weights_are_read() -> None:
    Counting.furthest = 0
    data = shard(("F32", [1000, 1000], 4_000_000))
    ask(a=data)
    assert Counting.furthest == len(data) - 4_000_000


def test_older_configs_say_torch_dtype_and_others_nest_their_text_model() -> None:
    assert ask({"torch_dtype": "float16"}, a=GOOD)["dtype"] == "float16"
    nested = {
        "architectures": ["X"],
        "text_config": {
            "dtype": "bfloat16",
            "max_position_embeddings": 7,
            "quantization_config": {"quant_method": "fp8"},
        },
    }
    found = ask(nested, a=GOOD)
    assert (found["dtype"], found["context length"], found["quantization"]) == (
        "bfloat16",
        7,
        "fp8",
    )


def test_the_quantization_is_the_method_that_the_config_names() -> None:
    assert ask({"quantization_config": {"quant_method": "awq"}}, a=GOOD)["quantization"] == "awq"
    assert "quantization" not in ask({"quantization_config": None}, a=GOOD)


@pytest.mark.parametrize("said", [["awq"], {"a": 1}, 7, "", "a\x1b[2J", "\ud800", "x" * 201])
def test_a_quantization_without_a_name_that_can_be_read_is_refused(said: object) -> None:
    with pytest.raises(BadFile, match="no name that can be read") as caught:
        ask({"quantization_config": {"quant_method": said}}, a=GOOD)
    assert "quantization: [" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_quantization_that_no_method_serves_is_not_to_be_written() -> None:
    fault = claim(None, "other")
    assert fault is not None
    assert "write" not in str(fault.hint)


@pytest.mark.parametrize(
    ("algorithm", "method"),
    [("FP8", "modelopt"), ("NVFP4", "modelopt_fp4"), ("MXFP8", "modelopt_mxfp8"), (None, None)],
)
def test_modelopts_own_file_says_it_where_the_config_does_not(
    algorithm: str | None, method: str | None
) -> None:
    said = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": algorithm}}
    beside = json.dumps(said).encode()
    found = describe(b"{}", "config.json", [], beside=beside)
    assert found.get("quantization") == method
    config = b'{"quantization_config": {"quant_method": "fp8"}}'
    assert describe(config, "config.json", [], beside=beside)["quantization"] == "fp8"


@pytest.mark.parametrize("beside", [b"{}", b'{"quantization": ["FP8"]}', b'{"quantization": {}}'])
def test_modelopts_own_file_may_say_nothing(beside: bytes) -> None:
    assert "quantization" not in describe(b"{}", "config.json", [], beside=beside)


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": "X"},
        {"architectures": ["X", 1]},
        {"architectures": ["X\x1b[2J"]},
        {"architectures": ["\ud800"]},
        {"architectures": ["X"] * 33},
        {"dtype": ["bf16"]},
        {"torch_dtype": "\x1b[2J"},
        {"text_config": {"dtype": {"a": 1}}},
        {"max_position_embeddings": 2**53},
        {"max_position_embeddings": True},
        {"max_position_embeddings": 2**52, "rope_scaling": {"factor": 999_999}},
        {"max_position_embeddings": "4096"},
    ],
)
def test_what_is_not_of_its_kind_is_left_out(config: object) -> None:
    assert describe(json.dumps(config).encode(), "config.json", []) == {}


def test_a_factor_that_is_no_number_stretches_nothing() -> None:
    for factor in (True, ["2"], {"a": 2}, "nan"):
        config = {"max_position_embeddings": 100, "rope_scaling": {"factor": factor}}
        assert ask(config, a=GOOD)["context length"] == 100


def test_a_config_may_hold_floats_that_are_of_no_interest() -> None:
    assert ask(b'{"rope_theta": 1e6, "eps": 1e-5, "inf": Infinity, "dtype": "x"}', a=GOOD)["dtype"]


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_a_config_that_is_none_is_said(config: bytes) -> None:
    with pytest.raises(BadFile, match=r"config\.json"):
        ask(config, a=GOOD)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        bytes(8),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        with_header(b"{"),
        with_header(b"[]"),
        with_header(b"7 "),
        with_header(b"\xff\xff"),
        with_header(b"[" * 100_000),
        with_header(b'{"a": []}'),
        with_header(b'{"a": {}}'),
        with_header(b'{"a": {"dtype": "F32", "shape": [1]}}'),
        with_header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}', 4),
        with_header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}', 4),
        with_header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.0]}}', 4),
        with_header(b'{"a": {"dtype": "F32", "shape": [0.5], "data_offsets": [0, 4]}}', 4),
        with_header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', 4),
        with_header(b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}', 4),
        with_header(
            b'{"a": {"dtype": "F32", "shape": [999999999999, "x"], "data_offsets": [0, 4]}}'
        ),
    ],
)
def test_what_is_no_safetensors_file_is_named(data: bytes) -> None:
    with pytest.raises(WrongBytes) as caught:
        ask(**{"model.safetensors": data})
    assert caught.value.subject == "model.safetensors"


@pytest.mark.parametrize("change", [-1, 1, -16])
def test_a_file_that_is_not_as_long_as_its_header_says_is_found(change: int) -> None:
    data = GOOD + bytes(change) if change > 0 else GOOD[:change]
    with pytest.raises(WrongBytes, match="not as long") as caught:
        ask(a=data)
    assert caught.value.expected == f"{len(GOOD)} bytes"
    assert caught.value.got == f"{len(data)} bytes"


def test_all_bad_files_are_named_at_once() -> None:
    with pytest.raises(Several) as caught:
        ask(a=b"bad", b=GOOD, c=GOOD[:-1])
    assert [fault.subject for fault in caught.value.faults] == ["a", "c"]


def stretched(length: int, **rope: Any) -> dict[str, Any]:
    return {"max_position_embeddings": length, "rope_scaling": rope}


LAYERS = {"full": {"rope_type": "linear", "factor": 8.0}, "local": {"rope_type": "default"}}


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({}, None),
        ({"max_position_embeddings": "long"}, None),
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 4096, "model_max_length": 2048}, 2048),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": LAYERS}, 32768),
        (stretched(4096, type="linear", factor=4.0), 16384),
        (stretched(4096, type="dynamic", factor=2), 8192),
        (stretched(131072, rope_type="llama3", factor=8.0), 131072),
        (stretched(131072, rope_type="longrope"), 131072),
        (stretched(99, type="yarn", factor=40, original_max_position_embeddings=4096), 163840),
        (stretched(32768, rope_type="yarn", factor=4.0), 131072),
        ({"model_type": "gemma3_text", **stretched(131072, type="linear", factor=8.0)}, 131072),
        (stretched(4096, type="linear", factor="many"), 4096),
        (b'{"max_position_embeddings": 4096, "rope_scaling": {"factor": NaN}}', 4096),
        (b'{"max_position_embeddings": 4096, "rope_scaling": {"factor": 1e999}}', 4096),
    ],
)
def test_the_context_is_as_long_as_the_rope_was_stretched(
    config: object, length: int | None
) -> None:
    assert ask(config, a=GOOD).get("context length") == length


def test_mistrals_config_says_it_in_other_words() -> None:
    said = {"max_position_embeddings": 9, "quantization": {"qformat_weight": "fp8_e4m3"}}
    found = describe(json.dumps(said).encode(), "params.json", [])
    assert found == {"context length": 9, "quantization": "fp8"}
    with pytest.raises(BadFile, match=r"params\.json"):
        describe(b"[]", "params.json", [])


# What an entry claims


def claim(
    quantization: str | None, said: str | None, *, length: int | None = None
) -> OvenproofError | None:
    found: dict[str, Any] = {"context length": 2048}
    if said is not None:
        found["quantization"] = said
    try:
        check_claims(found, quantization=quantization, max_model_len=length, name="smol")
    except OvenproofError as fault:
        return fault
    return None


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        (None, None),
        ("awq", "awq"),
        ("awq_marlin", "awq"),
        ("auto_awq", "awq"),
        ("gptq_marlin", "gptq"),
        ("moe_wna16", "awq"),
        ("moe_wna16", "gptq"),
        ("modelopt_fp4", "modelopt"),
        ("gpt_oss_mxfp4", "mxfp4"),
        ("inc", "auto-round"),
        ("compressed-tensors", "compressed-tensors"),
        ("bitsandbytes", "bitsandbytes"),
    ],
)
def test_a_method_goes_with_the_checkpoints_that_vllm_serves_with_it(
    quantization: str | None, said: str | None
) -> None:
    assert claim(quantization, said) is None


@pytest.mark.parametrize(
    ("quantization", "said", "hint"),
    [
        (None, "awq", "write `quantization: awq`"),
        ("gptq", "awq", "write `quantization: awq`"),
        ("awq", None, "leave `quantization` out"),
        (None, "auto-round", "write `quantization: inc`"),
        (None, "modelopt_mxfp8", "write `quantization: modelopt_mxfp8`"),
    ],
)
def test_a_wrong_claim_is_said_with_a_way_out(
    quantization: str | None, said: str | None, hint: str
) -> None:
    fault = claim(quantization, said)
    assert isinstance(fault, BadFile)
    assert (fault.subject, fault.hint) == ("smol", hint)


def test_a_context_that_the_model_does_not_have_is_refused() -> None:
    assert claim(None, None, length=2048) is None
    fault = claim(None, None, length=2049)
    assert isinstance(fault, BadFile)
    assert "2048" in str(fault.expected)


def test_both_wrong_claims_are_said_at_once() -> None:
    fault = claim("awq", None, length=9999)
    assert isinstance(fault, Several)
    assert len(fault.faults) == 2


def test_an_architecture_that_vllm_does_not_compute_in_a_dtype_is_refused() -> None:
    def ask(architecture: Any, dtype: str) -> None:
        found = {"architectures": architecture}
        check_claims(found, quantization=None, max_model_len=None, dtype=dtype, name="smol")

    with pytest.raises(BadFile, match="bfloat16") as caught:
        ask(["Gemma2ForCausalLM"], "float16")
    assert "Gemma2ForCausalLM" in str(caught.value.expected)
    ask(["Gemma2ForCausalLM"], "bfloat16")
    ask(["Gemma2ForCausalLM"], "auto")
    ask(["LlamaForCausalLM"], "float16")
    ask("what", "float16")


def test_what_a_checkpoint_does_not_say_is_not_held_against_the_entry() -> None:
    check_claims({}, quantization=None, max_model_len=9999, name="smol")
