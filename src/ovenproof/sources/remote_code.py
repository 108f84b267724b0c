"""Code that a checkpoint names: Python files of its own repository, and of nobody else's.

`auto_map` in a config says which classes load a model: `modeling_x.Model` is in modeling_x.py of
the repository, `org/other--modeling_x.Model` in another one, which transformers would ask the hub
for when the server starts. Such a model cannot be served from its image alone.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from ovenproof.errors import BadFile, OvenproofError, raise_all

CONFIGS = (
    "config.json",
    "image_processor_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)
"""The files that may name code."""
_HINT = "lock a revision that has it, or do not exclude it"


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A class that a config names, as it is written there."""

    file: str
    reference: str

    @property
    def repository(self) -> str | None:
        """The repository that it names. Even its own is one: transformers would ask the hub."""
        before, dashes, _ = self.reference.partition("--")
        return before if dashes else None

    @property
    def module(self) -> str:
        """The Python file."""
        return self.reference.rpartition(".")[0].replace(".", "/") + ".py"


def named_code(configs: Mapping[str, bytes]) -> tuple[Named, ...]:
    """What these files name, sorted. Raises BadFile for one that is no JSON, all at once."""
    found: set[Named] = set()
    faults: list[OvenproofError] = []
    for file, data in sorted(configs.items()):
        try:
            words = json.loads(data)
        except (ValueError, RecursionError) as error:
            faults.append(BadFile("this is not valid JSON", subject=file, got=str(error)))
            continue
        found.update(Named(file, reference) for reference in _references(words))
    raise_all(faults)
    return tuple(sorted(found))


def check_beside(
    paths: Collection[str], read: Callable[[str], bytes], where: object, *, hint: str
) -> None:
    """Refuse files that name code which is not among them. `read` gives a small one's bytes."""
    named = named_code({path: read(path) for path in CONFIGS if path in paths})
    check_code(named, [path for path in paths if path.endswith(".py")], where, hint=hint)


def check_code(
    named: Collection[Named], code: Collection[str], where: object, *, hint: str = _HINT
) -> None:
    """Refuse what does not lie beside the configs. `code` are the Python files that are baked.

    `hint` says how a file that is missing gets there.
    """
    faults: list[OvenproofError] = []
    for one in named:
        if one.repository is not None:
            faults.append(
                BadFile(
                    "the model's code lies in another repository, which is not locked",
                    subject=one.reference,
                    where=f"{where}, `auto_map` of {one.file}",
                    expected="a class of this repository: MODULE.CLASS",
                    hint=f"make a copy of the model with the code of {one.repository} beside"
                    f" {one.file}, and without `{one.repository}--` in it",
                )
            )
        elif one.module not in code:
            faults.append(
                BadFile(
                    "the model's code is not in its repository",
                    subject=one.module,
                    where=f"{where}, `auto_map` of {one.file}",
                    expected=one.reference,
                    got=", ".join(sorted(code)) or "no Python file",
                    hint=hint,
                )
            )
    raise_all(faults)


def _references(words: object) -> Iterator[str]:
    """All texts under any `auto_map`, however deep: configs hold configs of their parts."""
    left = [words]
    while left:
        match left.pop():
            case dict() as found:
                if "auto_map" in found:
                    yield from _texts(found["auto_map"])
                left += [value for key, value in found.items() if key != "auto_map"]
            case list() as found:
                left += found


def _texts(said: object) -> Iterator[str]:
    left = [said]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case dict() as found:
                left += found.values()
            case list() as found:
                left += found
