"""`invoke pushed`: which image a push has made, from what `push --json` said of it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall, BadFile
from ovenproof.tasks.shell import say, verb

if TYPE_CHECKING:
    from ovenproof.core.reader import Reader

MADE_BY = "invoke push --model NAME --untagged --json"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pushed:
    """One image in a registry."""

    name: str
    image: str
    """By its digest."""
    digest: str
    size: int
    sent: int
    """Bytes that had to move; the rest was there, or came from another repository."""
    run: str
    """The command that starts it, by its digest."""


@verb(
    name="pushed",
    positional=["file"],
    help={
        "file": "what `push --json` printed for one entry",
        "github": "hand `image` and `digest` to the next steps of a workflow",
    },
)
def pushed(_context: Context, file: str, github: bool = False) -> None:
    """Show the image that was pushed, by its digest: what is to be tested, and then tagged."""
    from ovenproof.tasks.github import hand_over

    found = list(read_pushed(Path(file)))
    if len(found) != 1:
        raise BadCall(
            "this is not about one image",
            subject=file,
            got=", ".join(item.name for item in found) or "none",
            hint=f"make one file for each: `{MADE_BY} > NAME.json`",
        )
    (item,) = found
    if github:
        hand_over({"image": item.image, "digest": item.digest})
    say(item.image)


def read_pushed(path: Path) -> Iterator[Pushed]:
    """The images that a file names. Raises BadFile."""
    from ovenproof.core.reader import Reader

    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
    except (OSError, ValueError) as error:
        raise BadFile(
            "what was pushed cannot be read",
            subject=path,
            got=error.strerror if isinstance(error, OSError) else error,
            hint=f"make it again: `{MADE_BY} > {path}`",
        ) from error
    # The reader takes documents whose top is an object.
    whole = Reader.parse(json.dumps({"pushed": value}), name=str(path))
    for item in whole.items("pushed"):
        yield _pushed(item)


def _pushed(item: "Reader") -> Pushed:
    from ovenproof.registry.reference import parse

    try:
        name, digest = item.text("name"), item.digest("digest")
        image = str(parse(item.text("reference"), host=None).at(digest))
        parse(f"localhost/name:{name}")
        *words, _ = shlex.split(item.text("run"))
    except (BadFile, BadCall, ValueError) as error:
        said = error.got or error.what if isinstance(error, BadFile | BadCall) else error
        raise BadFile(
            "what was pushed cannot be read",
            subject=item.name,
            expected=f"what `{MADE_BY}` prints",
            got=said,
            hint=f"make it again: `{MADE_BY} > {item.name}`",
        ) from error
    return Pushed(
        name=name,
        image=image,
        digest=str(digest),
        size=item.integer("size"),
        sent=item.integer("sent"),
        run=shlex.join([*words, image]),
    )
