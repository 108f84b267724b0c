"""Baking a local folder into a manifest, against hashing its files and against `docker build`.

    python bench/bake.py [--gb 6] [--folder PLACE] [--without-docker]

Also: the same build again, and peak memory for sparse models of 1 GB and 60 GB.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import Run, in_turn, machine, run, table
from models import write_model

HERE = Path(__file__).resolve().parent
INVOKE = str(Path(sys.executable).with_name("invoke"))
OVENPROOF = str(Path(sys.executable).with_name("ovenproof"))
GB = 10**9
RUNS = 3


class Bench:
    """A project of its own, with a cache of its own, in a folder that goes away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"OVENPROOF_CACHE": str(root / "cache"), "DOCKER_BUILDKIT": "1"}

    def project(self, name: str, folder: Path) -> Path:
        place = self.root / f"project-{name}"
        place.mkdir()
        (place / "models.yaml").write_text(
            f"models:\n  {name}:\n    flavour: cpu\n    weights: {{folder: {folder}}}\n"
        )
        return place

    def build(self, place: Path) -> Run:
        name = place.name.removeprefix("project-")
        return run(
            [OVENPROOF, "build", "--model", name, "--output", "none"],
            cwd=place,
            environment=self.environment,
        )

    def forget(self, place: Path) -> None:
        shutil.rmtree(self.root / "cache", ignore_errors=True)
        (place / "models.lock").unlink(missing_ok=True)


def warm(folder: Path) -> None:
    """Both sides read from the page cache, so that neither measures the disk."""
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass


def bake(bench: Bench, gigabytes: int, docker: str | None) -> list[tuple[str, ...]]:
    folder = bench.root / "model"
    write_model(folder, shards=gigabytes, shard_bytes=GB, sparse=False)
    warm(folder)
    place = bench.project("bake", folder)
    ours, hashing = [], []
    for _ in range(RUNS):
        bench.forget(place)
        ours.append(bench.build(place))
        hashing.append(run([sys.executable, str(HERE / "hash_files.py"), str(folder)], cwd=HERE))
    mine, theirs, ratio = in_turn(RUNS, ours, hashing)
    written = max(item.written_bytes for item in ours)
    rows = [
        (f"bake {gigabytes} GB to a manifest", f"{mine:.2f} s", "hash the files, all cores",
         f"{theirs:.2f} s", f"{ratio:.2f}x"),
        ("  written to disk", f"{written / 1e6:.2f} MB", "", "", ""),
        ("  peak memory", f"{max(item.peak_bytes for item in ours) / 1e6:.0f} MB", "", "", ""),
    ]  # fmt: skip
    again = [bench.build(place) for _ in range(RUNS)]
    rows.append(("  the same again", f"{median(item.wall_s for item in again):.2f} s", "", "", ""))
    if docker is not None:
        rows.append(_docker_build(bench, folder, docker, mine))
    shutil.rmtree(folder)
    return rows


def _docker_build(bench: Bench, folder: Path, docker: str, mine: float) -> tuple[str, ...]:
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /model\n")
    tag = "ovenproof-bench:copy"
    built = run(
        [docker, "build", "--no-cache", "--quiet", "-t", tag, str(folder)],
        cwd=folder,
        environment=bench.environment,
    )
    for command in (["image", "rm", tag], ["builder", "prune", "--all", "--force"]):
        subprocess.run([docker, *command], check=False, capture_output=True)
    return (
        "  the same", f"{mine:.2f} s", "docker build (BuildKit), COPY",
        f"{built.wall_s:.1f} s", f"{mine / built.wall_s:.3f}x ({built.wall_s / mine:.0f}x faster)",
    )  # fmt: skip


def flat(bench: Bench) -> list[tuple[str, ...]]:
    rows = []
    for gigabytes in (1, 60):
        folder = bench.root / f"sparse-{gigabytes}"
        write_model(folder, shards=max(1, gigabytes // 5), shard_bytes=min(5, gigabytes) * GB,
                    sparse=True)  # fmt: skip
        place = bench.project(f"sparse-{gigabytes}", folder)
        first, again = bench.build(place), [bench.build(place) for _ in range(RUNS)]
        rows += [
            (f"bake {gigabytes} GB, sparse", f"{first.wall_s:.1f} s",
             f"peak memory {first.peak_bytes / 1e6:.0f} MB", "", ""),
            ("  the same again", f"{median(item.wall_s for item in again):.2f} s",
             f"peak memory {max(item.peak_bytes for item in again) / 1e6:.0f} MB", "", ""),
        ]  # fmt: skip
        shutil.rmtree(folder)
    listing = [run([INVOKE, "--list"], cwd=HERE.parent) for _ in range(5)]
    rows.append(("invoke --list", f"{median(item.wall_s for item in listing):.2f} s", "", "", ""))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=int, default=6)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--without-docker", action="store_true")
    parser.add_argument("--docker", default="docker")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(Path(name))
        docker = None if options.without_docker else options.docker
        rows = [("what", "ours", "peer", "peer's", "ours / peer's")]
        rows += bake(bench, options.gb, docker)
        rows += flat(bench)
    print(f"{machine()}; medians of {RUNS}\n")
    print(table(rows))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
