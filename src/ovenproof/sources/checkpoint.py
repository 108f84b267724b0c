"""What a checkpoint says of itself: read from config.json and the safetensors heads alone.

A head is eight bytes of length and then JSON, so no weights are read for it; and it says where
the file must end, so that a truncated shard is found before anything is built from it.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import BinaryIO

from ovenproof.core import safetensors
from ovenproof.core.digest import Json
from ovenproof.core.quantization import METHODS, refuses_dtype
from ovenproof.core.safetensors import Head
from ovenproof.errors import BadFile, OvenproofError, raise_all
from ovenproof.sources.context_length import context_length

QUANTIZED = "hf_quant_config.json"
"""Where ModelOpt, before it wrote into config.json, said how it had quantized."""
_MODELOPT = (("NVFP4", "modelopt_fp4"), ("MXFP8", "modelopt_mxfp8"), ("FP8", "modelopt"))
"""What is in ModelOpt's name of an algorithm, and the method's name; the first that fits."""
_LONGEST_WORD = 200
_MOST_WORDS = 32


def facts(
    config: bytes,
    weights: Mapping[str, int],
    *,
    read_start: Callable[[str], BinaryIO],
    beside: bytes | None = None,
) -> dict[str, Json]:
    """Architecture, parameters, dtype, quantization, context length.

    `weights` maps each safetensors file to its size; `beside` are the bytes of `QUANTIZED`. Raises
    BadFile or WrongBytes, all faults at once.
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
    return _described(words, heads, beside)


def describe(
    config: bytes, name: str, heads: Collection[Head], *, beside: bytes | None = None
) -> dict[str, Json]:
    """The same, from heads that are at hand. `name` is config.json, or Mistral's params.json."""
    return _described(_config(config, name), heads, beside)


def word(said: object) -> str | None:
    """What a stranger calls a thing, if a person can read it: short, and signs that are seen."""
    if isinstance(said, str) and said.isprintable() and 0 < len(said) <= _LONGEST_WORD:
        return said
    return None


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
                hint=_way_out(said),
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


def _way_out(said: object) -> str:
    """What to write for a checkpoint that says this."""
    if said is None:
        return "leave `quantization` out"
    serving = [name for name, one in METHODS.items() if said in one.checkpoint]
    method = said if said in serving else next(iter(serving), None)
    if method is None:
        return f"use other weights; those that can be served are quantized as {', '.join(METHODS)}"
    return f"write `quantization: {method}`"


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


def _described(
    words: Mapping[str, Json], heads: Collection[Head], beside: bytes | None
) -> dict[str, Json]:
    """The facts. What is not of the kind that it should be is left out, as if it were not said."""
    counted: Counter[str] = Counter()
    for head in heads:
        for tensor in head.tensors:
            counted[tensor.dtype] += tensor.elements
    text = words.get("text_config")
    inner = text if isinstance(text, dict) else words
    found: dict[str, Json] = {
        "architectures": _words(words.get("architectures")),
        "parameters": counted.total() if heads else None,
        "tensor dtypes": {name: counted[name] for name in sorted(counted)} if heads else None,
        "dtype": word(words.get("dtype"))
        or word(words.get("torch_dtype"))
        or word(inner.get("dtype")),
        "quantization": _quantization(words) or _quantization(inner) or _quantized_before(beside),
        "context length": context_length(words, inner),
    }
    return {name: value for name, value in found.items() if value is not None}


def _quantization(words: Mapping[str, Json]) -> str | None:
    """The method's name. In Mistral's format it stands under `quantization`, if at all.

    Raises BadFile for a name that is none: left out, it would make a plain checkpoint of it.
    """
    said = words.get("quantization_config") or words.get("quantization")
    if not isinstance(said, dict):
        return None
    if said.get("qformat_weight") == "fp8_e4m3":
        return "fp8"
    named = said.get("quant_method")
    if named is not None and word(named) is None:
        raise BadFile(
            "the checkpoint's method of quantization has no name that can be read",
            subject="quant_method",
            where="config.json of the weights",
            expected=f"a short text, such as {next(iter(METHODS))}",
            got=ascii(named)[:_LONGEST_WORD],
            hint="use other weights: this config is not one that vLLM can read",
        )
    return word(named)


def _quantized_before(beside: bytes | None) -> str | None:
    """The method, where ModelOpt named its algorithm in a file of its own."""
    said = _config(beside, QUANTIZED).get("quantization") if beside is not None else None
    algorithm = word(said.get("quant_algo")) if isinstance(said, dict) else None
    named = (method for part, method in _MODELOPT if part in (algorithm or "").upper())
    return next(named, None)


def _words(said: Json) -> list[Json] | None:
    """A short list of names that a person can read, or none at all."""
    if not isinstance(said, list) or len(said) > _MOST_WORDS:
        return None
    found: list[Json] = [one for one in said if word(one) is not None]
    return found if len(found) == len(said) else None


def _texts(said: Json) -> list[str]:
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
