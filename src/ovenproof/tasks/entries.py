"""Several entries in one call: each is delivered; what is wrong with which is said at the end."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovenproof.errors import OvenproofError, Several, raise_all
from ovenproof.tasks.surroundings import heard_by

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.core.image import Image
    from ovenproof.core.shapes import Shape
    from ovenproof.machine import Machine
    from ovenproof.outputs.interface import Written
    from ovenproof.project import Project
    from ovenproof.tasks.outputs import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Entries on their way to where their images go. One that fails does not stop the others."""

    project: "Project"
    machine: "Machine"
    names: Sequence[str]
    where: "Choice"
    locked: bool
    shape: "Shape" = "image"
    faults: dict[str, OvenproofError] = field(default_factory=dict)

    def run(self, *, quiet: bool) -> "Iterator[tuple[Bake, Image, Written | None]]":
        """Deliver one after the other; those that failed are among `faults` afterwards."""
        from ovenproof.build import prepare
        from ovenproof.tasks.outputs import check_sizes
        from ovenproof.tasks.screen import progress

        for name in self.names:
            try:
                with progress(quiet=quiet) as listener:
                    machine = heard_by(listener, self.machine)
                    bake = prepare(
                        self.project, machine, name, may_lock=not self.locked, shape=self.shape
                    )
                    made, output = bake.plan(), self.where(name)
                    check_sizes(made, output)
                    image, written = bake.deliver(made, output, save=not self.locked)
            except OvenproofError as fault:
                self.faults[name] = fault
            else:
                yield bake, image, written

    def raise_faults(self) -> None:
        raise_all(of_entries(self.faults, self.names))


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
