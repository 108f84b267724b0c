"""The second shell: locks -> plan -> layers -> image -> output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ovenproof import shape as shaping
from ovenproof.core import modelpack, weights
from ovenproof.core import plan as planning
from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import Entry
from ovenproof.core.image import Image, Layer, Settings
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.plan import Knowledge, Plan, Step
from ovenproof.core.shapes import Shape, tag
from ovenproof.errors import (
    LockAgain,
    MissingTool,
    NoAccess,
    NoSpace,
    OvenproofError,
    Several,
    TryAgain,
    about_entry,
    raise_all,
)
from ovenproof.events import Noted
from ovenproof.identity import settings
from ovenproof.machine import Machine
from ovenproof.outputs.interface import Output, Written
from ovenproof.oven import Oven
from ovenproof.project import FlavourFiles, Project
from ovenproof.resolve import Resolver
from ovenproof.runners import Scene, measure_literal, remembered, told
from ovenproof.shape import Locked
from ovenproof.stack import check_options, runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """One entry on its way to an image: what is locked, and the steps that follow from it."""

    project: Project
    machine: Machine
    entry: Entry
    reference: str
    files: FlavourFiles
    image_lock: ImageLock
    model_lock: ModelLock
    steps: tuple[Step, ...]
    settings: Settings
    shape: Shape
    locked: Locked
    oven: Oven

    def plan(self) -> Plan:
        """What is known and what is not. Reads no weights and writes nothing.

        Asks nobody, but the remote store of outcomes about layers that nothing else knows.
        """
        known = {
            **remembered(self.machine, self.steps),
            **weights.pinned(self.model_lock.files, self.entry.model_path),
            **self.project.models_lock().proofs,
            **self.model_lock.layers,
            **self.image_lock.layers,
            **{step.action.key: measure_literal(step) for step in self.steps if step.literal},
            **planning.taken(self.steps),
            **shaping.known(self.shape, self.model_lock, self.entry.model_path),
        }
        unknown = [step for step in self.steps if step.action.key not in known]
        return self._plan(known, told(self.machine, unknown))

    def deliver(
        self, plan: Plan, output: Output | None, *, save: bool
    ) -> tuple[Image, Written | None]:
        """Finish the image, and hand it to an output if there is one.

        A remote store that told a wrong layer is found out when the bytes go by, or when an output
        refuses its size. What it told is then proven, and the right image is made and handed over.
        """
        with about_entry(self.entry.name):
            return self._deliver(plan, output, save=save)

    def _deliver(
        self, plan: Plan, output: Output | None, *, save: bool
    ) -> tuple[Image, Written | None]:
        if save and plan.to_run:
            self.project.check_saves()  # before gigabytes have moved
        image = self.finish(plan, save=save, output=output)
        if output is None:
            return image, None
        try:
            return image, self.write(image, output)
        except OvenproofError as fault:
            if save or not plan.told or _has_other_causes(fault):
                raise
            proven = self.finish(self.plan(), save=False, doubts=True)
            if proven == image:
                raise
        return proven, self.write(proven, output)

    def finish(
        self, plan: Plan, *, save: bool, doubts: bool = False, output: Output | None = None
    ) -> Image:
        """Prove the layers that are not known yet; then there is an image.

        What comes over a network is proven while an output takes it, if it can. Otherwise it is
        brought to this machine first, unless nobody wants its bytes.

        With `save` all proofs go into the locks, also those that this store remembers, so that
        nobody has to make them again, and so that the locks are the same wherever they are made.
        What a remote store tells is no proof: with `save`, and in doubt, it is proven here.
        """
        doubted = plan.told if save or doubts else ()
        known = {item.step.action.key: item.layer for item in plan.steps if item.layer}
        known.update(self._prove([item.step for item in (*plan.to_run, *doubted)], output))
        for item in doubted:
            if known[item.step.action.key] != item.layer:
                text = f"the remote store was wrong about {item.step.title}; it is proven here now"
                self.machine.listener(Noted(text=text))
        if plan.told and not doubted:
            titles = ", ".join(item.step.title for item in plan.told)
            text = f"known from the remote store alone, and not proven here: {titles}"
            self.machine.listener(Noted(text=text))
        if save:
            self._save(known)
        image = self._plan(known).image
        assert image is not None
        return image

    def write(self, image: Image, output: Output) -> Written:
        """Hand the image to an output; each layer's bytes are checked as they go by."""
        steps = {step.action.key: step for step in self.steps}
        raise_all(output.refuses(image))
        lacks = [steps[layer.action.key] for layer in output.lacks(image)]
        if output.absorber is None:
            self.oven.bring(lacks)
        else:
            self.oven.fetch(lacks)

        def open_layer(layer: Layer, offset: int = 0) -> Iterator[bytes]:
            return self.oven.open(steps[layer.action.key], layer.content, offset)

        return output.write(image, self.reference, open_layer, self.machine.listener)

    def run_line(self, written: Written | None = None) -> str:
        """What to do with it, from where an output took it: most often to start it."""
        reference = written.reference if written else None
        return shaping.use(self.shape, self.entry, self.files.flavour, reference or self.reference)

    def _prove(self, steps: Sequence[Step], output: Output | None) -> dict[Digest, Content]:
        absorber = output.absorber if output is not None else None
        if absorber is None:
            if output is not None:
                self.oven.bring(steps)
            return self.oven.prove(steps)
        found = self.oven.prove([step for step in steps if not step.distant])
        return {**found, **self.oven.absorb([step for step in steps if step.distant], absorber)}

    def _plan(
        self, known: dict[Digest, Content], heard: Mapping[Digest, Content] = MappingProxyType({})
    ) -> Plan:
        supplies = {s.content for step in self.steps for s in (*step.supplies, *step.distant)}
        held = frozenset(item.digest for item in supplies if self.machine.store.has(item))
        assembled = shaping.assembler(self.shape, self.locked, self.settings)
        knowledge = Knowledge(layers={**heard, **known}, held=held, told=frozenset(heard))
        return planning.make(self.entry.name, self.steps, knowledge, assembled)

    def _save(self, known: dict[Digest, Content]) -> None:
        below = {step.action.key for step in runtime(self.files.flavour, self.image_lock)}
        proved = (step for step in self.steps if step.literal is None and step.base is None)
        keys = {step.action.key for step in proved}
        raw = {step.action.key for step in self.steps if step.action.kind == modelpack.KIND}
        image = (
            {key: known[key] for key in keys & below} if keys & below else self.image_lock.layers
        )
        model = {key: known[key] for key in keys - below if key not in raw}
        if self.shape != "image":  # the layers of the others stay proven
            model = {**self.model_lock.layers, **model}
        if image != self.image_lock.layers and self.project.may_save(self.files):
            self.project.prove_image(self.files, self.image_lock, image)
        if model != self.model_lock.layers:
            self.project.prove_model(self.entry.name, self.model_lock, model)


def _has_other_causes(fault: OvenproofError) -> bool:
    """Whether it would have happened with the right layers too."""
    faults = fault.faults if isinstance(fault, Several) else (fault,)
    others = (LockAgain, MissingTool, NoAccess, NoSpace, TryAgain)
    return all(isinstance(one, others) for one in faults)


def prepare(
    project: Project, machine: Machine, name: str, *, may_lock: bool, shape: Shape = "image"
) -> Bake:
    """Everything that is needed to plan an entry; what is not locked yet is locked, if it may."""
    with about_entry(name):
        return _prepare(project, machine, name, may_lock=may_lock, shape=shape)


def _prepare(
    project: Project, machine: Machine, name: str, *, may_lock: bool, shape: Shape
) -> Bake:
    catalogue = project.catalogue()
    entry = catalogue.entry(name)
    files = project.flavour(entry.flavour)
    resolver = Resolver(project=project, machine=machine)
    image_lock = resolver.flavour(files, may_lock=may_lock)
    check_options(catalogue, entry, image_lock)
    model_lock = resolver.model(entry, files, image_lock, may_lock=may_lock)
    if shape != "image" and entry.adapters:
        text = f"{entry.name}: its adapters are left out, they go with the serving image alone"
        machine.listener(Noted(text=text))
    reference = f"{catalogue.repository}:{tag(shape, entry.name)}"
    placed = resolver.origins.placed(entry, model_lock)
    locked = Locked(
        entry=entry,
        flavour=files.flavour,
        image_lock=image_lock,
        model=placed[entry.model_path].weights(entry.model_path),
        adapters={a.name: placed[a.path].weights(a.path) for a in entry.adapters},
    )
    scene = Scene(machine=machine, flavour=files.flavour, image_lock=image_lock, weights=placed)
    return Bake(
        project=project,
        machine=machine,
        entry=entry,
        reference=reference,
        files=files,
        image_lock=image_lock,
        model_lock=model_lock,
        steps=shaping.steps(shape, locked, mirror=machine.base_mirror),
        shape=shape,
        locked=locked,
        settings=settings(entry, files.flavour, image_lock, model_lock, reference),
        oven=Oven(scene),
    )
