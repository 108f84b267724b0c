"""What an image's config says of itself: how it is run, what is in it, where that comes from."""

import shlex

from ovenproof.core.digest import canonical_json
from ovenproof.core.entry import Entry
from ovenproof.core.flavour import Flavour
from ovenproof.core.image import Settings
from ovenproof.core.lock import ImageLock, ModelLock
from ovenproof.inside import environment


def settings(
    entry: Entry, flavour: Flavour, image_lock: ImageLock, model_lock: ModelLock, reference: str
) -> Settings:
    """What the image's config says."""
    return Settings(
        entrypoint=(flavour.python.interpreter, *environment.ENTRYPOINT[1:]),
        environment={
            **environment.image_environment(gpu=flavour.needs_gpu),
            **flavour.environment,
            **dict(entry.env),
        },
        labels=_labels(entry, flavour, image_lock, model_lock, reference),
        port=entry.port,
        user=environment.USER,
        working_dir="/",
        architecture=flavour.architecture,
    )


def _labels(
    entry: Entry, flavour: Flavour, image_lock: ImageLock, model_lock: ModelLock, reference: str
) -> dict[str, str]:
    vllm = next(
        (wheel.version for wheel in image_lock.wheels if wheel.name == flavour.python.vllm),
        "",
    )
    # Where a folder lay on somebody's disk is no part of what the image is.
    origin = {key: value for key, value in model_lock.origin.items() if key != "folder"}
    labels = {
        "org.opencontainers.image.title": entry.name,
        "org.opencontainers.image.description": entry.description,
        "org.opencontainers.image.licenses": entry.license or "",
        "org.opencontainers.image.version": vllm,
        "org.ovenproof.entry": entry.name,
        "org.ovenproof.flavour": entry.flavour,
        "org.ovenproof.model": canonical_json(origin).decode(),
        "org.ovenproof.run": run_line(entry, flavour, reference),
        "org.ovenproof.served-names": " ".join(entry.served_names),
        "org.ovenproof.vllm": f"{flavour.python.vllm} {vllm}",
    }
    return {name: value for name, value in labels.items() if value}


def run_line(entry: Entry, flavour: Flavour, reference: str) -> str:
    """The command to start the image with."""
    words = ["docker", "run", "--rm", "--init"]
    if flavour.needs_gpu:
        words += ["--gpus", "all"]
    words += ["--shm-size", "1g", "-p", f"{entry.port}:{entry.port}", reference]
    return shlex.join(words)
