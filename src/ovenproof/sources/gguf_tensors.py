"""A GGUF's tensors as bfloat16 under the names of a Hugging Face Llama, a piece at a time.

`gguf.quants` takes the blocks apart. What is ours: the names, the order of rows in q and k, the
rounding, and that no more than a few million numbers are in memory at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from gguf.quants import dequantize
from numpy.typing import NDArray

from ovenproof.errors import BadFile, WrongBytes
from ovenproof.sources.gguf_file import Gguf, StoredTensor
from ovenproof.sources.gguf_model import LlamaModel

_PIECE = 1 << 20
"""Numbers per piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A tensor of the finished model: its stored name and shape, and its heads to be unwoven."""

    stored: str
    shape: tuple[int, ...]
    heads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A stored tensor and what becomes of it."""

    name: str
    stored: StoredTensor
    heads: int


def plan_tensors(gguf: Gguf, model: LlamaModel) -> tuple[Conversion, ...]:
    """What becomes of each tensor, by name. BadFile unless they are exactly those of the model."""
    wanted = _wanted(model)
    names = {tensor.stored for tensor in wanted.values()}
    missing, strange = sorted(names - gguf.tensors.keys()), sorted(gguf.tensors.keys() - names)
    if missing or strange:
        raise BadFile(
            "this GGUF has not the tensors of a plain Llama",
            subject=gguf.path.name,
            where=gguf.path,
            expected=f"{len(names)} tensors" + (f", also {_few(missing)}" if missing else ""),
            got=f"{len(gguf.tensors)} tensors" + (f", also {_few(strange)}" if strange else ""),
        )
    conversions = []
    for name, tensor in sorted(wanted.items()):
        stored = gguf.tensors[tensor.stored]
        if stored.shape != tensor.shape:
            raise BadFile(
                "a tensor has another shape than the metadata says",
                subject=stored.name,
                where=gguf.path,
                expected=tensor.shape,
                got=stored.shape,
            )
        conversions.append(Conversion(name=name, stored=stored, heads=tensor.heads))
    return tuple(conversions)


def bfloat16_pieces(stream: BinaryIO, conversion: Conversion) -> Iterator[bytes]:
    """The converted tensor's bytes, in order. `stream` is the GGUF; its position is moved."""
    stored = conversion.stored
    width, row_size = stored.shape[-1], stored.size // stored.rows
    head_rows = stored.rows // conversion.heads if conversion.heads else 1
    step = max(_PIECE // width // head_rows, 1) * head_rows
    stream.seek(stored.offset)
    for start in range(0, stored.rows, step):
        count = min(step, stored.rows - start)
        data = stream.read(count * row_size)
        if len(data) != count * row_size:
            raise WrongBytes("a tensor ends too early", subject=stored.name, hint="fetch it again")
        rows = np.frombuffer(data, np.uint8).reshape(count, row_size)
        if conversion.heads:
            rows = unweave(rows, head_rows)
        yield to_bfloat16(_numbers(rows, stored)).tobytes()


def unweave(rows: NDArray[np.uint8], head_rows: int) -> NDArray[np.uint8]:
    """Rows of q or k in Hugging Face's order: in each head, first the even ones, then the odd.

    GGUF has the two halves of a rotated pair next to each other, Hugging Face half a head apart.
    Whole rows move, so they can move while they are still quantized.
    """
    heads = rows.reshape(-1, head_rows, rows.shape[1])
    return np.concatenate((heads[:, 0::2], heads[:, 1::2]), axis=1).reshape(rows.shape)


def to_bfloat16(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16, ties to even, as bits. A NaN stays one, and becomes quiet."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    nearest = (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(
        16
    )
    quiet = (bits >> np.uint32(16)) | np.uint32(0x0040)
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(is_nan, quiet, nearest).astype("<u2")


def _numbers(rows: NDArray[np.uint8], stored: StoredTensor) -> NDArray[np.float32]:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(dequantize(rows, stored.kind), np.float32)
    except NotImplementedError:
        raise BadFile(
            "a tensor is stored in a way that cannot be taken apart",
            subject=stored.name,
            expected="a ggml type that the installed `gguf` package can dequantize",
            got=stored.kind.name,
        ) from None


def _wanted(model: LlamaModel) -> Mapping[str, Wanted]:
    """Every tensor of the finished model, by its Hugging Face name."""
    width, inner = model.width, model.feed_forward
    queries, keys = model.heads * model.head_width, model.key_heads * model.head_width
    wanted = {
        "model.embed_tokens.weight": Wanted(
            stored="token_embd.weight", shape=(model.vocabulary, width)
        ),
        "model.norm.weight": Wanted(stored="output_norm.weight", shape=(width,)),
    }
    if not model.tied:
        wanted["lm_head.weight"] = Wanted(stored="output.weight", shape=(model.vocabulary, width))
    parts = {
        "input_layernorm": ("attn_norm", (width,), 0),
        "mlp.down_proj": ("ffn_down", (width, inner), 0),
        "mlp.gate_proj": ("ffn_gate", (inner, width), 0),
        "mlp.up_proj": ("ffn_up", (inner, width), 0),
        "post_attention_layernorm": ("ffn_norm", (width,), 0),
        "self_attn.k_proj": ("attn_k", (keys, width), model.key_heads),
        "self_attn.o_proj": ("attn_output", (width, queries), 0),
        "self_attn.q_proj": ("attn_q", (queries, width), model.heads),
        "self_attn.v_proj": ("attn_v", (keys, width), 0),
    }
    for layer in range(model.layers):
        for name, (stored, shape, heads) in parts.items():
            wanted[f"model.layers.{layer}.{name}.weight"] = Wanted(
                stored=f"blk.{layer}.{stored}.weight", shape=shape, heads=heads
            )
    return wanted


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
