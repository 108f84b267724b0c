"""`invoke lock`: ask the world once, and write down what it said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall, OvenproofError, raise_all
from ovenproof.tasks.shell import answer, chosen, say, verb
from ovenproof.tasks.surroundings import machine, project

if TYPE_CHECKING:
    from ovenproof.core.digest import Json
    from ovenproof.core.entry import Entry
    from ovenproof.core.model_lock import ModelLock
    from ovenproof.resolve import Resolver


@verb(
    name="lock",
    iterable=["model", "flavour"],
    help={
        "model": "NAME of an entry to lock again; may be given several times",
        "all": "lock every entry again",
        "flavour": "NAME of a flavour to lock again: its Debian packages and wheels",
        "upgrade": "move on: a model to the newest commit of its revision, and say what changed;"
        " a flavour to what its requirements give today",
        "check": "say what has changed upstream, and write nothing; exit code 4 if something has",
        "json": "for machines",
    },
)
def lock(
    _context: Context,
    model: list[str],
    flavour: list[str],
    all: bool = False,  # noqa: A002
    upgrade: bool = False,
    check: bool = False,
    json: bool = False,
) -> None:
    """Pin the inputs of entries, or of flavours, by digest."""
    from ovenproof.resolve import Resolver
    from ovenproof.tasks.screen import progress

    here = project(saves=not check)
    if not model and not all and not flavour:
        raise BadCall("nothing to lock is named", expected="--model NAME, --all or --flavour NAME")
    if check and (flavour or upgrade):
        other = "--upgrade" if upgrade else "--flavour"
        raise BadCall(f"`--check` and `{other}` cannot go together", hint="keep one of them")
    names = chosen(here, model, all) if model or all else []
    if not all_named(flavour):
        raise BadCall("--flavour has no name", hint=f"one of: {', '.join(here.flavours())}")
    result: dict[str, object] = {}
    with progress(quiet=json) as listener:
        resolver = Resolver(project=here, machine=machine(listener))
        call = _Call(resolver=resolver, upgrade=upgrade, quiet=json)
        for name in flavour:
            result[name] = call.flavour(name)
        if check:
            result.update(call.check(names))
        else:
            result.update(call.models(names))
    if json:
        answer(result)
    call.raise_faults()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call of `lock`: what it asks for, and what it finds out."""

    resolver: "Resolver"
    upgrade: bool
    quiet: bool
    faults: list[OvenproofError] = field(default_factory=list)

    def flavour(self, name: str) -> dict[str, object]:
        """Lock a flavour."""
        from ovenproof.resolve_flavour import lock as lock_flavour
        from ovenproof.tasks.screen import size

        here = self.resolver.project
        made = lock_flavour(here, self.resolver.machine, here.flavour(name), upgrade=self.upgrade)
        if made.base:
            layers = [layer.content for layer in made.base.layers]
            inputs = f"{made.base.name} ({made.base.digest.short})"
        else:
            layers = [*made.layers.values()]
            inputs = f"{len(made.debs)} Debian packages, {len(made.wheels)} wheels"
        total = sum(content.size for content in layers)
        self._say(f"locked flavour {name}: {inputs}, {size(total)} in {len(layers)} layers")
        return {
            "debs": len(made.debs),
            "wheels": len(made.wheels),
            "base": str(made.base.digest) if made.base else None,
            "bytes": total,
        }

    def models(self, names: Sequence[str]) -> dict[str, object]:
        """Lock entries; what is wrong with one does not stop the others."""
        from ovenproof.tasks.entries import of_entries

        told: dict[str, object] = {}
        wrong: dict[str, OvenproofError] = {}
        for name in names:
            try:
                told[name] = self.model(name)
            except OvenproofError as error:
                wrong[name] = error
        self.faults.extend(of_entries(wrong, names))
        return told

    def model(self, name: str) -> dict[str, object]:
        """Lock an entry."""
        from ovenproof.tasks.screen import size

        here = self.resolver.project
        entry, before = here.catalogue().entry(name), here.models_lock().models.get(name)
        files = here.flavour(entry.flavour)
        image_lock = self.resolver.flavour(files, may_lock=True)
        found = self.resolver.lock_model(entry, files, image_lock, upgrade=self.upgrade)
        total = sum(file.size for file in found.files)
        self._say(
            f"locked {name}: {len(found.files)} files, {size(total)}, {facts_line(found.facts)}"
        )
        told: dict[str, object] = {
            "files": len(found.files),
            "bytes": total,
            "facts": dict(found.facts),
        }
        if self.upgrade and before is not None:
            told["changes"] = self._changes(entry, before, found)
        return told

    def check(self, names: Sequence[str]) -> dict[str, object]:
        """Compare what is locked with what is there today."""
        from ovenproof.tasks.upstream import Check

        told, faults = Check(resolver=self.resolver, say=self._say).run(names)
        self.faults.extend(faults)
        return {**told}

    def _changes(
        self, entry: "Entry", before: "ModelLock", after: "ModelLock"
    ) -> dict[str, object]:
        from ovenproof.tasks.changes import as_text, as_values, compared

        found = compared(self.resolver, entry, before, after)
        self._say(as_text(found))
        return as_values(found)

    def raise_faults(self) -> None:
        raise_all(self.faults)

    def _say(self, text: str) -> None:
        if not self.quiet:
            say(text)


def all_named(names: list[str]) -> bool:
    """Whether every name that was given is one: an option without its value gives an empty one."""
    return all(isinstance(name, str) and name.strip() for name in names)


def facts_line(facts: "Mapping[str, Json]") -> str:
    """What a checkpoint says of itself, in a line for a person."""
    parameters = facts.get("parameters")
    said = [f"{_rounded(parameters)} parameters"] if isinstance(parameters, int) else []
    said += [str(facts[key]) for key in ("dtype", "quantization") if facts.get(key)]
    if length := facts.get("context length"):
        said.append(f"context {length}")
    return ", ".join(said)


def _rounded(parameters: int) -> str:
    """So many that a person can say it."""
    return f"{parameters / 1e6:,.0f} M" if parameters >= 1_000_000 else f"{parameters:,}"
