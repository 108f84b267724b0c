"""`invoke build`: from models.yaml to an image."""

from invoke import Context

from ovenproof.errors import OvenproofError, raise_all
from ovenproof.tasks.shell import answer, chosen, is_dry, machine, project, say, verb


@verb(
    name="build",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry to build; may be given several times",
        "all": "build every entry",
        "output": "layout:DIR, archive:FILE, docker or none;"
        " without it the Docker engine if one answers, else layout:dist",
        "locked": "refuse to lock what is not locked yet, and leave the locks as they are",
        "json": "for machines",
    },
)
def build(
    context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    output: str = "",
    locked: bool = False,
    json: bool = False,
) -> None:
    """Build images. What is not locked yet is locked first. With --dry: only plan."""
    if is_dry(context):
        from ovenproof.tasks.plan import show

        show(model, everything=all, output=output, locked=locked, as_json=json)
        return

    from ovenproof.build import prepare
    from ovenproof.tasks.outputs import choose
    from ovenproof.tasks.screen import progress, size

    here = project()
    names = chosen(here, model, all)
    where = choose(output, here.root)
    results = []
    faults: list[OvenproofError] = []
    for name in names:
        with progress(quiet=json) as listener:
            try:
                bake = prepare(here, machine(listener), name, may_lock=not locked)
                image = bake.finish(bake.plan(), save=not locked)
                written = bake.write(image, where) if where is not None else None
            except OvenproofError as fault:
                faults.append(fault)
                continue
        results.append(
            {
                "name": name,
                "image": bake.reference,
                "digest": str(image.digest.digest),
                "size": image.size,
                "layers": len(image.layers),
                "place": written.place if written else None,
                "moved": written.moved if written else 0,
                "run": bake.run_line,
            }
        )
        if json:
            continue
        say(f"image   {bake.reference}")
        say(f"digest  {image.digest.digest}")
        say(f"size    {size(image.size)} in {len(image.layers)} layers")
        if written is not None:
            say(f"place   {written.place} ({size(written.moved)} moved)")
            say(f"use     {written.use or bake.run_line}")
    if json:
        answer(results)
    raise_all(faults)
