"""`invoke list`: what models.yaml has, and how far each entry is."""

from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.tasks.shell import answer, say, verb
from ovenproof.tasks.surroundings import project

if TYPE_CHECKING:
    from ovenproof.core.entry import Source


@verb(name="list", dry=True, help={"json": "for machines"})
def list_(_context: Context, json: bool = False) -> None:
    """Show the entries of models.yaml."""
    from ovenproof.tasks.screen import size, table

    here = project()
    catalogue = here.catalogue()
    locked = here.models_lock().models
    flavours = here.flavours()
    rows = []
    for entry in catalogue.entries:
        lock = locked.get(entry.name)
        stale = lock is not None and not lock.is_of(entry)
        rows.append(
            {
                "name": entry.name,
                "weights": _weights(entry.source),
                "flavour": entry.flavour,
                "flavour known": entry.flavour in flavours,
                "port": entry.port,
                "quantization": entry.quantization,
                "locked": lock is not None and not stale,
                "stale": stale,
                "bytes": sum(file.size for file in lock.files) if lock else None,
                "image": catalogue.reference(entry),
            }
        )
    if json:
        answer(rows)
        return
    say(
        table(
            [
                ("NAME", "FLAVOUR", "PORT", "WEIGHTS", "LOCKED"),
                *(
                    (
                        str(row["name"]),
                        f"{row['flavour']}" + ("" if row["flavour known"] else " (not there)"),
                        str(row["port"]),
                        str(row["weights"]),
                        "out of date"
                        if row["stale"]
                        else size(row["bytes"])
                        if isinstance(row["bytes"], int)
                        else "no",
                    )
                    for row in rows
                ),
            ]
        )
    )


def _weights(source: "Source") -> str:
    from ovenproof.core.entry import HubModel, LocalFolder, OciModel, PackagedModel

    match source:
        case HubModel(model=model, revision=revision):
            return f"hub {model}" + (f"@{revision}" if revision else "")
        case LocalFolder(path=path):
            return f"folder {path}"
        case PackagedModel(package=package, version=version):
            return f"package {package}=={version}"
        case OciModel(reference=reference):
            return f"oci {reference}"
