"""What a checkpoint says of itself: read from config.json and the safetensors heads alone.

A head is eight bytes of length and then JSON, so no weights are read for it; and it says where
the file must end, so that a truncated shard is found before anything is built from it.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import BinaryIO

from ovenproof.core import safetensors
from ovenproof.core.digest import Json
from ovenproof.core.quantization import METHODS, refuses_dtype
from ovenproof.core.safetensors import Head
from ovenproof.errors import BadFile, OvenproofError, raise_all

_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""What configs call the longest context. Where there are several, vLLM takes the shortest."""
_SCALED_ALREADY = ("su", "longrope", "llama3")
"""Ways to stretch a rope after which the config's length is the stretched one."""


def facts(
    config: bytes, weights: Mapping[str, int], *, read_start: Callable[[str], BinaryIO]
) -> dict[str, Json]:
    """Architecture, parameters, dtype, quantization, context length.

    `weights` maps each safetensors file to its size. Raises BadFile or WrongBytes, all faults at
    once.
    """
    words = _config(config, "config.json")
    heads: list[Head] = []
    faults: list[OvenproofError] = []
    for name, size in sorted(weights.items()):
        try:
            with read_start(name) as stream:
                heads.append(read_head(stream, name, size))
        except OvenproofError as fault:
            faults.append(fault)
    raise_all(faults)
    return _described(words, heads)


def describe(config: bytes, name: str, heads: Collection[Head]) -> dict[str, Json]:
    """The same, from heads that are at hand. `name` is config.json, or Mistral's params.json."""
    return _described(_config(config, name), heads)


def read_head(stream: BinaryIO, name: str, size: int) -> Head:
    """The head of a safetensors file of this size, from the file's beginning."""
    first = stream.read(8)
    return safetensors.parse(
        first + stream.read(safetensors.head_size(first, size, name) - len(first)), size, name
    )


def check_claims(
    found: Mapping[str, Json],
    *,
    quantization: str | None,
    max_model_len: int | None,
    name: str,
    dtype: str = "auto",
) -> None:
    """Hold what an entry says against what the checkpoint says. Raises BadFile, all at once."""
    faults: list[OvenproofError] = []
    said = found.get("quantization")
    if not _agree(quantization, said):
        faults.append(
            BadFile(
                "the entry and the checkpoint disagree about quantization",
                subject=name,
                expected=f"{said or 'none'} (config.json of the weights)",
                got=f"{quantization or 'none'} (models.yaml)",
                hint=f"write `quantization: {said}`" if said else "leave `quantization` out",
            )
        )
    longest = found.get("context length")
    if max_model_len and isinstance(longest, int) and max_model_len > longest:
        faults.append(
            BadFile(
                "max_model_len is longer than the model's context",
                subject=name,
                expected=f"{longest} at most (config.json of the weights)",
                got=f"{max_model_len} (models.yaml)",
                hint=f"write `max_model_len: {longest}`, or leave it out",
            )
        )
    if architecture := refuses_dtype(_texts(found.get("architectures")), dtype):
        faults.append(
            BadFile(
                "vLLM does not compute this architecture in that dtype",
                subject=name,
                expected=f"another dtype for {architecture} (config.json of the weights)",
                got=f"{dtype} (models.yaml)",
                hint="write `dtype: bfloat16`, or leave it out",
            )
        )
    raise_all(faults)


def _agree(quantization: str | None, said: object) -> bool:
    """Whether a checkpoint that says this can be served as that (awq_marlin serves awq)."""
    if quantization is None:
        return said is None
    return said in METHODS[quantization].checkpoint


def _config(data: bytes, name: str) -> dict[str, Json]:
    try:
        found = json.loads(data, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise BadFile("this is not valid JSON", subject=name, got=str(error)) from error
    if not isinstance(found, dict):
        raise BadFile("this is no model's config", subject=name, expected="an object")
    return found


def _described(words: Mapping[str, Json], heads: Collection[Head]) -> dict[str, Json]:
    counted: Counter[str] = Counter()
    for head in heads:
        for tensor in head.tensors:
            counted[tensor.dtype] += tensor.elements
    text = words.get("text_config")
    inner = text if isinstance(text, dict) else words
    found: dict[str, Json] = {
        "architectures": words.get("architectures"),
        "parameters": counted.total() if heads else None,
        "tensor dtypes": {name: counted[name] for name in sorted(counted)} if heads else None,
        "dtype": words.get("dtype") or words.get("torch_dtype") or inner.get("dtype"),
        "quantization": _quantization(words) or _quantization(inner),
        "context length": _context_length(words, inner),
    }
    return {name: value for name, value in found.items() if value is not None}


def _quantization(words: Mapping[str, Json]) -> Json:
    """The method's name. In Mistral's format it stands under `quantization`, if at all."""
    said = words.get("quantization_config") or words.get("quantization")
    if not isinstance(said, dict):
        return None
    if said.get("qformat_weight") == "fp8_e4m3":
        return "fp8"
    return said.get("quant_method")


def _context_length(words: Mapping[str, Json], inner: Mapping[str, Json]) -> int | None:
    """The longest context, as vLLM counts it: what the rope is stretched to counts."""
    lengths = [inner.get(key) for key in _LENGTHS]
    found = [length for length in lengths if type(length) is int and length > 0]
    if not found:
        return None
    longest = min(found)
    if str(words.get("model_type")).startswith("gemma3"):
        return longest  # whose length is the stretched one, whatever its rope is called
    for rope in _ropes(inner.get("rope_scaling") or inner.get("rope_parameters")):
        kind = rope.get("rope_type", rope.get("type"))
        factor = _factor(rope.get("factor"))
        if kind in _SCALED_ALREADY or factor is None:
            continue
        before = rope.get("original_max_position_embeddings") if kind == "yarn" else None
        return int((before if type(before) is int else longest) * factor)
    return longest


def _ropes(said: Json) -> Iterator[Mapping[str, Json]]:
    """The rope's settings: one for all layers, or one for each kind of layer."""
    if not isinstance(said, dict):
        return
    yield said
    yield from (value for _, value in sorted(said.items()) if isinstance(value, dict))


def _factor(said: Json) -> Decimal | None:
    """A number that was written as JSON has it; a float came as its text."""
    try:
        factor = Decimal(str(said))
    except InvalidOperation:
        return None
    return factor if factor.is_finite() and 0 < factor < 1_000_000 else None


def _texts(said: Json) -> list[str]:
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
