"""`--output`: which words mean which place; and where a push goes."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ovenproof.errors import BadCall, BadFile, MissingTool, raise_all

if TYPE_CHECKING:
    from ovenproof.core.catalogue import Catalogue
    from ovenproof.core.plan import Plan
    from ovenproof.core.shapes import Shape
    from ovenproof.machine import Machine
    from ovenproof.outputs.interface import Output
    from ovenproof.project import Project
    from ovenproof.registry.reference import Reference, Repository
    from ovenproof.registry.tags import Was

NAMED_BY = ("DOCKER_HOST", "DOCKER_CONTEXT")
FORMS = "layout:DIR, archive:FILE, docker, registry:HOST/NAME[:TAG], or none"
UPLOADS_AT_ONCE = 8

Choice: TypeAlias = "Callable[[str], Output | None]"
"""The name of an entry -> where its image goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """What a call says of the tags that it moves."""

    untagged: bool = False
    force: bool = False
    was: "Was" = None
    shape: "Shape" = "image"


def choose(
    text: str, here: "Project", gives: "Machine", names: Sequence[str], shape: "Shape" = "image"
) -> Choice:
    """The output that the words mean for some entries. Raises BadCall or MissingTool.

    Without words: the Docker engine if one answers, else a layout in the project's `dist/`, which
    is told. An engine that somebody named is meant: it has to answer.
    """
    kind, _, place = text.partition(":")
    if kind == "registry" and place:
        return pushed_to(place, here.catalogue(), gives, names, Tagging(shape=shape))
    output = _local(text, here.root)
    return lambda _name: output


def pushed_to(
    to: str | None,
    catalogue: "Catalogue",
    gives: "Machine",
    names: Sequence[str],
    tagging: Tagging | None = None,
) -> Choice:
    """Where `--to` sends the images of some entries: without it, to the catalogue's repository.

    All of them share one sender, so that a layer that they share is asked for once.
    """
    from ovenproof.core.shapes import tag as tag_of
    from ovenproof.outputs.registry import Registry, Tag
    from ovenproof.registry.send import Sender

    terms = tagging or Tagging()
    own = _repository(catalogue)
    reference = None if to is None else _destination(to, names, terms)
    repository = reference.repository if reference else own
    if repository is None:
        raise BadFile(
            "the catalogue's repository is at no registry, so nothing can be pushed there",
            subject=catalogue.repository,
            where="models.yaml, `repository`",
            expected="HOST/NAME, such as ghcr.io/you/models",
            hint="write `repository: ghcr.io/you/models`, or say where: --to HOST/NAME",
        )
    registries = gives.registries()
    sender = Sender(
        registries.at(repository, writes=True),
        notes=gives.notes,
        jobs=min(UPLOADS_AT_ONCE, 2 * gives.jobs),  # they wait for the network half of the time
        at=registries.at,
    )
    homes = () if own is None or own == repository else (own,)

    def output(name: str) -> "Output":
        word = (reference.tag if reference else None) or tag_of(terms.shape, name)
        tag = None if terms.untagged else Tag(name=word, was=terms.was, force=terms.force)
        return Registry(sender, tag=tag, homes=homes)

    return output


def shaped(text: str, output: str = "") -> "Shape":
    """Read `--as`. Raises BadCall, also for a place that cannot hold the shape."""
    from ovenproof.core.shapes import SHAPES

    for shape in SHAPES:
        if text == shape:
            kind = output.partition(":")[0]
            if shape == "modelpack" and kind not in ("layout", "registry", "none"):
                raise BadCall(
                    "a ModelPack artifact is no image that an engine could load",
                    subject=f"--output {output}" if output else "--as modelpack",
                    expected="--output layout:DIR, or a registry",
                )
            return shape
    raise BadCall("this is no shape", subject=f"--as {text}", expected=", ".join(SHAPES))


def check_sizes(made: "Plan", output: "Output | None") -> None:
    """Raise BadFile for layers that a registry does not take, before they are hashed for hours."""
    from ovenproof.outputs.registry import Registry

    if isinstance(output, Registry):
        raise_all(output.foresees_too_large(made))


def _destination(to: str, names: Sequence[str], terms: Tagging) -> "Reference":
    from ovenproof.registry.reference import parse

    if not to:
        raise BadCall(
            "`--to` names nothing",
            expected="HOST/NAME[:TAG]",
            got="an empty text, as of a variable that is not set",
            hint="leave out `--to` to push to the catalogue's repository",
        )
    found = parse(to, host=None)
    if found.digest is not None:
        raise BadCall(
            "an image is pushed to a tag; its digest follows from what is in it",
            subject=to,
            hint=f"leave out `@{found.digest}`",
        )
    if found.tag is not None and len(names) > 1 and not terms.untagged:
        raise BadCall(
            "one tag names one image, and several models are to be pushed",
            subject=to,
            got=", ".join(names),
            hint=f"leave out `:{found.tag}`: each entry's name is then its tag",
        )
    return found


def _repository(catalogue: "Catalogue") -> "Repository | None":
    """The catalogue's own, where it is at a registry."""
    from ovenproof.registry.reference import parse_repository

    try:
        return parse_repository(catalogue.repository)
    except BadCall:
        return None


def _local(text: str, root: Path) -> "Output | None":
    kind, _, place = text.partition(":")
    match kind:
        case "none" if not place:
            return None
        case "docker" if not place:
            return _docker()
        case "layout" if place:
            return _layout(place)
        case "archive" if place:
            from ovenproof.outputs.archive import Archive

            return Archive(Path(place))
        case "":
            try:
                return _docker()
            except MissingTool:
                if any(os.environ.get(name) for name in NAMED_BY):
                    raise
                place = os.path.relpath(root / "dist")
                note = f"note: no Docker engine answers, so the output is layout:{place}"
                print(note, file=sys.stderr)  # noqa: T201  beside the answer, which may be JSON
                return _layout(place)
        case _:
            raise BadCall("this is not an output", subject=f"--output {text}", expected=FORMS)


def _docker() -> "Output":
    from ovenproof.engine import connect
    from ovenproof.outputs.docker import Docker

    return Docker(connect(os.environ))


def _layout(place: str) -> "Output":
    from ovenproof.outputs.layout import Layout

    return Layout(Path(place))
