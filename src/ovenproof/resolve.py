"""The first shell: asks the world once, and writes down what it said.

A flavour's lock holds its packages by digest; an entry's lock its weights. Both end with the
layers proven, so that whoever has the lock can write the manifest without one byte of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.entry import Adapter, Entry
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.lock import Proofs, fingerprint
from ovenproof.core.model_lock import ModelLock, Order
from ovenproof.core.plan import Step, taken
from ovenproof.errors import LockAgain, about_entry
from ovenproof.events import Noted
from ovenproof.machine import Machine
from ovenproof.origins import Origins
from ovenproof.oven import Oven
from ovenproof.project import FlavourFiles, Project
from ovenproof.runners import Scene, remembered
from ovenproof.sources.checkpoint import check_claims
from ovenproof.sources.folder import Folder
from ovenproof.stack import adapter_steps, room, runtime, weights_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Locks for one project on one machine."""

    project: Project
    machine: Machine

    @property
    def origins(self) -> Origins:
        """Where the weights of the project's entries come from."""
        return Origins(project=self.project, machine=self.machine)

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
    ) -> ModelLock:
        """An entry's lock if it is there and fits, else a new one."""
        found = self.project.models_lock().models.get(entry.name)
        if found is not None and found.is_of(entry):
            lock = found
            _check(entry, lock.facts)
            source = self.origins.source(entry, lock)
            if isinstance(source, Folder):
                source.check(lock, entry.name, self.machine.listener)
            return lock
        if not may_lock:
            return self.current(entry, found)
        if not self.project.saves:
            text = f"{entry.name} is not locked: its weights are read to plan it, nothing is saved"
            self.machine.listener(Noted(text=text))
        return self.lock_model(entry, files, image_lock)

    def current(self, entry: Entry, lock: ModelLock | None) -> ModelLock:
        """The entry's lock. Raises LockAgain where there is none, or models.yaml has changed."""
        if lock is None or not lock.is_of(entry):
            raise _not_locked("models.lock", entry.name, lock is not None, "model")
        return lock

    def lock_model(
        self, entry: Entry, files: FlavourFiles, image_lock: ImageLock, *, upgrade: bool = False
    ) -> ModelLock:
        """Resolve an entry's weights anew, prove the layers that are at hand, and save the lock.

        The commit of a hub's model stays what it is, unless `upgrade` asks for the newest.
        """
        with about_entry(entry.name):
            return self._lock_model(entry, files, image_lock, upgrade=upgrade)

    def _lock_model(
        self, entry: Entry, files: FlavourFiles, image_lock: ImageLock, *, upgrade: bool
    ) -> ModelLock:
        self.project.check_saves()
        lock, proven = self.resolved(entry, upgrade=upgrade)
        placed = self.origins.placed(entry, lock)
        below = runtime(files.flavour, image_lock)
        left = room(below, len(entry.adapters))
        big, small = weights_steps(placed[entry.model_path].weights(entry.model_path), room=left)
        adapters = {
            adapter.name: placed[adapter.path].weights(adapter.path) for adapter in entry.adapters
        }
        own = (*big, *small, *adapter_steps(adapters))
        steps = (*below, *own)
        known = {
            **weights.pinned(lock.files, entry.model_path),
            **remembered(self.machine, steps),
            **self.project.models_lock().proofs,
            **image_lock.layers,
            **proven,
            **taken(steps),
        }
        missing = [step for step in steps if step.action.key not in known and not step.distant]
        scene = Scene(
            machine=self.machine, flavour=files.flavour, image_lock=image_lock, weights=placed
        )
        known.update(Oven(scene).prove(missing))
        order = _order(weights_size=_total(big, known), runtime_size=_total(below, known))
        proofs = {step.action.key for step in own} & known.keys()
        lock = replace(lock, order=order).with_proofs({key: known[key] for key in proofs})
        self.project.save_model(entry.name, lock)
        return lock

    def resolved(self, entry: Entry, *, upgrade: bool) -> tuple[ModelLock, Proofs]:
        """What the entry's sources have now, and the layers that were proven on the way."""
        with about_entry(entry.name):
            return self._resolved(entry, upgrade=upgrade)

    def _resolved(self, entry: Entry, *, upgrade: bool) -> tuple[ModelLock, Proofs]:
        earlier = self.project.models_lock().models.get(entry.name)
        before = None if upgrade else earlier
        source = self.origins.source(entry, before, earlier=earlier)
        found = source.resolve(self.machine.listener)
        _check(entry, found.facts)
        lock = ModelLock(
            fingerprint=fingerprint(entry.source_fingerprint()),
            origin=found.origin,
            files=found.files,
            facts=found.facts,
            adapters={
                adapter.name: self._adapter(entry, adapter, before) for adapter in entry.adapters
            },
        )
        return lock, found.layers

    def _adapter(self, entry: Entry, adapter: Adapter, before: ModelLock | None) -> ModelLock:
        """What an adapter is today; its commit stays where it was locked."""
        locked = before.adapters.get(adapter.name) if before else None
        found = self.origins.adapter(entry, adapter, locked).resolve(self.machine.listener)
        return ModelLock(
            fingerprint=fingerprint(entry.adapter_fingerprint(adapter)),
            origin=found.origin,
            files=found.files,
            facts=found.facts,
        )


def _check(entry: Entry, facts: Mapping[str, Json]) -> None:
    check_claims(
        facts,
        quantization=entry.quantization,
        max_model_len=entry.max_model_len,
        dtype=entry.dtype,
        name=entry.name,
    )


def _total(steps: Sequence[Step], known: Mapping[Digest, Content]) -> int:
    """The size of the layers; that of weights is known before they are proven."""
    keys = [(step, step.action.key) for step in steps]
    return sum(
        known[key].size if key in known else weights.layer_size(step.action) or 0
        for step, key in keys
    )


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
