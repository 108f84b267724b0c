"""Bazel's HTTP cache: the message that a record travels in, and what a server may do wrong."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.digest import Digest
from ovenproof.errors import NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.registry.bazel import LIMIT, BazelCache, unwrapped, wrapped
from tests.fakes.cache import PAGE, FakeCache

KEY = Digest.of(b"action")
PATH = f"/cache/ac/{KEY.hex}"
TEXT = b'{"a":1}'


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as made:
        yield made


@pytest.fixture
def client(cache: FakeCache, tmp_path: Path) -> BazelCache:
    return BazelCache(cache.url, environment={}, home=tmp_path)


# The message


def test_a_record_is_field_5_of_an_action_result() -> None:
    assert wrapped(TEXT) == b"\x2a\x07" + TEXT
    assert wrapped(b"x" * 300)[:3] == b"\x2a\xac\x02"


@given(st.binary(max_size=70_000))
def test_what_is_wrapped_is_unwrapped(text: bytes) -> None:
    assert unwrapped(wrapped(text)) == text


FIELDS = {
    "a number (4: exit code)": b"\x20\xac\x02",
    "a message (9: execution metadata)": b"\x4a\x05\x0a\x03abc",
    "eight bytes": b"\x59" + bytes(8),
    "four bytes": b"\x5d" + bytes(4),
    "a field with a large number": b"\xfa\xff\xff\xff\x0f\x01x",
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_fields_that_a_server_adds_are_passed_over(field: bytes) -> None:
    assert unwrapped(field + wrapped(TEXT)) == TEXT
    assert unwrapped(wrapped(TEXT) + field) == TEXT


def test_of_two_texts_the_last_counts_as_in_every_protobuf() -> None:
    assert unwrapped(wrapped(b"old") + wrapped(TEXT)) == TEXT


BROKEN = {
    "nothing": b"",
    "no record": b"\x20\x01",
    "a page": PAGE,
    "a text longer than the message": b"\x2a\x08" + TEXT,
    "a number without an end": b"\x2a" + b"\xff" * 9,
    "a number of more than 64 bits": b"\x2a" + b"\xff" * 10 + b"\x01" + TEXT,
    "a tag alone": b"\x2a",
    "field 0": b"\x02\x01x" + wrapped(TEXT),
    "a group": b"\x2b" + wrapped(TEXT),
    "too few fixed bytes": wrapped(TEXT) + b"\x59\x00",
    "the text as a number": b"\x28\x01",
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_action_result_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="ActionResult"):
        unwrapped(message)


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(message: bytes) -> None:
    with suppress(ValueError):
        assert unwrapped(message) in message


# The server


def test_a_record_lies_below_ac_under_its_key(client: BazelCache, cache: FakeCache) -> None:
    assert client.get(KEY) is None
    client.put(KEY, TEXT)
    assert cache.values == {PATH: wrapped(TEXT)}
    assert client.get(KEY) == TEXT


def test_a_slash_at_the_end_of_the_address_says_nothing(cache: FakeCache, tmp_path: Path) -> None:
    BazelCache(f"{cache.url}/", environment={}, home=tmp_path).put(KEY, TEXT)
    assert list(cache.values) == [PATH]


@pytest.mark.parametrize("value", [PAGE, b"", wrapped(TEXT)[:-1]])
def test_a_value_that_holds_no_record_is_wrong_bytes(
    client: BazelCache, cache: FakeCache, value: bytes
) -> None:
    cache.values[PATH] = value
    with pytest.raises(WrongBytes):
        client.get(KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NoAccess), (403, NoAccess), (302, TryAgain), (429, TryAgain), (500, TryAgain)],
)
def test_another_status_is_told_with_its_number(
    client: BazelCache, cache: FakeCache, status: int, kind: type[OvenproofError]
) -> None:
    cache.status = cache.put_status = status
    with pytest.raises(kind, match=str(status)):
        client.get(KEY)
    with pytest.raises(kind, match=str(status)):
        client.put(KEY, TEXT)


def test_an_account_follows_no_redirect(cache: FakeCache, tmp_path: Path) -> None:
    with FakeCache() as other:
        cache.status, cache.location = 302, other.url
        address = cache.url.replace("//", "//me:secret@")
        with pytest.raises(TryAgain):
            BazelCache(address, environment={}, home=tmp_path).get(KEY)
        assert other.asked == []


def test_a_connection_that_ends_too_early_is_told(client: BazelCache, cache: FakeCache) -> None:
    cache.values[PATH] = wrapped(TEXT)
    cache.cut = True
    with pytest.raises(TryAgain, match="does not answer"):
        client.get(KEY)


def test_an_endless_answer_is_not_read_to_its_end(client: BazelCache, cache: FakeCache) -> None:
    cache.page = bytes(LIMIT + 1)
    with pytest.raises(TryAgain, match="too much"):
        client.get(KEY)


# Accounts


def test_the_account_in_the_address_is_sent_decoded_and_shown_nowhere(
    cache: FakeCache, tmp_path: Path
) -> None:
    address = cache.url.replace("//", "//me:s%2Fcret@")
    client = BazelCache(address, environment={}, home=tmp_path)
    client.get(KEY)
    assert cache.logins == ["Basic bWU6cy9jcmV0"]
    cache.status = 403
    with pytest.raises(NoAccess) as caught:
        client.get(KEY)
    assert "cret" not in caught.value.text() + repr(vars(client))


def test_the_home_folder_s_account_is_for_its_own_host(cache: FakeCache, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine cache.test login me password secret\ndefault login a password b\n")
    BazelCache(cache.url, environment={}, home=tmp_path).get(KEY)
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    BazelCache(cache.url, environment={}, home=tmp_path).get(KEY)
    assert cache.logins == [None, "Basic bWU6c2VjcmV0"]


def test_a_file_of_accounts_that_cannot_be_read_is_named(cache: FakeCache, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine x\nnonsense secret\n")
    with pytest.raises(NoAccess, match=r"\.netrc, line") as caught:
        BazelCache(cache.url, environment={}, home=tmp_path)
    assert "secret" not in caught.value.text()
