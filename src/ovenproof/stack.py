"""An entry and its locks -> the stack of layers, lowest first.

Pure but for the text of the launcher, which is part of this package. The order: whichever of
runtime and weights is heavier sinks, because what lies under a changed layer is not moved again;
small files and the launcher, which change most often, are always on top.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from ovenproof import inside
from ovenproof.bases import registry_base
from ovenproof.bases.debian_spec import NOBODY, ROOT, RootSpec, User, layer_parameters
from ovenproof.bases.debian_spec import VERSION as ROOT_VERSION
from ovenproof.core import weights
from ovenproof.core.action import Action
from ovenproof.core.catalogue import Catalogue
from ovenproof.core.content import Literal
from ovenproof.core.digest import Digest, Json
from ovenproof.core.entry import Entry
from ovenproof.core.flavour import Based, Built, Flavour
from ovenproof.core.image import MAX_LAYERS
from ovenproof.core.image_lock import ImageLock, LockedWheel
from ovenproof.core.layer import PROFILE, File, recipe
from ovenproof.core.model_lock import ModelLock
from ovenproof.core.plan import Step, Supply
from ovenproof.errors import BadFile, LockAgain, raise_all
from ovenproof.inside import environment, serve_file
from ovenproof.wheels import layers as wheel_layers
from ovenproof.wheels.spread import Place
from ovenproof.wheels.target import Target
from ovenproof.wheels.vllm_options import Option

DEBIAN, WHEELS, LAUNCHER = "debian", "wheels", "launcher"


def root_spec(flavour: Built) -> RootSpec:
    """What the root file system has besides its packages."""
    return RootSpec(
        users=(ROOT, User(name="vllm", uid=2000, gid=0, home=environment.HOME), NOBODY),
        links={"usr/bin/python3": f"python{flavour.python.version}"},
    )


def place(flavour: Built) -> Place:
    """Where the flavour's wheels lie in the image."""
    python = flavour.python
    return Place(site=python.site, python=python.interpreter)


def target(flavour: Flavour) -> Target:
    """What the flavour's wheels are chosen for; a base's vLLM is only read, never installed."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[flavour.architecture]
    match flavour:
        case Built(python=python):
            major, minor = python.glibc.split(".")
            return Target(python=python.version, glibc=(int(major), int(minor)), machine=machine)
        case Based():
            return Target(machine=machine)
        case _:
            assert_never(flavour)


def runtime(flavour: Flavour, lock: ImageLock, *, mirror: str | None = None) -> tuple[Step, ...]:
    """The layers under the weights. `mirror` is where a base's layers are, besides its home."""
    match flavour:
        case Built():
            return _built(flavour, lock)
        case Based():
            if lock.base is None:
                raise LockAgain(
                    "a flavour's lock does not name the base",
                    subject=flavour.base.image,
                    hint="run `invoke lock --flavour NAME`",
                )
            return registry_base.steps(lock.base, mirror)
        case _:
            assert_never(flavour)


def _built(flavour: Built, lock: ImageLock) -> tuple[Step, ...]:
    """The root file system, then the wheels."""
    debs = tuple(Supply(kind="deb", name=deb.name, content=deb.content) for deb in lock.debs)
    root = Step(
        title=f"debian {flavour.debian.suite}",
        action=Action(
            kind=DEBIAN,
            version=ROOT_VERSION,
            inputs={f"{deb.name}={deb.version}": deb.content.digest for deb in lock.debs},
            parameters=layer_parameters(root_spec(flavour)),
        ),
        supplies=debs,
        reads=sum(supply.content.size for supply in debs),
    )
    groups = wheel_layers.groups(lock.wheels, top=flavour.python.top)
    return (root, *(_wheels(flavour, group.title, group.wheels) for group in groups))


def _wheels(flavour: Built, title: str, wheels: Sequence[LockedWheel]) -> Step:
    supplies = tuple(
        Supply(kind="wheel", name=wheel.filename, content=wheel.content) for wheel in wheels
    )
    return Step(
        title=title,
        action=Action(
            kind=WHEELS,
            version=wheel_layers.VERSION,
            inputs=wheel_layers.inputs(wheels),
            parameters=wheel_layers.parameters(place(flavour)),
        ),
        supplies=supplies,
        reads=sum(supply.content.size for supply in supplies),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Locked files, the folder of the image that they lie in, and what their bytes take."""

    folder: str
    lock: ModelLock
    supplies: tuple[Supply, ...] = ()
    distant: Mapping[str, Supply] = field(default_factory=dict)
    """Path -> what is read over the network unless it is brought here before."""
    homes: tuple[str, ...] = ()
    """Repositories that may have the layers, as `HOST/NAME`."""

    def step(self, group: weights.Group) -> Step:
        """The step that makes a layer of some of the files."""
        paths = (file.path for file in group.files)
        return Step(
            title=group.title,
            action=weights.action(group, self.folder),
            supplies=self.supplies,
            distant=tuple(self.distant[path] for path in paths if path in self.distant),
            reads=sum(file.size for file in group.files),
            homes=self.homes,
        )


def weights_steps(model: Weights, *, room: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """(big, small): the layers of the weights, and the one of the small files.

    `room` is how many layers the big ones may take.
    """
    small = weights.small_group(model.lock.files)
    return (
        tuple(model.step(group) for group in weights.big_groups(model.lock.files, room)),
        () if small is None else (model.step(small),),
    )


def adapter_steps(adapters: Mapping[str, Weights]) -> tuple[Step, ...]:
    """One layer for each adapter, all its files together: they are small, and change together."""
    return tuple(
        adapter.step(weights.Group(f"adapter {name}", tuple(sorted(adapter.lock.files))))
        for name, adapter in sorted(adapters.items())
    )


def room(below: Sequence[Step], adapters: int) -> int:
    """How many layers are left for big files, above a runtime and beside what is on top."""
    return MAX_LAYERS - len(below) - adapters - 2


def check_options(catalogue: Catalogue, entry: Entry, lock: ImageLock) -> None:
    """Refuse what the pinned vLLM does not know, where it was written. All faults at once."""
    known = options_from_json(lock.options)
    faults = []
    for option, words in entry.options():
        try:
            serve_file.check_arguments(words, known)
        except BadFile as fault:
            written = catalogue.options.get((entry.name, option))
            faults.append(
                BadFile(
                    fault.what,
                    subject=option,
                    where=written.where if written else entry.name,
                    excerpt=written.excerpt if written else None,
                    got=fault.got,
                    hint=fault.hint,
                )
            )
    raise_all(faults)


def launcher(
    entry: Entry, flavour: Flavour, lock: ImageLock, *, lora_rank: int | None = None
) -> Step:
    """The layer on top: the launcher and its one file of arguments. All its bytes are at hand."""
    program = inside.launcher()
    serve = serve_file.serve_json(
        program=flavour.program,
        arguments=entry.vllm_arguments(lora_rank),
        options=options_from_json(lock.options),
        model_path=entry.model_path,
        needs_gpu=flavour.needs_gpu,
        shm_bytes=flavour.shm_bytes,
    )
    made = recipe(
        (
            File(
                path=str(environment.LAUNCHER.relative_to("/")), body=Literal(program), mode=0o755
            ),
            File(path=str(environment.SERVE_FILE.relative_to("/")), body=Literal(serve)),
        )
    )
    return Step(
        title="launcher and arguments",
        action=Action(
            kind=LAUNCHER,
            version=1,
            inputs={"launch.py": Digest.of(program), "serve.json": Digest.of(serve)},
            parameters={"profile": PROFILE},
        ),
        literal=made,
    )


def stack(
    entry: Entry,
    flavour: Flavour,
    image_lock: ImageLock,
    model: Weights,
    adapters: Mapping[str, Weights],
    *,
    mirror: str | None = None,
) -> tuple[Step, ...]:
    """All layers, lowest first."""
    below = runtime(flavour, image_lock, mirror=mirror)
    big, small = weights_steps(model, room=room(below, len(adapters)))
    order = model.lock.order if entry.order == "auto" else entry.order
    heavy = (*big, *below) if order == "weights-first" else (*below, *big)
    ranks = [adapter.lock.facts.get("rank") for adapter in adapters.values()]
    rank = max((rank for rank in ranks if isinstance(rank, int)), default=None)
    top = launcher(entry, flavour, image_lock, lora_rank=rank)
    return (*heavy, *small, *adapter_steps(adapters), top)


def options_to_json(options: Sequence[Option]) -> Json:
    """vLLM's options, as a flavour's lock has them."""
    return [[option.takes, option.repeats, list(option.names)] for option in options]


def options_from_json(value: Json) -> list[Option]:
    """The same, read again. Raises LockAgain."""
    return [_option(item) for item in value] if isinstance(value, list) else [_option(value)]


def _option(item: Json) -> Option:
    match item:
        case ["nothing" | "one" | "some" | "maybe" as takes, bool(repeats), list(names)]:
            return Option(names=tuple(map(str, names)), takes=takes, repeats=repeats)
        case _:
            raise LockAgain(
                "a flavour's lock does not have the options of vLLM as it should",
                got=repr(item),
                hint="run `invoke lock --flavour NAME`",
            )
