"""`invoke plan`: what a build would do, before it does it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import raise_all
from ovenproof.tasks.prospect import Prospect, as_text, as_values
from ovenproof.tasks.shell import answer, chosen, say, verb
from ovenproof.tasks.surroundings import heard_by, machine, project

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.core.digest import Digest
    from ovenproof.core.image import Layer
    from ovenproof.core.plan import Plan
    from ovenproof.core.shapes import Shape
    from ovenproof.machine import Machine
    from ovenproof.outputs.interface import Output
    from ovenproof.project import Project
    from ovenproof.tasks.outputs import Choice


@verb(
    name="plan",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to plan; may be given several times",
        "all": "plan every entry",
        "output": "layout:DIR, archive:FILE, docker, registry:HOST/NAME[:TAG] or none; as in build",
        "as": "`image`, `weights` or `modelpack`; as in build",
        "locked": "refuse what is not locked yet",
        "json": "for machines",
    },
)
def plan(
    _context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    output: str = "",
    as_: str = "image",
    locked: bool = False,
    json: bool = False,
) -> None:
    """Show the layers of an image, what is known of them, and what a build would move."""
    from ovenproof.tasks.outputs import choose, shaped

    shape = shaped(as_, output)
    here = project(saves=False)
    names = chosen(here, model, all)
    gives = machine()
    where = choose(output, here, gives, names, shape)
    tell(planned(here, gives, names, where, locked=locked, shape=shape, quiet=json), as_json=json)


def planned(
    here: "Project",
    gives: "Machine",
    names: Sequence[str],
    where: "Choice",
    *,
    locked: bool,
    quiet: bool,
    shape: "Shape" = "image",
) -> list[Prospect]:
    """What `plan` finds out: weights are looked at, but nothing is locked, and nothing moves."""
    from ovenproof.build import prepare
    from ovenproof.tasks.screen import progress

    with progress(quiet=quiet) as listener:
        heard = heard_by(listener, gives)
        bakes = [prepare(here, heard, name, may_lock=not locked, shape=shape) for name in names]
        return [foreseen(bake, bake.plan(), where(bake.entry.name)) for bake in bakes]


def foreseen(bake: "Bake", made: "Plan", where: "Output | None") -> Prospect:
    """What an output says to a plan. Moves nothing."""
    from ovenproof.outputs.registry import Registry
    from ovenproof.registry.limits import limits

    takes = limits(where.repository.host) if isinstance(where, Registry) else None
    place = where.place if isinstance(where, Registry) else bake.reference
    if where is None or not (made.image or isinstance(where, Registry)):
        return Prospect(bake=bake, plan=made, place=place, streams=where is None)
    refused = where.refuses(made.image) if made.image else ()
    if not isinstance(where, Registry):
        assert made.image is not None
        lacks = _sizes(where.lacks(made.image))
        return Prospect(bake=bake, plan=made, place=place, lacks=lacks, refused=refused)
    if made.image is None:
        refused = where.foresees_too_large(made)
    found = where.foresee(made.layers, made.image)
    return Prospect(
        bake=bake,
        plan=made,
        place=place,
        verb="send",
        streams=True,
        lacks=_sizes(found.lacks),
        mounts=_sizes(found.mounts),
        tag=(where.tag.name, str(found.tag or "none")) if where.tag else None,
        registry=takes,
        refused=refused,
    )


def tell(prospects: Sequence[Prospect], *, as_json: bool) -> None:
    """Show the plans; then raise what an output would refuse."""
    if as_json:
        answer([as_values(found) for found in prospects])
    else:
        for found in prospects:
            say(as_text(found))
    raise_all(fault for found in prospects for fault in found.refused)


def _sizes(layers: Sequence["Layer"]) -> dict["Digest", int]:
    return {layer.content.digest: layer.content.size for layer in layers}
