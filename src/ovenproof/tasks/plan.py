"""`invoke plan`: what a build would do, before it does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import OvenproofError, raise_all
from ovenproof.tasks.shell import answer, chosen, heard_by, machine, project, say, verb

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.core.digest import Digest
    from ovenproof.core.image import Image, Layer
    from ovenproof.core.plan import Plan
    from ovenproof.machine import Machine
    from ovenproof.outputs.interface import Output
    from ovenproof.project import Project
    from ovenproof.registry.limits import Limits
    from ovenproof.tasks.outputs import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """An entry's plan, and what an output says to it."""

    bake: "Bake"
    plan: "Plan"
    place: str
    """What the image is called there."""
    verb: str = "write"
    lacks: Mapping["Digest", int] = field(default_factory=dict)
    """Layers whose bytes the output would ask for, and their sizes."""
    mounts: Mapping["Digest", int] = field(default_factory=dict)
    """Layers that another repository of the registry would give."""
    tag: tuple[str, str] | None = None
    """A registry's tag, and the digest that it names now, or `none`."""
    registry: "Limits | None" = None
    """What the output's registry takes, where it is one."""
    refused: tuple[OvenproofError, ...] = ()
    """Why the output cannot take the image."""


@verb(
    name="plan",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to plan; may be given several times",
        "all": "plan every entry",
        "output": "layout:DIR, archive:FILE, docker, registry:HOST/NAME[:TAG] or none; as in build",
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
    from ovenproof.tasks.outputs import choose

    here = project(saves=False)
    names = chosen(here, model, all)
    gives = machine()
    where = choose(output, here, gives, names)
    tell(planned(here, gives, names, where, locked=locked, quiet=json), as_json=json)


def planned(
    here: "Project",
    gives: "Machine",
    names: Sequence[str],
    where: "Choice",
    *,
    locked: bool,
    quiet: bool,
) -> list[Prospect]:
    """What `plan` finds out: weights are looked at, but nothing is locked, and nothing moves."""
    from ovenproof.build import prepare
    from ovenproof.tasks.screen import progress

    with progress(quiet=quiet) as listener:
        heard = heard_by(listener, gives)
        bakes = [prepare(here, heard, name, may_lock=not locked) for name in names]
        return [foreseen(bake, bake.plan(), where(bake.entry.name)) for bake in bakes]


def foreseen(bake: "Bake", made: "Plan", where: "Output | None") -> Prospect:
    """What an output says to a plan. Moves nothing."""
    from ovenproof.outputs.registry import Registry
    from ovenproof.registry.limits import limits

    takes = limits(where.repository.host) if isinstance(where, Registry) else None
    place = where.place if isinstance(where, Registry) else bake.reference
    if where is None or made.image is None:
        return Prospect(
            bake=bake,
            plan=made,
            place=place,
            verb="send" if takes else "write",
            registry=takes,
            refused=where.foresees_too_large(made) if isinstance(where, Registry) else (),
        )
    refused = where.refuses(made.image)
    if not isinstance(where, Registry):
        lacks = _sizes(where.lacks(made.image))
        return Prospect(bake=bake, plan=made, place=place, lacks=lacks, refused=refused)
    found = where.foresee(made.image)
    return Prospect(
        bake=bake,
        plan=made,
        place=place,
        verb="send",
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


def as_values(found: Prospect) -> dict[str, object]:
    """A plan for a machine."""
    bake, made, takes = found.bake, found.plan, found.registry
    supplies = made.to_fetch(frozenset(found.lacks))
    streams = made.to_stream(frozenset(found.lacks))
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
        "stream": {"bytes": sum(item.content.size for item in streams), "layers": len(streams)},
        "read": made.to_read,
        "write": sum(found.lacks.values()) if made.image else None,
        "mount": sum(found.mounts.values()) if made.image else None,
        "of": _total(made.image) if made.image else None,
        "tag": {"name": found.tag[0], "names": found.tag[1]} if found.tag else None,
        "registry": {"blob": takes.blob, "note": takes.note} if takes else None,
    }


def as_text(found: Prospect) -> str:
    """A plan for a person."""
    from ovenproof.tasks.screen import size, table

    made = found.plan
    supplies = made.to_fetch(frozenset(found.lacks))
    rows: list[tuple[str, ...]] = [("", "LAYER", "SIZE", "DIGEST", "STATE")]
    for number, planned in enumerate(made.steps, 1):
        layer = planned.layer
        rows.append(
            (
                str(number),
                planned.step.title,
                size(layer.size) if layer else "?",
                layer.digest.short if layer else "?",
                _state(found, layer.digest) if layer else "to hash",
            )
        )
    lines = [
        f"{found.place}  ({found.bake.model_lock.order})",
        table(rows, right=frozenset({0, 2})),
        f"fetch  {size(sum(item.content.size for item in supplies))} in {len(supplies)} files",
        f"read   {size(made.to_read)} to hash, in {len(made.to_run)} layers",
        f"{found.verb:<6} {_moves(found)}",
        f"image  {made.image.digest.digest if made.image else _LATER}",
    ]
    if found.tag is not None:
        name, digest = found.tag
        lines.append(f"tag    {name} names {'nothing yet' if digest == 'none' else digest}")
    if found.registry is not None:
        lines.append(f"limits {found.registry.note}")
    base, streams = found.bake.image_lock.base, made.to_stream(frozenset(found.lacks))
    if base and streams:
        total = size(sum(item.content.size for item in streams))
        lines.insert(3, f"stream {total} in {len(streams)} layers of {base.name}")
    return "\n".join(lines)


_LATER = "known once all is hashed"


def _moves(found: Prospect) -> str:
    from ovenproof.tasks.screen import size

    if found.plan.image is None:
        return _LATER
    mounted = sum(found.mounts.values())
    text = f"{size(sum(found.lacks.values()))} of {size(_total(found.plan.image))}"
    return f"{text}, {size(mounted)} to mount" if mounted else text


def _state(found: Prospect, digest: "Digest") -> str:
    if digest in found.mounts:
        return "to mount"
    return f"to {found.verb}" if digest in found.lacks else "there"


def _sizes(layers: Sequence["Layer"]) -> dict["Digest", int]:
    return {layer.content.digest: layer.content.size for layer in layers}


def _total(image: "Image") -> int:
    """What an output would ask for that has nothing."""
    return sum({layer.content.digest: layer.content.size for layer in image.layers}.values())
