"""Fetching locked Debian packages from a mirror into the store, each checked against the lock."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import quote

import httpx2

from ovenproof.bases.debian_sources import SETTING
from ovenproof.core.address import shown
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import LockAgain, NoAccess, OvenproofError, TryAgain, WrongBytes, raise_all
from ovenproof.events import Advanced, Finished, Listener, Started, silent
from ovenproof.net.client import client
from ovenproof.store.store import Store

WAITS_S = (0.5, 2.0)
"""Between one try and the next; so there are three."""
_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)


class _Unanswered(Exception):
    """The server is there, and has no answer now."""


class _NoMirror(TryAgain):
    """Nobody was asked."""


class _Forbidden(NoAccess):
    """A mirror says no; the store, which may say so too, is not meant."""


_WORST_FIRST: tuple[type[OvenproofError], ...] = (WrongBytes, _Forbidden, TryAgain, LockAgain)


def fetch(
    debs: Sequence[LockedDeb],
    store: Store,
    *,
    mirrors: Mapping[str, Sequence[str]],
    listener: Listener = silent,
    jobs: int = 4,
    waits_s: Sequence[float] = WAITS_S,
) -> None:
    """Bring every package that is not in the store. `listener` is called from several threads.

    Proxies come from the environment. Whatever arrived stays, whatever else went wrong. Raises
    TryAgain where no mirror answers, LockAgain where the mirrors have moved on, WrongBytes where
    all that a mirror gave was wrong.
    """
    missing = [deb for deb in debs if not store.verify(deb.content)]
    if not missing:
        return
    with (
        client(follow_redirects=True, timeout=_TIMEOUT) as http,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):
        run = _Run(client=http, store=store, mirrors=mirrors, listener=listener, waits_s=waits_s)
        try:
            faults = list(pool.map(run.fetch, missing))
        except BaseException:  # a full disk, or a person's Ctrl-C: start no more
            pool.shutdown(cancel_futures=True)
            raise
    raise_all(_grouped([(deb, fault) for deb, fault in zip(missing, faults, strict=True) if fault]))


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call of `fetch`."""

    client: httpx2.Client
    store: Store
    mirrors: Mapping[str, Sequence[str]]
    listener: Listener
    waits_s: Sequence[float]
    down: dict[str, str] = field(default_factory=dict)
    """Mirrors that could not be connected to, and why: not asked again for every package."""

    def fetch(self, deb: LockedDeb) -> OvenproofError | None:
        """Try each mirror. What remains to be told is the fault that tells most."""
        faults: list[OvenproofError] = []
        for mirror in self.mirrors.get(deb.archive, ()):
            name = PurePosixPath(deb.path).name
            self.listener(Started(name=name, total=deb.content.size))
            try:
                self.store.add(self._chunks(deb, mirror, name), expected=deb.content, what=name)
            except (WrongBytes, _Forbidden, TryAgain, LockAgain) as error:
                faults.append(error)
                self.listener(Finished(name=name, failed=True))
            else:
                self.listener(Finished(name=name))
                return None
        if not faults:
            return _NoMirror("nobody to ask", subject=deb.archive)
        return min(faults, key=lambda fault: _WORST_FIRST.index(type(fault)))

    def _chunks(self, deb: LockedDeb, mirror: str, name: str) -> Iterator[bytes]:
        """The package's bytes; a broken connection goes on where it stopped."""
        url = f"{mirror}/{quote(deb.path)}"
        size = deb.content.size
        seen = 0
        why = ""
        for wait_s in (0.0, *self.waits_s):
            if mirror in self.down:
                why = self.down[mirror]
                break
            time.sleep(wait_s)
            try:
                for chunk in self._from(url, seen):
                    seen += len(chunk)
                    if seen > size:
                        raise _too_long(deb, url)
                    self.listener(Advanced(name=name, size=len(chunk)))
                    yield chunk
                if seen == size:
                    return
                why = f"the connection ended after {seen} of {size} bytes"
            except _Unanswered as error:
                why = str(error)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
                why = str(error) or type(error).__name__
                if wait_s == self.waits_s[-1]:
                    self.down[mirror] = why
            except httpx2.HTTPError as error:
                why = str(error) or type(error).__name__
        raise TryAgain("a mirror did not answer", subject=name, where=shown(url), got=why)

    def _from(self, url: str, offset: int) -> Iterator[bytes]:
        """What the mirror has from an offset on. A mirror that cannot do ranges begins anew."""
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with self.client.stream("GET", url, headers=headers) as response:
            _check_status(response, url)
            skip = offset
            if response.status_code == 206:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                    raise _Unanswered("another range than was asked for")
                skip = 0
            for chunk in response.iter_raw():
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(skip - len(chunk), 0)


def _check_status(response: httpx2.Response, url: str) -> None:
    code = response.status_code
    got = f"HTTP status {code}"
    if code in (200, 206):
        return
    if code in (404, 410):
        raise LockAgain("a mirror no longer has a package", where=shown(url), got=got)
    if code in (401, 403, 407, 451):
        raise _Forbidden(
            "a Debian mirror refuses",
            subject=PurePosixPath(url).name,
            where=shown(url),
            got=got,
            hint=f"give access to it, or set {SETTING} to another mirror",
        )
    if code == 416:
        raise WrongBytes("a mirror's file ends before the package does", where=shown(url), got=got)
    raise _Unanswered(got)


def _too_long(deb: LockedDeb, url: str) -> WrongBytes:
    return WrongBytes(
        "a mirror gives more bytes than the package has",
        subject=deb.name,
        where=shown(url),
        expected=f"{deb.content.size} bytes (locked)",
        got="more",
    )


def _grouped(faults: Sequence[tuple[LockedDeb, OvenproofError]]) -> Iterator[OvenproofError]:
    """One error for all packages that the same remedy brings; one each for wrong bytes."""
    for deb, fault in faults:
        if isinstance(fault, WrongBytes):
            yield WrongBytes(
                f"no mirror gives the right bytes of {deb.name}",
                subject=f"{deb.name} {deb.version}",
                where=fault.where,
                expected=fault.expected,
                got=fault.got,
                hint=f"try again later, or set {SETTING} to another mirror",
            )
        elif isinstance(fault, NoAccess):
            yield fault
    if gone := [(deb, fault) for deb, fault in faults if isinstance(fault, LockAgain)]:
        yield LockAgain(
            "the Debian mirrors no longer have what is locked",
            subject=_named(deb for deb, _fault in gone),
            where=gone[0][1].where,
            got=gone[0][1].got,
            hint="run `invoke lock --flavour NAME`, or set "
            f"{SETTING} to a snapshot mirror that still has it",
        )
    if alone := [(deb, fault) for deb, fault in faults if isinstance(fault, _NoMirror)]:
        yield TryAgain(
            "Debian packages are missing here, and no mirror is known to fetch them from",
            subject=_named(deb for deb, _fault in alone),
            expected=f"a mirror of {', '.join(sorted({str(fault.subject) for _, fault in alone}))}",
            got="none in apt's configuration",
            hint=f"set {SETTING} to the address of a mirror",
        )
    if lost := [(deb, fault) for deb, fault in faults if type(fault) is TryAgain]:
        yield TryAgain(
            "Debian packages are missing here, and no mirror answers",
            subject=_named(deb for deb, _fault in lost),
            where=lost[0][1].where,
            got=lost[0][1].got,
            hint=f"go online and try again, or set {SETTING} to a mirror that answers",
        )


def _named(debs: Iterable[LockedDeb]) -> str:
    return ", ".join(sorted(f"{deb.name} {deb.version}" for deb in debs))
