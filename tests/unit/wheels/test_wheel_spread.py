"""Where a wheel's files go. pip's own installation is the oracle."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.core.content import Literal
from ovenproof.errors import BadFile
from ovenproof.wheels.spread import Place, Spread, spread
from ovenproof.wheels.wheel import Wheel, WheelFile, read

BakeWheel = Callable[..., Path]

HERE = Place(
    site="lib/python3/site-packages",
    scripts="bin",
    headers="include/python3",
    data=".",
    python=sys.executable,
)
FULL = {
    "toast/__init__.py": b"def main():\n    print('done')\n    return 3\n",
    "toast/heat": b"\x7fELF",
    "toast/__pycache__/__init__.cpython-311.pyc": b"stale",
    "toast-1.0.data/purelib/jam.py": b"sweet = True\n",
    "toast-1.0.data/platlib/butter.py": b"",
    "toast-1.0.data/scripts/slice": b"#!python -E\nprint('sliced')\n",
    "toast-1.0.data/scripts/shell": b"#!/bin/sh\n",
    "toast-1.0.data/scripts/program": b"\x7fELF\0\0\0\0\0\0",
    "toast-1.0.data/scripts/nothing": b"",
    "toast-1.0.data/data/share/toast/a.txt": b"crumbs",
    "toast-1.0.data/headers/toast.h": b"#define TOAST\n",
    "toast-1.0.dist-info/entry_points.txt": b"[console_scripts]\nToast = toast:main\n"
    b"deep = toast:main [extra]\n[toast.plugins]\nx = toast:y\n",
}


def text_of(file: Spread, wheel: Wheel) -> bytes:
    return file.body.data if isinstance(file.body, Literal) else wheel.read(file.body)


def spread_into(folder: Path, wheel: Wheel, place: Place = HERE) -> None:
    for file in spread(wheel, place):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text_of(file, wheel))
        path.chmod(0o755 if file.executable else 0o644)


def by_path(path: Path, place: Place | None = None, **rest: tuple[str, ...]) -> dict[str, Spread]:
    found = spread(read(path, path.name), place or Place(), **rest)
    return {file.path: file for file in found}


def test_files_lie_where_pip_puts_them(bake_wheel: BakeWheel, tmp_path: Path) -> None:
    # pip takes the bit from the archive; a script is a program here whatever the archive says
    scripts = tuple(path for path in FULL if ".data/scripts/" in path)
    path = bake_wheel(files=FULL, executable=("toast/heat", *scripts))
    options = ["--no-index", "--no-deps", "--no-compile", "--no-warn-script-location"]
    options += ["--ignore-installed", "--prefix", str(tmp_path / "pip")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, str(path)],
        check=True,
        env={"PATH": os.defpath, "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)},
    )
    spread_into(tmp_path / "ours", read(path, path.name))

    def tree(root: Path) -> dict[str, tuple[bytes, int]]:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return {
            str(file.relative_to(root)).replace(version, "python3"): (
                file.read_bytes(),
                file.stat().st_mode & 0o100,
            )
            for file in root.rglob("*")
            if file.is_file()
        }

    pip, ours = tree(tmp_path / "pip"), tree(tmp_path / "ours")
    info = "lib/python3/site-packages/toast-1.0.dist-info"
    for written_differently in (f"{info}/RECORD", f"{info}/INSTALLER", "bin/Toast", "bin/deep"):
        assert pip.pop(written_differently)
        assert ours.pop(written_differently)
    for of_pip_alone in (f"{info}/REQUESTED", f"{info}/direct_url.json"):
        pip.pop(of_pip_alone, None)
    stale = "lib/python3/site-packages/toast/__pycache__/__init__.cpython-311.pyc"
    pip.pop(stale)
    header = ours.pop("include/python3/toast/toast.h")
    assert header in (pip.pop(path) for path in tuple(pip) if path.endswith("toast.h"))
    # pip drops what stood behind `#!python`, and so do we
    assert ours["bin/slice"][0].startswith(f"#!{sys.executable}\n".encode())
    assert ours == pip


def test_a_program_of_an_entry_point_runs(bake_wheel: BakeWheel, tmp_path: Path) -> None:
    path = bake_wheel(files=FULL)
    spread_into(tmp_path / "root", read(path, path.name))
    ran = subprocess.run(
        [tmp_path / "root/bin/Toast"],
        env={"PYTHONPATH": str(tmp_path / "root" / HERE.site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("done\n", 3)


def test_python_finds_every_file_by_its_record(bake_wheel: BakeWheel, tmp_path: Path) -> None:
    path = bake_wheel(files=FULL)
    spread_into(tmp_path, read(path, path.name))
    (found,) = importlib.metadata.distributions(path=[str(tmp_path / HERE.site)])
    listed = {str(Path(str(file.locate())).resolve()) for file in found.files or ()}
    there = {
        str(file)
        for file in tmp_path.resolve().rglob("*")
        if file.is_file() and "wheels" not in file.parts
    }
    assert listed == there
    assert found.read_text("INSTALLER") == "ovenproof\n"


def test_what_is_dropped_is_not_in_record_either(bake_wheel: BakeWheel) -> None:
    files = by_path(bake_wheel(files=FULL), drop=("*/toast/heat", "usr/local/share/*"))
    site = Place().site
    assert f"{site}/toast/__init__.py" in files
    assert not [path for path in files if path.endswith(("heat", "a.txt", ".pyc"))]
    record = files[f"{site}/toast-1.0.dist-info/RECORD"].body
    assert isinstance(record, Literal)
    assert b"heat" not in record.data
    assert b"a.txt" not in record.data
    assert b"pyc" not in record.data


def test_a_file_that_is_not_changed_is_only_a_reference(bake_wheel: BakeWheel) -> None:
    files = by_path(bake_wheel(files=FULL))
    assert isinstance(files["usr/local/bin/program"].body, WheelFile)
    assert isinstance(files["usr/local/bin/shell"].body, WheelFile)
    assert files["usr/local/bin/program"].executable


@pytest.mark.parametrize(
    "line",
    [
        "../evil = toast:main",
        "a/b = toast:main",
        ".. = toast:main",
        "x = toast",
        "x = toast:main; import os",
        "x = os:system('id')",
        "no value at all",
    ],
)
def test_an_entry_point_that_is_no_name_of_a_function_is_refused(
    bake_wheel: BakeWheel, line: str
) -> None:
    points = f"[console_scripts]\n{line}\n".encode()
    path = bake_wheel(files={"toast-1.0.dist-info/entry_points.txt": points})
    with pytest.raises(BadFile) as caught:
        spread(read(path, path.name), Place())
    assert caught.value.where == path.name


@pytest.mark.parametrize("member", ["toast-1.0.data/etc/passwd", "toast-1.0.data/scripts"])
def test_a_place_that_wheels_do_not_have_is_refused(bake_wheel: BakeWheel, member: str) -> None:
    path = bake_wheel(files={member: b""})
    with pytest.raises(BadFile) as caught:
        spread(read(path, path.name), Place())
    assert caught.value.subject == member


def test_two_files_that_want_to_lie_at_one_path_are_refused(bake_wheel: BakeWheel) -> None:
    path = bake_wheel(files={"jam.py": b"1", "toast-1.0.data/purelib/jam.py": b"2"})
    with pytest.raises(BadFile, match=r"jam\.py"):
        spread(read(path, path.name), Place())


def test_where_we_run_decides_nothing(
    bake_wheel: BakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bake_wheel(files=FULL)
    wheel = read(path, path.name)
    gone = tmp_path / "gone"
    gone.mkdir()
    before = spread(wheel, HERE)
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert spread(wheel, HERE) == before
