"""Publishing weights to a registry on this machine, against its peers and against the floor.

    python bench/push.py [--gb 6] [--shards 6] [--folder PLACE] [--without-peers] [--docker PROGRAM]

The peers are `docker build` + `docker push` and `buildah bud` + `buildah push`; the floor is curl,
which uploads the same files to the same registry, their digests known. Also: a push that is killed
at nine tenths, politely and not, and started again. What went over the wire is read from the
loopback interface.
"""

import argparse
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bake import warm
from measure import Run, in_turn, machine, run, table
from models import write_model

OVENPROOF = str(Path(sys.executable).with_name("ovenproof"))
GB = 10**9
RUNS = 3
SENT = Path("/sys/class/net/lo/statistics/tx_bytes")


@contextmanager
def registry(root: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port, empty: `127.0.0.1:PORT`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    place = root / "registry"
    settings = root / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}}}}}\n"
        f"http: {{addr: '{address}'}}\nlog: {{level: error}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)
        os.sync()  # what one run left to write must not slow the next one down


class Bench:
    """A project with a big model and a tiny one, which brings the runtime to the registry."""

    def __init__(self, root: Path, gigabytes: int, shards: int) -> None:
        self.root = root
        self.model = root / "model"
        size = gigabytes * GB // shards
        write_model(self.model, shards=shards, shard_bytes=size, sparse=False)
        write_model(root / "tiny", shards=1, shard_bytes=1000, sparse=False)
        warm(self.model)
        self.place = root / "project"
        self.place.mkdir()
        (self.place / "models.yaml").write_text(
            "models:\n"
            f"  big: {{flavour: cpu, weights: {{folder: {self.model}}}}}\n"
            f"  tiny: {{flavour: cpu, weights: {{folder: {root / 'tiny'}}}}}\n"
        )

    def call(self, *words: str, **environment: str) -> Run:
        return run([OVENPROOF, *words], cwd=self.place, environment=environment)

    def bring_the_runtime(self, address: str) -> None:
        self.call("push", "--model", "tiny", "--to", f"{address}/bench")

    def forget(self) -> None:
        """Nothing is known of the big model, as on the day that it is first published."""
        (self.place / "models.lock").unlink(missing_ok=True)
        actions = cache() / "actions"
        for path in actions.glob("*.json"):
            if path.stat().st_mtime > self.began:
                path.unlink()

    began = time.time()

    def push(self, address: str) -> Run:
        return self.call("push", "--model", "big", "--to", f"{address}/bench")


def cache() -> Path:
    """The store that the calls use: it has the runtime's packages already."""
    if found := os.environ.get("OVENPROOF_CACHE"):
        return Path(found)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ovenproof"


def curl(bench: Bench, address: str, digests: Mapping[str, str]) -> Run:
    """The floor: each file by one PUT, one after the other, nothing hashed on our side."""
    lines = ["set -eu"]
    for name, digest in digests.items():
        url = f"http://{address}/v2/floor/blobs/uploads/"
        lines.append(
            f"place=$(curl -sSf -X POST -D - -o /dev/null {url}"
            " | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')"
        )
        lines.append(
            f'curl -sSf -H "Content-Type: application/octet-stream" -H "Expect:"'
            f' --upload-file {bench.model / name} "$place&digest={digest}"'
        )
    return run(["sh", "-c", "\n".join(lines)], cwd=bench.root)


def docker_peer(bench: Bench, address: str, docker: str) -> Run:
    tag = f"{address}/docker:bench"
    script = (
        f"{docker} build --no-cache --quiet -t {tag} {bench.model} && {docker} push --quiet {tag}"
    )
    done = run(["sh", "-c", script], cwd=bench.root, environment={"DOCKER_BUILDKIT": "1"})
    for command in (["image", "rm", tag], ["builder", "prune", "--all", "--force"]):
        subprocess.run([docker, *command], check=False, capture_output=True)
    return done


def buildah_peer(bench: Bench, address: str) -> Run:
    tag = f"{address}/buildah:bench"
    store = bench.root / "containers"
    words = f"buildah --root {store} --runroot {store}-run"
    script = (
        f"{words} bud --quiet --layers=false --isolation chroot -t {tag} {bench.model}"
        f" && {words} push --quiet --tls-verify=false {tag}"
    )
    done = run(["sh", "-c", script], cwd=bench.root)
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(f"{store}-run", ignore_errors=True)
    return done


def resumed(bench: Bench, kill: signal.Signals) -> tuple[int, int]:
    """(all bytes, bytes over the wire in the second run) of a push that was killed at 90 %."""
    whole = sum(path.stat().st_size for path in bench.model.iterdir())
    with registry(bench.root) as address:
        bench.bring_the_runtime(address)
        before = int(SENT.read_text())
        process = subprocess.Popen(
            [OVENPROOF, "push", "--model", "big", "--to", f"{address}/bench"],
            cwd=bench.place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while int(SENT.read_text()) - before < 0.9 * whole:
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.005)
        process.send_signal(kill)
        process.wait()
        time.sleep(1)  # for the registry to notice
        before = int(SENT.read_text())
        bench.push(address)
        return whole, int(SENT.read_text()) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=int, default=6)
    parser.add_argument("--shards", type=int, help="files of the weights; without it one per GB")
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--docker", default="docker")
    options = parser.parse_args()
    rows = [("what", "ours", "peer", "peer's", "ours / peer's")]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(Path(name), options.gb, options.shards or options.gb)
        bench.call("lock", "--model", "tiny")
        digests = {
            path.name: "sha256:" + hashlib.file_digest(path.open("rb"), "sha256").hexdigest()
            for path in sorted(bench.model.iterdir())
        }
        first, locked, floor = [], [], []
        for _ in range(RUNS):
            for runs, prepare in ((first, bench.forget), (locked, lambda: None)):
                prepare()
                with registry(bench.root) as address:
                    bench.bring_the_runtime(address)
                    runs.append(bench.push(address))
            with registry(bench.root) as address:
                floor.append(curl(bench, address, digests))
        for label, runs in (("nothing known", first), ("locked", locked)):
            mine, theirs, ratio = in_turn(RUNS, runs, floor)
            rows.append(
                (f"publish {options.gb} GB, {label}", f"{mine:.1f} s",
                 "curl --upload-file", f"{theirs:.1f} s", f"{ratio:.2f}x"),
            )  # fmt: skip
        written = max(item.written_bytes for item in (*first, *locked))
        peak = max(item.peak_bytes for item in (*first, *locked))
        rows += [
            ("  written to disk", f"{written / 1e6:.2f} MB", "", "", ""),
            ("  peak memory", f"{peak / 1e6:.0f} MB", "", "", ""),
        ]  # fmt: skip
        for kill in (signal.SIGTERM, signal.SIGKILL):
            whole, again = resumed(bench, kill)
            rows.append(
                (f"{kill.name} at 90 %, started again", f"{again / GB:.2f} GB over the wire",
                 "all of it", f"{whole / GB:.2f} GB", f"{again / whole:.1%}"),
            )  # fmt: skip
        if not options.without_peers:
            mine = median(item.wall_s for item in first)
            (bench.model / "Dockerfile").write_text("FROM scratch\nCOPY . /model\n")
            for label, peer in (
                ("docker build + docker push", lambda a: docker_peer(bench, a, options.docker)),
                ("buildah bud + buildah push", lambda a: buildah_peer(bench, a)),
            ):
                with registry(bench.root) as address:
                    theirs = peer(address).wall_s
                rows.append(
                    (f"publish {options.gb} GB, nothing known", f"{mine:.1f} s", label,
                     f"{theirs:.0f} s", f"{mine / theirs:.3f}x ({theirs / mine:.1f}x faster)"),
                )  # fmt: skip
    print(f"{machine()}; medians of {RUNS}, one run of each peer\n")
    print(table(rows))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
