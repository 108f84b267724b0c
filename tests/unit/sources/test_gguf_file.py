"""The reader of a GGUF's head, held against the `gguf` package's own, and against damage."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from ovenproof.errors import BadFile, OvenproofError, WrongBytes
from ovenproof.sources.gguf_file import read_gguf

TENSOR = np.arange(96, dtype=np.float32).reshape(3, 32)


def write(path: Path, **more: str) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.number", 7)
    writer.add_int32("a.negative", -7)
    writer.add_float32("a.real", 0.5)
    writer.add_bool("a.flag", True)
    writer.add_string("a.text", "ein Läufer 🏃")
    writer.add_array("a.texts", ["x", "", "ü"])
    writer.add_array("a.numbers", [1, -2, 3])
    for key, value in more.items():
        writer.add_string(key, value)
    writer.add_tensor("plain", TENSOR)
    quantized = gguf.quantize(TENSOR, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "small.gguf")


def test_values_come_back_as_they_were_written(path: Path) -> None:
    read = read_gguf(path)

    assert read.get("a.number", int) == 7
    assert read.get("a.negative", int) == -7
    assert read.get("a.real", float) == 0.5
    assert read.get("a.flag", bool) is True
    assert read.get("a.text", str) == "ein Läufer 🏃"
    assert read.get_all("a.texts", str) == ("x", "", "ü")
    assert read.get_all("a.numbers", int) == (1, -2, 3)


def test_tensors_lie_where_the_gguf_package_finds_them(path: Path) -> None:
    read = read_gguf(path)
    theirs = gguf.GGUFReader(path)

    assert [
        (tensor.name, tensor.kind, tensor.offset, tensor.size, tensor.shape)
        for tensor in read.tensors.values()
    ] == [
        (
            tensor.name,
            tensor.tensor_type,
            tensor.data_offset,
            tensor.n_bytes,
            tuple(reversed(tensor.shape.tolist())),
        )
        for tensor in theirs.tensors
    ]
    assert len(read.tensors) == 2
    plain = read.tensors["plain"]
    data = path.read_bytes()[plain.offset : plain.offset + plain.size]
    assert data == TENSOR.astype("<f4").tobytes()


def test_a_missing_value_names_the_key_and_the_file(path: Path) -> None:
    with pytest.raises(BadFile, match=r"`a\.absent` \(.*small\.gguf\)") as caught:
        read_gguf(path).get("a.absent", int)
    assert caught.value.got == "nothing"


def test_a_missing_value_with_a_default_is_the_default(path: Path) -> None:
    assert read_gguf(path).get("a.absent", int, 5) == 5


@pytest.mark.parametrize(
    ("key", "kind"), [("a.text", int), ("a.flag", int), ("a.number", bool), ("a.number", float)]
)
def test_a_value_of_another_kind_is_refused(path: Path, key: str, kind: type[int]) -> None:
    with pytest.raises(BadFile) as caught:
        read_gguf(path).get(key, kind)
    assert caught.value.expected == kind.__name__


def test_a_list_of_another_kind_is_refused(path: Path) -> None:
    with pytest.raises(BadFile):
        read_gguf(path).get_all("a.texts", int)
    with pytest.raises(BadFile):
        read_gguf(path).get_all("a.text", str)


def test_a_file_cut_off_anywhere_is_found_out(path: Path) -> None:
    whole = path.read_bytes()
    last = max(tensor.offset + tensor.size for tensor in read_gguf(path).tensors.values())
    for size in range(last):
        path.write_bytes(whole[:size])
        with pytest.raises(WrongBytes):
            read_gguf(path)


def test_no_damaged_byte_of_the_head_leads_to_anything_but_a_clear_error(path: Path) -> None:
    whole = path.read_bytes()
    head = min(tensor.offset for tensor in read_gguf(path).tensors.values())
    refused = 0
    for at in range(head):
        for change in (0x01, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
            try:
                read_gguf(path)
            except OvenproofError:
                refused += 1
    assert refused > head


def test_another_kind_of_file_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(BadFile, match="not a GGUF file") as caught:
        read_gguf(path)
    assert "PK" in str(caught.value.got)


@pytest.mark.parametrize("version", [1, 4, 0x03000000])
def test_a_version_that_is_not_understood_is_named(path: Path, version: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", version) + data[8:])
    with pytest.raises(BadFile) as caught:
        read_gguf(path)
    assert caught.value.got == f"version {version}"


def test_a_count_of_quintillions_is_refused_at_once(tmp_path: Path) -> None:
    key = b"k"
    head = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(key)) + key
    for kind in (0, 7, 8, 12):
        path = tmp_path / f"{kind}.gguf"
        path.write_bytes(head + struct.pack("<IIQ", 9, kind, 1 << 60))
        with pytest.raises(WrongBytes, match="ends too early"):
            read_gguf(path)


def test_a_key_twice_is_damage(tmp_path: Path) -> None:
    pair = struct.pack("<Q", 1) + b"k" + struct.pack("<IB", 0, 1)
    path = tmp_path / "twice.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + pair + pair)
    with pytest.raises(WrongBytes) as caught:
        read_gguf(path)
    assert caught.value.got == "the key 'k' twice"
