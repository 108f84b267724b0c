"""The oven: makes layers, proves them, and brings or streams what they are made of."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.plan import Step, Supply
from ovenproof.errors import OvenproofError, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Noted, Started
from ovenproof.outputs.interface import Absorber, Unproven
from ovenproof.runners import RUNNERS, Scene
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import DISTANT_HINT, Proving, checked, measure, read


@dataclass(slots=True)
class Oven:
    """Makes layers. What it has prepared once it can produce again, from any thread."""

    scene: Scene
    _prepared: dict[Digest, Prepared] = field(default_factory=dict)
    _guards: dict[Digest, threading.Lock] = field(default_factory=dict)

    def prepare(self, step: Step) -> Prepared:
        """Fetch what the step takes and put its bytes within reach."""
        if step.literal is not None:
            return Prepared(step.literal, Openers({}))
        key = step.action.key
        with self._guards.setdefault(key, threading.Lock()):
            if key not in self._prepared:
                self.fetch([step])
                self._prepared[key] = RUNNERS[step.action.kind](step, self.scene)
            return self._prepared[key]

    def prove(self, steps: Sequence[Step]) -> dict[Digest, Content]:
        """Hash the layers, several at a time, and remember what they are. All faults at once."""
        self.fetch(steps)
        with ThreadPoolExecutor(self.scene.machine.jobs) as pool:
            found = list(pool.map(self._prove, steps))
        raise_all(item for item in found if isinstance(item, OvenproofError))
        return {
            step.action.key: item
            for step, item in zip(steps, found, strict=True)
            if isinstance(item, Content)
        }

    def fetch(self, steps: Iterable[Step]) -> None:
        """Bring what these steps take, all at once rather than layer by layer."""
        missing = set(self._missing({supply for step in steps for supply in step.supplies}))
        if missing:
            from ovenproof import supply  # noqa: PLC0415  it says why

            supply.fetch(missing, self.scene.machine, self.scene.flavour, self.scene.image_lock)

    def bring(self, steps: Iterable[Step]) -> None:
        """Bring what these steps may read over the network, before anybody reads it."""
        wanted = list(steps)
        self.fetch(wanted)
        faults = []
        for folder, placed in self.scene.weights.items():
            own = (step for step in wanted if step.action.parameters.get("folder") == folder)
            distant = {supply.content for step in own for supply in step.distant}
            missing = [item for item in distant if not self.scene.machine.store.verify(item)]
            try:
                if missing:
                    placed.source.bring(placed.lock, missing, self.scene.machine.listener)
            except OvenproofError as fault:
                faults.append(fault)
        raise_all(faults)

    def absorb(self, steps: Sequence[Step], absorber: Absorber) -> dict[Digest, Content]:
        """Hash the layers while they go where they shall be, and remember what they are.

        Each as soon as it is proven: whoever is killed while the last answer is on its way has
        nothing to send again.
        """
        found: dict[Digest, Content] = {}
        self.fetch(steps)
        streams = [self._unproven(step) for step in steps]
        absorber.absorb(streams, found.__setitem__, self.scene.machine.listener)
        return found

    def _unproven(self, step: Step) -> Unproven:
        prepared, key = self.prepare(step), step.action.key
        proving = Proving(prepared, f"the layer `{step.title}`")

        def digest() -> Digest:
            made = Content(proving.digest(), prepared.recipe.size)
            self._remember(key, made)
            return made.digest

        return Unproven(
            title=step.title,
            size=prepared.recipe.size,
            action=key,
            read=proving.read,
            digest=digest,
        )

    def open(self, step: Step, layer: Content, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a proven layer, checked again as they go by.

        Those from an offset on are as the layer's parts are now; who has the beginning must check.
        """
        prepared = self.prepare(step)
        what = f"the layer `{step.title}`"
        hint = "what the layer is made of has changed, or its lock: restore it, or lock again"
        hint = DISTANT_HINT if step.distant else hint
        if prepared.recipe.size != layer.size:  # told before an output gets more than it expects
            raise WrongBytes(
                f"the bytes of {what} are not those that were promised",
                subject=layer.digest.short,
                expected=f"{layer.digest}, {layer.size} bytes",
                got=f"{prepared.recipe.size} bytes",
                hint=hint,
            )
        chunks = read(prepared, offset)
        return chunks if offset else checked(chunks, layer, what, hint=hint)

    def _missing(self, supplies: Iterable[Supply]) -> Iterator[Supply]:
        """Supplies that are not in the store; what has rotted there is told and counts as gone."""
        store = self.scene.machine.store
        for item in supplies:
            there = store.path(item.content).exists()
            if not store.verify(item.content):
                if there:
                    self.scene.machine.listener(
                        Noted(text=f"{item.name} was damaged in the store and is fetched again")
                    )
                yield item

    def _prove(self, step: Step) -> Content | OvenproofError:
        listener = self.scene.machine.listener
        try:
            prepared = self.prepare(step)
            listener(Started(name=step.title, total=prepared.recipe.size))
            made = measure(
                prepared,
                lambda size: listener(Advanced(name=step.title, size=size)),
                what=f"the layer `{step.title}`",
                hint=DISTANT_HINT if step.distant else None,
            )
            listener(Finished(name=step.title))
        except OvenproofError as fault:
            return fault
        self._remember(step.action.key, made)
        return made

    def _remember(self, key: Digest, made: Content) -> None:
        outcome = Outcome({"layer": made})
        self.scene.machine.store.remember(key, outcome)
        if self.scene.machine.remote is not None:
            self.scene.machine.remote.remember(key, outcome)
