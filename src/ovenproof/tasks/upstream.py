"""`lock --check`: what is upstream today, beside what is locked. Writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovenproof.errors import LockAgain, OvenproofError
from ovenproof.tasks.changes import as_text, as_values, compared
from ovenproof.tasks.entries import of_entries

if TYPE_CHECKING:
    from ovenproof.core.entry import Entry
    from ovenproof.resolve import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at what is upstream."""

    resolver: "Resolver"
    say: Callable[[str], None]
    moved: list[str] = field(default_factory=list)

    def run(
        self, names: Sequence[str]
    ) -> tuple[dict[str, dict[str, object]], tuple[OvenproofError, ...]]:
        """What has changed, by entry; and what there is to do about it."""
        told: dict[str, dict[str, object]] = {}
        wrong: dict[str, OvenproofError] = {}
        for name in names:
            try:
                told[name] = self._look(name)
            except OvenproofError as error:
                wrong[name] = error
        faults = of_entries(wrong, names)
        if not self.moved:
            return told, faults
        moved = LockAgain(
            "what is upstream is no longer what is locked",
            subject=", ".join(self.moved),
            where="models.lock",
            hint=f"run `invoke lock --upgrade --model {','.join(self.moved)}` to move on",
        )
        return told, (*faults, moved)

    def _look(self, name: str) -> dict[str, object]:
        here = self.resolver.project
        entry, locked = here.catalogue().entry(name), here.models_lock().models.get(name)
        before = self.resolver.current(entry, locked)
        after, _ = self.resolver.resolved(entry, upgrade=True)
        found = compared(self.resolver, entry, before, after)
        self.say(as_text(found))
        if any(not one.nothing for one in found.values()):
            self.moved.append(name)
        elif any(one.origin for one in found.values()):
            self._still_there(entry)
        return {"changes": as_values(found)}

    def _still_there(self, entry: "Entry") -> None:
        """The same files at another commit; raises LockAgain where the locked one is gone."""
        self.resolver.resolved(entry, upgrade=False)
