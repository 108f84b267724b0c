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
    from ovenproof.core.difference import difference

    found = {entry.name: difference(before, after, resolver.origins.reader(entry, before, after))}
    for name in sorted(before.adapters.keys() | after.adapters.keys()):
        old, new = before.adapters.get(name), after.adapters.get(name)
        if old is None or new is None:  # then models.yaml has changed, and says so itself
            continue
        made = difference(old, new, resolver.origins.reader(entry, before, after), one_layer=True)
        if not made.nothing:
            found[f"adapter {name}"] = made
    return found


def as_values(found: "dict[str, Difference]") -> dict[str, object]:
    """All of it, for a machine."""
    return {name: one.to_json() for name, one in found.items()}


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
