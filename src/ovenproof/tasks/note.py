"""`invoke note`: a release's note, from what its pushes said."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from invoke import Context

from ovenproof.errors import BadCall, BadFile, OvenproofError, raise_all
from ovenproof.tasks.pushed import MADE_BY, Pushed, read_pushed
from ovenproof.tasks.shell import say, verb


@verb(
    name="note",
    positional=["place"],
    help={
        "place": "a folder of files that `push --json` printed, or one of them",
        "output": "FILE to write it to",
    },
)
def note(_context: Context, place: str, output: str = "") -> None:
    """Write a release's note: every image by digest, its size, and how it is started."""
    from ovenproof.store.disk import write_file, writing_to

    if not Path(output).parent.is_dir():
        raise BadCall(
            "the folder to write to is not there",
            subject=f"--output {output}",
            hint="make it, or name another file",
        )
    text = markdown(_gather(Path(place)))
    if not output:
        say(text.rstrip())
        return
    path = Path(output)
    with writing_to(path, hint="name another file with --output"):
        write_file(path, [text.encode()])
    say(f"wrote {output}")


def _gather(place: Path) -> tuple[Pushed, ...]:
    """Every image of the files, sorted by name. Raises all faults at once."""
    if not place.exists():
        raise BadFile(
            "there is no such file or folder",
            subject=place,
            hint=f"make a folder, and in it for each image: `{MADE_BY} > NAME.json`",
        )
    files = sorted(place.rglob("*.json")) if place.is_dir() else [place]
    found: list[Pushed] = []
    faults: list[OvenproofError] = []
    for path in files:
        try:
            found += read_pushed(path)
        except OvenproofError as fault:
            faults.append(fault)
    raise_all(faults)
    if not found:
        raise BadFile(
            "no image was pushed, so there is nothing to write of",
            subject=place,
            expected="files that push made",
            hint=f"`{MADE_BY} > {place}/NAME.json`",
        )
    return tuple(sorted(set(found)))


def markdown(images: Sequence[Pushed]) -> str:
    """The note."""
    return "\n".join(_lines(images)) + "\n"


def _lines(images: Sequence[Pushed]) -> Iterator[str]:
    from ovenproof.tasks.screen import size

    yield "The lines below name images by digest: unlike a tag, it never moves.\n"
    yield "| image | digest | size | sent |"
    yield "|---|---|---:|---:|"
    for item in images:
        yield f"| {item.name} | `{item.digest}` | {size(item.size)} | {size(item.sent)} |"
    for item in images:
        yield f"\n### {item.name}\n\n```\n{item.run}\n```"
