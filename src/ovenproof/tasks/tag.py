"""`invoke tag`: a tag for an image that is in a registry. Not a byte of it moves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall
from ovenproof.tasks.shell import answer, say, verb
from ovenproof.tasks.surroundings import registries

if TYPE_CHECKING:
    from ovenproof.registry.reference import Reference
    from ovenproof.registry.remote import Remote
    from ovenproof.registry.tags import Was


@verb(
    name="tag",
    positional=["image", "tags"],
    help={
        "image": "HOST/NAME@sha256:… of an image that is there",
        "tags": "the tags that it gets, separated by commas",
        "was": "DIGEST that the tags must name until they are moved, or `none`",
        "force": "move them, whatever they name",
        "json": "for machines",
    },
)
def tag(
    _context: Context,
    image: str,
    tags: str,
    was: str = "",
    force: bool = False,
    json: bool = False,
) -> None:
    """Give an image in a registry tags, after it was tested: the same manifest, byte for byte."""
    from ovenproof.registry.reference import parse
    from ovenproof.registry.tags import parse_was

    source, expected = parse(image, host=None), parse_was(was, force=force)
    names = _names(tags, source)
    with registries() as known:
        moved = move(known.at(source.repository, writes=True), source, names, expected, force=force)
    if json:
        answer({"image": image, "tags": {name: {"moved": moved[name]} for name in moved}})
        return
    for name, is_moved in moved.items():
        say(f"{source.repository}:{name}" + ("" if is_moved else " (it names this image already)"))


def move(
    remote: "Remote", source: "Reference", names: Sequence[str], was: "Was", *, force: bool
) -> dict[str, bool]:
    """Let each tag name the image; True for those that did not. All are looked at before any."""
    from ovenproof.registry.tags import look, move_tag

    manifest = remote.manifest(str(source.digest))
    if manifest is None:
        raise BadCall(
            "the registry has no such image",
            subject=source,
            hint="push it first: `invoke push --model NAME --untagged`",
        )
    wanted = manifest.digest.digest
    guards = {name: look(remote, name, wanted, was=was, force=force) for name in names}
    return {name: move_tag(remote, manifest, name, guard) for name, guard in guards.items()}


def _names(tags: str, source: "Reference") -> list[str]:
    """The tags that are meant. Raises BadCall for what is none."""
    from ovenproof.registry.reference import parse

    if source.digest is None:
        raise BadCall(
            "what is tagged is named by its digest: a tag may be another image by now",
            subject=source,
            expected=f"{source.repository}@sha256:…",
        )
    names = list(dict.fromkeys(name.strip() for name in tags.split(",")))
    for name in names:
        if "@" in name or parse(f"{source.repository}:{name}").tag != name:
            raise BadCall("this is no tag", subject=name, expected="TAG or TAG,TAG")
    return names
