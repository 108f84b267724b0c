"""Requirements: what people write, what uv resolves, what is kept."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenproof.core.digest import Content, Digest
from ovenproof.errors import BadFile, MissingTool, NoAccess, TryAgain
from ovenproof.wheels import requirements
from ovenproof.wheels.pip import Pip, PipIndex, is_full
from ovenproof.wheels.requirements import Pin, read_pins, read_wanted
from ovenproof.wheels.target import Target

BakeWheel = Callable[..., Path]
SILENT_INDEX = "http://127.0.0.1:9/simple"


@pytest.fixture
def pip(tmp_path: Path) -> Pip:
    return Pip(
        environment={
            "PATH": os.defpath,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path / "wheels"),
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "UV_NO_CONFIG": "1",
            "UV_HTTP_RETRIES": "0",
        }
    )


def digest(path: Path) -> Digest:
    return Content.of(path.read_bytes()).digest


def compiled(
    wanted: str,
    tmp_path: Path,
    pip: Pip,
    excluded: tuple[str, ...] = (),
    indexes: dict[str, str] | None = None,
) -> Path:
    source, out = tmp_path / "oven.in", tmp_path / "oven.txt"
    source.write_text(wanted)
    pins = requirements.compile(
        source, out, target=Target(), excluded=excluded, indexes=indexes or {}, pip=pip
    )
    assert read_pins(out) == pins
    return out


def test_what_is_kept_is_names_versions_and_the_hashes_of_what_fits(
    bake_wheel: BakeWheel, tmp_path: Path, pip: Pip
) -> None:
    toast = bake_wheel(requires=("jam>=1",))
    jam = bake_wheel("jam", tag="cp311-cp311-manylinux_2_36_x86_64")
    for foreign in ("cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_37_x86_64"):
        bake_wheel("jam", tag=foreign)
    bake_wheel("jam", tag="cp312-cp312-manylinux_2_28_x86_64")
    out = compiled("toast  # crisp\n", tmp_path, pip)
    assert out.read_text().splitlines() == [
        "# Locked from oven.in for Python 3.11 on x86_64 with glibc 2.36: "
        "names, versions and hashes.",
        "jam==1.0 \\",
        f"    --hash={digest(jam)}",
        "toast==1.0 \\",
        f"    --hash={digest(toast)}",
    ]


def test_the_pins_are_replaced_whole(bake_wheel: BakeWheel, tmp_path: Path, pip: Pip) -> None:
    bake_wheel()
    earlier = tmp_path / "earlier"
    earlier.write_text("what was pinned before\n")
    (tmp_path / "oven.txt").hardlink_to(earlier)
    compiled("toast\n", tmp_path, pip)
    assert earlier.read_text() == "what was pinned before\n"
    assert not list(tmp_path.glob(".ovenproof-draft-*"))


def test_pins_that_cannot_be_written_are_said(
    bake_wheel: BakeWheel, tmp_path: Path, pip: Pip
) -> None:
    bake_wheel()
    (tmp_path / "oven.txt").mkdir()
    with pytest.raises(NoAccess) as caught:
        compiled("toast\n", tmp_path, pip)
    assert caught.value.subject == str(tmp_path / "oven.txt")


def test_what_is_excluded_is_left_out_whoever_asks_for_it(
    bake_wheel: BakeWheel, tmp_path: Path, pip: Pip
) -> None:
    bake_wheel(requires=("triton==3.0", "jam"))
    bake_wheel("jam", requires=("Triton>2",))
    out = compiled("toast\n", tmp_path, pip, excluded=("triton",))
    assert [found.name for found in read_pins(out)] == ["jam", "toast"]
    assert "# Left out: triton." in out.read_text()


def test_a_distribution_with_an_index_of_its_own_needs_it_only_where_the_others_fail(
    bake_wheel: BakeWheel, tmp_path: Path, pip: Pip
) -> None:
    bake_wheel("torch", "2.13.0+cpu")
    indexes = {"torch": SILENT_INDEX}
    out = compiled("torch==2.13.0+cpu\n", tmp_path, pip, indexes=indexes)
    assert [(found.name, found.version) for found in read_pins(out)] == [("torch", "2.13.0+cpu")]

    own = tmp_path / "own" / "torch"
    own.mkdir(parents=True)
    wheel = next((tmp_path / "wheels").iterdir())
    wheel.rename(own / wheel.name)
    (own / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    bake_wheel()
    indexes = {"torch": own.parent.as_uri()}
    environment = {key: value for key, value in pip.environment.items() if key != "PIP_NO_INDEX"}
    (tmp_path / "empty").mkdir()
    environment["PIP_INDEX_URL"] = (tmp_path / "empty").as_uri()
    online = Pip(environment=environment)
    out = compiled("torch==2.13.0+cpu\ntoast\n", tmp_path, online, indexes=indexes)
    assert [found.name for found in read_pins(out)] == ["toast", "torch"]


def test_versions_that_do_not_fit_together_are_a_fault_of_the_file(
    bake_wheel: BakeWheel, tmp_path: Path, pip: Pip
) -> None:
    bake_wheel(requires=("jam>=2",))
    bake_wheel("jam")
    with pytest.raises(BadFile) as caught:
        compiled("toast\n", tmp_path, pip)
    assert caught.value.subject == str(tmp_path / "oven.in")
    assert "jam" in str(caught.value.got)
    assert not (tmp_path / "oven.txt").exists()


def test_an_index_that_does_not_answer_can_be_tried_again(tmp_path: Path, pip: Pip) -> None:
    environment = {key: value for key, value in pip.environment.items() if key != "PIP_NO_INDEX"}
    silent = Pip(environment={**environment, "PIP_INDEX_URL": SILENT_INDEX})
    (tmp_path / "wheels").mkdir()
    with pytest.raises(TryAgain):
        compiled("toast\n", tmp_path, silent)


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("error: failed to write to file `x`: No space left on device (os error 28)", True),
        ("error: failed to write to file `x`: Auf dem Gerät ist kein Platz (os error 28)", True),
        ("error: No such file or directory (os error 2)", False),
        ("error: failed to fetch [Errno 280]", False),
    ],
)
def test_a_disk_without_room_is_known_by_its_number_too(said: str, full: bool) -> None:
    assert is_full(said) is full


def test_a_line_that_is_no_requirement_is_named(tmp_path: Path) -> None:
    path = tmp_path / "oven.in"
    path.write_text("# bread\ntoast==1.0\n\n-r other.in\n")
    with pytest.raises(BadFile) as caught:
        read_wanted(path)
    assert caught.value.where == f"{path}:4"


@pytest.mark.parametrize(
    "text",
    [
        "toast==1.0\n",
        "toast>=1.0 --hash=sha256:" + "0" * 64,
        "toast==1.0 --hash=md5:" + "0" * 32,
        "toast==1.0 --hash=sha256:" + "0" * 63,
        "toast @ https://example.org/toast.whl --hash=sha256:" + "0" * 64,
        "--index-url https://example.org/simple",
        "toast==1.0 --hash=sha256:" + "0" * 64 + "\nToast==1.1 --hash=sha256:" + "0" * 64,
    ],
)
def test_a_line_that_is_no_pin_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "oven.txt"
    path.write_text(f"jam==1.0 \\\n    --hash=sha256:{'1' * 64}\n{text}\n")
    with pytest.raises(BadFile) as caught:
        read_pins(path)
    assert caught.value.where in (f"{path}:3", f"{path}:4")


def test_pins_are_read_with_names_as_indexes_spell_them(tmp_path: Path) -> None:
    path = tmp_path / "oven.txt"
    path.write_text(f"Toast_Rack==1.0+cpu --hash=sha256:{'1' * 64}  # crisp\n")
    (found,) = read_pins(path)
    assert found == Pin("toast-rack", "1.0+cpu", (Digest("1" * 64),))
    assert str(found) == f"toast-rack==1.0+cpu --hash=sha256:{'1' * 64}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"oven\.txt"):
        read_pins(tmp_path / "oven.txt")


def test_what_pip_is_configured_with_is_said_again_for_uv() -> None:
    listing = r"""
:env:.cert='/etc/mirror.pem'
:env:.find-links='/srv/wheels'
download.timeout='30'
global.extra-index-url='https://b.example/simple\nhttps://c.example/simple'
global.find-links='/srv/old'
global.index-url='https://user:secret@a.example/simple'
global.trusted-host='a.example'
install.index-url='https://not-for-download.example/simple'
"""
    assert PipIndex.parse(listing).for_uv() == {
        "UV_DEFAULT_INDEX": "https://user:secret@a.example/simple",
        "UV_INDEX": "https://b.example/simple https://c.example/simple",
        "UV_FIND_LINKS": "/srv/wheels",
        "UV_INSECURE_HOST": "a.example",
        "UV_HTTP_TIMEOUT": "30",
        "SSL_CERT_FILE": "/etc/mirror.pem",
    }


def test_a_pip_that_is_configured_with_nothing_leaves_uv_alone() -> None:
    found = PipIndex.parse("global.no-index='false'\nglobal.color='no'\n")
    assert found.for_uv() == {}
    assert found.arguments_for_uv == ()


def test_pip_itself_is_asked_for_its_configuration(pip: Pip) -> None:
    found = PipIndex.ask(pip)
    assert found.for_uv()["UV_FIND_LINKS"] == pip.environment["PIP_FIND_LINKS"]
    assert found.arguments_for_uv == ("--no-index",)


def test_a_python_without_pip_is_a_missing_tool(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "No module named pip" >&2\nexit 1\n')
    fake.chmod(0o755)
    with pytest.raises(MissingTool):
        PipIndex.ask(Pip(environment={}, python=str(fake)))


def test_the_platforms_of_a_target_are_those_that_its_glibc_can_load() -> None:
    platforms = Target(glibc=(2, 18)).platforms
    assert platforms[:3] == (
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    )
    assert platforms[-2:] == ("manylinux1_x86_64", "linux_x86_64")


def test_a_machine_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="sparc"):
        Target(machine="sparc")
