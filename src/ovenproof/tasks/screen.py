"""Progress: live lines on a terminal, plain lines elsewhere. Always on stderr."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ovenproof.events import Advanced, Event, Finished, Listener, Noted, Started, silent


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
        self._lock = threading.Lock()

    def hear(self, event: Event) -> None:
        with self._lock:
            match event:
                case Started(name=name, total=total):
                    self._totals[name] = 0
                    self._line(f"{name} …" + (f" {size(total)}" if total else ""))
                case Advanced(name=name, size=count):
                    self._totals[name] = self._totals.get(name, 0) + count
                case Finished(name=name, note=note):
                    moved = self._totals.pop(name, None)
                    if moved is None:
                        return  # it never began
                    parts = [f"{name}: done", size(moved) if moved else "", note]
                    self._line(", ".join(part for part in parts if part))
                case Noted(text=text):
                    self._line(text)

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    running: dict[str, TaskID] = {}
    lock = threading.Lock()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=False),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )

    def hear(event: Event) -> None:
        with lock:  # several threads tell
            show(event)

    def show(event: Event) -> None:
        match event:
            case Started(name=name, total=total):
                running[name] = bar.add_task(name, total=total)
            case Advanced(name=name, size=count):
                if name in running:
                    bar.advance(running[name], count)
            case Finished(name=name, note=note):
                if (task := running.pop(name, None)) is not None:
                    done = bar.tasks[bar.task_ids.index(task)]
                    moved = f" {size(int(done.completed))}" if done.completed else ""
                    took = f" in {done.elapsed:.1f} s" if done.elapsed else ""
                    bar.remove_task(task)
                    say(f"{name}:{moved}{took} {note}".rstrip())
            case Noted(text=text):
                say(text)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    with bar:
        yield hear


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
