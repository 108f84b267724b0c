"""The first build of the embedded default on a machine that has nothing: wall time by step.

    python bench/first_build.py

Clones this repository, with a HOME and a cache of its own, and runs the README's first command.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import machine

ROOT = Path(__file__).resolve().parents[1]
STEPS = (
    (r"setting up \.venv", "set up .venv from hash-locked requirements"),
    (r"\.deb\b", "fetch Debian packages"),
    (r"^fetch .*", "fetch wheels"),
    (r"^convert ", "convert the GGUF to safetensors"),
)
LAST = "produce the layers and load the image into Docker"


def lines(command: list[str], cwd: Path, home: Path) -> Iterator[tuple[float, str]]:
    """Each line of output with the seconds since the start."""
    environment = {**os.environ, "HOME": str(home)}
    for name in ("OVENPROOF_CACHE", "XDG_CACHE_HOME", "PIP_CACHE_DIR"):
        environment.pop(name, None)
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        sys.stderr.write(line)
        yield time.monotonic() - began, line.strip()
    if process.wait():
        raise SystemExit("the build failed")
    yield time.monotonic() - began, "end"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        clone, home = Path(name, "clone"), Path(name, "home")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        took: dict[str, float] = {}
        step, since = "start", 0.0
        for now, line in lines(["./inv", "build", "--model", "smollm2-135m-chat"], clone, home):
            found = next((title for pattern, title in STEPS if re.search(pattern, line)), None)
            if found is None and step != "start" and not line.startswith(("image", "digest")):
                found = LAST if line.endswith("B") or line == "end" else step
            took[step] = took.get(step, 0.0) + now - since
            step, since = found or step, now
    print(f"{machine()}\n\n| step | seconds |\n|---|---|")
    for title, seconds in took.items():
        if title != "start":
            print(f"| {title} | {seconds:.1f} |")
    print(f"| all | {sum(took.values()):.1f} |")


if __name__ == "__main__":
    main()
