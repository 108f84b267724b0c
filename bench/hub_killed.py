"""Publishing a hub's model in one pass, killed at random moments and started again.

    python bench/hub_killed.py [--kills 20] [--shards 48] [--mib 64] [--registry docker|fake] …

Every time with an empty store and an empty repository. The moments are spread by a seed: over the
whole of the run, from the start of Python on, or over the bytes that the hub gives. Each second run
must end in the manifest digest of a run that nobody killed. What both runs together moved is
counted by the hub and by the registry.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import served
from hub import AT_ONCE, in_gb, new_project, size_of, write_models
from measure import machine, table
from served import Served, settled

from tests.flow.conftest import Warm

TRY_AGAIN = 5
"""How a run ends that met a fault that may be gone the next time."""
TRIES = 5
REGISTRIES: dict[str, Callable[[Path], AbstractContextManager[Served]]] = {
    "docker": lambda root: served.docker_registry(root / "registry"),
    "fake": lambda _root: served.fake_registry(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What it took to publish: when it was killed, and all bytes that moved."""

    digest: str
    wall_s: float
    killed: float | None
    sent: int
    read: int


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: after so many seconds, or when the hub has given so many bytes."""

    of: str
    after: float


class Bench:
    """A hub, a registry, and a new project and repository for each publish."""

    def __init__(self, root: Path, warm: Warm, hub: Served, registry: Served) -> None:
        self.root = root
        self.warm = warm
        self.hub = hub
        self.registry = registry
        self.made = 0

    def publish(self, moment: Moment | None = None) -> Outcome:
        """Kill it then, and start it again until it is done. Too late a moment comes earlier."""
        while True:
            found = self._publish(moment)
            if moment is None or found.killed is not None:
                return found
            moment = replace(moment, after=moment.after * 0.9)

    def _publish(self, moment: Moment | None) -> Outcome:
        self.made += 1
        project = new_project(self.root / f"project-{self.made}", self.warm, self.hub)
        to = f"{self.registry.address}/bench-{self.made}"
        words = ("push", "--model", "big", "--to", to, "--json")
        sent, read = settled(self.registry), settled(self.hub)
        began = time.monotonic()
        killed = moment is not None and self._kill(project.start(*words), moment, read)
        for _ in range(TRIES):
            done = project.run_cold(*words)
            if done.code != TRY_AGAIN:
                break
        wall = time.monotonic() - began
        (pushed,) = done.json()
        shutil.rmtree(project.root.parent)
        return Outcome(
            digest=pushed["digest"],
            wall_s=wall,
            killed=moment.after if moment is not None and killed else None,
            sent=settled(self.registry) - sent,
            read=settled(self.hub) - read,
        )

    def _kill(self, process: "subprocess.Popen[str]", moment: Moment, read: int) -> bool:
        """Whether the moment came before the process had ended."""
        began = time.monotonic()
        while process.poll() is None:
            passed = {"seconds": time.monotonic() - began, "bytes": self.hub.bytes() - read}
            if passed[moment.of] >= moment.after:
                process.kill()
                process.communicate()
                return process.returncode == -signal.SIGKILL
            time.sleep(0.005)
        process.communicate()
        return False


def measured(bench: Bench, kills: int, seed: int, of: str) -> list[Outcome]:
    """One publish that nobody kills, and then the others."""
    calm = bench.publish()
    end = calm.wall_s if of == "seconds" else calm.read
    random = Random(seed)
    moments = [Moment(of, random.uniform(0, end)) for _ in range(kills)]
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
    parser.add_argument("--by", default="seconds", choices=["seconds", "bytes"])
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
                found[kind] = measured(bench, options.kills, options.seed, options.by)
        warm.end()
    if options.json:
        told = {kind: [asdict(one) for one in outcomes] for kind, outcomes in found.items()}
        print(json.dumps({"size": whole, "at_once": AT_ONCE, "outcomes": told}))
        return
    head = ("registry", "not killed", "same digest", "sent again: least, median, most", "read")
    lines = [row for kind, outcomes in found.items() for row in rows(kind, whole, outcomes)]
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the end")
    print(f"{in_gb(whole)} in {options.shards} shards, {AT_ONCE} at once\n")
    print(table([head, *lines]))


if __name__ == "__main__":
    main()
