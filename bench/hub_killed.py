"""Publishing a hub's model in one pass, killed at random moments and started again.

    python bench/hub_killed.py [--kills 20] [--shards 48] [--mib 64] [--registry docker|fake] …

Every time with an empty store and an empty repository. The moments are spread over the whole of
the run, from the start of Python on, by a seed. Each second run must end in the manifest digest of
a run that nobody killed. What both runs together moved is counted by the hub and by the registry.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import served
from hub import AT_ONCE, in_gb, size_of, write_catalogue, write_models
from measure import machine, table
from served import Served, settled

from tests.flow.conftest import Project, Warm, write_project

REGISTRIES: dict[str, Callable[[Path], AbstractContextManager[Served]]] = {
    "docker": lambda root: served.docker_registry(root / "registry"),
    "fake": lambda _root: served.fake_registry(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What it took to publish: in seconds, the moment of the kill; in bytes, all that moved."""

    digest: str
    wall_s: float
    killed_s: float | None
    sent: int
    read: int


class Bench:
    """A hub, a registry, and a new project and repository for each publish."""

    def __init__(self, root: Path, warm: Warm, hub: Served, registry: Served) -> None:
        self.root = root
        self.warm = warm
        self.hub = hub
        self.registry = registry
        self.made = 0

    def publish(self, kill_after_s: float | None = None) -> Outcome:
        """Kill it then, and start it again until it is done. Too late a moment comes earlier."""
        while True:
            found = self._publish(kill_after_s)
            if kill_after_s is None or found.killed_s is not None:
                return found
            kill_after_s *= 0.9

    def _publish(self, kill_after_s: float | None) -> Outcome:
        self.made += 1
        project = write_project(self.root / f"project-{self.made}", self.warm)
        write_catalogue(project, self.hub)
        to = f"{self.registry.address}/bench-{self.made}"
        words = ("push", "--model", "big", "--to", to, "--json")
        sent, read = settled(self.registry), settled(self.hub)
        began = time.monotonic()
        killed = kill_after_s is not None and _killed(project, words, kill_after_s)
        while (done := project.run_cold(*words)).code == 5:
            print(f"again: {done.err}")
        wall = time.monotonic() - began
        (pushed,) = done.json()
        shutil.rmtree(project.root.parent)
        return Outcome(
            digest=pushed["digest"],
            wall_s=wall,
            killed_s=kill_after_s if killed else None,
            sent=settled(self.registry) - sent,
            read=settled(self.hub) - read,
        )


def _killed(project: Project, words: tuple[str, ...], after_s: float) -> bool:
    process = project.start(*words)
    try:
        process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def measured(bench: Bench, kills: int, seed: int) -> list[Outcome]:
    """One publish that nobody kills, and then the others."""
    calm = bench.publish()
    random = Random(seed)
    moments = [random.uniform(0, calm.wall_s) for _ in range(kills)]
    return [calm, *(bench.publish(moment) for moment in moments)]


def rows(name: str, whole: int, found: list[Outcome]) -> list[tuple[str, ...]]:
    calm, *killed = found
    over = sorted(one.sent / whole - 1 for one in killed)
    again = sorted(one.read / whole - 1 for one in killed)
    same = sum(one.digest == calm.digest for one in killed)
    middle = len(killed) // 2
    return [
        (name, f"{calm.wall_s:.1f} s, sent {in_gb(calm.sent)}, read {in_gb(calm.read)}",
         f"{same} of {len(killed)}",
         f"{over[0]:.1%}, {over[middle]:.1%}, {over[-1]:.1%}",
         f"{again[0]:.1%}, {again[middle]:.1%}, {again[-1]:.1%}"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--mib", type=int, default=64, help="of each shard")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--registry", action="append", choices=list(REGISTRIES))
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--json", action="store_true", help="all outcomes, the calm one first")
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        write_models(root / "hub", options.shards, options.mib << 20)
        whole = size_of(root / "hub/acme/big")
        warm = Warm(root)
        for kind in options.registry or REGISTRIES:
            with served.hub(root / "hub") as hub, REGISTRIES[kind](root) as registry:
                bench = Bench(root, warm, hub, registry)
                found[kind] = measured(bench, options.kills, options.seed)
        warm.end()
    if options.json:
        told = {kind: [asdict(one) for one in outcomes] for kind, outcomes in found.items()}
        print(json.dumps({"size": whole, "at_once": AT_ONCE, "outcomes": told}))
        return
    head = ("registry", "not killed", "same digest", "sent again: least, median, most", "read again")
    lines = [row for kind, outcomes in found.items() for row in rows(kind, whole, outcomes)]
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the end")
    print(f"{in_gb(whole)} in {options.shards} shards, {AT_ONCE} at once\n")
    print(table([head, *lines]))


if __name__ == "__main__":
    main()
