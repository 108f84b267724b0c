"""Pickles: brought and scanned before they are locked, and told of."""

import collections
import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest

from ovenproof.errors import BadFile, WrongBytes
from ovenproof.events import Event, silent
from ovenproof.sources.pickles import fact, risk, scan
from tests.fakes.hub import FakeHub, Sparse
from tests.unit.sources.repositories import BIG, CONFIG, notes, paths, tensors, torch_file

if TYPE_CHECKING:
    from ovenproof.sources.pickles import Scanned
    from tests.unit.sources.conftest import Source


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo",)


GOOD = pickle.dumps(collections.OrderedDict(a=1), 2)
BAD = pickle.dumps(Evil(), 2)
STRANGE = pickle.dumps(io.BytesIO, 2)


class Ranges:
    """Gives ranges of a file, and counts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent = 0

    def open(self, offset: int, size: int) -> BinaryIO:
        self.sent += size
        return io.BytesIO(self.data[offset : offset + size])


def look(data: bytes) -> "Scanned":
    return scan("pytorch_model.bin", len(data), Ranges(data).open)


def test_what_torch_writes_is_scanned() -> None:
    found = look(torch_file(GOOD))
    assert found.known == ("collections.OrderedDict",)
    assert found.unknown == ()
    said = fact([found])
    assert str(said["scanner"]).startswith("picklescan 1.")
    assert said["globals"] == 1
    assert "can run code" in risk([found], "org/m")


def test_only_the_pickle_is_read_and_not_the_tensors() -> None:
    data = torch_file(GOOD, storage=20 << 20)
    ranges = Ranges(data)
    scan("pytorch_model.bin", len(data), ranges.open)
    assert ranges.sent < 200_000


def old_file(pickled: bytes) -> bytes:
    """What torch.save wrote before it wrote zips."""
    before = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(part, 2) for part in before]
    return b"".join([*parts, pickled, pickle.dumps(["0"], 2)]) + bytes(1000)


def test_a_file_of_the_old_kind_is_scanned_too() -> None:
    assert look(old_file(GOOD)).known == ("collections.OrderedDict",)


@pytest.mark.parametrize("data", [torch_file(BAD), BAD, pickle.dumps(Evil(), 4)[:-1]])
def test_what_would_run_a_program_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(BadFile, match="should not") as caught:
        look(data)
    assert "posix.system" in str(caught.value.got)


def test_what_the_scanner_does_not_know_is_told() -> None:
    found = look(torch_file(STRANGE))
    assert found.unknown == ("_io.BytesIO",)
    assert "_io.BytesIO" in risk([found], "org/m")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        torch_file(b"garbage"),
        torch_file(b""),
        torch_file(pickle.dumps([1, 2], 2)),
        torch_file(GOOD, packed=zipfile.ZIP_DEFLATED),
        torch_file(GOOD)[:-30],
        b"7z\xbc\xaf\x27\x1c" + bytes(100),
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_what_cannot_be_looked_into_is_refused(data: bytes) -> None:
    with pytest.raises(BadFile, match="looked into"):
        look(data)


def test_a_pickle_without_end_is_not_read_without_end() -> None:
    endless = torch_file(b"\x80\x02" + b"N0" * (1 << 20))
    ranges = Ranges(endless)
    with pytest.raises(WrongBytes, match="more of a file"):
        scan("pytorch_model.bin", len(endless), ranges.open, limit=100_000)
    assert ranges.sent <= 100_000


# With a hub


def commit(fake: FakeHub, **files: bytes) -> None:
    named = {name.replace("__", "."): data for name, data in files.items()}
    fake.repository("org/m").commit({"config.json": CONFIG, **named})


def test_pickles_are_locked_where_they_are_allowed_and_the_risk_is_told(
    fake: FakeHub, make_source: "Source"
) -> None:
    commit(fake, pytorch_model__bin=torch_file(GOOD), training_args__bin=torch_file(BAD))
    with pytest.raises(BadFile, match="pickles"):
        make_source().resolve(silent)
    events: list[Event] = []
    found = make_source(allow_pickle=True).resolve(events.append)
    assert paths(found) == ["config.json", "pytorch_model.bin"]
    assert isinstance(found.facts["pickles"], dict)
    assert found.facts["pickles"]["globals"] == 1
    assert "parameters" not in found.facts
    (note,) = notes(events)
    assert "pickles" in note


def test_a_dangerous_pickle_is_not_locked(fake: FakeHub, make_source: "Source") -> None:
    commit(fake, pytorch_model__bin=torch_file(BAD))
    with pytest.raises(BadFile, match=r"posix\.system"):
        make_source(allow_pickle=True).resolve(silent)


def test_a_hub_cannot_show_the_scanner_another_file_than_everybody(
    fake: FakeHub, make_source: "Source"
) -> None:
    """The scan sees its beginning; what the hub promises is the digest of all of it."""
    sparse = Sparse(BIG, 0, old_file(GOOD))
    fake.repository("org/m").commit({"config.json": CONFIG, "pytorch_model.bin": sparse})
    fake.wrong_bytes = {"pytorch_model.bin": BIG - 1}
    with pytest.raises(WrongBytes):
        make_source(allow_pickle=True).resolve(silent)
    fake.wrong_bytes = {}
    found = make_source(allow_pickle=True).resolve(silent)
    assert "pickles" in found.facts


@pytest.mark.parametrize("name", ["head__PT", "head__pkl", "head__joblib", "head__Pickle"])
def test_a_pickle_by_another_name_is_scanned_too(
    fake: FakeHub, make_source: "Source", name: str
) -> None:
    commit(fake, **{name: torch_file(BAD)}, model__safetensors=tensors(a=1))
    with pytest.raises(BadFile, match=r"posix\.system"):
        make_source(allow_pickle=True, include=("head.*",)).resolve(silent)


@pytest.mark.parametrize("name", ["a__npz", "a__npy"])
def test_what_numpy_wrote_is_refused_where_it_cannot_be_looked_into(
    fake: FakeHub, make_source: "Source", name: str
) -> None:
    plain, packed = io.BytesIO(), io.BytesIO()
    np.save(plain, np.zeros(3))
    np.savez(packed, x=np.zeros(3))
    data = (plain if name == "a__npy" else packed).getvalue()
    commit(fake, **{name: data}, model__safetensors=tensors(a=1))
    with pytest.raises(BadFile, match="looked into"):
        make_source(allow_pickle=True, include=("a.*",)).resolve(silent)


def test_safetensors_are_taken_though_pickles_are_allowed(
    fake: FakeHub, make_source: "Source"
) -> None:
    commit(fake, pytorch_model__bin=torch_file(BAD), model__safetensors=tensors(a=1))
    found = make_source(allow_pickle=True).resolve(silent)
    assert paths(found) == ["config.json", "model.safetensors"]
    assert "pickles" not in found.facts


def test_an_included_pickle_is_scanned_too(fake: FakeHub, make_source: "Source") -> None:
    commit(fake, head__pt=torch_file(BAD), model__safetensors=tensors(a=1))
    with pytest.raises(BadFile, match=r"posix\.system"):
        make_source(allow_pickle=True, include=("head.pt",)).resolve(silent)


def test_a_pickle_that_is_cut_short_on_its_way_is_no_clean_one() -> None:
    data = torch_file(GOOD)
    with pytest.raises(WrongBytes, match="too early"):
        scan("pytorch_model.bin", len(data) + 10, Ranges(data).open)
