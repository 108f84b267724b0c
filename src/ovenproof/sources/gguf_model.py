"""The model that a GGUF describes, and the `config.json` that says the same to vLLM.

Only the plain Llama architecture is understood, and every `llama.*` key of the file must be one
that is: a property that is overlooked (scaled rotary positions, experts, …) would still give a
model that answers, only wrongly.
"""

import struct
from dataclasses import dataclass

from ovenproof.errors import BadFile
from ovenproof.sources.gguf_file import Gguf
from ovenproof.sources.gguf_tokenizer import Tokenizer

ARCHITECTURE = "llama"
_UNDERSTOOD = frozenset(
    f"{ARCHITECTURE}.{name}"
    for name in (
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "vocab_size",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaModel:
    """The sizes of a Llama model. The query heads are a multiple of the key heads."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    key_heads: int
    head_width: int
    context: int
    vocabulary: int
    norm_epsilon: float
    rope_base: float
    tied: bool
    """Whether the output uses the embedding's weights."""


def read_model(gguf: Gguf) -> LlamaModel:
    """The model that the metadata describes. BadFile where it is not one that is understood."""
    _check_architecture(gguf)
    heads = _size(gguf, "attention.head_count")
    key_heads = _size(gguf, "attention.head_count_kv", heads)
    width = _size(gguf, "embedding_length")
    head_width = _size(gguf, "attention.key_length", width // heads)
    if heads % key_heads or width % heads or head_width % 2:
        raise _unfit(gguf, "attention.head_count", f"{heads} heads, {key_heads} for keys, {width}")
    for name in ("attention.value_length", "rope.dimension_count"):
        if _size(gguf, name, head_width) != head_width:
            raise _unfit(gguf, name, f"{_size(gguf, name)}, not the head's width of {head_width}")
    embedding = gguf.tensors.get("token_embd.weight")
    if embedding is None:
        raise BadFile("a tensor is missing", subject="token_embd.weight", where=gguf.path)
    vocabulary = _size(gguf, "vocab_size", embedding.shape[0])
    if vocabulary != embedding.shape[0]:
        raise _unfit(gguf, "vocab_size", f"{vocabulary}, but {embedding.shape[0]} embeddings")
    return LlamaModel(
        layers=_size(gguf, "block_count"),
        width=width,
        feed_forward=_size(gguf, "feed_forward_length"),
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        context=_size(gguf, "context_length"),
        vocabulary=vocabulary,
        norm_epsilon=_shortest(gguf.get("llama.attention.layer_norm_rms_epsilon", float)),
        rope_base=_shortest(gguf.get("llama.rope.freq_base", float, 10000.0)),
        tied="output.weight" not in gguf.tensors,
    )


def config(model: LlamaModel, tokenizer: Tokenizer) -> dict[str, object]:
    """`config.json`. The rotary base stands twice: where transformers 5 reads it, and 4."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "dtype": "bfloat16",
        "head_dim": model.head_width,
        "hidden_act": "silu",
        "hidden_size": model.width,
        "intermediate_size": model.feed_forward,
        "max_position_embeddings": model.context,
        "mlp_bias": False,
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.key_heads,
        "rms_norm_eps": model.norm_epsilon,
        "rope_parameters": {"rope_theta": model.rope_base, "rope_type": "default"},
        "rope_theta": model.rope_base,
        "tie_word_embeddings": model.tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": model.vocabulary,
        **_ids(tokenizer, tokenizer.end),
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, object]:
    """`generation_config.json`: where an answer ends."""
    return _ids(tokenizer, list(tokenizer.ends))


def _ids(tokenizer: Tokenizer, end: object) -> dict[str, object]:
    ids = {"bos_token_id": tokenizer.begin, "eos_token_id": end, "pad_token_id": tokenizer.padding}
    return {name: id_ for name, id_ in ids.items() if id_ is not None}


def _check_architecture(gguf: Gguf) -> None:
    architecture = gguf.get("general.architecture", str)
    if architecture != ARCHITECTURE:
        raise BadFile(
            "a GGUF of this architecture cannot be imported",
            subject=architecture,
            where=gguf.path,
            expected=f"{ARCHITECTURE} (the one architecture that is supported)",
            got=f"{architecture} (general.architecture)",
        )
    strange = sorted(
        key for key in gguf.metadata if key.startswith("llama.") and key not in _UNDERSTOOD
    )
    if strange:
        raise BadFile(
            "this GGUF has properties that are not understood",
            subject=", ".join(strange),
            where=gguf.path,
            expected="a plain Llama: no experts, no scaled rotary positions, no sliding window",
        )


def _size(gguf: Gguf, name: str, default: int | None = None) -> int:
    size = gguf.get(f"{ARCHITECTURE}.{name}", int, default)
    if size < 1:
        raise _unfit(gguf, name, f"{size}, not a size")
    return size


def _unfit(gguf: Gguf, name: str, got: str) -> BadFile:
    return BadFile(
        "this GGUF contradicts itself, or is no plain Llama",
        subject=f"{ARCHITECTURE}.{name}",
        where=gguf.path,
        got=got,
    )


def _shortest(single: float) -> float:
    """The shortest double that is this number in single precision: 1e-05, not 9.9999997e-06."""
    for digits in range(1, 10):
        near = float(f"{single:.{digits}g}")
        if struct.pack("<f", near) == struct.pack("<f", single):
            return near
    return single
