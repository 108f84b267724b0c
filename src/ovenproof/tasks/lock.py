"""`invoke lock`: ask the world once, and write down what it said."""

from invoke import Context

from ovenproof.errors import BadCall
from ovenproof.tasks.shell import answer, chosen, machine, project, say, verb


@verb(
    name="lock",
    iterable=["model", "flavour"],
    help={
        "model": "entry to lock again; may be given several times",
        "all": "lock every entry again",
        "flavour": "flavour to lock again: its Debian packages and wheels",
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
    from ovenproof.stack import facts_line
    from ovenproof.tasks.screen import progress, size

    here = project()
    names = chosen(here, model, all) if model or all or not flavour else []
    if not all_named(flavour):
        raise BadCall("--flavour has no name", hint=f"one of: {', '.join(here.flavours())}")
    result: dict[str, object] = {}
    with progress(quiet=json) as listener:
        place = machine(listener)
        resolver = Resolver(project=here, machine=place)
        for name in flavour:
            made = lock_flavour(here, place, here.flavour(name), upgrade=upgrade)
            total = sum(content.size for content in made.layers.values())
            result[name] = {"debs": len(made.debs), "wheels": len(made.wheels), "bytes": total}
            if not json:
                say(
                    f"locked flavour {name}: {len(made.debs)} Debian packages,"
                    f" {len(made.wheels)} wheels, {size(total)} in {len(made.layers)} layers"
                )
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
                    f" {facts_line(dict(found.facts))}"
                )
    if json:
        answer(result)


def all_named(names: list[str]) -> bool:
    """Whether every name that was given is one: an option without its value gives an empty one."""
    return all(isinstance(name, str) and name.strip() for name in names)
