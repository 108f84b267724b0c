"""How the files of a model become layers.

A big file is a layer of its own, so that any range of the layer can be produced from the file and
an upload resumes anywhere. The small ones share a layer, above it: they change more often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ovenproof.core.action import Action
from ovenproof.core.content import Body, LocalFile
from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import PROFILE, File, Recipe, recipe
from ovenproof.core.model_lock import LockedFile
from ovenproof.errors import BadFile

ALONE_FROM = 32 << 20
"""Files from this size on get a layer of their own."""
PINNED_BY_LAYER_LIMIT = 64
"""So many files may be pinned by layers of their own: of an image's 120 layers over 50 are left."""
KIND = "weights"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Files that share a layer."""

    title: str
    files: tuple[LockedFile, ...]


def is_big(size: int) -> bool:
    """Whether a file of this size gets a layer of its own."""
    return size >= ALONE_FROM


def big_groups(files: Sequence[LockedFile], limit: int) -> tuple[Group, ...]:
    """The big files, each alone; where there are more than `limit`, neighbours share.

    Never those that are pinned by their layers: in another layer their digests would prove nothing.
    """
    big = sorted(file for file in files if is_big(file.size))
    alone = [(file,) for file in big if file.pinned_by == "layer"]
    others = [file for file in big if file.pinned_by == "file"]
    share = max(1, -(-len(others) // max(limit - len(alone), 1)))
    runs = [tuple(others[start : start + share]) for start in range(0, len(others), share)]
    if alone and len(alone) + len(runs) > limit:
        raise BadFile(
            "the model and its runtime need more layers than an image can have",
            subject=f"{alone[0][0].path} and {len(alone) - 1} more, each in a layer of its own",
            expected=f"{max(limit, 0)} layers of weights at most",
            got=len(alone) + len(runs),
            hint="name fewer packages in `top` of the flavour's image.yaml, or a smaller base",
        )
    return tuple(Group(_title(run), run) for run in sorted([*alone, *runs]))


def small_group(files: Sequence[LockedFile]) -> Group | None:
    """The small files, together."""
    small = tuple(sorted(file for file in files if not is_big(file.size)))
    return Group("model files", small) if small else None


def action(group: Group, model_path: str) -> Action:
    """The action that makes a group's layer."""
    return Action(
        kind=KIND,
        version=VERSION,
        inputs={file.path: file.digest for file in group.files},
        parameters={
            "profile": PROFILE,
            "folder": model_path,
            "sizes": {file.path: file.size for file in group.files},
            "pinned by": {file.path: file.pinned_by for file in group.files},
        },
    )


def pinned(files: Sequence[LockedFile], model_path: str) -> dict[Digest, Content]:
    """The layers that files pinned by their layer name themselves: action key -> layer."""
    found = {}
    for file in files:
        if file.pinned_by == "layer":
            made = layer_recipe(model_path, [(file.path, LocalFile(Path(file.path), file.size))])
            key = action(Group(file.path, (file,)), model_path).key
            found[key] = Content(file.digest, made.size)
    return found


def layer_recipe(model_path: str, bodies: Sequence[tuple[str, Body]]) -> Recipe:
    """Files below the model's folder, as a layer."""
    folder = PurePosixPath(model_path).relative_to("/")
    return recipe(File(path=str(folder / path), body=body) for path, body in bodies)


def layer_size(made_by: Action) -> int | None:
    """The size of the layer that an action makes, where that is known without its bytes."""
    sizes, folder = made_by.parameters.get("sizes"), made_by.parameters.get("folder")
    if made_by.kind != KIND or not isinstance(sizes, dict) or not isinstance(folder, str):
        return None
    bodies = [
        (path, LocalFile(Path(path), size)) for path, size in sizes.items() if type(size) is int
    ]
    return layer_recipe(folder, bodies).size


def _title(files: tuple[LockedFile, ...]) -> str:
    first, last = files[0].path, files[-1].path
    return first if first == last else f"{first} … {last}"
