"""`invoke plan`: what a build would do, before it does it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.tasks.shell import answer, chosen, machine, project, say, verb

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.core.digest import Digest
    from ovenproof.core.plan import Plan
    from ovenproof.outputs.interface import Output


@verb(
    name="plan",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to plan; may be given several times",
        "all": "plan every entry",
        "output": "layout:DIR, archive:FILE, docker or none; as in build",
        "locked": "refuse what is not locked yet",
        "json": "for machines",
    },
)
def plan(
    _context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    output: str = "",
    locked: bool = False,
    json: bool = False,
) -> None:
    """Show the layers of an image, what is known of them, and what a build would move."""
    show(model, everything=all, output=output, locked=locked, as_json=json)


def show(model: list[str], *, everything: bool, output: str, locked: bool, as_json: bool) -> None:
    """What `plan` does, and `build --dry` too: weights are looked at, but nothing is locked."""
    from ovenproof.build import prepare
    from ovenproof.tasks.outputs import choose
    from ovenproof.tasks.screen import progress

    here = project(saves=False)
    where = choose(output, here.root)
    plans = []
    with progress(quiet=as_json) as listener:
        for name in chosen(here, model, everything):
            bake = prepare(here, machine(listener), name, may_lock=not locked)
            plans.append((bake, bake.plan()))
    if as_json:
        answer([as_values(bake, made, where) for bake, made in plans])
        return
    for bake, made in plans:
        say(as_text(bake, made, where))


def as_values(bake: "Bake", made: "Plan", where: "Output | None") -> dict[str, object]:
    """A plan for a machine."""
    written = lacking(made, where)
    supplies = made.to_fetch(frozenset(written))
    return {
        "name": made.name,
        "image": bake.reference,
        "digest": str(made.image.digest.digest) if made.image else None,
        "order": bake.model_lock.order,
        "layers": [
            {
                "title": planned.step.title,
                "kind": planned.step.action.kind,
                "action": planned.step.action.key.hex,
                "digest": str(planned.layer.digest) if planned.layer else None,
                "size": planned.layer.size if planned.layer else None,
                "known": planned.known,
                "fetch": sum(supply.content.size for supply in planned.missing),
            }
            for planned in made.steps
        ],
        "fetch": {"bytes": sum(item.content.size for item in supplies), "files": len(supplies)},
        "read": made.to_read,
        "write": sum(written.values()) if made.image else None,
    }


def as_text(bake: "Bake", made: "Plan", where: "Output | None") -> str:
    """A plan for a person."""
    from ovenproof.tasks.screen import size, table

    written = lacking(made, where)
    supplies = made.to_fetch(frozenset(written))
    rows: list[tuple[str, ...]] = [("", "LAYER", "SIZE", "DIGEST", "STATE")]
    for number, planned in enumerate(made.steps, 1):
        layer = planned.layer
        rows.append(
            (
                str(number),
                planned.step.title,
                size(layer.size) if layer else "?",
                layer.digest.short if layer else "?",
                "to hash" if layer is None else "to write" if layer.digest in written else "there",
            )
        )
    lines = [
        f"{bake.reference}  ({bake.model_lock.order})",
        table(rows, right=frozenset({0, 2})),
        f"fetch  {size(sum(item.content.size for item in supplies))} in {len(supplies)} files",
        f"read   {size(made.to_read)} to hash, in {len(made.to_run)} layers",
        f"write  {size(sum(written.values())) if made.image else 'known once all is hashed'}",
        f"image  {made.image.digest.digest if made.image else 'known once all is hashed'}",
    ]
    return "\n".join(lines)


def lacking(made: "Plan", where: "Output | None") -> Mapping["Digest", int]:
    """The layers that an output would ask for: digest -> size."""
    if where is None or made.image is None:
        return {}
    return {layer.content.digest: layer.content.size for layer in where.lacks(made.image)}
