"""`invoke build`: from models.yaml to an image."""

from invoke import Context

from ovenproof.errors import BadCall
from ovenproof.tasks.entries import Delivery
from ovenproof.tasks.shell import answer, chosen, is_dry, say, verb
from ovenproof.tasks.surroundings import machine, project


@verb(
    name="build",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to build; may be given several times",
        "all": "build every entry",
        "output": "layout:DIR, archive:FILE, docker, registry:HOST/NAME[:TAG] or none;"
        " without it the Docker engine if one answers, else layout:dist",
        "push": "to the catalogue's repository, instead of an output; `push` can say more",
        "to": "HOST/NAME[:TAG] to push to instead",
        "as": "`image` that serves; `weights`: an image of these alone, for volumes of Kubernetes;"
        " or `modelpack`: an artifact whose layers are the files. Tags end in -weights, -modelpack",
        "locked": "refuse to lock what is not locked yet, and leave the locks as they are",
        "json": "for machines",
    },
)
def build(  # noqa: PLR0913, PLR0917  the words of a command line
    context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    output: str = "",
    push: bool = False,
    to: str | None = None,
    as_: str = "image",
    locked: bool = False,
    json: bool = False,
) -> None:
    """Build images. What is not locked yet is locked first. With --dry: only plan."""
    from ovenproof.tasks.outputs import Tagging, choose, pushed_to, shaped
    from ovenproof.tasks.screen import size

    if output and (push or to is not None):
        raise BadCall("`--push` is an output, so `--output` cannot go with it")
    shape = shaped(as_, "registry" if push or to is not None else output)
    here = project(saves=not is_dry(context))
    names = chosen(here, model, all)
    gives = machine()
    if push or to is not None:
        where = pushed_to(to, here.catalogue(), gives, names, Tagging(shape=shape))
    else:
        where = choose(output, here, gives, names, shape)
    if is_dry(context):
        from ovenproof.tasks.plan import planned, tell

        prospects = planned(here, gives, names, where, locked=locked, shape=shape, quiet=json)
        tell(prospects, as_json=json)
        return
    results = []
    delivery = Delivery(
        project=here, machine=gives, names=names, where=where, locked=locked, shape=shape
    )
    for bake, image, written in delivery.run(quiet=json):
        results.append(
            {
                "name": bake.entry.name,
                "image": bake.reference,
                "digest": str(image.digest.digest),
                "size": image.size,
                "layers": len(image.layers),
                "place": written.place if written else None,
                "moved": written.moved if written else 0,
                "run": bake.run_line(written),
            }
        )
        if json:
            continue
        say(f"image   {bake.reference}")
        say(f"digest  {image.digest.digest}")
        say(f"size    {size(image.size)} in {len(image.layers)} layers")
        if written is not None:
            say(f"place   {written.place} ({size(written.moved)} moved)")
            say(f"use     {written.use or bake.run_line(written)}")
    if json:
        answer(results)
    delivery.raise_faults()
