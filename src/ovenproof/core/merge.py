"""Lay the sections that make an entry over each other: defaults, the entry, its variant.

Mappings `args` and `env` merge by key; everything else replaces; `null` takes back. `model` with
its `revision`, `include` and `exclude`, and `weights` are one choice: who makes it anew replaces
the whole of it. `adapters` stay: another variant of a model takes the same ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ovenproof.core import fields

Path: TypeAlias = tuple[str | int, ...]
_MERGED = ("args", "env")
_SOURCE = ("model", "weights")
_OF_A_MODEL = ("revision", "include", "exclude")


@dataclass(slots=True)
class Merged:
    """An entry to be: its name, its values, and where each of them was written."""

    name: str
    path: Path
    """The key that names it: the entry's, or the variant's."""
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Fields that are wrong in themselves; no rule may be judged by them."""
    clash: Path | None = None
    """Where one section chooses both `model` and `weights`."""

    def lay(self, section: fields.Settings | None, path: Path, broken: frozenset[Path]) -> None:
        """Put a section over what is there."""
        given = (
            {name: getattr(section, name) for name in section.model_fields_set} if section else {}
        )
        given.pop("variants", None)
        chosen = [name for name in _SOURCE if given.get(name) is not None]
        if len(chosen) == len(_SOURCE):
            self.clash = (*path, "weights")
        if chosen:
            for name in (*_SOURCE, *_OF_A_MODEL):
                self._drop(name)
        for name, value in given.items():
            if value is None:
                self._drop(name)
            elif name in _MERGED:
                self._merge(name, value, path)
            else:
                self._set(name, value, (*path, name))
        for name in (str(place[-1]) for place in broken if place[:-1] == path):
            self.values.pop(name, None)
            self.broken.add(name)

    def _set(self, name: str, value: Any, place: Path) -> None:
        self.values[name] = value
        self.places[name] = place
        self.broken.discard(name)

    def _merge(self, name: str, value: dict[str, Any], path: Path) -> None:
        kept = dict(self.values.get(name, {}))
        for key, item in value.items():
            kept.pop(key, None)
            if item is not None:
                kept[key] = item
                self.places[f"{name}.{key}"] = (*path, name, key)
        self.values[name] = kept

    def _drop(self, name: str) -> None:
        self.values.pop(name, None)
        self.broken.discard(name)


def merge(file: fields.File, broken: frozenset[Path]) -> Iterator[Merged]:
    """Every entry to be, in the order of the text."""
    for name, model in file.models.items():
        top: Path = ("models", name)
        variants = model.variants if model else None
        if variants is not None:
            for suffix, variant in variants.items():
                merged = Merged(f"{name}-{suffix}", (*top, "variants", suffix))
                merged.lay(file.defaults, ("defaults",), broken)
                merged.lay(model, top, broken)
                merged.lay(variant, merged.path, broken)
                yield merged
        elif (*top, "variants") not in broken:
            merged = Merged(name, top)
            merged.lay(file.defaults, ("defaults",), broken)
            merged.lay(model, top, broken)
            yield merged
