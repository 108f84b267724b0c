"""The table: kind of action -> the function that prepares its layer. And the oven that uses it."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from ovenproof.bases import debian_root, debian_sources
from ovenproof.bases.debian_sources import AptSource
from ovenproof.core import weights
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.flavour import Flavour
from ovenproof.core.lock import ImageLock, LockedWheel, ModelLock
from ovenproof.core.plan import Step, Supply
from ovenproof.errors import OvenproofError, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.sources.interface import Source
from ovenproof.stack import DEBIAN, WHEELS, place, root_spec, target
from ovenproof.store.seen import Seen
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.store import Store
from ovenproof.store.stream import checked, measure, read
from ovenproof.wheels import fetch as wheel_fetch
from ovenproof.wheels import layers as wheel_layers
from ovenproof.wheels.pip import Pip


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine gives to a build. None of it can change a byte of the result."""

    store: Store
    seen: Seen
    pip: Pip
    debian_mirror: str | None
    """Asked instead of the mirrors in the configuration of apt."""
    jobs: int
    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a runner may look at."""

    machine: Machine
    flavour: Flavour
    image_lock: ImageLock
    model_lock: ModelLock | None = None
    source: Source | None = None


Runner: TypeAlias = Callable[[Step, Scene], Prepared]


def fetch(supplies: Iterable[Supply], scene: Scene) -> None:
    """Bring supplies into the store, verified. Raises all faults at once."""
    machine = scene.machine
    wanted = set(supplies)
    wheels = [LockedWheel(item.name, item.content) for item in wanted if item.kind == "wheel"]
    digests = {item.content.digest for item in wanted if item.kind == "deb"}
    debs = [deb for deb in scene.image_lock.debs if deb.content.digest in digests]
    faults: list[OvenproofError] = []
    if wheels:
        faults += _caught(
            partial(
                wheel_fetch.fetch,
                wheels,
                machine.store,
                target=target(scene.flavour),
                pip=machine.pip,
                indexes=scene.flavour.python.indexes,
                listener=machine.listener,
                jobs=machine.jobs,
            )
        )
    if debs:
        from ovenproof.bases import debian_fetch  # noqa: PLC0415  an HTTP client: slow to import

        faults += _caught(
            partial(
                debian_fetch.fetch,
                debs,
                machine.store,
                mirrors=debian_sources.mirrors(debian_mirrors(machine)),
                listener=machine.listener,
            )
        )
    raise_all(faults)


def debian_mirrors(machine: Machine) -> tuple[AptSource, ...]:
    """The mirror that a setting names, else those of this machine's apt."""
    if machine.debian_mirror:
        return debian_sources.from_setting(machine.debian_mirror)
    return debian_sources.machine_sources()


def _caught(call: Callable[[], None]) -> list[OvenproofError]:
    try:
        call()
    except OvenproofError as fault:
        return [fault]
    return []


def _debian(_step: Step, scene: Scene) -> Prepared:
    store = scene.machine.store
    debs = [(deb, store.path(deb.content)) for deb in scene.image_lock.debs]
    return debian_root.prepare(debs, root_spec(scene.flavour), store)


def _wheels(step: Step, scene: Scene) -> Prepared:
    store = scene.machine.store
    found = [
        (LockedWheel(item.name, item.content), store.path(item.content)) for item in step.supplies
    ]
    return wheel_layers.prepare(found, place=place(scene.flavour))


def _weights(step: Step, scene: Scene) -> Prepared:
    source, lock = scene.source, scene.model_lock
    assert source is not None
    assert lock is not None
    files = [file for file in lock.files if file.path in step.action.inputs]
    folder = step.action.parameters["folder"]
    made = weights.layer_recipe(str(folder), [(file.path, source.body(file)) for file in files])
    return Prepared(made, source.shelf(lock, scene.machine.listener))


RUNNERS: Mapping[str, Runner] = {DEBIAN: _debian, WHEELS: _wheels, weights.KIND: _weights}


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
                fetch(step.supplies, self.scene)
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
        fetch({supply for step in steps for supply in step.supplies}, self.scene)

    def open(self, step: Step, layer: Content) -> Iterator[bytes]:
        """The bytes of a proven layer, checked again as they go by."""
        try:
            yield from checked(read(self.prepare(step)), layer, f"the layer `{step.title}`")
        except WrongBytes as fault:
            if fault.hint is None:
                fault.hint = "bring back what the layer was made of, or lock again: `invoke lock`"
            raise

    def _prove(self, step: Step) -> Content | OvenproofError:
        listener = self.scene.machine.listener
        try:
            prepared = self.prepare(step)
            listener(Started(name=step.title, total=prepared.recipe.size))
            made = measure(prepared, lambda size: listener(Advanced(name=step.title, size=size)))
            listener(Finished(name=step.title))
        except OvenproofError as fault:
            return fault
        self.scene.machine.store.remember(step.action.key, Outcome({"layer": made}))
        return made
