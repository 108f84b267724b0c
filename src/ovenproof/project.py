"""A repository's files: the catalogue, the locks, and the flavours.

The flavours that come with the package are there for every project; a project's own `images/`
folder adds to them or overrides them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryFile
from typing import Any, TypeVar

from ovenproof.bases import registry_base
from ovenproof.core import catalogue, flavour
from ovenproof.core.catalogue import Catalogue
from ovenproof.core.digest import Digest
from ovenproof.core.flavour import Based, Flavour, Python
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.lock import Proofs
from ovenproof.core.model_lock import ModelLock, ModelsLock
from ovenproof.errors import BadFile, NoAccess
from ovenproof.store.disk import alone, sweep, write_file, writing_to

CATALOGUE = "models.yaml"
LOCK = "models.lock"

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavourFiles:
    """A flavour as its folder has it."""

    name: str
    folder: Path
    flavour: Flavour
    packaged: bool
    """It comes with the package: as it was locked, with no requirements beside it."""

    @property
    def lock_path(self) -> Path:
        return self.folder / "image.lock"

    def requirements(self, python: Python) -> Path:
        """`requirements/<name>.txt`, beside `images/`."""
        folder = self.folder.parents[1] / "requirements"
        return folder / f"{python.requirements}.txt"

    def wanted(self, python: Python) -> Path:
        """`requirements/<name>.in`, which a person writes."""
        return self.requirements(python).with_suffix(".in")

    def fingerprint(self) -> Digest | None:
        """Of everything that its lock is made from; None for one that comes with the package."""
        if self.packaged:
            return None
        if isinstance(self.flavour, Based):
            return self.flavour.fingerprint()
        python = self.flavour.python
        paths = (self.wanted(python), self.requirements(python))
        return self.flavour.fingerprint([_text(path) for path in paths if path.exists()])


class Project:
    """The folder that holds `models.yaml`."""

    def __init__(self, root: Path, *, packaged: Path, saves: bool = True) -> None:
        self.root = root
        self._packaged = packaged
        """The flavours that come with the package."""
        self.saves = saves
        """Whether locks are written; what only plans leaves every file as it is."""
        self._read: dict[Path, tuple[str, Any]] = {}
        """Each file's text, and what it means: parsed anew only where the text is another."""

    @classmethod
    def find(cls, start: Path, *, packaged: Path, saves: bool = True) -> "Project":
        """The nearest folder, from `start` upwards, that has a catalogue. Raises BadFile."""
        for folder in (start, *start.parents):
            if (folder / CATALOGUE).is_file():
                return cls(folder, packaged=packaged, saves=saves)
        raise BadFile(
            f"there is no {CATALOGUE} here, nor in any folder above",
            subject=start,
            hint="go to a folder that has one; the shortest is"
            " `models: {mine: {flavour: cpu, weights: {folder: PATH}}}`",
        )

    def catalogue(self) -> Catalogue:
        """`models.yaml`, read."""
        return self._parsed(self.root / CATALOGUE, catalogue.parse, CATALOGUE)

    def models_lock(self) -> ModelsLock:
        """`models.lock`, read; an empty one where there is none yet."""
        path = self.root / LOCK
        return self._parsed(path, ModelsLock.parse, LOCK) if path.exists() else ModelsLock()

    def save_model(self, name: str, lock: ModelLock) -> None:
        """Put one entry's lock into `models.lock`; other entries stay as they are by then."""
        with alone(self.root):
            self._save(self.root / LOCK, self.models_lock().with_model(name, lock).to_text())

    def prove_model(self, name: str, lock: ModelLock, proofs: Proofs) -> None:
        """Give an entry's lock its proofs, unless it was locked otherwise meanwhile.

        Those that another process has found by then stay.
        """
        with alone(self.root):
            now = self.models_lock()
            if name in now.models and now.models[name].with_proofs(lock.layers) == lock:
                both = {**now.models[name].layers, **proofs}
                changed = now.with_model(name, lock.with_proofs(both))
                self._save(self.root / LOCK, changed.to_text())

    def flavour(self, name: str) -> FlavourFiles:
        """A flavour by its name. Raises BadFile for one that is not there."""
        for images in (self.root / "images", self._packaged):
            folder = images / name
            path = folder / "image.yaml"
            if path.is_file():
                found = self._parsed(path, flavour.parse, f"images/{name}/image.yaml")
                return FlavourFiles(
                    name=name,
                    folder=folder,
                    flavour=found,
                    packaged=images == self._packaged and self.root != images.parent,
                )
        known = self.flavours()
        near = get_close_matches(name, known, 1)
        raise BadFile(
            "there is no such flavour",
            subject=name,
            where=f"images/{name}/image.yaml",
            expected=" or ".join(f"`{word}`" for word in known),
            hint=f"did you mean `{near[0]}`?" if near else f"make the folder images/{name}",
        )

    def flavours(self) -> list[str]:
        """The names of all flavours, sorted."""
        found = {
            path.parent.name
            for images in (self.root / "images", self._packaged)
            for path in images.glob("*/image.yaml")
        }
        return sorted(found)

    def image_lock(self, files: FlavourFiles) -> ImageLock | None:
        """A flavour's lock, read; None where there is none."""
        path = files.lock_path
        if not path.exists():
            return None
        name = f"images/{files.name}/image.lock"
        lock = self._parsed(path, ImageLock.parse, name)
        if lock.base is not None:
            registry_base.check(lock.base, name)
        return lock

    def save_image(self, files: FlavourFiles, lock: ImageLock) -> None:
        """Write a flavour's lock."""
        with alone(self.root):
            self._save(files.lock_path, lock.to_text())

    def prove_image(self, files: FlavourFiles, lock: ImageLock, proofs: Proofs) -> None:
        """Give a flavour's lock its proofs, unless it was locked otherwise meanwhile."""
        with alone(self.root):
            now = self.image_lock(files)
            if now is not None and now.with_proofs(lock.layers) == lock:
                self._save(files.lock_path, lock.with_proofs(proofs).to_text())

    def may_save(self, files: FlavourFiles) -> bool:
        """Whether a flavour's lock is this project's own to write."""
        own = self.saves and self.root in files.folder.parents
        return own and os.access(files.folder, os.W_OK)

    def _parsed(self, path: Path, parse: Callable[..., Parsed], name: str) -> Parsed:
        """What a file means. It is read each time: another process may have written it."""
        text = _text(path)
        if path not in self._read or self._read[path][0] != text:
            self._read[path] = text, parse(text, name=name)
        found: Parsed = self._read[path][1]
        return found

    def check_saves(self) -> None:
        """Raise NoAccess where what is found out could not be written down."""
        if not self.saves:
            return
        try:
            TemporaryFile(dir=self.root).close()  # what a mode says is not all that decides
        except OSError as error:
            raise NoAccess(
                "what is found out could not be written into the lock, so nothing is begun",
                subject=self.root / LOCK,
                got=error.strerror,
                hint="make the folder writable; what is locked already needs only --locked",
            ) from error

    def _save(self, path: Path, text: str) -> None:
        if not self.saves:
            return
        with writing_to(path, hint="make the folder writable, and free space on its disk"):
            place = Path(os.path.realpath(path))  # a link stays one, and what it names is written
            sweep(place.parent)
            mode = S_IMODE(place.stat().st_mode) & 0o777 if place.exists() else 0o644
            write_file(place, [text.encode()], mode=mode)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BadFile(
            "the file is not UTF-8",
            subject=path,
            got=f"byte {error.object[error.start]:#04x} at offset {error.start}",
            hint="save it again as UTF-8",
        ) from error
    except OSError as error:
        raise BadFile("the file cannot be read", subject=path, got=error.strerror) from error
