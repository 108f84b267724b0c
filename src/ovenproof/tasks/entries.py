"""Several entries in one call: which of them can be meant, and what is wrong with which."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ovenproof.errors import OvenproofError, Several

if TYPE_CHECKING:
    from ovenproof.project import Project


def only_locked(here: "Project", names: Sequence[str]) -> list[str]:
    """Those of all entries that are locked. The others are told."""
    locked = here.models_lock().models
    if left_out := [name for name in names if name not in locked]:
        note = f"note: left out, because they are not locked: {', '.join(left_out)}"
        print(note, file=sys.stderr)  # noqa: T201  beside the answer, which may be JSON
    return [name for name in names if name in locked]


def of_entries(
    faults: Mapping[str, OvenproofError], names: Sequence[str]
) -> tuple[OvenproofError, ...]:
    """What went wrong with which entries; what went wrong with many of them is said once.

    `names` are all that the call is about: where it is one, nobody wonders which is meant.
    """
    if len(names) == 1:
        return tuple(faults.values())
    found: dict[tuple[type[OvenproofError], str], tuple[OvenproofError, list[str]]] = {}
    for name, whole in faults.items():
        for fault in whole.faults if isinstance(whole, Several) else (whole,):
            key = (type(fault), fault.text())
            found.setdefault(key, (fault, []))[1].append(name)
    return tuple(_with_names(fault, entries) for fault, entries in found.values())


def _with_names(fault: OvenproofError, entries: Sequence[str]) -> OvenproofError:
    words = ", ".join(dict.fromkeys(entries))
    named = type(fault)(
        fault.what,
        subject=fault.subject,
        where=f"{fault.where}; for {words}" if fault.where else f"for {words}",
        expected=fault.expected,
        got=fault.got,
        hint=fault.hint,
        excerpt=fault.excerpt,
    )
    named.__cause__ = fault
    return named
