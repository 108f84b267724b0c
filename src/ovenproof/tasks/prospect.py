"""What a plan says, for a person and for a machine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovenproof.errors import OvenproofError

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.core.base import BaseLayer
    from ovenproof.core.digest import Digest
    from ovenproof.core.image import Layer
    from ovenproof.core.plan import Plan, Supply
    from ovenproof.registry.limits import Limits


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
    streams: bool = False
    """Whether what is distant is read as the layers go by, rather than fetched before."""
    registry: "Limits | None" = None
    """What the output's registry takes, where it is one."""
    refused: tuple[OvenproofError, ...] = ()
    """Why the output cannot take the image."""


def as_values(found: Prospect) -> dict[str, object]:
    """A plan for a machine."""
    bake, made, takes = found.bake, found.plan, found.registry
    supplies, streams = _fetched(found), _streamed(found)
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
                "fetch": _bytes(planned.missing),
                "distant": _bytes(planned.distant),
            }
            for planned in made.steps
        ],
        "fetch": {"bytes": _bytes(supplies), "files": len(supplies)},
        "stream": {
            "bytes": _bytes(one for found in streams.values() for one in found),
            "layers": sum(len(found) for found in streams.values()),
        },
        "read": made.to_read,
        "write": sum(found.lacks.values()) if made.image else None,
        "mount": sum(found.mounts.values()) if made.image else None,
        "of": _total(made.image.layers) if made.image else None,
        "tag": {"name": found.tag[0], "names": found.tag[1]} if found.tag else None,
        "registry": {"blob": takes.blob, "note": takes.note} if takes else None,
    }


def as_text(found: Prospect) -> str:
    """A plan for a person."""
    from ovenproof.tasks.screen import count, size, table

    made = found.plan
    supplies = _fetched(found)
    rows: list[tuple[str, ...]] = [("", "LAYER", "SIZE", "DIGEST", "STATE")]
    for number, planned in enumerate(made.steps, 1):
        layer = planned.layer
        rows.append(
            (
                str(number),
                planned.step.title,
                size(planned.size) if planned.size is not None else "?",
                layer.digest.short if layer else "?",
                _state(found, layer.digest) if layer else _UNPROVEN[found.verb],
            )
        )
    lines = [
        f"{found.place}  ({found.bake.model_lock.order})",
        table(rows, right=frozenset({0, 2})),
        f"fetch  {size(_bytes(supplies))} in {count(len(supplies), 'file')}",
        f"read   {size(made.to_read)} to hash, in {count(len(made.to_run), 'layer')}",
        f"{found.verb:<6} {_moves(found)}",
        f"image  {made.image.digest.digest if made.image else _LATER}",
    ]
    if found.tag is not None:
        name, digest = found.tag
        lines.append(f"tag    {name} names {'nothing yet' if digest == 'none' else digest}")
    if found.registry is not None:
        lines.append(f"limits {found.registry.note}")
    lines[3:3] = [
        f"stream {size(_bytes(contents))} in {count(len(contents), 'layer')} of {origin}"
        for origin, contents in _streamed(found).items()
    ]
    return "\n".join(lines)


def _fetched(found: Prospect) -> "tuple[Supply, ...]":
    """What is brought to this machine."""
    needed = frozenset(found.lacks)
    distant = () if found.streams else found.plan.distant(needed)
    return (*found.plan.to_fetch(needed), *distant)


def _streamed(found: Prospect) -> "dict[str, Sequence[BaseLayer | Supply]]":
    """What only goes by, by where it comes from."""
    needed, base = frozenset(found.lacks), found.bake.image_lock.base
    model = str(found.bake.model_lock.origin.get("model", "the model"))
    streams: dict[str, Sequence[BaseLayer | Supply]] = {
        base.name if base else "": found.plan.to_stream(needed),
        model: found.plan.distant(needed) if found.streams else (),
    }
    return {origin: contents for origin, contents in streams.items() if contents}


def _bytes(items: "Iterable[BaseLayer | Supply]") -> int:
    return sum(item.content.size for item in items)


_LATER = "known once all is hashed"
_UNPROVEN = {"write": "to hash", "send": "to hash and send"}


def _moves(found: Prospect) -> str:
    from ovenproof.tasks.screen import size

    if found.plan.image is None and found.verb == "write":
        return _LATER
    unproven, about = _unproven(found.plan)
    moves = f"{about}{size(sum(found.lacks.values()) + unproven)}"
    text = f"{moves} of {size(_total(found.plan.layers) + unproven)}"
    mounted = sum(found.mounts.values())
    return f"{text}, {size(mounted)} to mount" if mounted else text


def _unproven(made: "Plan") -> tuple[int, str]:
    """The size of what is not proven yet, as far as anybody can tell; and how that is said."""
    sizes = [planned.size for planned in made.to_run]
    known = sum(size for size in sizes if size is not None)
    return known, "" if not sizes else "at least " if None in sizes else "at most "


def _state(found: Prospect, digest: "Digest") -> str:
    if digest in found.mounts:
        return "to mount"
    return f"to {found.verb}" if digest in found.lacks else "there"


def _total(layers: "Sequence[Layer]") -> int:
    """What an output would ask for that has nothing."""
    return sum({layer.content.digest: layer.content.size for layer in layers}.values())
