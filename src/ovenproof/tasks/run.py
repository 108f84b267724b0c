"""`invoke run`: start a built image here, in the foreground."""

import os
import shlex

from invoke import Context

from ovenproof.errors import BadCall, MissingTool
from ovenproof.tasks.shell import chosen, is_dry, machine, project, say, verb


@verb(
    name="run",
    iterable=["model"],
    help={"model": "entry to run", "args": "more options for vLLM, as one text"},
)
def run(context: Context, model: list[str], args: str = "") -> None:
    """Start an image that was built into the Docker engine. With --dry: only show the command."""
    from ovenproof.build import prepare

    here = project()
    names = chosen(here, model, False)
    if len(names) != 1:
        raise BadCall("only one image can be run at a time", got=", ".join(names))
    bake = prepare(here, machine(), names[0], may_lock=False)
    command = [*shlex.split(bake.run_line), *shlex.split(args)]
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
