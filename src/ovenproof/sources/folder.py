"""Weights from a folder of this machine: read in place, never copied."""

import hashlib
import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import BinaryIO, Literal

from ovenproof.core import weights
from ovenproof.core.content import Body, LocalFile
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.layer import PROFILE, check_path
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.errors import (
    BadFile,
    LockAgain,
    NoAccess,
    OvenproofError,
    TryAgain,
    WrongBytes,
    found_in,
    raise_all,
)
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.sources.checkpoint import QUANTIZED, facts
from ovenproof.sources.interface import Resolved
from ovenproof.sources.remote_code import check_beside
from ovenproof.sources.selection import Selection, select
from ovenproof.store.seen import Seen, state
from ovenproof.store.shelf import Openers, Prepared, Shelf, open_local
from ovenproof.store.stream import measure


class Folder:
    """A model's folder. `said` is the path as models.yaml has it, the only one that is locked."""

    def __init__(
        self, root: Path, said: str, *, model_path: str, remote_code: bool, seen: Seen, jobs: int
    ) -> None:
        self.root = root
        self.said = said
        self.model_path = model_path
        self.remote_code = remote_code
        self._seen = seen
        self._jobs = jobs

    homes = ()

    def resolve(self, listener: Listener) -> Resolved:
        chosen = select(
            self._names(), read=self._read, remote_code=self.remote_code, where=self.said
        )
        for path in chosen.paths:
            _check_name(path)
        if self.remote_code:
            hint = "copy it into the folder from where the model comes from"
            check_beside(chosen.texts, self._read, self.said, hint=hint)
        sizes = {path: _status(self.root / path).st_size for path in chosen.paths}
        found = self._facts(chosen, sizes)
        # More of them would have to share layers, so each is pinned by its own digest instead.
        big = sum(weights.is_big(size) for size in sizes.values())
        by_layer = big <= weights.PINNED_BY_LAYER_LIMIT
        lock = partial(self._lock, by_layer=by_layer, listener=listener)
        with ThreadPoolExecutor(self._jobs) as pool:
            files = tuple(pool.map(lock, sorted(chosen.paths, key=lambda path: -sizes[path])))
        return Resolved(
            origin={"kind": "folder", "folder": self.said}, files=tuple(sorted(files)), facts=found
        )

    def supplies(self, lock: ModelLock) -> tuple[Supply, ...]:
        return ()

    def distant(self, lock: ModelLock) -> Mapping[str, Supply]:
        return {}

    def bring(self, lock: ModelLock, wanted: Collection[Content], listener: Listener) -> None:
        assert not wanted

    def body(self, file: LockedFile) -> Body:
        if file.pinned_by == "layer":
            return LocalFile(self.root / file.path, file.size)
        return Content(file.digest, file.size)

    def shelf(self, lock: ModelLock, listener: Listener) -> Shelf:
        return Openers(
            {
                Content(file.digest, file.size): partial(
                    open_local, LocalFile(self.root / file.path, file.size)
                )
                for file in lock.files
                if file.pinned_by == "file"
            }
        )

    def check(self, lock: ModelLock, name: str, listener: Listener) -> None:
        """Refuse a folder that has changed since it was locked for the entry `name`.

        Reads only what was touched since it was last hashed here. A folder that is not here has
        not changed: what is locked is planned without it. Raises all faults at once.
        """
        if not os.path.lexists(self.root):
            return
        again = f"run `invoke lock --model {name}` to lock what is there now"
        check = partial(self._check, again=again, listener=listener)
        with ThreadPoolExecutor(self._jobs) as pool:
            raise_all(fault for fault in pool.map(check, lock.files) if fault is not None)

    def _check(self, file: LockedFile, *, again: str, listener: Listener) -> OvenproofError | None:
        path = self.root / file.path
        purpose = self._purpose(file.path, file.pinned_by)
        expected: object = f"{file.size} bytes"
        got: object
        try:
            got = f"{path.stat().st_size} bytes"
        except PermissionError as error:
            raise _unreadable(path, error) from error
        except OSError as error:
            return LockAgain(
                "a locked file of the weights is not there",
                subject=path,
                expected=expected,
                got=error.strerror,
                hint=f"bring it back, or {again}",
            )
        if got == expected and self._seen.knows(path, purpose):
            expected, got = file.digest, self._digest(path, file.path, purpose, listener).digest
        if got == expected:
            return None
        return WrongBytes(
            "a file of the weights is not what was locked",
            subject=path,
            expected=f"{expected} (models.lock)",
            got=got,
            hint=again,
        )

    def _names(self) -> tuple[str, ...]:
        """All files, below the folder. What is hidden, such as `.git`, is nobody's model."""
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "nothing"
            found = "a link to nowhere" if self.root.is_symlink() and found == "nothing" else found
            raise BadFile(
                "the folder of the weights is not there",
                subject=self.said,
                got=f"{found} at {self.root}",
                hint="mend `weights: {folder: …}`; a relative path counts from models.yaml",
            )
        names: list[str] = []
        for place, folders, files in os.walk(self.root, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = [Path(place, name) for name in sorted(files) if _may_be_file(Path(place, name))]
            names += [str(PurePosixPath(path.relative_to(self.root))) for path in paths]
        return tuple(names)

    def _facts(self, chosen: Selection, sizes: Mapping[str, int]) -> dict[str, Json]:
        if "config.json" not in chosen.texts:
            return {}
        with found_in(self.said):
            return facts(
                self._read("config.json"),
                {name: sizes[name] for name in chosen.weights},
                read_start=self._start,
                beside=self._read(QUANTIZED) if QUANTIZED in chosen.texts else None,
            )

    def _read(self, name: str) -> bytes:
        _status(self.root / name)
        with _opened(self.root / name) as stream:
            return stream.read()

    def _start(self, name: str) -> BinaryIO:
        return _opened(self.root / name)

    def _purpose(self, path: str, pinned_by: str) -> Json:
        """What was hashed: a file's own bytes, or the layer that holds it at its place."""
        if pinned_by == "file":
            return "file"
        return {"layer": str(PurePosixPath(self.model_path, path)), "profile": PROFILE}

    def _lock(self, path: str, *, by_layer: bool, listener: Listener) -> LockedFile:
        place = self.root / path
        size = place.stat().st_size
        pinned_by: Literal["file", "layer"]
        pinned_by = "layer" if by_layer and weights.is_big(size) else "file"
        found = self._digest(place, path, self._purpose(path, pinned_by), listener)
        return LockedFile(path=path, size=size, digest=found.digest, pinned_by=pinned_by)

    def _digest(self, place: Path, path: str, purpose: Json, listener: Listener) -> Content:
        """What was remembered of a file in this state, else what hashing it gives."""
        before = place.stat()
        found = self._seen.recall(place, purpose, before)
        if found is None:
            found = self._hash(place, path, before.st_size, purpose != "file", listener)
            if state(place.stat()) != state(before):
                raise TryAgain(
                    "a file of the weights was changed while it was read",
                    subject=place,
                    hint="run the same command again when nobody writes there",
                )
            self._seen.remember(place, purpose, before, found)
        return found

    def _hash(self, place: Path, path: str, size: int, alone: bool, listener: Listener) -> Content:
        if not alone:
            with _opened(place) as stream:
                digest = Digest(hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]  # a BinaryIO reads
                return Content(digest, size)
        listener(Started(name=path, total=size))
        made = weights.layer_recipe(self.model_path, [(path, LocalFile(place, size))])
        found = measure(
            Prepared(made, Openers({})), lambda count: listener(Advanced(name=path, size=count))
        )
        listener(Finished(name=path))
        return found


def _may_be_file(path: Path) -> bool:
    """Also what cannot be looked at, such as a link to nowhere: that is told where it is chosen."""
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise BadFile(
            "a file of the weights cannot be read",
            subject=path,
            got="a link to nowhere" if path.is_symlink() else error.strerror,
            hint="fetch what it should be, or remove it from the folder",
        ) from error


def _check_name(path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:
        raise BadFile(
            "a file of the weights has a name that no image can hold",
            subject=ascii(path),
            got=error,
            hint="rename it, or remove it from the folder",
        ) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: object, error: OSError) -> NoAccess:
    return NoAccess(
        "the weights cannot be read",
        subject=path,
        got=error.strerror,
        hint="make them readable for the user who builds",
    )


def _refuse(error: OSError) -> None:
    raise _unreadable(error.filename, error) from error
