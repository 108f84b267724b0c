"""Locking a flavour: its packages by apt, uv and pip, or its base by a registry; vLLM's options."""

from pathlib import Path
from typing import assert_never

from packaging.utils import canonicalize_name

from ovenproof.bases import debian_lock, registry_lock
from ovenproof.core.base import LockedBase
from ovenproof.core.flavour import Based, Built
from ovenproof.core.image_lock import ImageLock, LockedWheel
from ovenproof.errors import BadFile
from ovenproof.events import Noted
from ovenproof.machine import Machine
from ovenproof.oven import Oven
from ovenproof.project import FlavourFiles, Project
from ovenproof.runners import Scene, remembered
from ovenproof.stack import options_to_json, place, runtime, target
from ovenproof.supply import debian_mirrors
from ovenproof.wheels import fetch, layers, requirements, vllm_options


def lock(
    project: Project, machine: Machine, files: FlavourFiles, *, upgrade: bool = False
) -> ImageLock:
    """Resolve a flavour's packages or base, prove its layers, and save the lock.

    Wheels keep the versions that they are pinned to, as far as the requirements allow; with
    `upgrade` all are free. Debian packages are always those that the mirrors have now, and a base
    is what its tag names now.
    """
    if not project.may_save(files):
        raise BadFile(
            "this flavour comes with the package, and its lock is not yours to write",
            subject=files.name,
            hint=f"copy its folder to images/{files.name} and its requirements, to lock your own",
        )
    match files.flavour:
        case Built():
            made = _built(machine, files, files.flavour, upgrade=upgrade)
        case Based():
            made = _based(project, machine, files, files.flavour)
        case _:
            assert_never(files.flavour)
    project.save_image(files, made)
    return made


def _based(project: Project, machine: Machine, files: FlavourFiles, flavour: Based) -> ImageLock:
    """What the base's tag names now. Its layers need no proof: their digests are all we know."""
    base = registry_lock.resolve(
        flavour.base.image,
        architecture=flavour.architecture,
        at=machine.registries().at,
        mirror=machine.base_mirror,
        where=f"images/{files.name}/image.yaml",
    )
    name, version = flavour.base.vllm
    (wheel,) = fetch.lock(
        [requirements.Pin(canonicalize_name(name), version, ())],
        machine.store,
        target=target(flavour),
        pip=machine.pip,
        indexes={},
        listener=machine.listener,
    )
    made = ImageLock(
        fingerprint=flavour.fingerprint(),
        base=base,
        options=options_to_json(vllm_options.options(machine.store.path(wheel.content))),
    )
    runtime(flavour, made)  # refuses a base that leaves no room
    was = _locked_before(project, files)
    if was is not None and was.digest != base.digest:
        text = f"{base.name} is {base.digest.short} now; {was.name} was {was.digest.short}"
        machine.listener(Noted(text=text))
    return made


def _locked_before(project: Project, files: FlavourFiles) -> LockedBase | None:
    try:
        lock = project.image_lock(files)
    except BadFile:  # who locks again need not be able to read what is replaced
        return None
    return lock.base if lock else None


def _built(machine: Machine, files: FlavourFiles, flavour: Built, *, upgrade: bool) -> ImageLock:
    debs = debian_lock.resolve(
        suite=flavour.debian.suite,
        packages=flavour.debian.packages,
        sources=debian_mirrors(machine),
        without=flavour.debian.without,
        architecture=flavour.architecture,
        listener=machine.listener,
    )
    wheels = _wheels(machine, files, flavour, upgrade=upgrade)
    made = files.fingerprint()
    assert made is not None  # the requirements were written just now
    unproven = ImageLock(
        fingerprint=made,
        debs=debs,
        wheels=wheels,
        options=options_to_json(vllm_options.options(_vllm(machine, files, flavour, wheels))),
    )
    steps = runtime(flavour, unproven)
    known = remembered(machine, steps)
    oven = Oven(Scene(machine=machine, flavour=flavour, image_lock=unproven))
    proofs = oven.prove([step for step in steps if step.action.key not in known])
    return unproven.with_proofs({**known, **proofs})


def _wheels(
    machine: Machine, files: FlavourFiles, flavour: Built, *, upgrade: bool
) -> tuple[LockedWheel, ...]:
    path = files.requirements(flavour.python)
    pinned = path.exists() and not upgrade
    pins = requirements.compile(
        files.wanted(flavour.python),
        path,
        target=target(flavour),
        excluded=flavour.python.without,
        indexes=flavour.python.indexes,
        pip=machine.pip,
        keep=requirements.read_pins(path) if pinned else (),
    )
    wheels = fetch.lock(
        pins,
        machine.store,
        target=target(flavour),
        pip=machine.pip,
        indexes=flavour.python.indexes,
        listener=machine.listener,
        jobs=machine.jobs,
    )
    layers.check_conflicts(
        [(wheel, machine.store.path(wheel.content)) for wheel in wheels], place=place(flavour)
    )
    return wheels


def _vllm(
    machine: Machine, files: FlavourFiles, flavour: Built, wheels: tuple[LockedWheel, ...]
) -> Path:
    name = flavour.python.vllm
    for wheel in wheels:
        if wheel.name == name:
            return machine.store.path(wheel.content)
    raise BadFile(
        "the requirements do not have the distribution that is vLLM",
        subject=name,
        where=files.requirements(flavour.python).name,
        hint=f"add `{name}==VERSION` to {files.wanted(flavour.python).name}",
    )
