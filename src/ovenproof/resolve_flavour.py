"""Locking a flavour: its Debian packages by apt, its wheels by uv and pip, vLLM's options."""

from pathlib import Path

from ovenproof.bases import debian_lock
from ovenproof.core.lock import ImageLock, LockedWheel
from ovenproof.errors import BadFile
from ovenproof.machine import Machine
from ovenproof.project import FlavourFiles, Project
from ovenproof.runners import Oven, Scene, remembered
from ovenproof.stack import options_to_json, place, runtime, target
from ovenproof.supply import debian_mirrors
from ovenproof.wheels import fetch, layers, requirements, vllm_options


def lock(
    project: Project, machine: Machine, files: FlavourFiles, *, upgrade: bool = False
) -> ImageLock:
    """Resolve a flavour's packages, prove its layers, and save the lock.

    Wheels keep the versions that they are pinned to, as far as the requirements allow; with
    `upgrade` all are free. Debian packages are always those that the mirrors have now.
    """
    if not project.may_save(files):
        raise BadFile(
            "this flavour comes with the package, as it was locked",
            subject=files.name,
            hint=f"copy its folder to images/{files.name} and its requirements, to lock your own",
        )
    flavour = files.flavour
    debs = debian_lock.resolve(
        suite=flavour.debian.suite,
        packages=flavour.debian.packages,
        sources=debian_mirrors(machine),
        without=flavour.debian.without,
        architecture=flavour.architecture,
        listener=machine.listener,
    )
    wheels = _wheels(machine, files, upgrade=upgrade)
    made = files.fingerprint()
    assert made is not None  # the requirements were written just now
    unproven = ImageLock(
        fingerprint=made,
        debs=debs,
        wheels=wheels,
        options=options_to_json(vllm_options.options(_vllm(machine, files, wheels))),
    )
    steps = runtime(flavour, unproven)
    known = remembered(machine, steps)
    oven = Oven(Scene(machine=machine, flavour=flavour, image_lock=unproven))
    proofs = oven.prove([step for step in steps if step.action.key not in known])
    proven = unproven.with_proofs({**known, **proofs})
    project.save_image(files, proven)
    return proven


def _wheels(machine: Machine, files: FlavourFiles, *, upgrade: bool) -> tuple[LockedWheel, ...]:
    flavour = files.flavour
    pinned = files.requirements.exists() and not upgrade
    pins = requirements.compile(
        files.wanted,
        files.requirements,
        target=target(flavour),
        excluded=flavour.python.without,
        indexes=flavour.python.indexes,
        pip=machine.pip,
        keep=requirements.read_pins(files.requirements) if pinned else (),
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


def _vllm(machine: Machine, files: FlavourFiles, wheels: tuple[LockedWheel, ...]) -> Path:
    name = files.flavour.python.vllm
    for wheel in wheels:
        if wheel.name == name:
            return machine.store.path(wheel.content)
    raise BadFile(
        "the requirements do not have the distribution that is vLLM",
        subject=name,
        where=files.requirements.name,
        hint=f"add `{name}==VERSION` to {files.wanted.name}",
    )
