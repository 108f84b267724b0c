"""A LoRA adapter of the hub: two files over a model that others have too, and a few texts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ovenproof.core.digest import Content, Json
from ovenproof.core.entry import LORA_RANKS
from ovenproof.errors import BadFile
from ovenproof.events import Noted
from ovenproof.sources.checkpoint import word
from ovenproof.sources.hub import HubSource
from ovenproof.sources.hub_checkpoint import Looked, license_fact, read_heads
from ovenproof.sources.hub_files import HubFiles
from ovenproof.sources.selection import Selection

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_MOST_MODULES = 200
"""Longer lists are no fact for a person, and vLLM reads the file itself."""
_TEXT = re.compile(r"(README|LICENSE|LICENCE|NOTICE|COPYING|USE_POLICY)[^/]*", re.IGNORECASE)


_UNSERVED = frozenset(
    {"use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication"}
    | {"use_bdlora", "use_qalora"}
)
_HEADS = frozenset({"classifier", "score"})
"""What a classifier may bring besides its LoRA."""
_INITS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Others have changed the model under the adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAdapter(HubSource):
    """An adapter on the hub. `model_path` is its own folder of the image."""

    base: str | None = None
    """The model of the entry, as models.yaml names it; None where that is not on the hub."""

    def _choose(self, files: HubFiles) -> Selection:
        missing = [path for path in (CONFIG, WEIGHTS) if path not in files.by_path]
        if missing == [WEIGHTS] and _PICKLE in files.by_path:
            raise BadFile(
                "the adapter is a pickle, which can run code when it is loaded",
                subject=_PICKLE,
                where=self.model,
                expected=WEIGHTS,
                hint="convert it: load it with peft, then"
                " model.save_pretrained(FOLDER, safe_serialization=True)",
            )
        if missing:
            raise BadFile(
                "this is no adapter",
                subject=self.model,
                expected=f"{CONFIG} and {WEIGHTS}",
                got=f"no {' and no '.join(missing)}",
                hint="name an adapter's repository under `adapters`; a model's goes to `model`",
            )
        texts = [path for path in files.by_path if _TEXT.fullmatch(path)]
        return Selection((WEIGHTS,), tuple(sorted([CONFIG, *texts])))

    def _look_into(self, files: HubFiles, chosen: Selection, pins: Mapping[str, Content]) -> Looked:
        found = _facts(files.read(CONFIG), self.model)
        heads = read_heads(files, chosen, pins)
        base = found.get("base model")
        if base is not None and self.base is not None and base != self.base:
            text = f"the adapter {self.model} was made for {base!a}, not for {self.base}"
            files.listener(Noted(text=text))
        return Looked(facts={**found, **license_fact(files)}, heads=heads)


def _is_served(key: str, value: Json) -> bool:
    """Whether vLLM serves an adapter whose config says so: as its own reader of such configs."""
    match key:
        case "modules_to_save":
            return not value or (isinstance(value, list) and {*map(str, value)} <= _HEADS)
        case "init_lora_weights":
            return not isinstance(value, str) or value.lower() in _INITS
        case _:
            return key not in _UNSERVED or not value


def _facts(data: bytes, model: str) -> dict[str, Json]:
    """Rank, base model, and the modules that it changes. Raises BadFile."""
    try:
        words = json.loads(data, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise _wrong(model, "JSON", str(error)) from error
    if not isinstance(words, dict):
        raise _wrong(model, "an object", type(words).__name__)
    if words.get("peft_type") != "LORA":
        raise _wrong(model, "`peft_type` LORA: vLLM serves no other", words.get("peft_type"))
    pattern = words.get("rank_pattern")
    ranks = [words.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        raise _wrong(model, "`r`, the rank: a whole number above 0", ranks)
    if max(ranks) > LORA_RANKS[-1]:
        raise _wrong(
            model, f"a rank of {LORA_RANKS[-1]} at most: vLLM serves none above", max(ranks)
        )
    for key, value in words.items():
        if not _is_served(key, value):
            raise _wrong(model, f"a LoRA that vLLM serves, with another `{key}` or none", value)
    base, modules = words.get("base_model_name_or_path"), words.get("target_modules")
    if isinstance(modules, list):
        named = sorted(one for one in modules if word(one) is not None)
        modules = named if len(named) == len(modules) <= _MOST_MODULES else None
    found: dict[str, Json] = {
        "rank": max(ranks),
        "base model": word(base),
        "target modules": modules if isinstance(modules, list) else word(modules),
    }
    return {name: value for name, value in found.items() if value is not None}


def _wrong(model: str, expected: str, got: object) -> BadFile:
    return BadFile(
        "the config of an adapter is not what it should be",
        subject=CONFIG,
        where=model,
        expected=expected,
        got=ascii(got)[:200],
    )
