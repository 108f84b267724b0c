"""A shape: which layers of an entry are given away, and as what.

The image that serves; its weights alone, for volumes of Kubernetes; or a ModelPack artifact, whose
layers are the files themselves. The first two share the blobs of the weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from ovenproof.core import modelpack, shapes
from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import Entry
from ovenproof.core.flavour import Flavour
from ovenproof.core.image import Image, Layer, Settings, assemble
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.plan import Step
from ovenproof.core.shapes import Shape
from ovenproof.identity import run_line
from ovenproof.stack import Weights, room, runtime, stack, weights_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """An entry and everything that is locked for it."""

    entry: Entry
    flavour: Flavour
    image_lock: ImageLock
    model: Weights
    adapters: Mapping[str, Weights]


def steps(shape: Shape, locked: Locked, *, mirror: str | None) -> tuple[Step, ...]:
    """The layers of a shape, lowest first."""
    match shape:
        case "image":
            entry, flavour = locked.entry, locked.flavour
            return stack(
                entry, flavour, locked.image_lock, locked.model, locked.adapters, mirror=mirror
            )
        case "weights":
            # As many layers as in the serving image, or they would not be the same.
            below = runtime(locked.flavour, locked.image_lock)
            big, small = weights_steps(locked.model, room=room(below, len(locked.adapters)))
            return (*big, *small)
        case "modelpack":
            model = locked.model
            return modelpack.raw_steps(
                model.lock, model.folder, supplies=model.supplies, distant=model.distant
            )
        case _:
            assert_never(shape)


def known(shape: Shape, lock: ModelLock, folder: str) -> dict[Digest, Content]:
    """The layers of a shape that need no proof: action key -> layer."""
    return modelpack.raw_layers(lock.files, folder) if shape == "modelpack" else {}


def assembler(
    shape: Shape, locked: Locked, settings: Settings
) -> Callable[[tuple[Layer, ...]], Image]:
    """What turns the layers of a shape into config and manifest."""
    entry, lock = locked.entry, locked.model.lock
    match shape:
        case "image":
            return partial(assemble, settings=settings)
        case "weights":
            architecture = locked.flavour.architecture
            return partial(shapes.weights_image, entry=entry, lock=lock, architecture=architecture)
        case "modelpack":
            return partial(modelpack.modelpack, entry=entry, lock=lock)
        case _:
            assert_never(shape)


def use(shape: Shape, entry: Entry, flavour: Flavour, reference: str) -> str:
    """What a person does with it, where it is called so."""
    match shape:
        case "image":
            return run_line(entry, flavour, reference)
        case "weights":
            return f"volumes: [{{name: model, image: {{reference: '{reference}'}}}}]"
        case "modelpack":
            return f"modctl pull {reference}"
        case _:
            assert_never(shape)
