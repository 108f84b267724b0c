"""A repository's files as they were at a commit: unpacked beside it, no working tree touched."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenproof.errors import BadCall, MissingTool

KEPT = ("models.yaml", "models.lock", "images", "requirements", "src")
"""What an image can depend on: the words, the locks, and the program where it lies beside them."""


@contextmanager
def files_at(ref: str, root: Path) -> Iterator[Path]:
    """A folder with the files that `root` had at `ref`, gone afterwards. Raises BadCall."""
    commit = _git(root, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}", ref=ref)
    archive = _git(root, "archive", "--format=tar", commit.decode().strip(), ref=ref)
    with tempfile.TemporaryDirectory(prefix="ovenproof-") as name:
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            for member in members:
                if member.name.split("/")[0] in KEPT and (member.isfile() or member.isdir()):
                    members.extract(member, name, filter="data")
        yield Path(name)


def _git(root: Path, *words: str, ref: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise MissingTool(
            "git is not here, so nothing can be compared with what was",
            subject=f"--changed-since {ref}",
            hint="install git, or leave the option out",
        ) from error
    if done.returncode:
        raise BadCall(
            "git does not give the files of that time",
            subject=f"--changed-since {ref}",
            where=root,
            got=_last_line(done.stderr),
            hint=_hint(root),
        )
    return done.stdout


def _hint(root: Path) -> str:
    def said(words: Sequence[str]) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
        return done.stdout.decode(errors="replace").strip()

    if said(["rev-parse", "--is-shallow-repository"]) == "true":
        return "the clone is shallow: `git fetch --unshallow --tags`, or `fetch-depth: 0` in CI"
    return "name a commit, a branch or a tag that `git log` knows"


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
