"""Xet, the hub's chunked storage: another way to a range of a big file, by the hub's own client.

A hub that keeps a file there says so where it sends us on. Then the blocks after a file's first
come by it; and by plain HTTPS after anything that goes wrong, for all that is still to come. What
comes is verified as everything else is. The token stays here: the storage gets one of its own,
which the hub gives for this repository and for a short while.

Tried: the hub's half, against a hub of ours, with a storage that is injected; and `hf_xet` 1.8
itself against a storage that nobody serves, where a stream breaks down, or ends without a byte and
without a word. Not tried: a real storage.
"""

import threading
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TypeAlias

from ovenproof.hub.asking import Access
from ovenproof.hub.files import Located
from ovenproof.hub.hub import Hub

Ranges: TypeAlias = Callable[[str, int, int, int], Iterable[bytes]]
"""(hash, size of the file, first byte, the one after the last) -> the bytes between."""
Storage: TypeAlias = Callable[[Access], Ranges]

_SETTINGS = {"telemetry.enabled": False, "client.retry_max_attempts": 2}


class Xet:
    """The storage behind one hub. May be used by many threads at once."""

    def __init__(self, hub: Hub, storage: Storage | None = None) -> None:
        self._hub = hub
        self._storage = storage or real_storage
        self._works = hub.place.xet
        self._ranges: dict[tuple[str, str], Ranges] = {}
        self._lock = threading.Lock()

    def open(self, at: Located, of: int, first: int, end: int) -> Iterable[bytes] | None:
        """Bytes `first` to `end` of a file of `of` bytes; None where they come by HTTPS."""
        known = self._hub.xet(at) if self._works else None
        if known is None:
            return None
        try:
            with self._lock:
                key = (at.model, at.commit)
                if key not in self._ranges:
                    self._ranges[key] = self._storage(self._hub.xet_access(known))
            return self._ranges[key](known.hash, of, first, end)
        except Exception:  # a library in another language: what it raises is its own affair
            self.give_up()
            return None

    def give_up(self) -> None:
        """It did not work: nothing more comes by it."""
        self._works = False


def real_storage(access: Access) -> Ranges:
    """The storage as `hf_xet` reaches it. Raises ImportError where that is not installed."""
    hf_xet = import_module("hf_xet")  # slow to load, and not on every machine
    session = hf_xet.XetSession(hf_xet.XetConfig().with_config(_SETTINGS))
    group = session.new_download_stream_group(
        endpoint=access.storage, token=access.token, token_expiry_unix_secs=access.until
    )

    def ranges(hash_: str, of: int, first: int, end: int) -> Iterable[bytes]:
        stream: Iterable[bytes] = group.download_stream(hf_xet.XetFileInfo(hash_, of), first, end)
        return stream

    return ranges
