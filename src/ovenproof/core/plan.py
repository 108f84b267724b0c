"""The plan: what a build will do, said before it is done.

Pure: steps and knowledge in, a value out. A step is one layer of the stack; what it takes are
supplies. A layer whose digest is already known takes nothing, until somebody asks for its bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ovenproof.core.action import Action
from ovenproof.core.base import BaseLayer
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image, Layer, Settings, assemble
from ovenproof.core.layer import Recipe

SupplyKind: TypeAlias = Literal["wheel", "deb", "weights"]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Supply:
    """Content that must be on this machine before a layer's bytes can be produced."""

    kind: SupplyKind
    name: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer of the stack, and what makes it."""

    title: str
    action: Action
    supplies: tuple[Supply, ...] = ()
    reads: int = 0
    """Bytes that hashing the layer would read, besides the supplies."""
    literal: Recipe | None = None
    """The recipe itself, where all its bytes are at hand."""
    base: BaseLayer | None = None
    """The layer itself, where it is a base's: its bytes stream from a registry, never kept here."""
    homes: tuple[str, ...] = ()
    """Repositories that have a base's layer, as `HOST/NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is already known when the plan is made."""

    layers: Mapping[Digest, Content]
    """Action key -> proven layer, from the locks and from the store."""
    held: frozenset[Digest]
    """Supplies that lie in the store."""
    told: frozenset[Digest] = frozenset()
    """Action keys whose layers only a remote store of outcomes tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step with what is known of it."""

    step: Step
    layer: Content | None
    missing: tuple[Supply, ...]
    """Supplies to fetch before this layer's bytes can be produced."""
    told: bool = False
    """The layer is what a remote store says: hearsay, and no proof."""

    @property
    def known(self) -> bool:
        return self.layer is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps, lowest layer first, and the image itself where every layer is known."""

    name: str
    steps: tuple[PlannedStep, ...]
    image: Image | None

    @property
    def to_run(self) -> tuple[PlannedStep, ...]:
        """Steps whose layer is not known yet."""
        return tuple(planned for planned in self.steps if not planned.known)

    @property
    def told(self) -> tuple[PlannedStep, ...]:
        """Steps whose layer only a remote store of outcomes tells."""
        return tuple(planned for planned in self.steps if planned.told)

    @property
    def to_read(self) -> int:
        """Bytes to hash."""
        return sum(planned.step.reads for planned in self.to_run)

    def to_stream(self, needed: frozenset[Digest]) -> tuple[BaseLayer, ...]:
        """A base's layers that come over the network because an output needs them, each once."""
        layers = (planned.step.base for planned in self.steps)
        found = {layer.content: layer for layer in layers if layer is not None}
        return tuple(layer for layer in found.values() if layer.content.digest in needed)

    def to_fetch(self, needed: frozenset[Digest] = frozenset()) -> tuple[Supply, ...]:
        """What must come over the network: for unknown layers, and for those that an output needs.

        `needed` holds the digests of the layers whose bytes the output lacks.
        """
        wanted: set[Supply] = set()
        for planned in self.steps:
            if planned.layer is None or planned.layer.digest in needed:
                wanted.update(planned.missing)
        return tuple(sorted(wanted))


def make(name: str, steps: tuple[Step, ...], known: Knowledge, settings: Settings) -> Plan:
    """Put steps and knowledge together."""
    planned = tuple(
        PlannedStep(
            step=step,
            layer=known.layers.get(step.action.key),
            missing=tuple(s for s in step.supplies if s.content.digest not in known.held),
            told=step.action.key in known.told,
        )
        for step in steps
    )
    layers = tuple(_layer(item.step, item.layer) for item in planned if item.layer is not None)
    complete = len(layers) == len(planned)
    return Plan(name=name, steps=planned, image=assemble(layers, settings) if complete else None)


def taken(steps: Iterable[Step]) -> dict[Digest, Content]:
    """The layers that are taken as they are, so that nobody has to prove them: key -> layer."""
    return {step.action.key: step.base.content for step in steps if step.base is not None}


def _layer(step: Step, content: Content) -> Layer:
    base = step.base
    if base is None:
        return Layer(content=content, title=step.title, action=step.action)
    return Layer(
        content=content,
        title=step.title,
        action=step.action,
        media_type=base.media_type,
        unpacked=None if base.diff_id == content.digest else base.diff_id,
        homes=step.homes,
    )
