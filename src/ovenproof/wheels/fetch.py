"""Getting locked wheels into the store, with pip and therefore with the machine's own indexes.

Small wheels travel a dozen at a time, so that a killed run loses little; a big one travels alone.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from ovenproof.core.action import Action, Outcome
from ovenproof.core.digest import Content, Digest, Json
from ovenproof.core.image_lock import LockedWheel
from ovenproof.errors import LockAgain, NoSpace, OvenproofError, TryAgain, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Listener, Started, silent
from ovenproof.store.store import Store
from ovenproof.wheels.download import Wanted, download
from ovenproof.wheels.pip import Pip
from ovenproof.wheels.requirements import Pin
from ovenproof.wheels.target import Target

TOGETHER = 12
ALONE_FROM = 8 << 20


def fetch(
    wheels: Sequence[LockedWheel],
    store: Store,
    *,
    target: Target,
    pip: Pip,
    indexes: Mapping[str, str],
    listener: Listener = silent,
    jobs: int = 2,
) -> None:
    """Fetch what the store lacks, verified. Calls nobody when it lacks nothing.

    `indexes` gives a distribution an index of its own, asked after the configured ones. All
    faults are shown together; what did arrive is kept.
    """
    own = _by_name(indexes)
    missing = [
        Wanted.of(wheel, own.get(wheel.name))
        for wheel in sorted(wheels)
        if not store.verify(wheel.content)
    ]
    _Fetching(store, target, pip, listener).run(missing, jobs)


def lock(
    pins: Sequence[Pin],
    store: Store,
    *,
    target: Target,
    pip: Pip,
    indexes: Mapping[str, str],
    listener: Listener = silent,
    jobs: int = 2,
) -> tuple[LockedWheel, ...]:
    """The wheel of each pin that fits the target best: fetched into the store, and named.

    Which file a pin became is remembered, so that locking again fetches nothing. All pins or none:
    raises TryAgain where one is not there although it was fetched.
    """
    own = _by_name(indexes)
    known = {pin: _recall(pin, store, target) for pin in pins}
    missing = [
        Wanted(pin=pin, index=own.get(pin.name)) for pin, wheel in known.items() if wheel is None
    ]
    _Fetching(store, target, pip, listener).run(missing, jobs)
    for item in missing:
        known[item.pin] = _recall(item.pin, store, target)
    if lost := sorted(f"{pin.name}=={pin.version}" for pin, wheel in known.items() if not wheel):
        raise TryAgain(
            "wheels were fetched and are not in the store",
            subject=", ".join(lost),
            where=store.root,
            hint="run the same command again when nobody empties the store",
        )
    return tuple(sorted(wheel for wheel in known.values() if wheel is not None))


@dataclass(slots=True)
class _Fetching:
    """One call of `fetch` or `lock`: what its threads share."""

    store: Store
    target: Target
    pip: Pip
    listener: Listener
    stop: threading.Event = field(default_factory=threading.Event)
    offline: threading.Event = field(default_factory=threading.Event)
    """The configured indexes did not answer once; they are not asked again."""
    unreached: list[tuple[Wanted, TryAgain]] = field(default_factory=list)

    def run(self, missing: Sequence[Wanted], jobs: int) -> None:
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            try:
                faults = [one for some in pool.map(self.batch, batches(missing)) for one in some]
            except BaseException:
                self.stop.set()
                raise
        if self.unreached:
            first = self.unreached[0][1]
            names = ", ".join(sorted(str(item) for item, _error in self.unreached))
            faults.append(TryAgain(first.what, subject=names, got=first.got, hint=first.hint))
        raise_all(faults)

    def batch(self, wanted: Sequence[Wanted]) -> list[OvenproofError]:
        """Fetch a batch, unless another process does so meanwhile."""
        name = f"fetch {wanted[0]}" + (f" and {len(wanted) - 1} more" if wanted[1:] else "")
        with self.store.locked(_claim(wanted)):
            left = [item for item in wanted if not self.here(item)]
            if not left or self.stop.is_set():
                return []
            sizes = [item.locked.content.size for item in left if item.locked]
            total = sum(sizes) if len(sizes) == len(left) else None
            self.listener(Started(name=name, total=total))
            faults = self.attempt(left, _Meter(name, total, self.listener))
            self.listener(Finished(name=name))
            return faults

    def here(self, item: Wanted) -> bool:
        if item.locked:
            return self.store.has(item.locked.content)
        return _recall(item.pin, self.store, self.target) is not None

    def attempt(self, wanted: Sequence[Wanted], meter: "_Meter") -> list[OvenproofError]:
        """Fetch them together; where that fails, each alone, so that one fault stops no other."""
        own = sorted({item.index for item in wanted if item.index})
        try:
            self.ask(wanted, own, meter)
        except TryAgain as error:
            if not own:
                self.offline.set()
            self.unreached.extend((item, error) for item in wanted)
        except NoSpace:
            raise  # one by one they find no room either
        except OvenproofError as error:
            if len(wanted) == 1:
                return [error]
            return [fault for item in wanted for fault in self.attempt([item], meter)]
        return []

    def ask(self, wanted: Sequence[Wanted], own: Sequence[str], meter: "_Meter") -> None:
        if self.offline.is_set() and not own:
            raise TryAgain("the package indexes did not answer, and this is not in the store")
        try:
            self.bring(wanted, (), meter)
        except (LockAgain, TryAgain):
            if not own:
                raise
            self.bring(wanted, own, meter)

    def bring(self, wanted: Sequence[Wanted], own: Sequence[str], meter: "_Meter") -> None:
        with self.store.temporary() as folder:
            found = download(
                wanted,
                folder,
                target=self.target,
                pip=self.pip,
                indexes=own,
                stop=self.stop,
                heard=meter,
            )
            for item, path in found.items():
                self.adopt(item, path)

    def adopt(self, item: Wanted, path: Path) -> None:
        expected = item.locked.content if item.locked else None
        if expected is None and item.pin.digests:
            expected = _one_of(item, path)
        content = self.store.adopt(path, expected=expected, what=str(item))
        self.store.remember(_chosen(item.pin, self.target).key, Outcome({path.name: content}))


@dataclass(slots=True)
class _Meter:
    """Tells the listener of bytes, and never of more than were promised."""

    name: str
    total: int | None
    listener: Listener
    told: int = 0

    def __call__(self, size: int) -> None:
        if self.total is not None:
            size = min(size, self.total - self.told)
        if size > 0:
            self.told += size
            self.listener(Advanced(name=self.name, size=size))


def batches(missing: Sequence[Wanted]) -> Iterator[tuple[Wanted, ...]]:
    """What travels together. What is big, or has an index of its own, travels alone and first."""
    small: list[Wanted] = []
    for item in missing:
        if item.index or (item.locked and item.locked.content.size >= ALONE_FROM):
            yield (item,)
        else:
            small.append(item)
    for start in range(0, len(small), TOGETHER):
        yield tuple(small[start : start + TOGETHER])


def _one_of(item: Wanted, path: Path) -> Content:
    """What came, if it is one of those that the pin allows. Raises WrongBytes."""
    with path.open("rb", buffering=0) as stream:
        digest = Digest(hashlib.file_digest(stream, "sha256").hexdigest())
        if digest not in item.pin.digests:
            raise WrongBytes(
                "an index gives other bytes than those that are locked",
                subject=item,
                expected=" or ".join(str(digest) for digest in item.pin.digests),
                got=digest,
                hint="use an index that has the original files, or lock again",
            )
        return Content(digest, stream.tell())


def _chosen(pin: Pin, target: Target) -> Action:
    """The choice of the file that fits: its outcome is remembered under the file's name."""
    digests: list[Json] = [str(digest) for digest in pin.digests]
    return Action(
        kind="choose-wheel",
        version=1,
        parameters={
            "name": pin.name,
            "version": pin.version,
            "digests": digests,
            "python": target.python,
            "platforms": target.platforms,
        },
    )


def _recall(pin: Pin, store: Store, target: Target) -> LockedWheel | None:
    outcome = store.recall(_chosen(pin, target).key)
    for filename, content in outcome.outputs.items() if outcome else ():
        if store.verify(content):
            return LockedWheel(filename, content)
    return None


def _claim(wanted: Sequence[Wanted]) -> Digest:
    """What a process holds while it fetches this batch."""
    return Digest.of("\n".join(str(item) for item in wanted).encode())


def _by_name(indexes: Mapping[str, str]) -> dict[str, str]:
    return {canonicalize_name(name): url for name, url in indexes.items()}
