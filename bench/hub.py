"""Locking a hub's model and publishing it in one pass, against `curl hub | curl registry`.

    python bench/hub.py [--shards 48] [--mib 64] [--runs 3] [--folder PLACE]

The hub is the one of the tests, the registry is Debian's docker-registry; the peer sends the same
files between the same two, as many at once, and is told the digests. Also: a second entry that
shares nine tenths of the shards, and `plan` of what is locked.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import served
from measure import Run, in_turn, machine, run, table
from models import write_model
from served import Served

from tests.flow.conftest import Project, Warm, write_project

OVENPROOF = str(Path(sys.executable).with_name("ovenproof"))
AT_ONCE = min(8, 2 * len(os.sched_getaffinity(0)))
"""As many uploads as ours begins."""
PLANS = 9
PEER = """\
set -eu
place=$(curl -sSf -X POST -D - -o /dev/null http://$REGISTRY/v2/floor/blobs/uploads/ \\
  | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
place=$(curl -sSfL $HUB/acme/big/resolve/main/$1 \\
  | curl -sSf -X PATCH -T - -D - -o /dev/null -H 'Content-Type: application/octet-stream' \\
      -H 'Expect:' "$place" \\
  | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
curl -sSf -X PUT -o /dev/null "$place&digest=$2"
"""


def write_models(folder: Path, shards: int, size: int) -> None:
    """`acme/big`; `acme/sibling`, which shares all but a tenth of its shards; and `acme/small`."""
    big, sibling = folder / "acme/big", folder / "acme/sibling"
    write_model(big, shards=shards, shard_bytes=size, sparse=False)
    write_model(folder / "acme/small", shards=1, shard_bytes=33 << 20, sparse=False)
    sibling.mkdir()
    for number, path in enumerate(sorted(big.iterdir())):
        if path.suffix == ".safetensors" and number % 10 == 5:
            shutil.copyfile(path, sibling / path.name)
            with (sibling / path.name).open("r+b") as stream:
                stream.seek(size // 2)
                stream.write(b"other")
        else:
            (sibling / path.name).hardlink_to(path)


def new_project(root: Path, warm: Warm, hub: Served) -> Project:
    """An empty store, and an entry for each model of that hub."""
    project = write_project(root, warm)
    names = ("big", "sibling", "small", "huge")
    project.catalogue("".join(f"  {name}: {{model: acme/{name}}}\n" for name in names))
    project.environment["HF_ENDPOINT"] = hub.address
    # Compiled once, as whatever is installed; the suites, whose project this is, never do it.
    project.environment["PYTHONDONTWRITEBYTECODE"] = ""
    project.environment["PYTHONPYCACHEPREFIX"] = str(root.parent / "compiled")
    return project


def call(project: Project, *words: str) -> Run:
    """One call from the start of a Python on."""
    return run([OVENPROOF, *words], cwd=project.root, environment=project.environment)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def floor(model: Path, digests: Mapping[str, str], hub: Served, registry: Served) -> Run:
    """`curl hub | curl registry` for each file."""
    listed = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    program = model.parents[2] / "peer.sh"
    program.write_text(PEER)
    (model.parents[2] / "peer.txt").write_text(listed)
    return run(
        ["xargs", "-P", str(AT_ONCE), "-L", "1", "-a", "peer.txt", "sh", str(program)],
        cwd=program.parent,
        environment={"HUB": hub.address, "REGISTRY": registry.address},
    )


def plans(project: Project, *words: str) -> float:
    """The median of some calls that plan."""
    return median(call(project, "plan", "--model", "big", *words).wall_s for _ in range(PLANS))


class Bench:
    """A hub with two models, and a new project for each run."""

    def __init__(self, root: Path, warm: Warm, hub: Served) -> None:
        self.root = root
        self.warm = warm
        self.hub = hub
        self.model = root / "hub/acme/big"
        self.digests = {
            path.name: "sha256:" + hashlib.file_digest(path.open("rb"), "sha256").hexdigest()
            for path in sorted(self.model.iterdir())
        }
        self.made = 0
        self.temporary = root / "temporary"
        self.temporary.mkdir()

    def project(self) -> Project:
        self.made += 1
        project = new_project(self.root / f"project-{self.made}", self.warm, self.hub)
        project.environment["TMPDIR"] = str(self.temporary)
        return project

    def publish(self, project: Project, registry: Served, name: str = "big") -> Run:
        return call(project, "push", "--model", name, "--to", f"{registry.address}/bench")


def in_gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--mib", type=int, default=64, help="of each shard")
    parser.add_argument("--huge-gb", type=int, default=20, help="of a file alone; 0: without it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default="/var/tmp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        write_models(root / "hub", options.shards, options.mib << 20)
        warm = Warm(root)
        with served.hub(root / "hub") as hub:
            rows = measured(Bench(root, warm, hub), options.runs)
        shutil.rmtree(root / "hub")
        if options.huge_gb:
            rows += huge(root, warm, options.huge_gb * 10**9)
        warm.end()
    load = os.getloadavg()[0]
    print(f"{machine()}; medians of {options.runs}; load {load:.1f} at the end\n")
    print(table(rows))


def measured(bench: Bench, runs: int) -> list[tuple[str, ...]]:
    whole = size_of(bench.model)
    publishing: list[Run] = []
    peers: list[Run] = []
    kept: list[int] = []
    rows = [("what", "ours", "peer", "peer's", "ours / peer's")]
    with served.docker_registry(bench.root / "registry") as registry:
        bench.publish(bench.project(), registry, "small")  # so that everything is compiled
    for number in range(runs):
        project = bench.project()
        before = size_of(project.cache)
        with served.docker_registry(bench.root / "registry") as registry:
            publishing.append(bench.publish(project, registry))
            kept.append(size_of(project.cache) - before + size_of(bench.temporary))
            if number == runs - 1:
                others = [*second_entry(bench, project, registry), *planned(project)]
        with served.docker_registry(bench.root / "registry") as registry:
            peers.append(floor(bench.model, bench.digests, bench.hub, registry))
            assert registry.bytes() >= whole, "the peer sent less"
    mine, theirs, ratio = in_turn(runs, publishing, peers)
    most = max(item.written_bytes for item in publishing)
    peak = max(item.peak_bytes for item in publishing)
    return [
        *rows,
        (f"lock and publish {in_gb(whole)} in one pass", f"{mine:.1f} s",
         "curl hub \\| curl registry", f"{theirs:.1f} s", f"{ratio:.2f}x"),
        ("  written to disk", f"{most / 1e6:.2f} MB", "", "", f"{most / whole:.3%} of it"),
        ("  left in store and TMPDIR", f"{max(kept) / 1e6:.2f} MB", "", "", ""),
        ("  peak memory", f"{peak / 1e6:.0f} MB", "", "", ""),
        *others,
    ]  # fmt: skip


def second_entry(bench: Bench, project: Project, registry: Served) -> list[tuple[str, ...]]:
    sibling = bench.model.with_name("sibling")
    whole = size_of(sibling)
    fresh = sum(
        path.stat().st_size
        for path in sibling.iterdir()
        if not path.samefile(bench.model / path.name)
    )
    hub, taken = bench.hub.bytes(), registry.bytes()
    done = bench.publish(project, registry, "sibling")
    given, took = served.settled(bench.hub) - hub, served.settled(registry) - taken
    label = f"second entry, {1 - fresh / whole:.0%} shared: to the registry"
    return [
        (label, in_gb(took), "what is new", in_gb(fresh), f"{took / fresh:.2f}x"),
        ("  from the hub", in_gb(given), "what is new", in_gb(fresh), f"{given / fresh:.2f}x"),
        ("  whole command", f"{done.wall_s:.1f} s", "", "", ""),
    ]


def planned(project: Project) -> list[tuple[str, ...]]:
    return [
        ("plan, locked", f"{plans(project):.2f} s", "", "", ""),
        ("plan --output none, locked", f"{plans(project, '--output', 'none'):.2f} s", "", "", ""),
    ]


def huge(root: Path, warm: Warm, size: int) -> list[tuple[str, ...]]:
    """One file, sparse at the hub, to the registry of the tests: that one keeps no bytes."""
    write_model(root / "huge/acme/huge", shards=1, shard_bytes=size, sparse=True)
    with served.hub(root / "huge") as hub, served.fake_registry() as registry:
        project = new_project(root / "of-huge", warm, hub)
        before = size_of(project.cache)
        words = ("push", "--model", "huge", "--to", f"{registry.address}/bench")
        done = call(project, *words)
        left = size_of(project.cache) - before
        assert size < served.settled(registry) < 1.01 * size
    return [
        (f"one file of {in_gb(size)} to the registry of the tests", f"{done.wall_s:.1f} s", "", "",
         f"{size / done.wall_s / 1e6:.0f} MB/s"),
        ("  written to disk", f"{done.written_bytes / 1e6:.2f} MB", "", "", ""),
        ("  left in the store", f"{left / 1e6:.2f} MB", "", "", ""),
        ("  peak memory", f"{done.peak_bytes / 1e6:.0f} MB", "", "", ""),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
