"""What a workflow's steps hand to each other: lines of a file that GitHub's runner names."""

import os
from collections.abc import Mapping
from pathlib import Path

from ovenproof.errors import BadCall

OUTPUT = "GITHUB_OUTPUT"


def hand_over(values: Mapping[str, str]) -> None:
    """Make them outputs of the step, for `steps.ID.outputs.NAME`. Raises BadCall.

    A value is one line: two would let a value name another output.
    """
    place = os.environ.get(OUTPUT)
    if not place:
        raise BadCall(
            "`--github` is for a step of a workflow",
            expected=f"{OUTPUT} to name a file",
            got="no such setting",
            hint=f"leave it out, or set {OUTPUT}=FILE to try the step here",
        )
    for name, value in values.items():
        if len(value.splitlines()) > 1:
            raise BadCall("an output of a step is one line", subject=name, got=repr(value))
    with Path(place).open("a", encoding="utf-8") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in values.items())
