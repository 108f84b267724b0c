"""`invoke test`: start a built image and ask it."""

import os
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall, OvenproofError, raise_all
from ovenproof.tasks.shell import answer, chosen, number, say, verb
from ovenproof.tasks.surroundings import project

if TYPE_CHECKING:
    from ovenproof.core.entry import Entry
    from ovenproof.smoke import Conditions, Report, Subject


@verb(
    name="test",
    iterable=["model"],
    help={
        "model": "NAME of an entry whose image is tested; may be given several times",
        "all": "test the images of every entry",
        "image": "another reference of the image than the catalogue's",
        "hardened": "with a random user, a read-only root and no network",
        "timeout": "seconds to wait until the server is healthy (600)",
        "json": "for machines",
    },
)
def test(
    _context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    image: str = "",
    hardened: bool = False,
    timeout: str = "600",
    json: bool = False,
) -> None:
    """Start an image in the Docker engine, ask it everything, and remove the container."""
    from ovenproof import smoke
    from ovenproof.tasks.screen import progress

    here = project()
    catalogue = here.catalogue()
    timeout_s = number("--timeout", timeout, 1)
    reports: list[Report] = []
    faults: list[OvenproofError] = []
    names = chosen(here, model, all)
    if image and len(names) > 1:
        raise BadCall(
            "`--image` is one image, so it can be tested as one model only",
            subject=f"--image {image}",
            got=", ".join(names),
            hint=f"name one: --model {names[0]} --image {image}",
        )
    for name in names:
        entry = catalogue.entry(name)
        reference = image or f"{catalogue.repository}:{name}"
        flavour = here.flavour(entry.flavour).flavour
        with progress(quiet=json) as listener:
            try:
                report = smoke.run(
                    reference,
                    subject(
                        entry,
                        interpreter=flavour.interpreter,
                        needs_gpu=flavour.needs_gpu,
                    ),
                    environment=os.environ,
                    conditions=conditions(hardened=hardened),
                    listener=listener,
                    timeout_s=timeout_s,
                )
            except OvenproofError as fault:
                faults.append(fault)
                continue
        reports.append(report)
        if not json:
            say(f"{reference}: {len(report.checks)} checks passed")
    if json:
        answer(
            {
                "passed": {report.reference: [c.name for c in report.checks] for report in reports},
                "failed": [fault.text() for fault in faults],
            }
        )
    raise_all(faults)


def subject(entry: "Entry", *, interpreter: str, needs_gpu: bool) -> "Subject":
    """What is known of an entry's image before it is started."""
    from ovenproof.smoke import Subject

    return Subject(
        served_names=entry.served_names,
        adapters=tuple(adapter.name for adapter in entry.adapters),
        port=entry.port,
        interpreter=interpreter,
        expectations=entry.expect,
        needs_gpu=needs_gpu,
    )


def conditions(*, hardened: bool) -> "Conditions":
    """How a careful platform runs it: any user, nothing to write but /tmp, nobody to talk to."""
    from ovenproof.smoke import Conditions

    if not hardened:
        return Conditions()
    return Conditions(user="54321:0", read_only=True, tmpfs=("/tmp:exec",), network=False)  # noqa: S108
