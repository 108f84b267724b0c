"""A repository of the hub taken for a model: what is looked into before it is locked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ovenproof.core.digest import Content, Json
from ovenproof.core.safetensors import Head, parse
from ovenproof.events import Noted
from ovenproof.sources import cutting, pickles
from ovenproof.sources.checkpoint import describe
from ovenproof.sources.hub_files import HubFiles, each
from ovenproof.sources.remote_code import CONFIGS, Named, check_code, named_code
from ovenproof.sources.selection import Selection


@dataclass(frozen=True, slots=True)
class ReadHead:
    """The first bytes of a safetensors file, and what they say."""

    data: bytes
    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look into the chosen files gave."""

    facts: Mapping[str, Json]
    heads: Mapping[str, ReadHead]
    """Of the safetensors files, by path."""


def look_into(
    files: HubFiles, chosen: Selection, pins: Mapping[str, Content], *, remote_code: bool
) -> Looked:
    """Read config and heads, look for code and into pickles. Raises all faults at once."""
    heads: dict[str, ReadHead] = {}
    scanned: list[pickles.Scanned] = []

    def read() -> None:
        heads.update(read_heads(files, chosen, pins))

    def scan() -> None:
        scanned.extend(each(partial(_scan, files, pins), chosen.pickles))

    check = partial(_check_code, files, chosen, remote_code=remote_code)
    tasks: tuple[Callable[[], None], ...] = (read, check, scan)
    each(lambda task: task(), tasks)
    config = "config.json" if "config.json" in chosen.texts else "params.json"
    weights = [heads[path].head for path in chosen.weights if path in heads]
    found = describe(files.read(config), config, weights)
    if scanned:
        files.listener(Noted(text=pickles.risk(scanned, files.snapshot.model)))
        found["pickles"] = pickles.fact(scanned)
    return Looked(facts={**found, **license_fact(files)}, heads=heads)


def read_heads(
    files: HubFiles, chosen: Selection, pins: Mapping[str, Content]
) -> dict[str, ReadHead]:
    """The heads of the safetensors files, some asked for at once. Raises all faults at once."""

    def read(path: str) -> ReadHead:
        size = pins[path].size
        data = cutting.read_head(path, size, partial(files.reach.open_range, path, pins[path]))
        return ReadHead(data, parse(data, size, path))

    return dict(zip(chosen.safetensors, each(read, chosen.safetensors), strict=True))


def license_fact(files: HubFiles) -> dict[str, Json]:
    """What the model's card names, if a person can read it."""
    named = files.snapshot.license
    return {"license": named} if named and named.isprintable() else {}


def _scan(files: HubFiles, pins: Mapping[str, Content], path: str) -> pickles.Scanned:
    open_range = partial(files.reach.open_range, path, pins[path])
    return pickles.scan(path, pins[path].size, open_range)


def _check_code(files: HubFiles, chosen: Selection, *, remote_code: bool) -> None:
    configs = {path: files.read(path) for path in CONFIGS if path in chosen.texts}
    named = named_code(configs)
    model = files.snapshot.model
    if remote_code:
        check_code(named, [path for path in chosen.texts if path.endswith(".py")], model)
    elif named:
        files.listener(Noted(text=_untrusted(named, model)))


def _untrusted(named: tuple[Named, ...], model: str) -> str:
    modules = ascii(", ".join(sorted({one.reference for one in named})))[1:-1][:200]
    return (
        f"{model} names code of its own ({modules}), which is not baked;"
        " if vLLM asks for it, write `trust_remote_code: true`"
    )
