"""The plan: what a build will do, said before it is done.

Pure: steps and knowledge in, a value out. A step is one layer of the stack; what it takes are
supplies. A layer whose digest is already known takes nothing, until somebody asks for its bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ovenproof.core.action import Action
from ovenproof.core.base import BaseLayer
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image, Layer
from ovenproof.core.layer import Recipe
from ovenproof.core.weights import layer_size

Assembler: TypeAlias = Callable[[tuple[Layer, ...]], Image]
SupplyKind: TypeAlias = Literal["wheel", "deb", "weights"]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Supply:
    """Content that a layer's bytes are produced from, and that is fetched where it is missing."""

    kind: SupplyKind
    name: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer of the stack, and what makes it."""

    title: str
    action: Action
    supplies: tuple[Supply, ...] = ()
    """What must be on this machine before the layer's bytes can be produced."""
    distant: tuple[Supply, ...] = ()
    """What may be read over the network as the layer's bytes go by, or be brought here before."""
    reads: int = 0
    """Bytes that hashing the layer would read, besides the supplies."""
    literal: Recipe | None = None
    """The recipe itself, where all its bytes are at hand."""
    base: BaseLayer | None = None
    """The layer itself, where it is a base's: its bytes stream from a registry, never kept here."""
    homes: tuple[str, ...] = ()
    """Repositories that have the layer, as `HOST/NAME`."""


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
    distant: tuple[Supply, ...]
    """Supplies that are not here, and that may as well be read as the bytes go by."""
    told: bool = False
    """The layer is what a remote store says: hearsay, and no proof."""

    @property
    def known(self) -> bool:
        return self.layer is not None

    @property
    def size(self) -> int | None:
        """The layer's, proven or not; None where nobody can tell before it is made."""
        return layer_size(self.step.action) if self.layer is None else self.layer.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps, lowest layer first, and the image itself where every layer is known."""

    name: str
    steps: tuple[PlannedStep, ...]
    image: Image | None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are known, lowest first."""
        return tuple(_layer(item.step, item.layer) for item in self.steps if item.layer is not None)

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
        return tuple(sorted({s for planned in self._moving(needed) for s in planned.missing}))

    def distant(self, needed: frozenset[Digest] = frozenset()) -> tuple[Supply, ...]:
        """What comes over the network besides: an output that streams reads it as it goes by."""
        return tuple(sorted({s for planned in self._moving(needed) for s in planned.distant}))

    def _moving(self, needed: frozenset[Digest]) -> Iterator[PlannedStep]:
        """The steps whose bytes somebody reads."""
        for planned in self.steps:
            if planned.layer is None or planned.layer.digest in needed:
                yield planned


def make(name: str, steps: tuple[Step, ...], known: Knowledge, assembled: Assembler) -> Plan:
    """Put steps and knowledge together; where all is known, the layers are assembled."""
    planned = tuple(
        PlannedStep(
            step=step,
            layer=known.layers.get(step.action.key),
            missing=tuple(s for s in step.supplies if s.content.digest not in known.held),
            distant=tuple(s for s in step.distant if s.content.digest not in known.held),
            told=step.action.key in known.told,
        )
        for step in steps
    )
    made = Plan(name=name, steps=planned, image=None)
    return made if made.to_run else replace(made, image=assembled(made.layers))


def taken(steps: Iterable[Step]) -> dict[Digest, Content]:
    """The layers that are taken as they are, so that nobody has to prove them: key -> layer."""
    return {step.action.key: step.base.content for step in steps if step.base is not None}


def _layer(step: Step, content: Content) -> Layer:
    base = step.base
    if base is None:
        return Layer(content=content, title=step.title, action=step.action, homes=step.homes)
    return Layer(
        content=content,
        title=step.title,
        action=step.action,
        media_type=base.media_type,
        unpacked=None if base.diff_id == content.digest else base.diff_id,
        homes=step.homes,
    )
