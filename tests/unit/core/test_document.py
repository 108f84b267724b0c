"""YAML text -> nodes with places and plain values."""

import pytest

from ovenproof.core import document
from ovenproof.core.document import Number, Plain
from ovenproof.errors import BadFile


def value(text: str) -> Plain:
    """What the one value of a file `a: …` means."""
    found = document.read(f"a: {text}", "m.yaml")
    assert found.faults == ()
    plain = document.plain(found.root)
    assert isinstance(plain, dict)
    return plain["a"]


def only_fault(text: str) -> BadFile:
    """The one fault, whether it stopped the reading or not."""
    try:
        found = document.read(text, "m.yaml")
    except BadFile as fault:
        return fault
    (lesser,) = found.faults
    return lesser


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "n", "Yes", "OFF", "12:30:45"])
def test_words_that_yaml_1_1_took_for_something_else_are_words(word: str) -> None:
    assert value(word) == word
    assert type(value(word)) is str


@pytest.mark.parametrize(
    "word", ["1.10", "0777", "0x1F", "0o17", "1e5", "-3", "+3", ".5", "1.", ".inf", ".nan", "0"]
)
def test_a_number_keeps_its_text(word: str) -> None:
    assert value(word) == word
    assert isinstance(value(word), Number)


@pytest.mark.parametrize("word", ["2024-01-01", "1_000", "1.2.3", "0b11", "12e", "v1.10"])
def test_what_only_looks_like_a_number_is_text(word: str) -> None:
    assert type(value(word)) is str


@pytest.mark.parametrize(
    ("word", "meant"),
    [("true", True), ("True", True), ("FALSE", False), ("~", None), ("null", None), ("", None)],
)
def test_the_words_of_the_core_schema_mean_what_they_say(word: str, meant: bool | None) -> None:
    assert value(word) is meant


@pytest.mark.parametrize("word", ['"true"', "'null'", '"1.10"', "'~'"])
def test_quotes_make_a_text(word: str) -> None:
    assert value(word) == word[1:-1]
    assert type(value(word)) is str


def test_nested_values_come_out_plain() -> None:
    assert value("{b: [1, x, {c: true}]}") == {"b": ["1", "x", {"c": True}]}


def test_a_key_that_stands_twice_names_both_places() -> None:
    fault = only_fault("a: 1\nb: 2\n  \na: 3\n")
    assert fault.where == "m.yaml:4:1"
    assert "m.yaml:1:1" in str(fault.got)
    assert fault.subject == "a"


def test_every_key_that_stands_twice_is_found() -> None:
    found = document.read("a: 1\na: 2\nb: {c: 1, c: 2}\n", "m.yaml")
    assert [fault.where for fault in found.faults] == ["m.yaml:2:1", "m.yaml:3:11"]


def test_an_alias_means_what_its_anchor_means() -> None:
    found = document.read("a: &x {p: 1}\nb: *x\n", "m.yaml")
    assert document.plain(found.root) == {"a": {"p": "1"}, "b": {"p": "1"}}


def test_aliases_that_explode_are_stopped_before_they_are_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    fault = only_fault("\n".join(lines))
    assert "multiply" in fault.what
    assert fault.where == "m.yaml:5:10"


def test_many_aliases_that_do_not_explode_are_fine() -> None:
    text = "base: &b {p: 1}\n" + "".join(f"k{n}: *b\n" for n in range(1000))
    assert document.read(text, "m.yaml").faults == ()


def test_an_alias_of_itself_is_refused() -> None:
    assert "alias" in only_fault("a: &x [*x]\n").what


def test_an_unknown_alias_is_refused() -> None:
    assert only_fault("a: *nobody\n").where == "m.yaml:1:4"


def test_deep_nesting_is_refused() -> None:
    assert "nested" in only_fault("a: " + "[" * 200 + "]" * 200).what


@pytest.mark.parametrize(
    ("text", "says", "where"),
    [
        ("a:\n  <<: {b: 1}\n", "merge key", "m.yaml:2:3"),
        ("a: !!str 1.10\n", "tag", "m.yaml:1:4"),
        ("a: !!python/object:os.system {}\n", "tag", "m.yaml:1:4"),
        ("{[x]: 1}\n", "not a word", "m.yaml:1:2"),
        ("a: 1\n---\nb: 2\n", "second document", "m.yaml:2:1"),
        ("", "not a mapping", "m.yaml:1:1"),
        ("# only a comment\n", "not a mapping", "m.yaml:1:1"),
        ("- a\n- b\n", "not a mapping", "m.yaml:1:1"),
        ("just a word", "not a mapping", "m.yaml:1:1"),
        ("a: b: c\n", "not readable as YAML", "m.yaml:1:5"),
        ("a: [1, 2\n", "not readable as YAML", "m.yaml:2:1"),
        ("a: 1\nb: x\x07y\n", "does not allow", "m.yaml:2:5"),
        ("a: \ud800\n", "does not allow", "m.yaml:1:4"),
        ('a: "\\ud800\\udc00"\n', "not readable as YAML", "m.yaml:1:"),
    ],
)
def test_what_cannot_be_read_says_so_and_where(text: str, says: str, where: str) -> None:
    fault = only_fault(text)
    assert says in fault.what
    assert str(fault.where).startswith(where)


def test_a_tab_gets_advice() -> None:
    fault = only_fault("a:\n\tb: 1\n")
    assert fault.hint is not None
    assert "spaces" in fault.hint


@pytest.mark.parametrize(
    "words",
    [
        "[*.json]",
        "[ *.json, x]",
        '["x", **/*.json]',
        "\n  - *.json",
        "*",
        "*.json",
        "*json",
        "@x",
        "[x, @y]",
        "%x",
        "`x`",
        "{b: `x`}",
        "!x",
        "!x y",
        "[!*.json]",
        "!foo!bar x",
    ],
)
def test_a_text_that_needs_quotes_gets_the_advice(words: str) -> None:
    letter = next(letter for letter in "@%`!*" if letter in words)
    found = only_fault(f"a: {words}\n").hint
    assert found == f"put quotes around it: without them no text can begin with {letter}"


@pytest.mark.parametrize("text", ["a: b: *c\n", "a: [1, 2\n", "a: x*y: z*\n", "a: !!str 1.10\n"])
def test_what_quotes_do_not_mend_gets_no_such_advice(text: str) -> None:
    assert "put quotes" not in str(only_fault(text).hint)


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    assert document.plain(document.read("\ufeffa: x", "m.yaml").root) == {"a": "x"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_counted_whatever_ends_them(end: str) -> None:
    fault = only_fault(end.join(["a: 1", "b: 2", "b: 3", ""]))
    assert fault.where == "m.yaml:3:1"
    assert "b: 3" in fault.text()


def test_the_line_is_shown_with_carets_under_the_word() -> None:
    assert "    2 | abc: 2\n      | ^^^\n" in only_fault("abc: 1\nabc: 2\n").text()


def test_carets_stand_right_behind_wide_letters() -> None:
    shown = only_fault("{한글: 1, abc: 1, abc: 2}").text().splitlines()
    # Each of the two letters takes two columns of a terminal.
    assert shown[2].index("^") - shown[1].index("abc: 2") == 2


def test_a_long_line_is_cut_around_the_word() -> None:
    text = "a: {" + ", ".join(f"k{n}: {n}" for n in range(200)) + ", k7: 1}"
    shown = only_fault(text).text().splitlines()
    assert max(len(line) for line in shown) < 120
    start = shown[2].index("^")
    assert shown[1][start : start + 2] == "k7"


@pytest.mark.parametrize(
    "text", ["{HF_TOKEN: hunter2, a: 1, a: 2}", "{a: 1, a: 2, my-password : 'hunter2'}"]
)
def test_no_error_shows_a_secret_of_its_line(text: str) -> None:
    assert "hunter2" not in only_fault(text).text()
