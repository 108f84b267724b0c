"""The one text form of a remembered outcome."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest, canonical_json
from ovenproof.errors import WrongBytes

KEY = Digest.of(b"action")
LAYER = Content.of(b"layer")
OUTCOME = Outcome({"layer": LAYER})

digests = st.binary(max_size=4).map(Digest.of)
contents = st.builds(Content, digests, st.integers(0, 2**70))
outcomes = st.dictionaries(st.text(max_size=8), contents, max_size=4).map(Outcome)


def is_none(text: bytes, key: Digest = KEY) -> bool:
    try:
        record.read(key, text)
    except WrongBytes:
        return True
    return False


def test_a_record_is_what_it_was_when_stores_began_to_keep_them() -> None:
    assert record.write(KEY, OUTCOME) == canonical_json(
        {
            "check": "sha256:4b2812d08ce730419a81dd4b7f3552df46041cadc2ffe0583734d3e2da78f77a",
            "key": str(KEY),
            "outputs": {"layer": {"digest": str(LAYER.digest), "size": 5}},
        }
    )


@given(digests, outcomes)
def test_what_is_written_is_read_again(key: Digest, outcome: Outcome) -> None:
    assert record.read(key, record.write(key, outcome)) == outcome


@given(outcomes)
def test_one_outcome_has_one_text(outcome: Outcome) -> None:
    turned = Outcome(dict(reversed([*outcome.outputs.items()])))
    assert record.write(KEY, outcome) == record.write(KEY, turned)


def test_the_record_of_another_key_is_none() -> None:
    assert is_none(record.write(Digest.of(b"other"), OUTCOME))


def test_every_flipped_bit_is_found() -> None:
    text = record.write(KEY, OUTCOME)
    for place in range(len(text) * 8):
        spoilt = bytearray(text)
        spoilt[place // 8] ^= 1 << place % 8
        assert is_none(bytes(spoilt)), place


def test_every_cut_is_found() -> None:
    text = record.write(KEY, OUTCOME)
    assert all(is_none(text[:end]) for end in range(len(text)))
    assert is_none(text + b"\n")


@given(st.binary())
def test_no_bytes_do_harm(text: bytes) -> None:
    assert is_none(text)


@pytest.mark.parametrize(
    "spoil",
    [
        {"check": str(Digest.of(b""))},
        {"more": 1},
        {"outputs": []},
        {"outputs": {"layer": {"digest": "sha256:00", "size": 1}}},
        {"outputs": {"layer": {"digest": str(LAYER.digest), "size": -1}}},
        {"outputs": {"layer": {"digest": str(LAYER.digest), "size": True}}},
        {"outputs": {"layer": None}},
    ],
)
def test_a_record_with_other_values_is_none(spoil: dict[str, object]) -> None:
    values = json.loads(record.write(KEY, OUTCOME))
    spoilt = json.dumps({**values, **spoil}, sort_keys=True, separators=(",", ":"))
    assert is_none(spoilt.encode())
