"""`invoke lock`: ask the world once, and write down what it said."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall
from ovenproof.tasks.shell import answer, chosen, machine, project, say, verb

if TYPE_CHECKING:
    from ovenproof.core.digest import Json


@verb(
    name="lock",
    iterable=["model", "flavour"],
    help={
        "model": "NAME of an entry to lock again; may be given several times",
        "all": "lock every entry again",
        "flavour": "NAME of a flavour to lock again: its Debian packages and wheels",
        "upgrade": "with --flavour: resolve the requirements anew, not as they are pinned",
        "json": "for machines",
    },
)
def lock(
    _context: Context,
    model: list[str],
    flavour: list[str],
    all: bool = False,  # noqa: A002
    upgrade: bool = False,
    json: bool = False,
) -> None:
    """Pin the inputs of entries, or of flavours, by digest."""
    from ovenproof.resolve import Resolver
    from ovenproof.resolve_flavour import lock as lock_flavour
    from ovenproof.tasks.screen import progress, size

    here = project()
    if upgrade and not flavour:
        raise BadCall("--upgrade is for a flavour", hint="add --flavour NAME")
    if not model and not all and not flavour:
        raise BadCall("nothing to lock is named", expected="--model NAME, --all or --flavour NAME")
    names = chosen(here, model, all) if model or all else []
    if not all_named(flavour):
        raise BadCall("--flavour has no name", hint=f"one of: {', '.join(here.flavours())}")
    result: dict[str, object] = {}
    with progress(quiet=json) as listener:
        place = machine(listener)
        resolver = Resolver(project=here, machine=place)
        for name in flavour:
            made = lock_flavour(here, place, here.flavour(name), upgrade=upgrade)
            if made.base:
                layers = [layer.content for layer in made.base.layers]
                inputs = f"{made.base.name} ({made.base.digest.short})"
            else:
                layers = [*made.layers.values()]
                inputs = f"{len(made.debs)} Debian packages, {len(made.wheels)} wheels"
            total = sum(content.size for content in layers)
            result[name] = {
                "debs": len(made.debs),
                "wheels": len(made.wheels),
                "base": str(made.base.digest) if made.base else None,
                "bytes": total,
            }
            if not json:
                say(f"locked flavour {name}: {inputs}, {size(total)} in {len(layers)} layers")
        for name in names:
            entry = here.catalogue().entry(name)
            files = here.flavour(entry.flavour)
            image_lock = resolver.flavour(files, may_lock=True)
            found = resolver.lock_model(entry, files, image_lock)
            total = sum(file.size for file in found.files)
            result[name] = {"files": len(found.files), "bytes": total, "facts": dict(found.facts)}
            if not json:
                say(
                    f"locked {name}: {len(found.files)} files, {size(total)},"
                    f" {facts_line(found.facts)}"
                )
    if json:
        answer(result)


def all_named(names: list[str]) -> bool:
    """Whether every name that was given is one: an option without its value gives an empty one."""
    return all(isinstance(name, str) and name.strip() for name in names)


def facts_line(facts: "Mapping[str, Json]") -> str:
    """What a checkpoint says of itself, in a line for a person."""
    parameters = facts.get("parameters")
    said = [f"{parameters / 1e6:,.0f} M parameters"] if isinstance(parameters, int) else []
    said += [str(facts[key]) for key in ("dtype", "quantization") if facts.get(key)]
    if length := facts.get("context length"):
        said.append(f"context {length}")
    return ", ".join(said)
