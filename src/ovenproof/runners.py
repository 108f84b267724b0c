"""The table: kind of action -> what prepares its layer; and what is known of layers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from ovenproof.bases import debian_root, registry_base
from ovenproof.core import modelpack, weights
from ovenproof.core.digest import Content, Digest
from ovenproof.core.flavour import Built, Flavour
from ovenproof.core.image_lock import ImageLock, LockedWheel
from ovenproof.core.layer import Verbatim
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.plan import Step
from ovenproof.events import Noted
from ovenproof.machine import Machine
from ovenproof.sources import raw
from ovenproof.sources.interface import Source
from ovenproof.stack import DEBIAN, WHEELS, Weights, place, root_spec
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import measure
from ovenproof.wheels import layers as wheel_layers

ASKED_AT_ONCE = 8
"""Requests to a remote store; each takes longer to travel than to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Locked weights and who has their bytes."""

    lock: ModelLock
    source: Source

    def weights(self, folder: str) -> Weights:
        """The same as the stack sees it."""
        return Weights(
            folder=folder,
            lock=self.lock,
            supplies=self.source.supplies(self.lock),
            distant=self.source.distant(self.lock),
            homes=self.source.homes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a runner may look at."""

    machine: Machine
    flavour: Flavour
    image_lock: ImageLock
    weights: Mapping[str, Placed] = field(default_factory=dict)
    """By the folder of the image that they lie in."""


Runner: TypeAlias = Callable[[Step, Scene], Prepared]


def _debian(_step: Step, scene: Scene) -> Prepared:
    store, flavour = scene.machine.store, scene.flavour
    assert isinstance(flavour, Built)
    debs = [(deb, store.path(deb.content)) for deb in scene.image_lock.debs]
    return debian_root.prepare(debs, root_spec(flavour), store)


def _wheels(step: Step, scene: Scene) -> Prepared:
    store, flavour = scene.machine.store, scene.flavour
    assert isinstance(flavour, Built)
    found = [
        (LockedWheel(item.name, item.content), store.path(item.content)) for item in step.supplies
    ]
    return wheel_layers.prepare(found, place=place(flavour))


def _weights(step: Step, scene: Scene) -> Prepared:
    folder = str(step.action.parameters["folder"])
    source, lock = scene.weights[folder].source, scene.weights[folder].lock
    files = [file for file in lock.files if file.path in step.action.inputs]
    made = weights.layer_recipe(folder, [(file.path, source.body(file)) for file in files])
    return Prepared(made, source.shelf(lock, scene.machine.listener))


def _base(step: Step, scene: Scene) -> Prepared:
    """Nothing is fetched: the bytes stream from the registry when somebody reads them."""
    machine, base = scene.machine, scene.image_lock.base
    assert base is not None
    assert step.base is not None
    repository = registry_base.asked(base.repository, machine.base_mirror)
    remote = machine.registries().at(repository)
    return Prepared(Verbatim(step.base.content), registry_base.Layers(remote))


def _raw(step: Step, scene: Scene) -> Prepared:
    placed = scene.weights[str(step.action.parameters["folder"])]
    return raw.prepare(step, placed.lock, placed.source, scene.machine.listener)


RUNNERS: Mapping[str, Runner] = {
    DEBIAN: _debian,
    WHEELS: _wheels,
    registry_base.KIND: _base,
    weights.KIND: _weights,
    modelpack.KIND: _raw,
}


def measure_literal(step: Step) -> Content:
    """The layer of a step whose bytes are all at hand."""
    assert step.literal is not None
    return measure(Prepared(step.literal, Openers({})))


def remembered(machine: Machine, steps: tuple[Step, ...]) -> dict[Digest, Content]:
    """Layers that this machine's store remembers: action key -> layer."""
    found = {}
    for step in steps:
        outcome = machine.store.recall(step.action.key)
        if outcome is not None and "layer" in outcome.outputs:
            found[step.action.key] = outcome.outputs["layer"]
    return found


def told(machine: Machine, steps: Sequence[Step]) -> dict[Digest, Content]:
    """Layers that the remote store tells of, without those that cannot be: action key -> layer."""
    if machine.remote is None or not steps:
        return {}
    with ThreadPoolExecutor(min(ASKED_AT_ONCE, len(steps))) as pool:
        outcomes = pool.map(machine.remote.recall, [step.action.key for step in steps])
        heard = list(zip(steps, outcomes, strict=True))
    found = {}
    for step, outcome in heard:
        if outcome is None:
            continue
        layer = outcome.outputs.get("layer")
        if layer is None or weights.layer_size(step.action) not in (None, layer.size):
            text = f"what the remote store tells of {step.title} cannot be; it is ignored"
            machine.listener(Noted(text=text))
        else:
            found[step.action.key] = layer
    return found
