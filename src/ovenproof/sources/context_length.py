"""How long a context may be, as vLLM counts it from a model's config."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from ovenproof.core.digest import Json

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
_LARGEST = 2**53
"""Whole numbers below it are the same to every reader of JSON."""


def context_length(words: Mapping[str, Json], inner: Mapping[str, Json]) -> int | None:
    """The longest context; what the rope is stretched to counts. `inner` is the text model's."""
    lengths = [inner.get(key) for key in _LENGTHS]
    found = [length for length in map(_length, lengths) if length is not None]
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
        return _length(int((_length(before) or longest) * factor))
    return longest


def _length(said: Json) -> int | None:
    """A number of tokens. `type`, because true is a number to Python."""
    return said if type(said) is int and 0 < said < _LARGEST else None


def _ropes(said: Json) -> Iterator[Mapping[str, Json]]:
    """The rope's settings: one for all layers, or one for each kind of layer."""
    if not isinstance(said, dict):
        return
    yield said
    yield from (value for _, value in sorted(said.items()) if isinstance(value, dict))


def _factor(said: Json) -> Decimal | None:
    """A number that was written as JSON has it; a float came as its text."""
    if type(said) is not int and not isinstance(said, str):
        return None
    try:
        factor = Decimal(said)
    except InvalidOperation:
        return None
    return factor if factor.is_finite() and 0 < factor < 1_000_000 else None
