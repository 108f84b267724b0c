"""The tokenizer that a GGUF describes, as `tokenizer.json` and `tokenizer_config.json`.

The documents are written from the metadata, without the `tokenizers` library: its way to write
them changes between versions, and the bytes may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovenproof.errors import BadFile
from ovenproof.sources.gguf_file import Gguf

_BYTE_LEVEL: Mapping[str, object] = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_SPLITS: Mapping[str, object] = {
    "gpt-2": _BYTE_LEVEL,
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    },
}
"""How text is cut before the merges, by `tokenizer.ggml.pre`. The file has only the name."""

_CONTROL, _USER_DEFINED = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A byte-level BPE tokenizer. A token's id is its place in `tokens`."""

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[tuple[str, str], ...]
    split: str
    begin: int | None
    end: int
    ends: tuple[int, ...]
    """Every token that ends an answer; `end` is the first."""
    unknown: int | None
    padding: int | None
    adds_begin: bool
    adds_end: bool
    chat_template: str | None


def read_tokenizer(gguf: Gguf, vocabulary: int) -> Tokenizer:
    """The tokenizer that the metadata describes, of a model with `vocabulary` embeddings.

    BadFile where it is not one that is understood.
    """
    split = _check_kind(gguf)
    tokens = gguf.get_all("tokenizer.ggml.tokens", str)
    kinds = gguf.get_all("tokenizer.ggml.token_type", int)
    if len(kinds) != len(tokens):
        raise _unfit(gguf, "token_type", f"{len(kinds)} types for {len(tokens)} tokens")
    if len(tokens) > vocabulary:
        raise _unfit(gguf, "tokens", f"{len(tokens)} tokens for {vocabulary} embeddings")
    known = frozenset(tokens)
    if len(known) != len(tokens):
        raise _unfit(gguf, "tokens", "a token twice")
    end = _id(gguf, "eos_token_id", len(tokens))
    if end is None:
        raise _unfit(gguf, "eos_token_id", "nothing")
    others = (_id(gguf, f"{name}_token_id", len(tokens)) for name in ("eot", "eom"))
    template = gguf.get("tokenizer.chat_template", str, "")
    return Tokenizer(
        tokens=tokens,
        kinds=kinds,
        merges=_read_merges(gguf, known),
        split=split,
        begin=_id(gguf, "bos_token_id", len(tokens)),
        end=end,
        ends=tuple(dict.fromkeys((end, *(id_ for id_ in others if id_ is not None)))),
        unknown=_id(gguf, "unknown_token_id", len(tokens)),
        padding=_id(gguf, "padding_token_id", len(tokens)),
        adds_begin=gguf.get("tokenizer.ggml.add_bos_token", bool, False),
        adds_end=gguf.get("tokenizer.ggml.add_eos_token", bool, False),
        chat_template=template or None,
    )


def tokenizer_document(tokenizer: Tokenizer) -> dict[str, object]:
    """`tokenizer.json`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": id_,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind == _CONTROL,
            }
            for id_, (token, kind) in enumerate(zip(tokenizer.tokens, tokenizer.kinds, strict=True))
            if kind in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": _SPLITS[tokenizer.split],
        "post_processor": _frame(tokenizer),
        "decoder": {**_BYTE_LEVEL, "add_prefix_space": True},  # of no effect, and the default
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id_ for id_, token in enumerate(tokenizer.tokens)},
            "merges": tokenizer.merges,
        },
    }


def tokenizer_config(tokenizer: Tokenizer, context: int) -> dict[str, object]:
    """`tokenizer_config.json`. The class is the one that takes `tokenizer.json` as it is."""
    named = {
        "bos_token": tokenizer.begin,
        "eos_token": tokenizer.end,
        "pad_token": tokenizer.padding,
        "unk_token": tokenizer.unknown,
    }
    return {
        "add_bos_token": tokenizer.adds_begin,
        "add_eos_token": tokenizer.adds_end,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name: tokenizer.tokens[id_] for name, id_ in named.items() if id_ is not None},
    }


def _check_kind(gguf: Gguf) -> str:
    """The name of the split, of a tokenizer that is supported."""
    kind = gguf.get("tokenizer.ggml.model", str)
    split = gguf.get("tokenizer.ggml.pre", str, "")
    if kind != "gpt2" or split not in _SPLITS:
        raise BadFile(
            "a GGUF with this tokenizer cannot be imported",
            subject=f"{kind}/{split}" if split else kind,
            where=gguf.path,
            expected=" or ".join(f"gpt2/{name}" for name in _SPLITS),
            got=f"{kind} (tokenizer.ggml.model), {split or 'nothing'} (tokenizer.ggml.pre)",
        )
    return split


def _read_merges(gguf: Gguf, known: frozenset[str]) -> tuple[tuple[str, str], ...]:
    merges: list[tuple[str, str]] = []
    for text in gguf.get_all("tokenizer.ggml.merges", str):
        left, space, right = text.partition(" ")
        if not space or not {left, right, left + right} <= known:
            raise _unfit(gguf, "merges", f"{text!r}, of which something is no token")
        merges.append((left, right))
    return tuple(merges)


def _frame(tokenizer: Tokenizer) -> dict[str, object] | None:
    """The tokens that every text gets around it, if any."""
    before = [tokenizer.begin] if tokenizer.adds_begin and tokenizer.begin is not None else []
    after = [tokenizer.end] if tokenizer.adds_end else []
    if not before and not after:
        return None

    def around(name: str, type_id: int) -> list[dict[str, object]]:
        def special(id_: int) -> dict[str, object]:
            return {"SpecialToken": {"id": tokenizer.tokens[id_], "type_id": type_id}}

        text: dict[str, object] = {"Sequence": {"id": name, "type_id": type_id}}
        return [*map(special, before), text, *map(special, after)]

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [id_], "tokens": [token]}
            for id_ in dict.fromkeys((*before, *after))
            for token in (tokenizer.tokens[id_],)
        },
    }


def _id(gguf: Gguf, name: str, count: int) -> int | None:
    key = f"tokenizer.ggml.{name}"
    if key not in gguf.metadata:
        return None
    id_ = gguf.get(key, int)
    if not 0 <= id_ < count:
        raise _unfit(gguf, name, f"{id_}, of {count} tokens")
    return id_


def _unfit(gguf: Gguf, name: str, got: str) -> BadFile:
    return BadFile(
        "the tokenizer in this GGUF contradicts itself",
        subject=f"tokenizer.ggml.{name}",
        where=gguf.path,
        got=got,
    )
