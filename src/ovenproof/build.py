"""The second shell: locks -> plan -> layers -> image -> output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ovenproof.core import plan as planning
from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import Entry
from ovenproof.core.image import Image, Layer, Settings
from ovenproof.core.lock import ImageLock, ModelLock
from ovenproof.core.plan import Knowledge, Plan, Step
from ovenproof.errors import (
    LockAgain,
    MissingTool,
    NoAccess,
    NoSpace,
    OvenproofError,
    Several,
    TryAgain,
    raise_all,
)
from ovenproof.events import Noted
from ovenproof.identity import run_line, settings
from ovenproof.machine import Machine
from ovenproof.outputs.interface import Output, Written
from ovenproof.project import FlavourFiles, Project
from ovenproof.resolve import Resolver
from ovenproof.runners import Oven, Scene, measure_literal, remembered, told
from ovenproof.stack import check_options, runtime, stack


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
    oven: Oven

    def plan(self) -> Plan:
        """What is known and what is not. Reads no weights and writes nothing.

        Asks nobody, but the remote store of outcomes about layers that nothing else knows.
        """
        known = {
            **remembered(self.machine, self.steps),
            **weights.pinned(self.model_lock.files, self.entry.model_path),
            **self.model_lock.layers,
            **self.image_lock.layers,
            **{step.action.key: measure_literal(step) for step in self.steps if step.literal},
            **planning.taken(self.steps),
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
        image = self.finish(plan, save=save)
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

    def finish(self, plan: Plan, *, save: bool, doubts: bool = False) -> Image:
        """Prove the layers that are not known yet; then there is an image.

        With `save` all proofs go into the locks, also those that this store remembers, so that
        nobody has to make them again, and so that the locks are the same wherever they are made.
        What a remote store tells is no proof: with `save`, and in doubt, it is proven here.
        """
        doubted = plan.told if save or doubts else ()
        known = {item.step.action.key: item.layer for item in plan.steps if item.layer}
        known.update(self.oven.prove([item.step for item in (*plan.to_run, *doubted)]))
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
        self.oven.fetch(steps[layer.action.key] for layer in output.lacks(image))

        def open_layer(layer: Layer, offset: int = 0) -> Iterator[bytes]:
            return self.oven.open(steps[layer.action.key], layer.content, offset)

        return output.write(image, self.reference, open_layer, self.machine.listener)

    def run_line(self, written: Written | None = None) -> str:
        """The command to start the image with, from where an output took it."""
        reference = written.reference if written else None
        return run_line(self.entry, self.files.flavour, reference or self.reference)

    def _plan(
        self, known: dict[Digest, Content], heard: Mapping[Digest, Content] = MappingProxyType({})
    ) -> Plan:
        supplies = {supply.content for step in self.steps for supply in step.supplies}
        held = frozenset(item.digest for item in supplies if self.machine.store.has(item))
        knowledge = Knowledge(layers={**heard, **known}, held=held, told=frozenset(heard))
        return planning.make(self.entry.name, self.steps, knowledge, self.settings)

    def _save(self, known: dict[Digest, Content]) -> None:
        below = {step.action.key for step in runtime(self.files.flavour, self.image_lock)}
        proved = (step for step in self.steps if step.literal is None and step.base is None)
        keys = {step.action.key for step in proved}
        image = {key: known[key] for key in keys & below}
        model = {key: known[key] for key in keys - below}
        if image != self.image_lock.layers and self.project.may_save(self.files):
            self.project.prove_image(self.files, self.image_lock, image)
        if model != self.model_lock.layers:
            self.project.prove_model(self.entry.name, self.model_lock, model)


def _has_other_causes(fault: OvenproofError) -> bool:
    """Whether it would have happened with the right layers too."""
    faults = fault.faults if isinstance(fault, Several) else (fault,)
    others = (LockAgain, MissingTool, NoAccess, NoSpace, TryAgain)
    return all(isinstance(one, others) for one in faults)


def prepare(project: Project, machine: Machine, name: str, *, may_lock: bool) -> Bake:
    """Everything that is needed to plan an entry; what is not locked yet is locked, if it may."""
    catalogue = project.catalogue()
    entry = catalogue.entry(name)
    files = project.flavour(entry.flavour)
    resolver = Resolver(project=project, machine=machine)
    image_lock = resolver.flavour(files, may_lock=may_lock)
    check_options(catalogue, entry, image_lock)
    model_lock, source = resolver.model(entry, files, image_lock, may_lock=may_lock)
    reference = catalogue.reference(entry)
    scene = Scene(
        machine=machine,
        flavour=files.flavour,
        image_lock=image_lock,
        model_lock=model_lock,
        source=source,
    )
    return Bake(
        project=project,
        machine=machine,
        entry=entry,
        reference=reference,
        files=files,
        image_lock=image_lock,
        model_lock=model_lock,
        steps=stack(
            entry,
            files.flavour,
            image_lock,
            model_lock,
            source.supplies(model_lock),
            mirror=machine.base_mirror,
        ),
        settings=settings(entry, files.flavour, image_lock, model_lock, reference),
        oven=Oven(scene),
    )
