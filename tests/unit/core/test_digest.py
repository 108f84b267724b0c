"""Digests, contents, and the one way to write JSON."""

import hashlib
import json
from typing import Any

import pytest

from ovenproof.core.digest import Content, Digest, canonical_json

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_well_known_one() -> None:
    assert str(Digest.of(b"")) == f"sha256:{EMPTY}"


def test_a_digest_reads_back_its_own_text() -> None:
    digest = Digest.of(b"bread")
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.sha256(b"bread").hexdigest()
    assert digest.hex.startswith(digest.short)
    assert len(digest.short) == 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMPTY,
        "sha256",
        "sha256:",
        f"sha256:{EMPTY[:-1]}",
        f"sha256:{EMPTY}0",
        f"sha256:{EMPTY.upper()}",
        f"sha512:{EMPTY}",
        f"SHA256:{EMPTY}",
        f" sha256:{EMPTY}",
        f"sha256:{EMPTY}\n",
        f"sha256:{EMPTY[:-1]}g",
        f"sha256:{EMPTY[:-1]}\u0663",  # an Arabic digit is a digit to str.isdigit
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        Digest.parse(text)


def test_a_content_knows_its_size_and_refuses_a_negative_one() -> None:
    assert Content.of(b"loaf") == Content(Digest.of(b"loaf"), 4)
    with pytest.raises(ValueError, match="-1"):
        Content(Digest.of(b""), -1)


def test_canonical_json_has_one_form() -> None:
    value: dict[str, Any] = {"b": [1, True, None], "a": {"ü": "é", "z": ""}, "": -7}
    expected = '{"":-7,"a":{"z":"","ü":"é"},"b":[1,true,null]}'
    assert canonical_json(value) == expected.encode()
    assert json.loads(canonical_json(value)) == value


def test_a_tuple_is_written_as_a_list() -> None:
    assert canonical_json((1, ("a",))) == b'[1,["a"]]'


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), [0.5], {"a": {"b": [2.0]}}, b"bytes", {1: "a"}, {None: 1}, {"a": {1}}, ...],
)
def test_what_programs_write_differently_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="canonical JSON"):
        canonical_json(value)


def test_text_that_utf8_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical_json({"name": "\udcff"})
