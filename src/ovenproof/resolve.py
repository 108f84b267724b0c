"""The first shell: asks the world once, and writes down what it said.

A flavour's lock holds its packages by digest; an entry's lock its weights. Both end with the
layers proven, so that whoever has the lock can write the manifest without one byte of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from ovenproof.bases import debian_lock
from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import Entry, HubModel, LocalFolder, PackagedModel
from ovenproof.core.lock import ImageLock, LockedWheel, ModelLock, Order, fingerprint
from ovenproof.core.plan import Step
from ovenproof.errors import BadFile, LockAgain
from ovenproof.project import FlavourFiles, Project
from ovenproof.runners import Machine, Oven, Scene, debian_mirrors
from ovenproof.sources.checkpoint import check_claims
from ovenproof.sources.folder import Folder
from ovenproof.sources.interface import Source
from ovenproof.sources.package import Package
from ovenproof.stack import options_to_json, place, runtime, target, weights_steps
from ovenproof.wheels import fetch as wheel_fetch
from ovenproof.wheels import layers as wheel_layers
from ovenproof.wheels import requirements, vllm_options
from ovenproof.wheels.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Locks for one project on one machine."""

    project: Project
    machine: Machine

    def flavour(self, files: FlavourFiles, *, may_lock: bool) -> ImageLock:
        """A flavour's lock if it is there and fits, else a new one. Raises LockAgain."""
        lock = self.project.image_lock(files)
        stale = lock is not None and self._is_stale(files, lock)
        if lock is not None and not stale:
            return lock
        if not may_lock or not self.project.may_save(files):
            raise _not_locked(f"images/{files.name}/image.lock", files.name, stale, "flavour")
        return self.lock_flavour(files)

    def lock_flavour(self, files: FlavourFiles, *, upgrade: bool = False) -> ImageLock:
        """Resolve a flavour's packages anew, prove its layers, and save the lock."""
        flavour, machine = files.flavour, self.machine
        debs = debian_lock.resolve(
            suite=flavour.debian.suite,
            packages=flavour.debian.packages,
            sources=debian_mirrors(machine),
            without=flavour.debian.without,
            architecture=flavour.architecture,
            listener=machine.listener,
        )
        pins = self._pins(files, upgrade=upgrade)
        wheels = wheel_fetch.lock(
            pins,
            machine.store,
            target=target(flavour),
            pip=machine.pip,
            indexes=flavour.python.indexes,
            listener=machine.listener,
            jobs=machine.jobs,
        )
        wheel_layers.check_conflicts(
            [(wheel, machine.store.path(wheel.content)) for wheel in wheels],
            place=place(flavour),
        )
        lock = ImageLock(
            fingerprint=flavour.fingerprint(_words(files)),
            debs=debs,
            wheels=wheels,
            options=options_to_json(vllm_options.options(self._vllm(files, wheels))),
        )
        scene = Scene(machine=machine, flavour=flavour, image_lock=lock)
        steps = runtime(flavour, lock)
        known = self._remembered(steps)
        missing = [step for step in steps if step.action.key not in known]
        lock = lock.with_proofs({**known, **Oven(scene).prove(missing)})
        return self.project.save_image(files, lambda _old: lock)

    def model(
        self, entry: Entry, files: FlavourFiles, image_lock: ImageLock, *, may_lock: bool
    ) -> tuple[ModelLock, Source]:
        """An entry's lock if it is there and fits, else a new one; and its source."""
        source = self.source(entry)
        lock = self.project.models_lock().models.get(entry.name)
        stale = lock is not None and lock.fingerprint != fingerprint(entry.source_fingerprint())
        if lock is not None and not stale:
            if isinstance(source, Folder):
                source.check(lock, entry.name, self.machine.listener)
            return lock, source
        if not may_lock:
            raise _not_locked("models.lock", entry.name, stale, "model")
        return self.lock_model(entry, files, image_lock), source

    def lock_model(self, entry: Entry, files: FlavourFiles, image_lock: ImageLock) -> ModelLock:
        """Resolve an entry's weights anew, prove their layers, and save the lock."""
        source = self.source(entry)
        found = source.resolve(self.machine.listener)
        check_claims(
            found.facts,
            quantization=entry.quantization,
            max_model_len=entry.max_model_len,
            name=entry.name,
        )
        lock = ModelLock(
            fingerprint=fingerprint(entry.source_fingerprint()),
            origin=found.origin,
            files=found.files,
            facts=found.facts,
        )
        below = runtime(files.flavour, image_lock)
        big, small = weights_steps(
            entry, lock.files, below=len(below), supplies=source.supplies(lock)
        )
        steps = (*below, *big, *small)
        known = {
            **weights.pinned(lock.files, entry.model_path),
            **self._remembered(steps),
            **image_lock.layers,
        }
        missing = [step for step in steps if step.action.key not in known]
        scene = Scene(
            machine=self.machine,
            flavour=files.flavour,
            image_lock=image_lock,
            model_lock=lock,
            source=source,
        )
        found_layers = {**known, **Oven(scene).prove(missing)}

        def proofs(of: Sequence[Step]) -> dict[Digest, Content]:
            return {step.action.key: found_layers[step.action.key] for step in of}

        order = _order(entry, weights_size=_total(proofs(big)), runtime_size=_total(proofs(below)))
        lock = replace(lock, order=order).with_proofs(proofs((*big, *small)))
        self.project.save_model(entry.name, lock)
        return lock

    def source(self, entry: Entry) -> Source:
        """Where an entry's weights come from."""
        match entry.source:
            case LocalFolder(path=path):
                return Folder(
                    self.project.root / path,
                    path,
                    model_path=entry.model_path,
                    remote_code=entry.trust_remote_code,
                    seen=self.machine.seen,
                    jobs=self.machine.jobs,
                )
            case PackagedModel():
                return Package(entry.source, self.machine.store, self._find_wheel)
            case HubModel(model=model):
                raise BadFile(
                    "weights from the Hugging Face hub cannot be fetched by this version",
                    subject=model,
                    where=f"models.yaml, `{entry.name}`",
                    hint="fetch them yourself and write `weights: {folder: PATH}`",
                )
            case _:
                assert_never(entry.source)

    def _is_stale(self, files: FlavourFiles, lock: ImageLock) -> bool:
        """A flavour that comes with the package has no requirements beside it: it is as it was."""
        if not files.requirements.exists():
            return False
        return lock.fingerprint != files.flavour.fingerprint(_words(files))

    def _remembered(self, steps: tuple[Step, ...]) -> dict[Digest, Content]:
        return remembered(self.machine, steps)

    def _pins(self, files: FlavourFiles, *, upgrade: bool) -> tuple[requirements.Pin, ...]:
        python = files.flavour.python
        wanted = files.requirements.with_suffix(".in")
        if upgrade or not files.requirements.exists():
            return requirements.compile(
                wanted,
                files.requirements,
                target=target(files.flavour),
                excluded=python.without,
                indexes=python.indexes,
                pip=self.machine.pip,
            )
        return requirements.read_pins(files.requirements)

    def _vllm(self, files: FlavourFiles, wheels: tuple[LockedWheel, ...]) -> Path:
        name = files.flavour.python.vllm
        for wheel in wheels:
            if wheel.distribution.replace("_", "-").lower() == name:
                return self.machine.store.path(wheel.content)
        raise BadFile(
            "the requirements do not have the distribution that is vLLM",
            subject=name,
            where=files.requirements.name,
            hint=f"add `{name}==VERSION` to {files.requirements.with_suffix('.in').name}",
        )

    def _find_wheel(self, model: PackagedModel) -> LockedWheel:
        (wheel,) = wheel_fetch.lock(
            [requirements.Pin(model.package, model.version, ())],
            self.machine.store,
            target=Target(),
            pip=self.machine.pip,
            indexes={},
            listener=self.machine.listener,
        )
        return wheel


def remembered(machine: Machine, steps: tuple[Step, ...]) -> dict[Digest, Content]:
    """Layers that this machine's store remembers: action key -> layer."""
    found = {}
    for step in steps:
        outcome = machine.store.recall(step.action.key)
        if outcome is not None and "layer" in outcome.outputs:
            found[step.action.key] = outcome.outputs["layer"]
    return found


def _total(layers: Mapping[Digest, Content]) -> int:
    return sum(content.size for content in layers.values())


def _order(entry: Entry, *, weights_size: int, runtime_size: int) -> Order:
    if entry.order != "auto":
        return entry.order
    return "weights-first" if weights_size > runtime_size else "base-first"


def _words(files: FlavourFiles) -> str:
    """The text of a flavour's pins; nothing where it has not been resolved yet."""
    path = files.requirements
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _not_locked(where: str, name: str, stale: bool, kind: str) -> LockAgain:
    return LockAgain(
        f"the {kind}'s lock is out of date" if stale else f"this {kind} is not locked",
        subject=name,
        where=where,
        hint=f"run `invoke lock --{kind} {name}`",
    )
