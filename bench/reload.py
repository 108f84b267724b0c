"""After a change of one vLLM argument: the default image into Docker again, ours and Docker's way.

    python bench/reload.py [--docker /usr/bin/docker]

Docker's way is a Dockerfile that copies the same files, the changed one last, built by BuildKit
with everything else cached.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Run, in_turn, machine, run, table

ROOT = Path(__file__).resolve().parents[1]
OVENPROOF = str(Path(sys.executable).with_name("ovenproof"))
NAME = "smollm2-135m-chat"
IMAGE = f"ovenproof:{NAME}"
PEER = "ovenproof-bench:dockerfile"
RUNS = 3


def project(folder: Path) -> Path:
    """A copy of the catalogue, locks and flavours."""
    place = folder / "project"
    place.mkdir()
    for name in ("models.yaml", "models.lock"):
        shutil.copyfile(ROOT / name, place / name)
    for name in ("images", "requirements"):
        shutil.copytree(ROOT / name, place / name)
    return place


def ours(place: Path, length: int) -> Run:
    text = (ROOT / "models.yaml").read_text()
    assert "max_model_len: 2048" in text
    (place / "models.yaml").write_text(
        text.replace("max_model_len: 2048", f"max_model_len: {length}")
    )
    return run([OVENPROOF, "build", "--model", NAME, "--output", "docker", "--locked"], cwd=place)


def context(folder: Path, docker: str) -> Path:
    """The image's files as a build context, and a Dockerfile that copies them."""
    place = folder / "context"
    (place / "root").mkdir(parents=True)
    made = subprocess.run([docker, "create", IMAGE], check=True, capture_output=True, text=True)
    identity = made.stdout.strip()
    exporting = subprocess.Popen([docker, "export", identity], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(place / "root")], stdin=exporting.stdout, check=True)
    exporting.wait()
    subprocess.run([docker, "rm", identity], check=True, capture_output=True)
    shutil.move(place / "root/opt/ovenproof/serve.json", place / "serve.json")
    (place / "Dockerfile").write_text(
        "FROM scratch\nCOPY root /\nCOPY serve.json /opt/ovenproof/serve.json\n"
    )
    return place


def theirs(place: Path, docker: str, length: int) -> Run:
    with (place / "serve.json").open("a") as stream:
        stream.write(f"\n{' ' * (length % 97)}")
    return run(
        [docker, "build", "--quiet", "-t", PEER, "."],
        cwd=place,
        environment={"DOCKER_BUILDKIT": "1"},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docker", default="docker")
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    run([OVENPROOF, "build", "--model", NAME, "--output", "docker", "--locked"], cwd=ROOT)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        mine = project(Path(name))
        other = context(Path(name), options.docker)
        first = theirs(other, options.docker, 0)
        pairs = [
            (ours(mine, 1024 + n), theirs(other, options.docker, n)) for n in range(1, RUNS + 1)
        ]
    again, peer, ratio = in_turn(RUNS, [a for a, _ in pairs], [b for _, b in pairs])
    for command in (["image", "rm", PEER], ["builder", "prune", "--all", "--force"]):
        subprocess.run([options.docker, *command], check=False, capture_output=True)
    run([OVENPROOF, "build", "--model", NAME, "--output", "docker", "--locked"], cwd=ROOT)
    print(f"{machine()}; medians of {RUNS}\n")
    print(
        table(
            [
                ("what", "ours", "peer", "peer's", "ours / peer's"),
                ("one argument changed, 2.45 GB image into Docker again", f"{again:.2f} s",
                 "docker build (BuildKit), all but the last COPY cached", f"{peer:.2f} s",
                 f"{ratio:.2f}x"),
                ("", "", "docker build, the first time", f"{first.wall_s:.1f} s", ""),
            ]
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
