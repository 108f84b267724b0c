"""Tar profile 1, frozen: these digests never change. What changes one is profile 2.

The digests are computed by `profile_1.py` in this process, and again in others: with another hash
seed, time zone, locale, umask and folder, and with every other Python that this machine has.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ovenproof.core.layer import PROFILE

PROGRAM = Path(__file__).with_name("profile_1.py")
SOURCE = Path(__file__).parents[2] / "src"
OLDEST = (3, 11)

DIGESTS = {
    "nothing": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "a file": "b2e7fbac520ef4ea808ba3e665c7ea72282b52e488490f4f8572276dfe099e15",
    "an empty file": "6ca22386208a0b038c3984df0f0dda1afeb101b455259cf6137b09dc61917cf3",
    "a file of one block": "1a3e0e64d5a94f4eb1b535e2e75956e39060fba454fdd2779d845a28e326523d",
    "a directory": "7a13353a32445ab8717c8e36d1ef3e8b6e62116f415336b897b5d8b00e69bf1a",
    "a symbolic link": "a108d57851647d9daaba6d726f184b5dc1e4510bce48e6325081f0c872543823",
    "a hard link": "aebfcd0af0b8f24c9c4a3c13425c0621dc27f90628b62d2a4b34ead8e4808fb3",
    "a sticky directory": "5fe1c9064433d5b66e359b165815047ab3ffe0c669e08ab8d8778a6af10dd2be",
    "a setuid program": "6c55e0e65347ba48aa77b39af2f61e82db0a0f1e38f35e3d0eeed6701c0d8ba9",
    "a path in name and prefix": "992018945ee5ca28d12a088e5fb09ae214df0a36a620491fd549d6c5bbc56cdb",
    "a name that is too long": "21989f08de7b3981f3b4593e3cbc81f8eb5c498c02ccf4345564f72b2dec2985",
    "a path that is too long": "ff8b3d3d8d3d02bc64b757ac1cf712640f79b7ab8661fda8923d2873de3ab321",
    "a path that is not ASCII": "cb6d0110a4cb6b1bd343867b49cbb693aa6ecbecd51e7fb3500a3a41c95afeaf",
    "a long link target": "9f854312b442ff53053595c7a2a1145f1a9ce3de9a5c51502e6693cde9ccef43",
    "a link that is not ASCII": "00e6ff3014d2e02a860b0d55e7dfc19d2a3baf0cea4958282137ff808a7860df",
    "a tree": "02a16c679e8e198b262b1aa41f358e8a346e1c1c3bc1947e1ea1dcb4072547f4",
    "the header of 60 GiB": "4e7daabc4328bc4eca206cb01cf2e2294ab074193619ec88f8bb765cce57676a",
    "an action's key": "230713b1dee2fd6f705367c1eb371b8ed89e57ca851617e583010993972a3d6d",
    "a config": "ee8bb59b5d46c9fd0d543c63869591847a53d1557d67f3ff4f8c89c1ecddf378",
    "a manifest": "af3e6bdd79f46333acd40d21e538265d518424d58565c082b0d671550a036229",
}


def compute(python: str, **options: object) -> dict[str, object]:
    """What another interpreter prints. It sees the sources, and no installed package."""
    environment = {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    extra = options.pop("environment", {})
    assert isinstance(extra, dict)
    done = subprocess.run(
        [python, str(PROGRAM)],
        env={**environment, **extra},
        capture_output=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def version(python: str) -> tuple[int, ...] | None:
    """An interpreter's version; None for a name that does not start one."""
    asked = "import sys; print(*sys.version_info[:3])"
    try:
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(part) for part in done.stdout.split())


def other_pythons() -> dict[tuple[int, ...], str]:
    """One interpreter for each version that is here and new enough; the running one counts."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 30)]
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for minor in range(OLDEST[1], 30):
        candidates += map(str, sorted(pyenv.glob(f"versions/3.{minor}*/bin/python3")))
    found = {tuple(sys.version_info[:3]): sys.executable}
    for python in candidates:
        number = None if python is None else version(python)
        if python is not None and number is not None and number >= OLDEST:
            found.setdefault(number, python)
    return found


PYTHONS = other_pythons()
FOUND: dict[str, str] = runpy.run_path(str(PROGRAM))["digests"]()


def test_the_profile_is_the_one_that_is_frozen_here() -> None:
    assert PROFILE == 1


@pytest.mark.parametrize("name", DIGESTS)
def test_a_frozen_digest_has_not_changed(name: str) -> None:
    assert FOUND[name] == DIGESTS[name]


def test_every_recipe_has_a_frozen_digest() -> None:
    assert set(FOUND) == set(DIGESTS)


@pytest.mark.parametrize("python", PYTHONS.values(), ids=[".".join(map(str, n)) for n in PYTHONS])
def test_every_python_here_computes_the_same(python: str) -> None:
    found = compute(python)
    assert found["digests"] == DIGESTS
    assert found["python"] in {".".join(str(part) for part in number) for number in PYTHONS}


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8"},
        {"PYTHONHASHSEED": "2", "TZ": "America/New_York", "LC_ALL": "C", "HOME": "/nowhere"},
        {"PYTHONHASHSEED": "3", "PYTHONUTF8": "0", "LC_ALL": "POSIX", "SOURCE_DATE_EPOCH": "7"},
    ],
    ids=["seed, zone and language", "plain C", "no UTF-8"],
)
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nothing_of_the_process_is_in_a_digest(
    environment: dict[str, str], umask: int, tmp_path: Path
) -> None:
    found = compute(sys.executable, environment=environment, umask=umask, cwd=tmp_path)
    assert found["digests"] == DIGESTS
