"""`invoke copy`: an image from one registry or layout to another, as it is."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall
from ovenproof.tasks.shell import answer, is_dry, say, verb
from ovenproof.tasks.surroundings import machine

if TYPE_CHECKING:
    from ovenproof.core.digest import Digest
    from ovenproof.core.manifest import Manifest
    from ovenproof.machine import Machine
    from ovenproof.outputs.copy import Destination, Graph, Origin
    from ovenproof.outputs.layout_folder import LayoutFolder
    from ovenproof.registry.reference import Reference, Repository
    from ovenproof.registry.send import Sent
    from ovenproof.registry.tags import Was

LAYOUT = "layout:"
FORMS = "[HOST/]NAME[:TAG][@DIGEST], layout:DIR[:TAG] or layout:DIR@DIGEST"
_TAG = re.compile(r"[^/:]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class InLayout:
    """An image of a layout, as it is named in a call."""

    root: Path
    tag: str | None = None
    digest: "Digest | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The image that is to be copied."""

    origin: "Origin"
    root: "Manifest"
    tag: str | None
    homes: "tuple[Repository, ...]" = ()


@verb(
    name="copy",
    dry=True,
    positional=["source", "destination"],
    help={
        "source": f"the image: {FORMS}",
        "destination": "where it goes: HOST/NAME[:TAG] or layout:DIR[:TAG];"
        " without a tag it keeps its own",
        "platform": "OS/ARCHITECTURE[/VARIANT] to take out of an index; without it all of it",
        "referrers": "also what refers to it: signatures, SBOMs",
        "was": "DIGEST that the tag must name until now, or none",
        "force": "move the tag, whatever it names",
        "json": "for machines",
    },
)
def copy(  # noqa: PLR0913, PLR0917  the words of a command line
    context: Context,
    source: str,
    destination: str,
    platform: str = "",
    referrers: bool = False,
    was: str = "",
    force: bool = False,
    json: bool = False,
) -> None:
    """Copy an image between registries and layouts; its digest stays. With --dry: only look."""
    from ovenproof.core.manifest import Platform
    from ovenproof.errors import raise_all
    from ovenproof.outputs.copy import blobs_of, gather, narrowed
    from ovenproof.outputs.copy import copy as bring
    from ovenproof.registry.tags import parse_was
    from ovenproof.tasks.screen import progress

    wanted = Platform.parse(platform) if platform else None
    expected = parse_was(was, force=force)
    start, end = parse(source, named=False), parse(destination, named=True)
    with progress(quiet=json) as listener:
        here = machine(listener)
        found = find(here, start, source)
        root = narrowed(found.origin, found.root, wanted) if wanted else found.root
        goal, tag = _goal(here, end, found.tag, root, was=expected, force=force)
        before = goal.begin(root)
        graph = gather(found.origin, root, referrers=referrers)
        blobs = blobs_of(graph, found.origin, found.homes)
        if is_dry(context):
            raise_all(goal.refuses(graph))
            sent = goal.foresee(blobs)
        else:
            sent = bring(graph, blobs, goal, here.listener)
    place = f"{LAYOUT}{end.root}" if isinstance(end, InLayout) else str(end.repository)
    told = as_values(graph, sent, place=place, tag=tag, before=before)
    if json:
        answer(told)
    else:
        say(as_text(graph, sent, told, dry=is_dry(context)))


def parse(text: str, *, named: bool) -> "Reference | InLayout":
    """Read SRC or DST; `named`: a registry has to be named by its host. Raises BadCall."""
    from ovenproof.core.digest import Digest
    from ovenproof.registry.reference import DOCKER_HUB
    from ovenproof.registry.reference import parse as parse_reference

    if not text.startswith(LAYOUT):
        return parse_reference(text, host=None if named else DOCKER_HUB)
    rest, at, name = text.removeprefix(LAYOUT).rpartition("@sha256:")
    if at:
        try:
            found = InLayout(root=Path(rest), digest=Digest(name))
        except ValueError:
            raise BadCall("this is no digest", subject=text, expected="64 hex digits") from None
        if named:
            raise BadCall("an image goes into a layout by its tag", subject=text, expected=FORMS)
    else:
        rest, colon, tag = name.rpartition(":")
        if not (colon and rest and _TAG.fullmatch(tag)):
            rest, tag = name, ""
        found = InLayout(root=Path(rest), tag=tag or None)
    if not rest:
        raise BadCall("no folder is named", subject=text, expected=FORMS)
    return found


def find(here: "Machine", start: "Reference | InLayout", text: str) -> Found:
    """The image that SRC means. Raises BadCall where there is none."""
    from ovenproof.outputs.layout_folder import LayoutFolder, tag_of

    if isinstance(start, InLayout):
        folder = LayoutFolder(start.root)
        tag, target = start.tag, start.digest or start.tag
        if target is None:
            only = folder.only()
            tag, target = tag_of(only), only.content.digest
        root = folder.manifest(str(target))
        if root is None:
            raise BadCall("the layout has no such image", subject=text, hint=_names(folder))
        return Found(origin=folder, root=root, tag=tag)
    remote = here.registries().at(start.repository)
    root = remote.manifest(start.target)
    if root is None:
        raise BadCall("the registry has no such image", subject=start, got=f"no {start.target}")
    tag = start.tag if start.tag or start.digest else "latest"
    return Found(origin=remote, root=root, tag=tag, homes=(start.repository,))


def as_values(
    graph: "Graph", sent: "Sent", *, place: str, tag: str | None, before: "Digest | None"
) -> dict[str, object]:
    """A copy, for a machine."""
    return {
        "place": place,
        "tag": tag,
        "was": str(before) if before else None,
        "digest": str(graph.root.digest.digest),
        "type": graph.root.media_type,
        "size": graph.size,
        "manifests": len(graph.manifests),
        "blobs": len(graph.blobs),
        "skipped": [str(item.content.digest) for item in graph.foreign],
        "sent": sent.sent,
        "mounted": sent.mounted,
        "there": sent.there,
    }


def as_text(graph: "Graph", sent: "Sent", told: dict[str, object], *, dry: bool) -> str:
    """A copy, for a person."""
    from ovenproof.tasks.screen import count, size

    tag = f":{told['tag']}" if told["tag"] else ""
    moved = f"{size(sent.sent)} sent, {size(sent.mounted)} mounted, {size(sent.there)} there"
    moves = moved.replace("sent", "to send").replace("mounted", "to mount")
    was = "the same" if told["was"] == told["digest"] else told["was"] or "no such tag"
    manifests, blobs = count(len(graph.manifests), "manifest"), count(len(graph.blobs), "blob")
    lines = [
        f"image   {told['place']}{tag}",
        f"digest  {told['digest']}",
        f"size    {size(graph.size)}: {manifests}, {blobs}",
        f"blobs   {moves if dry else moved}",
        f"before  {was}" if tag else "tag     none is moved",
    ]
    return "\n".join(lines)


def _goal(
    here: "Machine",
    end: "Reference | InLayout",
    tag: str | None,
    root: "Manifest",
    *,
    was: "Was",
    force: bool,
) -> "tuple[Destination, str | None]":
    """Where the image goes, and the tag that it gets: that of the call, else its own."""
    from ovenproof.outputs.copy_places import ToLayout, ToRegistry
    from ovenproof.outputs.layout_folder import LayoutFolder
    from ovenproof.registry.reference import is_tag
    from ovenproof.registry.send import Sender

    if isinstance(end, InLayout):
        tag = end.tag or tag
        folder = LayoutFolder(end.root)
        return ToLayout(folder, tag=tag, jobs=here.jobs, was=was, force=force), tag
    if end.digest not in (None, root.digest.digest):
        raise BadCall(
            "the image has another digest than the destination names",
            subject=end,
            got=root.digest.digest,
            hint="leave the digest out: it stays as it is",
        )
    tag = end.tag if end.tag or end.digest else tag
    if tag is not None and not is_tag(tag):
        raise BadCall(
            "the layout's tag is none that a registry can have",
            subject=tag,
            expected="at most 128 letters, digits, `.`, `_` and `-`",
            hint=f"name one: {end.repository}:TAG",
        )
    registries = here.registries()
    remote = registries.at(end.repository, writes=True)
    sender = Sender(remote, notes=here.notes, jobs=here.jobs, at=registries.at)
    return ToRegistry(sender, tag=tag, was=was, force=force), tag


def _names(folder: "LayoutFolder") -> str:
    from ovenproof.outputs.layout_folder import tag_of

    images = folder.images()
    tags = {tag_of(item) or str(item.content.digest) for item in images}
    return f"it has {', '.join(sorted(tags))}" if tags else "it is empty"
