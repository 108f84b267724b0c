"""A model folder in 4 bits, as AutoGPTQ or AutoAWQ would have written it.

Each linear layer of the blocks is rounded to the nearest of 16 steps, by groups of inputs; the
embedding, the norms and what is tied to them stay as they are. No calibration is needed for a
model to answer simple questions, but the packing must be right to the bit.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.models.tensors import Array, float16, int32, read, write

Method: TypeAlias = Literal["gptq", "awq"]
Floats: TypeAlias = NDArray[np.float32]
Steps: TypeAlias = NDArray[np.int64]

GROUP = 32
"""Inputs that share a scale. The CPU's kernel takes 32, 64 and 128."""
_BITS, _LEVELS = 4, 16
_PER_WORD = 32 // _BITS
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring outputs lies where in a word of AWQ, from the lowest bits."""
_SHRINK = np.linspace(1.0, 0.8, 5)
"""What is tried of a group's range: the far ends may be cut off where the rest gains by it."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """A layer's weights by [input, output]: `(steps - zeros) * scales`, the latter by group."""

    steps: Steps
    zeros: Steps
    scales: Floats


def write_quantized(base: Path, folder: Path, method: Method) -> None:
    """The model of the folder `base`, in 4 bits. It computes in float16."""
    shutil.copytree(base, folder)
    weights = folder / "model.safetensors"
    packed: dict[str, Array] = {}
    for name, array in read(base / weights.name).items():
        layer, is_weight, _ = name.rpartition(".weight")
        if is_weight and layer.endswith("_proj"):
            packed |= {f"{layer}.{part}": it for part, it in _quantize(array, method).items()}
        else:
            packed[name] = float16(array.to_float32())
    write(weights, packed)
    config = folder / "config.json"
    said = json.loads(config.read_text())
    said.pop("torch_dtype", None)
    said |= {"dtype": "float16", "quantization_config": _CONFIGS[method]}
    config.write_text(json.dumps(said, indent=2))


def shuffle_scales(folder: Path) -> None:
    """Give every output the scales of its neighbour: all shapes fit, and nothing is right."""
    weights = folder / "model.safetensors"
    tensors = {name: Array(it.dtype, it.numbers.copy()) for name, it in read(weights).items()}
    for name, array in tensors.items():
        if name.endswith(".scales"):
            tensors[name] = Array(array.dtype, np.roll(array.numbers, 1, axis=1))
    write(weights, tensors)


def round_evenly(weight: Floats, *, about_zero: bool) -> Rounded:
    """The nearest steps, for weights by [output, input]. `about_zero` puts zero at step 8."""
    groups = weight.T.reshape(-1, GROUP, weight.shape[0])
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    if about_zero:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    best = np.full_like(low, np.inf)
    scales, zeros = np.ones_like(low), np.zeros_like(low)
    for shrink in _SHRINK:
        # Held as they will be stored, so that the steps fit the scale that is read again.
        scale = np.maximum((high - low) * shrink / (_LEVELS - 1), 1e-6).astype(np.float16)
        wide = scale.astype(np.float32)
        zero = np.full_like(low, 8) if about_zero else np.clip(np.rint(-low * shrink / wide), 0, 15)
        error = np.square((_steps(groups, wide, zero) - zero) * wide - groups).sum(1, keepdims=True)
        better = error < best
        best, scales, zeros = (
            np.where(better, new, old)
            for new, old in ((error, best), (wide, scales), (zero, zeros))
        )
    steps = _steps(groups, scales, zeros).reshape(weight.T.shape)
    return Rounded(steps.astype(np.int64), zeros[:, 0].astype(np.int64), scales[:, 0])


def pack(steps: Steps, order: tuple[int, ...] = tuple(range(_PER_WORD))) -> NDArray[np.int32]:
    """Eight steps of a row into one word, from the lowest bits on, in that order."""
    eights = steps.reshape(steps.shape[0], -1, _PER_WORD)[:, :, order].astype(np.uint32)
    shifts = np.arange(0, 32, _BITS, dtype=np.uint32)
    return np.asarray(np.bitwise_or.reduce(eights << shifts, axis=2).view(np.int32))


def _steps(groups: Floats, scale: Floats, zero: Floats) -> Floats:
    return np.asarray(np.clip(np.rint(groups / scale) + zero, 0, _LEVELS - 1))


def _gptq(weight: Floats) -> dict[str, Array]:
    """Packed along the inputs. Zeros are stored one too low: so the first version of it did."""
    rounded = round_evenly(weight, about_zero=True)
    return {
        "qweight": int32(pack(rounded.steps.T).T),
        "qzeros": int32(pack(rounded.zeros - 1)),
        "scales": float16(rounded.scales),
        "g_idx": int32(np.arange(weight.shape[1]) // GROUP),
    }


def _awq(weight: Floats) -> dict[str, Array]:
    """Packed along the outputs, in an order that suits a GPU's registers."""
    rounded = round_evenly(weight, about_zero=False)
    return {
        "qweight": int32(pack(rounded.steps, _AWQ_ORDER)),
        "qzeros": int32(pack(rounded.zeros, _AWQ_ORDER)),
        "scales": float16(rounded.scales),
    }


_PACKERS: Mapping[Method, Callable[[Floats], dict[str, Array]]] = {"gptq": _gptq, "awq": _awq}
_CONFIGS: Mapping[Method, Mapping[str, object]] = {
    "gptq": {
        "quant_method": "gptq",
        "bits": _BITS,
        "group_size": GROUP,
        "sym": True,
        "desc_act": False,
    },
    "awq": {
        "quant_method": "awq",
        "version": "gemm",
        "bits": _BITS,
        "group_size": GROUP,
        "zero_point": True,
    },
}


def _quantize(array: Array, method: Method) -> dict[str, Array]:
    return _PACKERS[method](array.to_float32())
