"""Files of a repository that are larger than a layer may be: cut, and proven in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ovenproof.core import cut, weights
from ovenproof.core.action import Action, Outcome
from ovenproof.core.cut import Part
from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import PROFILE
from ovenproof.core.lock import Proofs
from ovenproof.core.model_lock import Cut, LockedFile, ModelLock
from ovenproof.errors import BadFile, raise_all
from ovenproof.sources.cutting import Original, survey
from ovenproof.sources.formats import INDEX, MISTRAL_INDEX
from ovenproof.sources.hub_checkpoint import ReadHead
from ovenproof.sources.hub_files import HubFiles, each
from ovenproof.sources.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """What becomes of files that are too large."""

    replaced: frozenset[str] = frozenset()
    """Paths of the repository that are not locked as they are: the originals, and the index."""
    files: tuple[LockedFile, ...] = ()
    """The parts, and the index that names them."""
    layers: Proofs = field(default_factory=dict)
    index: Content | None = None
    """The repository's own index of the weights, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """Cuts what is larger than `most` bytes."""

    repository: HubFiles
    chosen: Selection
    pins: Mapping[str, Content]
    heads: Mapping[str, ReadHead]
    most: int
    model_path: str
    before: ModelLock | None = None
    """An earlier lock: what it has of the same parts is not read again."""

    def cut(self) -> Cuts:
        """Read the large files once, from wherever they are. Raises all faults at once."""
        large = [path for path in self.chosen.paths if self.pins[path].size > self.most]
        if not large:
            return Cuts()
        weights_here = {*self.chosen.weights} & {*self.heads}
        raise_all(self._unfit(path) for path in large if path not in weights_here)
        found = each(self._parts, large)
        parts = dict(zip(large, found, strict=True))
        index, own, data = self._index(parts)
        surveyed = each(lambda path: self._survey(path, parts[path]), large)
        made = LockedFile(path=index, size=len(data), digest=Content.of(data).digest, made=True)
        self.repository.reach.store.add([data])
        return Cuts(
            replaced=frozenset({*large, index}),
            files=(made, *(file for files, _ in surveyed for file in files)),
            layers={key: layer for _, layers in surveyed for key, layer in layers.items()},
            index=own,
        )

    def _parts(self, path: str) -> tuple[Part, ...]:
        return cut.cut(path, self.heads[path].head, self.most, self.repository.by_path)

    def _index(self, parts: Mapping[str, tuple[Part, ...]]) -> tuple[str, Content | None, bytes]:
        """Its path, the repository's own if there is one, and the new one's bytes."""
        name = MISTRAL_INDEX if self.chosen.mistral else INDEX
        own = self.pins.get(name)
        original = self.repository.read(name) if own is not None else None
        beside = [path for path in self.chosen.safetensors if "/" not in path]
        read = parts if original is not None else beside
        wanted = {path: self.heads[path].head for path in read}
        return name, own, cut.index(parts, wanted, original=original, name=name)

    def _survey(self, path: str, parts: tuple[Part, ...]) -> tuple[tuple[LockedFile, ...], Proofs]:
        """What is locked of an original's parts; recalled where it was read before.

        By this machine, which knows the layers then, or by whoever made an earlier lock.
        """
        store = self.repository.reach.store
        original = Original(path=path, content=self.pins[path], head=self.heads[path].data)
        action = _action(original, parts, self.model_path)
        known = store.recall(action.key)
        if known is not None:
            return _recalled(known, original, parts, self.model_path)
        if self.before is not None:
            locked = _locked_before(self.before, original, parts, self.model_path)
            if locked is not None:
                return locked
        open_range = partial(self.repository.reach.open_range, path, original.content)
        files, layers = survey(
            original,
            parts,
            open_range,
            model_path=self.model_path,
            listener=self.repository.listener,
        )
        outputs = {f"file {file.path}": Content(file.digest, file.size) for file in files}
        for file in files:
            if layer := layers.get(_layer_key(file, self.model_path)):
                outputs[f"layer {file.path}"] = layer
        store.remember(action.key, Outcome(outputs))
        return files, layers

    def _unfit(self, path: str) -> BadFile:
        return BadFile(
            "a file is larger than a layer may be, and only safetensors weights can be cut",
            subject=path,
            where=self.repository.snapshot.model,
            expected=f"{self.most} bytes at most",
            got=f"{self.pins[path].size} bytes",
            hint="raise `largest_file` of the entry, if the registry takes larger layers,"
            " or exclude the file",
        )


def _action(original: Original, parts: tuple[Part, ...], model_path: str) -> Action:
    return Action(
        kind="survey-cut",
        version=1,
        inputs={"original": original.content.digest, "head": Content.of(original.head).digest},
        parameters={
            "profile": PROFILE,
            "folder": model_path,
            "size": original.content.size,
            "parts": {part.path: [part.start, part.stop, part.size] for part in parts},
            "heads": {part.path: str(Digest.of(part.head)) for part in parts},
        },
    )


def _recalled(
    known: Outcome, original: Original, parts: tuple[Part, ...], model_path: str
) -> tuple[tuple[LockedFile, ...], Proofs]:
    files = tuple(
        _part_file(original, part, known.outputs[f"file {part.path}"].digest) for part in parts
    )
    layers = {
        _layer_key(file, model_path): known.outputs[f"layer {file.path}"]
        for file in files
        if weights.is_big(file.size)
    }
    return files, layers


def _locked_before(
    before: ModelLock, original: Original, parts: tuple[Part, ...], model_path: str
) -> tuple[tuple[LockedFile, ...], Proofs] | None:
    """The parts as they were locked, with the layers that are known; None if they were others."""
    there = {file.path: file for file in before.files}
    files = tuple(
        there[part.path]
        for part in parts
        if part.path in there
        and there[part.path] == _part_file(original, part, there[part.path].digest)
    )
    if len(files) != len(parts):
        return None
    keys = [_layer_key(file, model_path) for file in files if weights.is_big(file.size)]
    return files, {key: before.layers[key] for key in keys if key in before.layers}


def _part_file(original: Original, part: Part, digest: Digest) -> LockedFile:
    cut_from = Cut(
        of=original.path,
        original=original.content,
        head=Content.of(original.head),
        start=part.start,
        stop=part.stop,
    )
    return LockedFile(path=part.path, size=part.size, digest=digest, cut=cut_from)


def _layer_key(file: LockedFile, model_path: str) -> Digest:
    return weights.action(weights.Group(file.path, (file,)), model_path).key
