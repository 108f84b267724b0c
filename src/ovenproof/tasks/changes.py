"""What moved between two locks, shown to a person."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovenproof.core.difference import Change, Difference
    from ovenproof.core.entry import Entry
    from ovenproof.core.model_lock import ModelLock
    from ovenproof.resolve import Resolver


def compared(
    resolver: "Resolver", entry: "Entry", before: "ModelLock", after: "ModelLock"
) -> "dict[str, Difference]":
    """What differs, for the model itself (under its name) and for each adapter that has changed."""
    from dataclasses import replace

    from ovenproof.core.difference import difference

    found = {entry.name: difference(before, after, resolver.origins.reader(entry, before, after))}
    for name in sorted(before.adapters.keys() | after.adapters.keys()):
        whole = before.adapters.get(name) or after.adapters[name]
        nothing = replace(whole, origin={}, files=(), facts={})
        old, new = before.adapters.get(name, nothing), after.adapters.get(name, nothing)
        made = difference(old, new, resolver.origins.reader(entry, before, after), one_layer=True)
        if not made.nothing:
            found[f"adapter {name}"] = made
    return found


def as_text(found: "dict[str, Difference]") -> str:
    """All of it, in lines."""
    return "\n".join(line for name, one in found.items() for line in _lines(name, one))


def _lines(name: str, found: "Difference") -> Iterator[str]:
    from ovenproof.tasks.screen import size

    if found.nothing:
        yield f"{name}: nothing has changed" + (" but where it comes from" if found.origin else "")
    else:
        count = len(found.files)
        files = "1 file" if count == 1 else f"{count} files"
        yield f"{name}: {files} changed, {size(found.moves)} will move"
    yield from _changes("origin", found.origin)
    yield from _changes("file", found.files)
    yield from _changes("fact", found.facts)
    yield from _changes("value", found.values)
    for line in found.template:
        yield f"  template  {line}"


def _changes(kind: str, changes: "Iterable[Change]") -> Iterator[str]:
    for one in changes:
        match one.before, one.after:
            case None, after:
                told = f"+ {one.path}  {after}"
            case before, None:
                told = f"- {one.path}  {before}"
            case before, after:
                told = f"~ {one.path}  {before} -> {after}"
        yield f"  {kind:<8}  {told}"
