"""Which files of a repository are the model: one coherent set, and nothing else.

Repositories carry the same weights several times over (safetensors, pickles, GGUF, `original/`).
Baking `consolidated*.safetensors` beside the others even makes vLLM read another format. So: the
Hugging Face format where there is a config.json, else Mistral's; safetensors only; with an index
only its files; texts that a tokenizer, a template or a lawyer needs.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ovenproof.errors import BadFile, LockAgain

_TEXT = re.compile(
    r".*\.(json|txt|model|jinja|tiktoken|md)|(LICENSE|LICENCE|NOTICE|COPYING|USE_POLICY).*",
    re.IGNORECASE,
)
_OTHER_FORMATS = re.compile(r"(pytorch_model|tf_model|flax_model|rust_model|consolidated)\b.*")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen files, sorted."""

    weights: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted((*self.weights, *self.texts)))


def select(
    paths: Collection[str], *, read: Callable[[str], bytes], remote_code: bool, where: object
) -> Selection:
    """Choose among the paths of a repository. `read` gives a small file's bytes.

    Raises BadFile for a repository that no server could serve, LockAgain for one whose index names
    a shard that is not there.
    """
    top = sorted(path for path in paths if "/" not in path and not path.startswith("."))
    if "config.json" in top:
        weights = _hugging_face_weights(top, read, where)
        texts = [name for name in top if _is_text(name) and name != "params.json"]
    elif "params.json" in top:
        weights = [name for name in top if re.fullmatch(r"consolidated.*\.safetensors", name)]
        texts = [name for name in top if _TEXT.fullmatch(name)]
    else:
        raise BadFile(
            "this is no model: it has neither config.json nor params.json",
            subject=where,
            got=_few(top) or "an empty folder",
        )
    if not weights:
        raise _no_weights(top, where)
    if remote_code:
        texts += [path for path in paths if path.endswith(".py") and not _hidden(path)]
    kept = [name for name in texts if not (name.endswith(".index.json") and name != INDEX)]
    return Selection(tuple(weights), tuple(sorted(set(kept))))


def _hugging_face_weights(top: list[str], read: Callable[[str], bytes], where: object) -> list[str]:
    if INDEX not in top:
        return [
            name
            for name in top
            if name.endswith(".safetensors") and not _OTHER_FORMATS.fullmatch(name)
        ]
    try:
        named = sorted(set(json.loads(read(INDEX))["weight_map"].values()))
        others = [name for name in named if not name.endswith(".safetensors")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            "the index of the weights cannot be read", subject=INDEX, where=where, got=repr(error)
        ) from error
    if others:
        raise BadFile(
            "the index of the weights names files of another kind",
            subject=_few(others),
            where=where,
            expected=f"*.safetensors ({INDEX})",
        )
    missing = [name for name in named if name not in top]
    if missing:
        raise LockAgain(
            "the index of the weights names files that are not there",
            subject=", ".join(missing),
            where=where,
            expected=f"{len(named)} files ({INDEX})",
            got=f"{len(named) - len(missing)} of them",
            hint="fetch the missing files, then lock again",
        )
    return named


def _no_weights(top: list[str], where: object) -> BadFile:
    pickles = [name for name in top if name.endswith(_PICKLES)]
    if pickles:
        return BadFile(
            "the weights are pickles, which can run code when they are loaded",
            subject=_few(pickles),
            where=where,
            expected="*.safetensors",
            hint="convert them: load the model with transformers, then"
            " model.save_pretrained(FOLDER, safe_serialization=True)",
        )
    return BadFile(
        "there are no weights", where=where, expected="*.safetensors", got=_few(top) or "nothing"
    )


def _is_text(name: str) -> bool:
    return bool(_TEXT.fullmatch(name)) and not _OTHER_FORMATS.fullmatch(name)


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).parts)


def _few(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(found[:5])
    return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")
