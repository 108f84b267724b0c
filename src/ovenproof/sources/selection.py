"""Which files of a repository are the model: one coherent set, and nothing else.

Repositories carry the same weights several times over (safetensors, pickles, GGUF, `original/`).
Baking `consolidated*.safetensors` beside the others even makes vLLM read another format. So: the
Hugging Face format where there is a config.json, else Mistral's; safetensors only, unless pickles
are allowed and there is nothing else; with an index only its files; texts that a tokenizer, a
template or a lawyer needs. What an entry includes comes on top, what it excludes is not there.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from ovenproof.errors import BadFile, OvenproofError, raise_all
from ovenproof.sources.formats import MISTRAL, Choice, Weights, few, is_pickle

MODULES = "modules.json"


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen files, sorted."""

    weights: tuple[str, ...]
    texts: tuple[str, ...]
    """All the others: texts, code, and what the entry includes."""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted((*self.weights, *self.texts)))

    @property
    def pickles(self) -> tuple[str, ...]:
        return tuple(path for path in self.paths if is_pickle(path))

    @property
    def mistral(self) -> bool:
        """Whether the weights are in Mistral's format."""
        return any(MISTRAL.fullmatch(name) for name in self.weights)

    @property
    def safetensors(self) -> tuple[str, ...]:
        return tuple(path for path in self.paths if path.endswith(".safetensors"))


def select(
    paths: Collection[str],
    *,
    read: Callable[[str], bytes],
    where: object,
    remote_code: bool,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_pickle: bool = False,
) -> Selection:
    """Choose among the paths of a repository. `read` gives a small file's bytes.

    Raises BadFile for a repository that no server could serve, LockAgain for one whose index names
    a shard that is not there.
    """
    offered = sorted(
        path
        for path in paths
        if not _hidden(path) and not any(fnmatchcase(path, glob) for glob in exclude)
    )
    top = [path for path in offered if "/" not in path]
    chosen = Choice(top, read, where, allow_pickle).weights()
    kept = [name for name in chosen.texts(top) if name == chosen.index or not _is_index(name)]
    kept += _pipeline(offered, read, where)
    if remote_code:
        kept += [path for path in offered if path.endswith(".py")]
    more = _included(offered, include, where)
    faults = (_unwelcome(path, chosen, remote_code, allow_pickle, where) for path in sorted(more))
    raise_all(fault for fault in faults if fault is not None)
    return Selection(chosen.names, tuple(sorted({*kept, *more} - {*chosen.names})))


def _pipeline(offered: Sequence[str], read: Callable[[str], bytes], where: object) -> list[str]:
    """What an embedding model of sentence-transformers does after its encoder: pooling, dense.

    Without these folders vLLM would pool in a way of its own, and the embeddings would be others.
    """
    if MODULES not in offered:
        return []
    try:
        folders = {str(module["path"]) for module in json.loads(read(MODULES))} - {""}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFile(
            "the list of an embedding model's modules cannot be read",
            subject=MODULES,
            where=where,
            got=repr(error),
        ) from error
    named = [(path, path.rpartition("/")[0]) for path in offered]
    return [
        path
        for path, folder in named
        if folder in folders and path.endswith(("config.json", ".safetensors"))
    ]


def _included(offered: Sequence[str], globs: Sequence[str], where: object) -> set[str]:
    """The files that an entry asks for, whatever they are."""
    found: set[str] = set()
    faults: list[OvenproofError] = []
    for glob in globs:
        matched = [path for path in offered if fnmatchcase(path, glob)]
        found.update(matched)
        if not matched:
            faults.append(
                BadFile(
                    "`include` names no file that is there",
                    subject=glob,
                    where=where,
                    got=few(offered) or "nothing",
                    hint="mend the pattern, or leave it out; `exclude` goes before `include`",
                )
            )
    raise_all(faults)
    return found


def _unwelcome(
    path: str, chosen: Weights, remote_code: bool, allow_pickle: bool, where: object
) -> BadFile | None:
    """Why a file that an entry includes may not be baked."""
    if path.lower().endswith(".py") and not remote_code:
        return BadFile(
            "`include` names code, which is baked only where it is trusted",
            subject=path,
            where=where,
            hint="write `trust_remote_code: true`, or exclude it",
        )
    if is_pickle(path) and not allow_pickle:
        return BadFile(
            "`include` names a pickle, which can run code when it is loaded",
            subject=path,
            where=where,
            hint="write `allow_pickle: true`, or exclude it",
        )
    if MISTRAL.fullmatch(path) and not chosen.mistral:
        return BadFile(
            "`include` names weights beside which vLLM would not read the others",
            subject=path,
            where=where,
            expected=f"one format: {few(chosen.names)}",
            hint="exclude config.json, and Mistral's format is baked; or include less",
        )
    return None


def _is_index(name: str) -> bool:
    return name.endswith(".index.json")


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).parts)
