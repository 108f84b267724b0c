"""What a checkpoint says of itself: read from config.json and the safetensors headers alone.

A header is eight bytes of length and then JSON, so no weights are read for it; and it says where
the file must end, so that a truncated shard is found before anything is built from it.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ovenproof.core.digest import Json
from ovenproof.core.quantization import METHODS
from ovenproof.errors import BadFile, OvenproofError, WrongBytes, raise_all

_HEADER_LIMIT = 100_000_000


def facts(
    config: bytes, weights: Mapping[str, int], *, read_start: Callable[[str], BinaryIO]
) -> dict[str, Json]:
    """Architecture, parameters, dtype, quantization, context length.

    `weights` maps each safetensors file to its size. Raises BadFile or WrongBytes, all faults at
    once.
    """
    words = _config(config)
    counted: Counter[str] = Counter()
    faults: list[OvenproofError] = []
    for name, size in sorted(weights.items()):
        try:
            with read_start(name) as stream:
                counted += _parameters(stream, name, size)
        except OvenproofError as fault:
            faults.append(fault)
    raise_all(faults)
    text = words.get("text_config")
    inner = text if isinstance(text, dict) else words
    quantization = words.get("quantization_config") or inner.get("quantization_config")
    found: dict[str, Json] = {
        "architectures": words.get("architectures"),
        "parameters": counted.total(),
        "tensor dtypes": {name: counted[name] for name in sorted(counted)},
        "dtype": words.get("dtype") or words.get("torch_dtype") or inner.get("dtype"),
        "quantization": quantization.get("quant_method")
        if isinstance(quantization, dict)
        else None,
        "context length": inner.get("max_position_embeddings"),
    }
    return {name: value for name, value in found.items() if value is not None}


def check_claims(
    found: Mapping[str, Json], *, quantization: str | None, max_model_len: int | None, name: str
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
            )
        )
    raise_all(faults)


def _agree(quantization: str | None, said: object) -> bool:
    """Whether a checkpoint that says this can be served as that (awq_marlin serves awq)."""
    if quantization is None:
        return said is None
    return said in METHODS[quantization].checkpoint


def _config(data: bytes) -> dict[str, Json]:
    try:
        found = json.loads(data, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise BadFile("this is not valid JSON", subject="config.json", got=str(error)) from error
    if not isinstance(found, dict):
        raise BadFile("this is no model's config", subject="config.json", expected="an object")
    return found


def _parameters(stream: BinaryIO, name: str, size: int) -> "Counter[str]":
    """Elements by dtype, from one file's header."""
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
        raise WrongBytes("this is not a safetensors file", subject=name, got=f"{size} bytes")
    try:
        header = json.loads(stream.read(length), parse_float=str, parse_constant=str)
        header.pop("__metadata__", None)
        counted, end = Counter[str](), 0
        for tensor in header.values():
            dtype, elements, stop = _tensor(tensor)
            counted[dtype] += elements
            end = max(end, stop)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WrongBytes(
            "the header of a safetensors file cannot be read", subject=name, got=repr(error)
        ) from error
    if 8 + length + end != size:
        raise WrongBytes(
            "a safetensors file is not as long as its header says",
            subject=name,
            expected=f"{8 + length + end} bytes",
            got=f"{size} bytes",
            hint="fetch the file again",
        )
    return counted


def _tensor(said: Mapping[str, Any]) -> tuple[str, int, int]:
    """A tensor's dtype, its elements, and where its bytes end."""
    shape, (start, stop) = said["shape"], said["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
        raise ValueError(f"sizes that are no whole numbers: {said!r:.200}")
    return str(said["dtype"]), math.prod(shape), stop
