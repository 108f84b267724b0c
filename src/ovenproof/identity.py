"""What an image's config says of itself: how it is run, what is in it, where that comes from."""

import shlex
from typing import assert_never

from ovenproof.core.digest import canonical_json
from ovenproof.core.entry import Entry
from ovenproof.core.flavour import Based, Built, Flavour
from ovenproof.core.image import Settings
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.shapes import license_of, origin
from ovenproof.inside import environment


def settings(
    entry: Entry, flavour: Flavour, image_lock: ImageLock, model_lock: ModelLock, reference: str
) -> Settings:
    """What the image's config says."""
    return Settings(
        entrypoint=(flavour.interpreter, *environment.ENTRYPOINT[1:]),
        environment={
            **_environment(flavour, image_lock),
            **flavour.environment,
            **dict(entry.env),
        },
        labels=_labels(entry, flavour, image_lock, model_lock, reference),
        port=entry.port,
        user=environment.USER,
        working_dir="/",
        architecture=flavour.architecture,
    )


_BASES_OWN = ("PATH", "LANG")
"""What a base knows better than we do."""


def _environment(flavour: Flavour, image_lock: ImageLock) -> dict[str, str]:
    """A base's variables under ours, for its programs and libraries lie where it says."""
    ours = environment.image_environment(gpu=flavour.needs_gpu)
    theirs = image_lock.base.environment if image_lock.base else {}
    return {**theirs, **ours, **{name: theirs[name] for name in _BASES_OWN if name in theirs}}


def _labels(
    entry: Entry, flavour: Flavour, image_lock: ImageLock, model_lock: ModelLock, reference: str
) -> dict[str, str]:
    vllm, version = _vllm(flavour, image_lock)
    labels = {
        "org.opencontainers.image.title": entry.name,
        "org.opencontainers.image.description": entry.description,
        "org.opencontainers.image.licenses": license_of(entry, model_lock),
        "org.opencontainers.image.version": version,
        **_base_labels(image_lock),
        "org.ovenproof.entry": entry.name,
        "org.ovenproof.flavour": entry.flavour,
        "org.ovenproof.model": canonical_json(origin(model_lock)).decode(),
        "org.ovenproof.run": run_line(entry, flavour, reference),
        "org.ovenproof.served-names": " ".join(entry.served_names),
        "org.ovenproof.vllm": f"{vllm} {version}",
    }
    return {name: value for name, value in labels.items() if value}


def _base_labels(image_lock: ImageLock) -> dict[str, str]:
    base = image_lock.base
    if base is None:
        return {}
    return {
        "org.opencontainers.image.base.name": base.name,
        "org.opencontainers.image.base.digest": str(base.digest),
    }


def _vllm(flavour: Flavour, image_lock: ImageLock) -> tuple[str, str]:
    """The distribution that is vLLM, and its version."""
    match flavour:
        case Built(python=python):
            wheels = (wheel for wheel in image_lock.wheels if wheel.name == python.vllm)
            return python.vllm, next((wheel.version for wheel in wheels), "")
        case Based(base=base):
            return base.vllm
        case _:
            assert_never(flavour)


def run_line(entry: Entry, flavour: Flavour, reference: str) -> str:
    """The command to start the image with."""
    words = ["docker", "run", "--rm", "--init"]
    if flavour.needs_gpu:
        words += ["--gpus", "all"]
    words += ["--shm-size", "1g", "-p", f"{entry.port}:{entry.port}", reference]
    return shlex.join(words)
