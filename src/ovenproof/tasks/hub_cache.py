"""`invoke export-cache` and `import-cache`: the hub's own cache, for machines that share one.

What a build has fetched need not be fetched again by who downloads with the hub's client, nor the
other way round. A cache is read in place without either of them.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import BadCall, LockAgain, OvenproofError, about_entry, raise_all
from ovenproof.tasks.shell import answer, chosen, say, verb
from ovenproof.tasks.surroundings import machine, project

if TYPE_CHECKING:
    from ovenproof.core.model_lock import ModelLock
    from ovenproof.project import Project


@verb(
    name="export-cache",
    iterable=["model"],
    help={
        "model": "NAME of an entry whose weights come from the hub; may be given several times",
        "all": "every such entry that is locked",
        "to": "DIR of the cache; without it the one that the hub's client uses here",
        "json": "for machines",
    },
)
def export_cache(
    _context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    to: str = "",
    json: bool = False,
) -> None:
    """Write locked weights as a cache that the hub's client reads; what is not here is fetched."""
    from ovenproof.hub.exchange import export
    from ovenproof.hub.fetch import fetch
    from ovenproof.sources.hub_shelf import originals
    from ovenproof.tasks.screen import progress, size

    here = project(saves=False)
    told = []
    with progress(quiet=json) as listener:
        gives = machine(listener)
        folder = Path(to).absolute() if to else gives.hub_cache.folder
        for name, lock in _locked(here, chosen(here, model, all), everything=all):
            wanted = originals(lock)
            missing = [pair for pair in wanted if not gives.store.verify(pair[1])]
            if missing:
                with about_entry(name):
                    fetch(gives.hub(), missing, gives.store, jobs=gives.jobs, listener=listener)
            at = wanted[0][0]
            revision = lock.origin.get("revision")
            export(
                at.model,
                at.commit,
                revision if isinstance(revision, str) else None,
                [(at.path, content, partial(gives.store.open, content)) for at, content in wanted],
                folder,
            )
            total = sum(content.size for _, content in wanted)
            told.append({"model": at.model, "commit": at.commit, "bytes": total, "name": name})
            if not json:
                say(f"{name}: {at.model}@{at.commit[:12]}, {size(total)} in {folder}")
    if json:
        answer({"cache": str(folder), "models": told})


@verb(
    name="import-cache",
    iterable=["model"],
    help={
        "model": "NAME of an entry whose weights come from the hub; may be given several times",
        "all": "every such entry that is locked",
        "from": "DIR of the cache; without it the one that the hub's client uses here",
        "json": "for machines",
    },
)
def import_cache(
    _context: Context,
    model: list[str],
    all: bool = False,  # noqa: A002
    from_: str = "",
    json: bool = False,
) -> None:
    """Take locked weights out of a cache of the hub's client, as far as they are what is locked."""
    from ovenproof.hub.cache import HubCache
    from ovenproof.hub.exchange import import_
    from ovenproof.sources.hub_shelf import originals
    from ovenproof.tasks.screen import count, progress, size

    here = project(saves=False)
    with progress(quiet=json) as listener:
        gives = machine(listener)
        cache = gives.hub_cache
        if from_:
            cache = HubCache(Path(from_).absolute(), gives.seen)
        if not cache.folder.is_dir():
            raise BadCall("there is no such cache", subject=cache.folder, hint="name it by --from")
        locked = _locked(here, chosen(here, model, all), everything=all)
        pairs = (pair for _, lock in locked for pair in originals(lock))
        wanted = [*{content: (at, content) for at, content in pairs}.values()]
        taken = import_(cache, wanted, gives.store)
    total = sum(content.size for content in taken)
    lacking = {content for _, content in wanted if not gives.store.has(content)}
    missing = sum(content.size for content in lacking)
    doubted = sorted(str(place) for place in cache.doubted)
    if json:
        answer(
            {
                "cache": str(cache.folder),
                "files": len(taken),
                "bytes": total,
                "missing": missing,
                "doubted": doubted,
            }
        )
        return
    near = len(wanted) - len(taken) - len(lacking)
    say(
        f"{count(len(taken), 'file')} taken, {size(total)}; {near} were in the store already,"
        f" {len(lacking)} are not there ({size(missing)})"
    )
    for place in doubted:
        say(f"left out, because it is not what is locked: {place}")


def _locked(
    here: "Project", names: Sequence[str], *, everything: bool
) -> "Iterator[tuple[str, ModelLock]]":
    """The locks, of models and of adapters, that come from the hub."""
    faults: list[OvenproofError] = []
    locks, catalogue = here.models_lock().models, here.catalogue()
    for name in names:
        lock = locks.get(name)
        if lock is None or not lock.is_of(catalogue.entry(name)):
            if lock is not None or not everything:
                what = "is not locked" if lock is None else "has changed since it was locked"
                hint = f"run `invoke lock --model {name}`"
                faults.append(LockAgain(f"this model {what}", subject=name, hint=hint))
            continue
        found = (lock, *lock.adapters.values())
        of_hub = [one for one in found if one.origin.get("kind") == "hub"]
        yield from ((name, one) for one in of_hub)
        if not of_hub and not everything:
            faults.append(BadCall("its weights are not from the hub", subject=name))
    raise_all(faults)
