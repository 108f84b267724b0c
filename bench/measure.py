"""One command as a whole process: wall seconds, peak memory, bytes that it sent to a disk."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of a command took. The operating system's own accounting of the process."""

    wall_s: float
    peak_bytes: int
    written_bytes: int
    output: str


def run(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end; it must succeed."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-3000:]}")
    return Run(
        wall_s=wall,
        peak_bytes=usage.ru_maxrss * 1024,
        written_bytes=usage.ru_oublock * 512,
        output=output,
    )


def in_turn(runs: int, ours: Sequence[Run], theirs: Sequence[Run]) -> tuple[float, float, float]:
    """(ours, theirs, ratio ours/theirs): medians; the ratio is that of runs made in turn."""
    assert len(ours) == len(theirs) == runs
    ratios = [a.wall_s / b.wall_s for a, b in zip(ours, theirs, strict=True)]
    return (
        median(item.wall_s for item in ours),
        median(item.wall_s for item in theirs),
        median(ratios),
    )


def machine() -> str:
    """The machine, so that a figure can be read."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}"
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    head, *rest = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rest]
    return "\n".join(lines)
