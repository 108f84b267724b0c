"""`--output`: which words mean which place."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ovenproof.errors import BadCall, MissingTool

if TYPE_CHECKING:
    from ovenproof.outputs.interface import Output

NAMED_BY = ("DOCKER_HOST", "DOCKER_CONTEXT")
FORMS = "layout:DIR, archive:FILE, docker, or none"


def choose(text: str, root: Path) -> "Output | None":
    """The output that the words mean; None for `none`. Raises BadCall or MissingTool.

    Without words: the Docker engine if one answers, else a layout in the project's `dist/`, which
    is told. An engine that somebody named is meant: it has to answer.
    """
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
