"""The typed reader: each value is checked as it is taken out."""

from collections.abc import Callable

import pytest

from ovenproof.core.digest import Content
from ovenproof.core.reader import Reader
from ovenproof.errors import BadFile

CONTENT = Content.of(b"x")


def reader(text: str) -> Reader:
    return Reader.parse(text, name="a.json")


def test_values_come_out_with_their_types() -> None:
    top = reader('{"n": 7, "t": "word", "o": {"k": null}, "l": [{"a": 1}, {"a": 2}]}')
    assert top.integer("n") == 7
    assert top.text("t") == "word"
    assert top.choice("t", ("other", "word")) == "word"
    assert top.mapping("o") == {"k": None}
    assert [item.integer("a") for item in top.items("l")] == [1, 2]
    assert top.json("o") == {"k": None}


def test_an_object_of_objects_gives_names_and_readers() -> None:
    top = reader(f'{{"all": {{"one": {{"digest": "{CONTENT.digest}", "size": 1}}}}}}')
    assert [(name, item.content()) for name, item in top.entries("all")] == [("one", CONTENT)]


def test_has_asks_for_a_key_and_not_for_a_value() -> None:
    top = reader('{"a": null}')
    assert top.has("a")
    assert not top.has("b")
    assert top.json("a") is None


@pytest.mark.parametrize(
    ("text", "ask", "subject"),
    [
        ("{}", lambda r: r.json("a"), "a"),
        ("{}", lambda r: r.text("a"), "a"),
        ('{"a": 1}', lambda r: r.text("a"), "a"),
        ('{"a": null}', lambda r: r.text("a"), "a"),
        ('{"a": "x"}', lambda r: r.choice("a", ("y", "z")), "a"),
        ('{"a": "1"}', lambda r: r.integer("a"), "a"),
        ('{"a": -1}', lambda r: r.integer("a"), "a"),
        ('{"a": true}', lambda r: r.integer("a"), "a"),
        ('{"a": "sha256:12"}', lambda r: r.digest("a"), "a"),
        ('{"a": []}', lambda r: r.mapping("a"), "a"),
        ('{"a": {}}', lambda r: list(r.items("a")), "a"),
        ('{"a": [{}, 1]}', lambda r: list(r.items("a")), "a[1]"),
        ('{"a": {"b": 1}}', lambda r: list(r.entries("a")), "a.b"),
        ('{"a": [{"b": 1}]}', lambda r: next(r.items("a")).text("b"), "a[0].b"),
        ('{"a": {"b": {}}}', lambda r: next(r.entries("a"))[1].content(), "a.b.digest"),
    ],
)
def test_a_fault_names_document_and_place(
    text: str, ask: Callable[[Reader], object], subject: str
) -> None:
    with pytest.raises(BadFile) as caught:
        ask(reader(text))
    assert (caught.value.subject, caught.value.where) == (subject, "a.json")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": 1.5}',
        b'{"a": 1e3}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"[]",
        b'"text"',
    ],
)
def test_what_is_no_object_of_whole_numbers_is_refused(text: bytes) -> None:
    with pytest.raises(BadFile, match=r"a\.json"):
        Reader.parse(text, name="a.json")


def test_a_key_that_stands_twice_is_refused() -> None:
    """A merge of two branches can leave both; taking the last would drop one without a word."""
    with pytest.raises(BadFile, match="twice"):
        reader('{"a": {"b": 1, "b": 2}}')
