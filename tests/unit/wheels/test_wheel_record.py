"""RECORD must say what every file of a wheel is, and nothing else."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.errors import BadFile, OvenproofError, WrongBytes
from ovenproof.wheels.wheel import read

BakeWheel = Callable[..., Path]


def own_record(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("toast-1.0.dist-info/RECORD").decode()


def refused(path: Path) -> OvenproofError:
    with pytest.raises((BadFile, WrongBytes)) as caught:
        read(path, path.name)
    assert path.name in (caught.value.subject, caught.value.where)
    return caught.value


def test_a_wheel_is_read_without_its_record(bake_wheel: BakeWheel) -> None:
    path = bake_wheel()
    wheel = read(path, path.name)
    assert sorted(wheel.files) == [
        "toast-1.0.dist-info/METADATA",
        "toast-1.0.dist-info/WHEEL",
        "toast/__init__.py",
    ]
    content = wheel.files["toast/__init__.py"].content
    assert content.digest.hex == hashlib.sha256(b"slices = 2\n").hexdigest()
    assert content.size == 11


def test_a_file_that_record_does_not_list_is_named(bake_wheel: BakeWheel) -> None:
    record = own_record(bake_wheel())
    without = "".join(line for line in record.splitlines(True) if "__init__" not in line)
    fault = refused(bake_wheel(record=without))
    assert isinstance(fault, WrongBytes)
    assert fault.subject == "toast/__init__.py"


def test_a_file_that_is_listed_without_a_digest_is_named(bake_wheel: BakeWheel) -> None:
    lines = own_record(bake_wheel()).splitlines()
    bare = "".join(f"{line.split(',')[0]},,\n" for line in lines)
    assert refused(bake_wheel(record=bare)).subject == "toast/__init__.py"


def test_a_file_that_is_listed_and_missing_is_named(bake_wheel: BakeWheel) -> None:
    record = own_record(bake_wheel()) + f"toast/butter.py,sha256={'A' * 43},4\n"
    assert refused(bake_wheel(record=record)).subject == "toast/butter.py"


def test_another_size_than_record_says_is_named(bake_wheel: BakeWheel) -> None:
    record = own_record(bake_wheel()).replace(",11\n", ",12\n")
    fault = refused(bake_wheel(record=record))
    assert fault.expected == "12 bytes (RECORD)"
    assert fault.got == "11 bytes (the archive)"


def test_another_digest_than_record_says_is_found_when_the_file_is_read(
    bake_wheel: BakeWheel,
) -> None:
    path = bake_wheel(
        files={"toast/__init__.py": b"slices = 2\n"},
        record=own_record(bake_wheel(files={"toast/__init__.py": b"slices = 3\n"})),
    )
    wheel = read(path, path.name)
    with pytest.raises(WrongBytes) as caught:
        wheel.read(wheel.files["toast/__init__.py"])
    assert caught.value.subject == "toast/__init__.py"


@pytest.mark.parametrize(
    "line",
    [
        "toast/__init__.py,md5=abc,11\n",
        "toast/__init__.py,sha256=short,11\n",
        "toast/__init__.py,sha256=!,11\n",
        f"toast/__init__.py,sha256={'A' * 43},eleven\n",
        f"toast/__init__.py,sha256={'A' * 43},-1\n",
        "toast/__init__.py\n",
    ],
)
def test_a_line_of_record_that_says_nothing_useful_is_refused(
    bake_wheel: BakeWheel, line: str
) -> None:
    assert "RECORD cannot be read" in refused(bake_wheel(record=line)).what


def test_a_file_that_is_listed_twice_is_refused(bake_wheel: BakeWheel) -> None:
    line = own_record(bake_wheel()).splitlines(True)[0]
    fault = refused(bake_wheel(record=own_record(bake_wheel()) + line))
    assert "listed twice" in (fault.got or "")


def test_a_signature_of_record_is_left_out(bake_wheel: BakeWheel) -> None:
    files = {"toast/__init__.py": b"", "toast-1.0.dist-info/RECORD.jws": b"{}"}
    path = bake_wheel(files=files)
    assert "toast-1.0.dist-info/RECORD.jws" not in read(path, path.name).files


def test_a_wheel_that_is_called_something_else_is_refused(bake_wheel: BakeWheel) -> None:
    path = bake_wheel()
    with pytest.raises(BadFile, match="does not say what it is"):
        read(path, "bread-1.0-py3-none-any.whl")


def test_a_wheel_of_two_distributions_is_refused(bake_wheel: BakeWheel) -> None:
    fault = refused(bake_wheel(files={"bread-1.0.dist-info/METADATA": b""}))
    assert fault.got == "bread-1.0.dist-info, toast-1.0.dist-info"


def test_a_format_of_the_future_is_refused(bake_wheel: BakeWheel) -> None:
    assert refused(bake_wheel(wheel_version="2.0")).got == "2.0"
