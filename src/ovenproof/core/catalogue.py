"""The catalogue: models.yaml, read. Text -> entries, or every fault of the text at once.

A field is checked where it is written; then the sections that make an entry are laid over each
other (defaults, the entry, its variant) and the rules between fields are checked. A field that is
wrong in itself is left out of the second step, so one mistake gives one fault.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from ovenproof.core import document, fields
from ovenproof.core.document import Document, Mapping, Plain
from ovenproof.core.entry import (
    Adapter,
    Entry,
    Expectation,
    HubModel,
    LocalFolder,
    OciModel,
    PackagedModel,
    Source,
)
from ovenproof.core.field_faults import field_fault, field_of
from ovenproof.core.merge import Merged, Path, merge
from ovenproof.core.rules import broken_rules, find_written, make_entry
from ovenproof.core.scalars import listed
from ovenproof.core.shapes import SHAPES, tag
from ovenproof.errors import BadCall, BadFile, raise_all

__all__ = [
    "Adapter",
    "Catalogue",
    "Entry",
    "Expectation",
    "HubModel",
    "LocalFolder",
    "OciModel",
    "PackagedModel",
    "Source",
    "parse",
]

DEFAULT_REPOSITORY = "ovenproof"


@dataclass(frozen=True, slots=True)
class Written:
    """Where something was written: its place, and its line with carets under it."""

    where: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every entry, sorted by name, and the repository that their images belong to."""

    repository: str
    entries: tuple[Entry, ...]
    options: dict[tuple[str, str], Written] = field(default_factory=dict, compare=False)
    """(entry, option of `args`) -> where it was written: only a lock knows vLLM's options."""

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def entry(self, name: str) -> Entry:
        """The entry of that name. Raises BadCall, with the names that come near."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.entries]
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        near += [known for known in names if name and known.startswith(name) and known not in near]
        raise BadCall(
            "no such model in the catalogue",
            subject=name,
            expected=f"one of {listed(names)}",
            hint=f"did you mean {listed(near)}?" if near else None,
        )

    def reference(self, entry: Entry) -> str:
        """The name of an entry's image: `<repository>:<entry>`."""
        return f"{self.repository}:{entry.name}"


def parse(text: str, *, name: str = "models.yaml") -> Catalogue:
    """Read models.yaml. Raises BadFile, or Several of them: all faults at once, in their order."""
    found = document.read(text, name)
    faults = list(found.faults)
    file, broken = _validated(found, faults)
    faults += _options_twice(found)
    options: dict[tuple[str, str], Written] = {}
    entries = _entries(found, file, broken, faults, options) if file is not None else []
    raise_all(_in_order(faults))
    repository = (file.repository if file else None) or DEFAULT_REPOSITORY
    return Catalogue(repository, tuple(sorted(entries, key=lambda entry: entry.name)), options)


def _validated(
    found: Document, faults: list[BadFile]
) -> tuple[fields.File | None, frozenset[Path]]:
    """The file without the fields that are wrong in themselves, and the paths of those."""
    values = document.plain(found.root)
    broken: set[Path] = set()
    while True:
        try:
            return fields.File.model_validate(values), frozenset(broken)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = tuple(detail["loc"])
                faults.append(field_fault(found, path, detail["type"], detail.get("ctx", {})))
                field = field_of(path)
                broken.add(field)
                if not _remove(values, field):
                    return None, frozenset(broken)


def _remove(values: Plain, path: Path) -> bool:
    """Take a value out; False where it was never there, so that nothing would change."""
    for step in path[:-1]:
        values = values.get(str(step)) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        return True  # its section went before it
    if path == ("models",):
        return False
    values.pop(str(path[-1]), None)
    return True


def _options_twice(found: Document) -> Iterator[BadFile]:
    """One option in two spellings, `max_num_seqs` and `max-num-seqs`, in one section."""
    for args in _all_args(found.root):
        seen: dict[str, str] = {}
        for key, _ in args.pairs:
            name = key.text.replace("_", "-")
            if name in seen:
                yield found.page.fault(
                    "an option stands twice under `args`",
                    key.mark,
                    subject=key.text,
                    got=f"a second one; the first is at {seen[name]}",
                    hint="keep one of them",
                )
            seen.setdefault(name, found.page.place(key.mark))


def _all_args(node: document.Node) -> Iterator[Mapping]:
    if isinstance(node, Mapping):
        for key, value in node.pairs:
            if key.text == "args" and isinstance(value, Mapping):
                yield value
            else:
                yield from _all_args(value)


def _entries(
    found: Document,
    file: fields.File,
    broken: frozenset[Path],
    faults: list[BadFile],
    options: dict[tuple[str, str], Written],
) -> list[Entry]:
    entries: list[Entry] = []
    places: dict[str, str] = {}
    for merged in merge(file, broken):
        if merged.name in places:
            faults.append(_same_name(found, merged, places[merged.name]))
            continue
        key, node = document.find(found.root, merged.path)
        places[merged.name] = found.page.place(key.mark if key else node.mark)
        wrong = list(broken_rules(found, merged))
        faults += wrong
        if not faults:
            entries.append(make_entry(merged))
            options.update(_written(found, merged))
    faults += _empty(found, file)
    faults += _taken_tags(found, file, broken, places)
    return entries


def _written(found: Document, merged: Merged) -> Iterator[tuple[tuple[str, str], Written]]:
    for name, place in merged.places.items():
        if name.startswith("args."):
            key, node = find_written(found, place)
            mark = key.mark if key else node.mark
            written = Written(found.page.place(mark), found.page.excerpt(mark))
            yield (merged.name, name.removeprefix("args.")), written


def _empty(found: Document, file: fields.File) -> Iterator[BadFile]:
    """A mapping that must hold something, and holds nothing."""
    paths: list[Path] = [("models",)]
    paths += [("models", n, "variants") for n, m in file.models.items() if m and m.variants == {}]
    for path in paths:
        key, node = document.find(found.root, path)
        if isinstance(node, Mapping) and not node.pairs:
            mark = key.mark if key else node.mark
            yield found.page.fault(
                "an empty mapping", mark, subject=str(path[-1]), expected="at least one name in it"
            )


def _taken_tags(
    found: Document, file: fields.File, broken: frozenset[Path], places: dict[str, str]
) -> Iterator[BadFile]:
    """Entries whose image would have the tag that another one has in another shape."""
    others = {tag(shape, name): name for name in places for shape in SHAPES if shape != "image"}
    for merged in merge(file, broken):
        if merged.name in others:
            key, node = document.find(found.root, merged.path)
            other = others[merged.name]
            yield found.page.fault(
                "an entry has the tag that another one has in another shape",
                key.mark if key else node.mark,
                subject=merged.name,
                got=f"`{other}` is there, at {places[other]}",
                hint="rename one of them",
            )


def _same_name(found: Document, merged: Merged, first: str) -> BadFile:
    key, node = document.find(found.root, merged.path)
    return found.page.fault(
        "two entries with one name",
        key.mark if key else node.mark,
        subject=merged.name,
        got=f"a second one; the first is at {first}",
        hint="rename one of them",
    )


def _in_order(faults: list[BadFile]) -> list[BadFile]:
    """By place in the file. What several entries inherit is said once, for the first of them."""
    unique = {(fault.where, fault.what): fault for fault in reversed(faults)}

    def place(fault: BadFile) -> tuple[int, int]:
        line, column = str(fault.where).rsplit(":", 2)[1:]
        return int(line), int(column)

    return sorted(unique.values(), key=place)
