"""Progress: live lines on a terminal, plain lines elsewhere. Always on stderr."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovenproof.errors import visible
from ovenproof.events import Advanced, Event, Expected, Finished, Listener, Noted, Started, silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Listener]:
    """A listener that shows what is told, for as long as the work takes."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _live() as listener:
            yield listener
    else:
        yield _Plain().hear


class _Plain:
    """A line when something begins and one when it is done."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._done = self._all = 0
        """Of all that moves together."""
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        with self._lock:
            match event:
                case Expected(total=total):
                    self._done, self._all = 0, total
                case Started(name=name, total=total):
                    self._totals[name] = 0
                    self._sizes[name] = total or 0
                    self._line(f"{name} …" + (f" {size(total)}" if total else ""))
                case Advanced(name=name, size=count):
                    self._totals[name] = self._totals.get(name, 0) + count
                case Finished(name=name, note=note, failed=failed):
                    moved = self._totals.pop(name, None)
                    if moved is None:
                        return  # it never began
                    planned = self._sizes.pop(name)
                    if failed:
                        planned, moved = 0, 0
                    self._done += planned
                    whole = f"{size(self._done)} of {size(self._all)}" if self._all else ""
                    parts = [
                        f"{name}: {'failed' if failed else 'done'}",
                        size(moved) if moved else "",
                        note,
                        whole,
                    ]
                    self._line(", ".join(part for part in parts if part))
                case Noted(text=text):
                    self._line(text)

    def _line(self, text: str) -> None:
        print(visible(text), file=sys.stderr, flush=True)  # noqa: T201


_ALL = "in all"


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=False),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )

    live = _Live(bar, console)
    with bar:
        yield live.hear


class _Live:
    """A bar for each piece of work that runs, and one for what moves together."""

    def __init__(self, bar: "Progress", console: "Console") -> None:
        self._bar = bar
        self._console = console
        self._running: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        with self._lock:  # several threads tell
            match event:
                case Expected(total=total):
                    if (task := self._running.pop(_ALL, None)) is not None:
                        self._bar.remove_task(task)
                    self._running[_ALL] = self._bar.add_task(_ALL, total=total)
                case Started(name=name, total=total):
                    self._running[name] = self._bar.add_task(visible(name), total=total)
                case Advanced(name=name, size=count):
                    for one in {name, _ALL} & self._running.keys():
                        self._bar.advance(self._running[one], count)
                case Finished(name=name, note=note, failed=failed):
                    if (task := self._running.pop(name, None)) is not None:
                        self._finish(task, name, f"failed {note}" if failed else note)
                case Noted(text=text):
                    self._say(text)

    def _finish(self, task: "TaskID", name: str, note: str) -> None:
        done = self._bar.tasks[self._bar.task_ids.index(task)]
        moved = f" {size(int(done.completed))}" if done.completed else ""
        took = f" in {done.elapsed:.1f} s" if done.elapsed else ""
        self._bar.remove_task(task)
        if _ALL in self._running:  # what was there, or mounted, is behind us too
            self._bar.advance(self._running[_ALL], (done.total or 0) - int(done.completed))
        self._say(f"{name}:{moved}{took} {note}".rstrip())

    def _say(self, text: str) -> None:
        self._console.print(visible(text), highlight=False, markup=False)


def size(count: int) -> str:
    """Bytes as a person reads them: decimal units, three digits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def count(number: int, word: str) -> str:
    """So many of a thing."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def table(rows: list[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> str:
    """Columns, aligned; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
