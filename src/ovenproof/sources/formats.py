"""Which format of a repository's weights is taken, and which texts go with it."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ovenproof.errors import BadFile, LockAgain

_TEXT = re.compile(
    r".*\.(json|txt|model|model\.v\d+\w*|jinja|tiktoken|md)|(LICENSE|LICENCE|NOTICE|COPYING|USE_POLICY).*",
    re.IGNORECASE,
)
_OTHER_FORMATS = re.compile(r"(pytorch_model|tf_model|flax_model|rust_model|consolidated)\b.*")
MISTRAL = re.compile(r"consolidated.*\.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
"""How files end that are pickles, or may hold some, as numpy's may."""
_FROM_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)")
"""Pickles that nobody serves; vLLM leaves them out too."""
INDEX = "model.safetensors.index.json"
MISTRAL_INDEX = "consolidated.safetensors.index.json"
_PICKLE_INDEX = "pytorch_model.bin.index.json"


def is_pickle(path: str) -> bool:
    """Whether a file is called as pickles are, in large letters or small ones."""
    return path.lower().endswith(PICKLES)


def _is_text(name: str) -> bool:
    """Whether a file of this name goes with the weights. A licence is no code, whatever it says."""
    runs = is_pickle(name) or name.lower().endswith(".py")
    return _TEXT.fullmatch(name) is not None and not runs


@dataclass(frozen=True, slots=True)
class Weights:
    """One format's weights, and their index where there is one."""

    names: tuple[str, ...]
    index: str | None
    mistral: bool = False

    def texts(self, top: Iterable[str]) -> list[str]:
        """The texts that go with the format. The index is named apart from them."""
        texts = [name for name in top if _is_text(name) or name == self.index]
        if self.mistral:
            return texts
        return [
            name
            for name in texts
            if name == self.index or not (_OTHER_FORMATS.fullmatch(name) or name == "params.json")
        ]


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to choose from."""

    top: list[str]
    read: Callable[[str], bytes]
    where: object
    allow_pickle: bool

    def weights(self) -> Weights:
        if not {"config.json", "params.json"} & {*self.top}:
            raise BadFile(
                "this is no model: it has neither config.json nor params.json",
                subject=self.where,
                got=few(self.top) or "an empty folder",
            )
        found = self.hugging_face() if "config.json" in self.top else None
        if not found and "params.json" in self.top:
            found = self.mistral()
        if not found and self.allow_pickle and "config.json" in self.top:
            found = self.pickled()
        if not found:
            raise _no_weights(self.top, self.where)
        return found

    def hugging_face(self) -> Weights | None:
        if INDEX in self.top:
            named = self.named_by(INDEX, ".safetensors")
            return Weights(named, INDEX) if named else None
        names = [
            name
            for name in self.top
            if name.endswith(".safetensors") and not _OTHER_FORMATS.fullmatch(name)
        ]
        return Weights(tuple(names), None) if names else None

    def mistral(self) -> Weights | None:
        if MISTRAL_INDEX in self.top:
            named = self.named_by(MISTRAL_INDEX, ".safetensors")
            return Weights(named, MISTRAL_INDEX, mistral=True) if named else None
        names = tuple(name for name in self.top if MISTRAL.fullmatch(name))
        return Weights(names, None, mistral=True) if names else None

    def pickled(self) -> Weights | None:
        if _PICKLE_INDEX in self.top:
            named = self.named_by(_PICKLE_INDEX, ".bin")
            return Weights(named, _PICKLE_INDEX) if named else None
        served = [name for name in self.top if not _FROM_TRAINING.fullmatch(name)]
        for kind in (r"pytorch_model.*\.bin", r".*\.bin", r".*\.pt"):
            if names := tuple(name for name in served if re.fullmatch(kind, name)):
                return Weights(names, None)
        return None

    def named_by(self, index: str, suffix: str) -> tuple[str, ...]:
        """The files that an index names, all of which are there."""
        try:
            named = sorted(set(json.loads(self.read(index))["weight_map"].values()))
            others = [name for name in named if not name.endswith(suffix)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadFile(
                "the index of the weights cannot be read",
                subject=index,
                where=self.where,
                got=repr(error),
            ) from error
        if others:
            raise BadFile(
                "the index of the weights names files of another kind",
                subject=few(others),
                where=self.where,
                expected=f"*{suffix} ({index})",
                hint="use another repository: this one is not what it says",
            )
        missing = [name for name in named if name not in self.top]
        if missing:
            raise LockAgain(
                "the index of the weights names files that are not there",
                subject=few(missing),
                where=self.where,
                expected=f"{len(named)} files ({index})",
                got=f"{len(named) - len(missing)} of them",
                hint="fetch the missing files, or exclude them no longer; then lock again",
            )
        return tuple(named)


def _no_weights(top: list[str], where: object) -> BadFile:
    pickles = [name for name in top if is_pickle(name) and not _FROM_TRAINING.fullmatch(name)]
    if pickles:
        return BadFile(
            "the weights are pickles, which can run code when they are loaded",
            subject=few(pickles),
            where=where,
            expected="*.safetensors",
            hint="convert them: load the model with transformers, then"
            " model.save_pretrained(FOLDER, safe_serialization=True); or, for a model of the"
            " hub whose makers you trust, write `allow_pickle: true`",
        )
    return BadFile(
        "there are no weights", where=where, expected="*.safetensors", got=few(top) or "nothing"
    )


def few(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(found[:5])
    return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")
