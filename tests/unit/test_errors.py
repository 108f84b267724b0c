"""Errors: one form, one exit code per remedy."""

import copy
import pickle
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof import errors
from ovenproof.errors import (
    BadFile,
    LockAgain,
    NoSpace,
    OvenproofError,
    Several,
    TryAgain,
    WrongBytes,
    about_entry,
    found_in,
    raise_all,
    visible,
)

FULL = BadFile(
    "a port is out of range",
    subject="port",
    where="models.yaml:3:9",
    expected="1 to 65535",
    got="70000",
    hint="write another one",
    excerpt="  3 | port: 70000\n    |       ^",
)


def kinds() -> list[type[OvenproofError]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, OvenproofError)
    ]


def test_what_a_stranger_wrote_does_not_act_on_the_terminal() -> None:
    fault = BadFile(
        "x", subject="a\x1b[2Jb\nhint: c", where="\x9b1m", got="\u202efdp\r\ud800\nhint: d"
    )
    assert fault.text() == (
        "error: x: `a\\x1b[2Jb\\nhint: c` (\\x9b1m)\n  got      \\u202efdp\\r\\ud800\n"
        "           hint: d"
    )
    assert str(Several([fault, FULL])) == f"{fault.text()}\n\n{FULL.text()}"
    assert fault.subject == "a\x1b[2Jb\nhint: c"


@given(st.text())
def test_what_is_visible_keeps_its_letters_lines_and_tabs(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not any(category(sign) in ("Cc", "Cs") for sign in shown if sign not in "\n\t")
    assert visible("größe\t日本\n😀") == "größe\t日本\n😀"


def test_the_text_has_one_form() -> None:
    assert str(FULL) == (
        "error: a port is out of range: `port` (models.yaml:3:9)\n"
        "  3 | port: 70000\n"
        "    |       ^\n"
        "  expected 1 to 65535\n"
        "  got      70000\n"
        "hint: write another one"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(NoSpace("the disk is full")) == "error: the disk is full"


def test_each_remedy_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in kinds() if kind is not Several]
    assert len(set(codes)) == len(codes) == 10
    assert all(1 <= code <= 125 for code in codes)  # a shell keeps the others for itself


def test_each_error_says_in_its_docstring_what_the_reader_can_do() -> None:
    assert all(kind.__doc__ for kind in kinds())


@pytest.mark.parametrize("move", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_the_way_to_another_process(move: object) -> None:
    assert callable(move)
    moved = move(FULL)
    assert type(moved) is BadFile
    assert str(moved) == str(FULL)
    assert (moved.subject, moved.hint) == ("port", "write another one")
    both = move(Several([FULL, NoSpace("full")]))
    assert str(both) == f"{FULL}\n\nerror: full"


def test_an_error_with_a_note_survives_too() -> None:
    error = BadFile("wrong", subject="x")
    error.add_note("while reading y")
    moved = pickle.loads(pickle.dumps(error))
    assert str(moved) == str(error)


def test_no_fault_raises_nothing() -> None:
    raise_all([])
    raise_all(iter(()))


def test_one_fault_is_raised_as_itself() -> None:
    with pytest.raises(BadFile) as caught:
        raise_all([FULL])
    assert caught.value is FULL


def test_more_faults_are_raised_together_and_the_first_gives_the_exit_code() -> None:
    with pytest.raises(Several) as caught:
        raise_all(fault for fault in (LockAgain("stale"), FULL))
    assert caught.value.worst == LockAgain.exit_code
    assert str(caught.value) == f"error: stale\n\n{FULL}"


def test_faults_of_faults_are_all_named_and_the_exit_code_stays_a_remedys() -> None:
    inner = Several([NoSpace("full"), LockAgain("stale")])
    with pytest.raises(Several) as caught:
        raise_all([inner, FULL])
    assert [type(fault) for fault in caught.value.faults] == [NoSpace, LockAgain, BadFile]
    assert caught.value.worst == NoSpace.exit_code


def test_what_several_threads_have_found_in_the_same_words_is_said_once() -> None:
    twice = [NoSpace("no room", subject="here"), NoSpace("no room", subject="here")]
    with pytest.raises(NoSpace) as alone:
        raise_all(twice)
    assert alone.value is twice[0]
    with pytest.raises(Several) as caught:
        raise_all([*twice, BadFile("no room", subject="here")])
    assert [type(fault) for fault in caught.value.faults] == [NoSpace, BadFile]


def test_a_hint_names_the_entry_that_was_worked_on() -> None:
    faults = [BadFile("a", hint="run `invoke lock --model NAME --upgrade`"), BadFile("b")]
    with pytest.raises(Several) as caught, about_entry("tiny"):
        raise Several(faults)
    assert "run `invoke lock --model tiny --upgrade`" in str(caught.value)


def test_a_fault_says_whose_file_it_is_unless_it_does_so_itself() -> None:
    faults = [BadFile("a", subject="x"), WrongBytes("b", where="there"), TryAgain("c")]
    with pytest.raises(Several) as caught, found_in("org/m"):
        raise Several(faults)
    assert [one.where for one in caught.value.faults] == ["org/m", "there", None]
