"""A repository of the hub taken for a model: what is looked into before it is locked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content, Json
from ovenproof.core.safetensors import Head, parse
from ovenproof.errors import WrongBytes
from ovenproof.events import Noted
from ovenproof.sources import cutting, pickles
from ovenproof.sources.checkpoint import QUANTIZED, describe
from ovenproof.sources.hub_files import HubFiles, each
from ovenproof.sources.remote_code import CONFIGS, Named, check_code, named_code
from ovenproof.sources.selection import Selection
from ovenproof.store.shelf import Absent, open_local


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
        _bring(files, {path: pins[path] for path in chosen.pickles})
        scanned.extend(each(partial(_scan, files, pins), chosen.pickles))

    check = partial(_check_code, files, chosen, remote_code=remote_code)
    tasks: tuple[Callable[[], None], ...] = (read, check, scan)
    each(lambda task: task(), tasks)
    config = "config.json" if "config.json" in chosen.texts else "params.json"
    weights = [heads[path].head for path in chosen.weights if path in heads]
    beside = files.read(QUANTIZED) if QUANTIZED in chosen.texts else None
    found = describe(files.read(config), config, weights, beside=beside)
    if scanned:
        files.listener(Noted(text=pickles.risk(scanned, files.snapshot.model)))
        found["pickles"] = pickles.fact(scanned)
    return Looked(facts={**found, **license_fact(files)}, heads=heads)


def read_heads(
    files: HubFiles, chosen: Selection, pins: Mapping[str, Content]
) -> dict[str, ReadHead]:
    """The heads of the safetensors files, some asked for at once. Raises all faults at once."""

    def read(path: str) -> ReadHead:
        try:
            return _read_head(files, path, pins[path])
        except WrongBytes:
            if not files.reach.was_wrong(path, pins[path]):
                raise
            return _read_head(files, path, pins[path])

    return dict(zip(chosen.safetensors, each(read, chosen.safetensors), strict=True))


def _read_head(files: HubFiles, path: str, content: Content) -> ReadHead:
    open_range = partial(files.reach.peek, path, content)
    data = cutting.read_head(path, content.size, open_range)
    return ReadHead(data, parse(data, content.size, path))


def license_fact(files: HubFiles) -> dict[str, Json]:
    """What the model's card names, if a person can read it."""
    named = files.snapshot.license
    return {"license": named} if named and named.isprintable() else {}


def _bring(files: HubFiles, wanted: Mapping[str, Content]) -> None:
    """Have these files on this machine, verified.

    Of ranges nobody knows whether they are the file that everybody else is given.
    """
    pairs = [
        (files.reach.at(path), content)
        for path, content in wanted.items()
        if _verified(files, path, content) is None
    ]
    if pairs:
        from ovenproof.hub.fetch import fetch  # noqa: PLC0415  it imports an HTTP client

        reach = files.reach
        fetch(reach.hub(), pairs, reach.store, jobs=files.jobs, listener=files.listener)


def _scan(files: HubFiles, pins: Mapping[str, Content], path: str) -> pickles.Scanned:
    content = pins[path]
    file = _verified(files, path, content)
    if file is None:
        raise Absent(content)
    return pickles.scan(path, content.size, lambda offset, _: open_local(file, offset))


def _verified(files: HubFiles, path: str, content: Content) -> LocalFile | None:
    """The file on this machine that has exactly this content: in the store or the hub's cache."""
    store = files.reach.store
    if store.verify(content):
        return LocalFile(store.path(content), content.size)
    return files.reach.cached(path, content)


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
