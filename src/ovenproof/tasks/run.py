"""`invoke run`: start a built image here, in the foreground."""

import os
import shlex

from invoke import Context

from ovenproof.errors import BadCall, MissingTool
from ovenproof.tasks.shell import chosen, is_dry, say, verb
from ovenproof.tasks.surroundings import project


@verb(
    name="run",
    dry=True,
    iterable=["model"],
    help={"model": "NAME of an entry to run", "args": "more options for vLLM, as one text"},
)
def run(context: Context, model: list[str], args: str = "") -> None:
    """Start an image that was built into the Docker engine. With --dry: only show the command."""
    from ovenproof.identity import run_line

    here = project()
    names = chosen(here, model, False)
    if len(names) != 1:
        raise BadCall("only one image can be run at a time", got=", ".join(names))
    catalogue = here.catalogue()
    entry = catalogue.entry(names[0])
    flavour = here.flavour(entry.flavour).flavour
    line = shlex.split(run_line(entry, flavour, catalogue.reference(entry)))
    # What was not built must not come from a registry where somebody else has that name.
    command = [*line[:2], "--pull", "never", *line[2:], *shlex.split(args)]
    if is_dry(context):
        say(shlex.join(command))
        return
    try:
        os.execvp(command[0], command)  # noqa: S606  this process becomes docker's client
    except FileNotFoundError:
        raise MissingTool(
            "there is no `docker` program to run it with",
            hint=f"install Docker's client, or elsewhere: {shlex.join(command)}",
        ) from None
