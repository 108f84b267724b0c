"""What moved between two locks of one entry, in words that a person can judge.

Files by their digests; the texts that decide how a model behaves, its configs and its chat
template, by what is in them.
"""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ovenproof.core import weights
from ovenproof.core.digest import Digest, Json
from ovenproof.core.model_lock import LockedFile, ModelLock

READ_UP_TO = 4 << 20
"""A larger text is a vocabulary, which nobody reads."""
_UNREAD = frozenset({"tokenizer.json", "vocab.json"})
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_SHOWN = 80

ReadText = Callable[[LockedFile], bytes | None]
"""A locked file's bytes; None where nobody has them any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value that is another one now; None: it was not, or is not, there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything that moved, sorted."""

    origin: tuple[Change, ...]
    """Where the files come from: the commit, for one."""
    files: tuple[Change, ...]
    facts: tuple[Change, ...]
    values: tuple[Change, ...]
    """Keys of JSON files, as `config.json: rope_theta`."""
    template: tuple[str, ...]
    """Lines of the chat template, with `+` and `-` before them."""
    moves: int
    """Bytes of the files whose layers are new."""

    @property
    def nothing(self) -> bool:
        """Whether the two locks stand for the same bytes."""
        return not self.files

    def to_json(self) -> dict[str, object]:
        named = ("origin", "files", "facts", "values")
        changes = {
            name: [
                {"path": one.path, "before": one.before, "after": one.after}
                for one in getattr(self, name)
            ]
            for name in named
        }
        return {**changes, "template": list(self.template), "moves": self.moves}


def difference(
    before: ModelLock, after: ModelLock, read: ReadText, *, one_layer: bool = False
) -> Difference:
    """Compare what was locked with what could be; `one_layer` says that all files share one."""
    old = {file.path: file for file in before.files}
    new = {file.path: file for file in after.files}
    changed = sorted(
        path for path in old.keys() | new.keys() if _content(old, path) != _content(new, path)
    )
    values: list[Change] = []
    for path in changed:
        if path.endswith(".json") and path not in _UNREAD and path not in _TEMPLATES:
            pair = _json(old.get(path), read), _json(new.get(path), read)
            values += [
                Change(path=f"{path}: {one.path}", before=one.before, after=one.after)
                for one in _changes(*pair)
                if one.path != "chat_template"
            ]
    return Difference(
        origin=tuple(_changes(before.origin, after.origin)),
        files=tuple(
            Change(path=path, before=_size(old.get(path)), after=_size(new.get(path)))
            for path in changed
        ),
        facts=tuple(_changes(before.facts, after.facts)),
        values=tuple(values),
        template=_template(old, new, read),
        moves=sum(file.size for file in new.values()) * bool(changed)
        if one_layer
        else _moves(old, new),
    )


def _moves(old: Mapping[str, LockedFile], new: Mapping[str, LockedFile]) -> int:
    """Big files that are new; and the small ones, which share a layer, if any of them is new."""
    known = {(file.path, file.digest) for file in old.values()}  # a layer holds the path too
    big = (file for file in new.values() if weights.is_big(file.size))
    total = sum(file.size for file in big if (file.path, file.digest) not in known)
    small = [
        {p: f.digest for p, f in all_.items() if not weights.is_big(f.size)} for all_ in (old, new)
    ]
    if small[0] != small[1]:
        total += sum(new[path].size for path in small[1])
    return total


def _template(
    old: Mapping[str, LockedFile], new: Mapping[str, LockedFile], read: ReadText
) -> tuple[str, ...]:
    lines = difflib.unified_diff(
        _template_of(old, read).splitlines(), _template_of(new, read).splitlines(), n=0, lineterm=""
    )
    return tuple(line for line in lines if not line.startswith(("+++", "---", "@@")))


def _template_of(files: Mapping[str, LockedFile], read: ReadText) -> str:
    """The text of the template, wherever a repository keeps it."""
    jinja, *others = (*_TEMPLATES, "tokenizer_config.json")
    if jinja in files:
        return (read(files[jinja]) or b"").decode("utf-8", "replace")
    for path in others:
        found = _json(files.get(path), read).get("chat_template")
        if isinstance(found, str):
            return found
        if found is not None:  # several of them, by name
            return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    return ""


def _json(file: LockedFile | None, read: ReadText) -> Mapping[str, Json]:
    """What is in a JSON file; nothing where it cannot be told."""
    if file is None or file.size > READ_UP_TO:
        return {}
    try:
        found = json.loads(read(file) or b"", parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _changes(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Change]:
    """Values that differ, by key; inside mappings by the keys on the way."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            for inner in _changes(old, new):
                yield Change(path=f"{key}.{inner.path}", before=inner.before, after=inner.after)
        else:
            yield Change(path=key, before=_shown(before, key), after=_shown(after, key))


def _shown(values: Mapping[str, Json], key: str) -> str | None:
    if key not in values:
        return None
    found = values[key]
    text = found if isinstance(found, str) else json.dumps(found, sort_keys=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _content(files: Mapping[str, LockedFile], path: str) -> tuple[Digest, int] | None:
    return (files[path].digest, files[path].size) if path in files else None


def _size(file: LockedFile | None) -> str | None:
    return None if file is None else f"{file.size} bytes, {file.digest.short}"
