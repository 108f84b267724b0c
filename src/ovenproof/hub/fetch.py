"""Fetching files of the hub into the store: in ranges, in parallel, and on after a kill."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import BinaryIO

from ovenproof.core.digest import Content
from ovenproof.errors import (
    NoAccess,
    NoSpace,
    OvenproofError,
    TryAgain,
    WrongBytes,
    raise_all,
)
from ovenproof.events import Advanced, Finished, Listener, Started, silent
from ovenproof.hub.faults import cut_off, grouped, wrong
from ovenproof.hub.hub import Hub, Located
from ovenproof.hub.xet import Xet
from ovenproof.net.crew import Crew
from ovenproof.store.partial import Block, Partial, Partials
from ovenproof.store.store import Store

BLOCK = 64 << 20
"""So much is lost of each block that a kill interrupts."""
_CHUNK = 1 << 20
_TRIES = 2
"""Of the whole of a file whose bytes turn out to be wrong."""


def fetch(
    hub: Hub,
    wanted: Sequence[tuple[Located, Content]],
    store: Store,
    *,
    jobs: int,
    listener: Listener = silent,
    block_size: int = BLOCK,
    xet: Xet | None = None,
) -> None:
    """Bring what is not in the store, each content once, verified.

    `listener` is called from several threads. Blocks that arrived stay, whatever went wrong; where
    another process fetches the same file, its end is waited for. Raises all faults at once: NoSpace
    before anything moves where there is clearly too little room, WrongBytes where a file was wrong
    twice, and what `Hub.open` raises.
    """
    files = {content: at for at, content in reversed(wanted)}
    missing = [content for content in files if not store.has(content)]
    partials = Partials(store.root)
    if missing:
        partials.make_sure_of(sum(content.size - partials.have(content) for content in missing))
    crew = Crew(jobs)
    run = _Run(
        hub=hub,
        store=store,
        partials=partials,
        crew=crew,
        listener=listener,
        block_size=block_size,
        xet=xet or Xet(hub),
    )
    order = sorted(files.items(), key=lambda item: (-item[0].size, item[0].digest))
    crew.run(partial(run.begin, _File(at=at, content=content)) for content, at in order)
    raise_all(grouped(run.faults))


@dataclass(slots=True, kw_only=True, eq=False)
class _File:
    """A file on its way."""

    at: Located
    content: Content
    open_blocks: int = 0
    failed: bool = False
    tries: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def name(self) -> str:
        return str(self.at)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call of `fetch`."""

    hub: Hub
    store: Store
    partials: Partials
    crew: Crew
    listener: Listener
    block_size: int
    xet: Xet
    faults: list[tuple[Located, OvenproofError]] = field(default_factory=list)

    def begin(self, file: _File) -> None:
        """The first task of a file: claims it, and begins with its first block."""
        # What is rotten there is removed by this, and fetched again.
        if self.crew.stopped or self.store.verify(file.content):
            return
        try:
            goal = self.partials.open(file.content, self.block_size)
        except OvenproofError as fault:
            self._failed(file, fault)
            return
        try:
            there = self.store.verify(file.content)  # another process has brought it meanwhile
            if there:
                goal.remove()
            else:
                self.listener(Started(name=file.name, total=file.content.size))
        except BaseException:
            goal.close()
            raise
        if there:
            goal.close()
        else:
            self._blocks(file, goal, goal.have)

    def _blocks(self, file: _File, goal: Partial, have: int) -> None:
        """Fetch what is missing: the first block tells whether others can come beside it."""
        blocks = goal.missing()
        file.tries += 1
        file.open_blocks = 1
        tell = partial(self._end, file, goal, have)
        with self._ending(file, tell):
            if not blocks:
                return
            first, *others = blocks
            with closing(self.hub.open(file.at, first.offset, first.size)) as stream:
                if not stream.ranged:
                    self._whole(file, goal, blocks)
                    return
                with file.lock:
                    file.open_blocks += len(others)
                self.crew.add([partial(self._block, file, goal, block, tell) for block in others])
                self._by_https(file, goal, first, stream)

    def _block(self, file: _File, goal: Partial, block: Block, tell: Callable[[], None]) -> None:
        """The task of any other block."""
        with self._ending(file, tell):
            if file.failed or self.crew.stopped:
                file.failed = True
                return
            if self._by_xet(file, goal, block):
                return
            with closing(self.hub.open(file.at, block.offset, block.size)) as stream:
                self._by_https(file, goal, block, stream)

    def _whole(self, file: _File, goal: Partial, blocks: Iterable[Block]) -> None:
        """From the first byte to the last, of whoever gives no ranges."""
        at = 0
        with closing(self.hub.open(file.at, 0, file.content.size)) as stream:
            for block in blocks:
                while at < block.offset and not self.crew.stopped:  # it is here already
                    at += len(stream.read(min(_CHUNK, block.offset - at))) or file.content.size
                self._by_https(file, goal, block, stream)
                at = block.offset + block.size

    def _by_https(self, file: _File, goal: Partial, block: Block, stream: BinaryIO) -> None:
        if not self._copy(file, goal, block, lambda left: stream.read(min(_CHUNK, left))):
            raise cut_off(file.at, file.content)

    def _by_xet(self, file: _File, goal: Partial, block: Block) -> bool:
        """Whether the block came, whole, by the other way."""
        end = block.offset + block.size
        found = self.xet.open(file.at, file.content.size, block.offset, end)
        if found is None:
            return False
        chunks = iter(found)

        def read(left: int) -> bytes:
            try:
                data = next(chunks, b"")
            except Exception:  # as for what opens it
                return b""
            return data if len(data) <= left else b""

        came = self._copy(file, goal, block, read)
        if not came:
            self.xet.give_up()
        return came

    def _copy(self, file: _File, goal: Partial, block: Block, read: Callable[[int], bytes]) -> bool:
        """Whether the bytes went on to the block's end, or somebody stopped us."""
        at, end = block.offset, block.offset + block.size
        while at < end:
            if self.crew.stopped:
                file.failed = True
                return True
            data = read(end - at)
            if not data:
                return False
            goal.write(at, data)
            at += len(data)
            self.listener(Advanced(name=file.name, size=len(data)))
        goal.finish(block)
        return True

    def _end(self, file: _File, goal: Partial, have: int) -> None:
        """After the last block: proven and kept, or thrown away, or left for another time."""
        try:
            if not file.failed:
                self.store.adopt(goal.path, expected=file.content, what=file.name)
                goal.remove()
        except WrongBytes as fault:
            goal.remove()
            goal.close()
            self._again(file, fault)
        except BaseException:
            goal.close()
            raise
        else:
            goal.close()
            note = f"resumed at {have}" if have and not file.failed else ""
            self.listener(Finished(name=file.name, note=note, failed=file.failed))

    def _again(self, file: _File, fault: WrongBytes) -> None:
        """Once more, from the first byte; then it is said what is wrong."""
        self.xet.give_up()
        if file.tries < _TRIES:
            self.listener(
                Finished(name=file.name, note="wrong bytes, fetched once more", failed=True)
            )
            self.crew.add([partial(self.begin, file)])
            return
        self.listener(Finished(name=file.name, failed=True))
        self.faults.append((file.at, wrong(self.hub.place, file.at, fault)))

    def _failed(self, file: _File, fault: OvenproofError) -> None:
        """Note a fault. Where nobody answers, says no, or has no room, nothing new is begun."""
        if not file.failed:
            self.faults.append((file.at, fault))
        file.failed = True
        if isinstance(fault, TryAgain | NoAccess | NoSpace):
            self.crew.stopped = True

    @contextmanager
    def _ending(self, file: _File, tell: Callable[[], None]) -> Iterator[None]:
        """Around each block: a fault is noted, and whoever ends last ends the file."""
        try:
            yield
        except OvenproofError as fault:
            self._failed(file, fault)
        except BaseException:
            file.failed = self.crew.stopped = True
            raise
        finally:
            with file.lock:
                file.open_blocks -= 1
                last = not file.open_blocks
            if last:
                tell()
