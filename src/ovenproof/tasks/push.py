"""`invoke push`: from models.yaml to a registry."""

from typing import TYPE_CHECKING, Any

from invoke import Context

from ovenproof.errors import BadCall, LockAgain
from ovenproof.tasks.entries import Delivery, only_locked
from ovenproof.tasks.shell import answer, chosen, is_dry, say, verb
from ovenproof.tasks.surroundings import machine, project

if TYPE_CHECKING:
    from ovenproof.core.shapes import Shape
    from ovenproof.project import Project
    from ovenproof.tasks.outputs import Tagging


@verb(
    name="push",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to push; may be given several times",
        "all": "push every entry",
        "to": "HOST/NAME[:TAG]; without it the catalogue's repository,"
        " and without a TAG the entry's name",
        "as": "`image` that serves; `weights`: an image of these alone, for volumes of Kubernetes;"
        " or `modelpack`: an artifact whose layers are the files. Tags end in -weights, -modelpack",
        "untagged": "move no tag: the image has its digest alone",
        "was": "DIGEST that the tag must name until it is moved, or `none`",
        "force": "move the tag, whatever it names",
        "locked": "refuse to lock what is not locked yet, and leave the locks as they are;"
        " --all leaves it out",
        "json": "for machines",
    },
)
def push(  # noqa: PLR0913, PLR0917  the words of a command line
    context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    to: str | None = None,
    as_: str = "image",
    untagged: bool = False,
    was: str = "",
    force: bool = False,
    locked: bool = False,
    json: bool = False,
) -> None:
    """Build images and push them. What the registry has does not move. With --dry: only plan."""
    from ovenproof.tasks.outputs import pushed_to, shaped

    shape = shaped(as_, "registry")
    terms = _terms(untagged=untagged, force=force, was=was, shape=shape)
    here = project(saves=not is_dry(context))
    names = chosen(here, model, all)
    if all and locked:
        names = _locked(here, names)
    gives = machine()
    where = pushed_to(to, here.catalogue(), gives, names, terms)
    if is_dry(context):
        from ovenproof.tasks.plan import planned, tell

        prospects = planned(here, gives, names, where, locked=locked, shape=shape, quiet=json)
        tell(prospects, as_json=json)
        return
    results: list[dict[str, Any]] = []
    delivery = Delivery(
        project=here, machine=gives, names=names, where=where, locked=locked, shape=shape
    )
    for bake, image, written in delivery.run(quiet=json):
        assert written is not None
        found = {
            "name": bake.entry.name,
            "reference": written.reference,
            "digest": str(image.digest.digest),
            "size": image.size,
            "layers": len(image.layers),
            "sent": written.moved,
            "mounted": written.mounted,
            "there": written.there,
            "place": written.place,
            "run": bake.run_line(written),
        }
        results.append(found)
        if not json:
            say(_as_text(found))
    if json:
        answer(results)
    delivery.raise_faults()


def _locked(here: "Project", names: list[str]) -> list[str]:
    found = only_locked(here, names)
    if not found:
        raise LockAgain("no entry is locked", hint="run `invoke lock --all`")
    return found


def _as_text(found: dict[str, Any]) -> str:
    from ovenproof.tasks.screen import size

    mounted = f", {size(found['mounted'])} mounted" if found["mounted"] else ""
    return "\n".join(
        (
            f"image   {found['place']}",
            f"digest  {found['digest']}",
            f"size    {size(found['size'])} in {found['layers']} layers",
            f"sent    {size(found['sent'])}{mounted}",
            f"use     {found['run']}",
        )
    )


def _terms(*, untagged: bool, force: bool, was: str, shape: "Shape") -> "Tagging":
    from ovenproof.registry.tags import parse_was
    from ovenproof.tasks.outputs import Tagging

    if untagged and (force or was):
        raise BadCall("`--untagged` moves no tag", hint="leave out `--force` and `--was`")
    return Tagging(untagged=untagged, force=force, was=parse_was(was, force=force), shape=shape)
