"""Progress where nobody watches: plain lines on stderr."""

import io
import sys

import pytest

from ovenproof.events import Advanced, Expected, Finished, Noted, Started
from ovenproof.tasks.screen import count, progress
from ovenproof.tasks.shell import say


def test_a_line_says_what_begins_and_one_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as listener:
        listener(Noted(text="2 of 3 blobs are there already"))
        listener(Started(name="config", total=2_000))
        listener(Advanced(name="config", size=2_000))
        listener(Finished(name="config", note="resumed at 5"))
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "2 of 3 blobs are there already",
        "config … 2 kB",
        "config: done, 2 kB, resumed at 5",
    ]
    assert said.out == ""


def test_what_never_began_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as listener:
        listener(Finished(name="config", note="there"))
    assert capsys.readouterr().err == ""


def test_what_a_stranger_named_does_not_act_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress() as listener:
        listener(Noted(text="code \x1b]0;evil\x07"))
        listener(Started(name="a\x1b[2J", total=5))
    say("template: \x1b[31m\u202e\tx\ny")
    said = capsys.readouterr()
    assert said.err == "code \\x1b]0;evil\\x07\na\\x1b[2J … 5 B\n"
    assert said.out == "template: \\x1b[31m\\u202e\tx\ny\n"


class Terminal(io.StringIO):
    """Someone watches."""

    def isatty(self) -> bool:
        return True


def test_the_live_lines_do_not_act_on_the_terminal_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as listener:
        listener(Noted(text="code \x1b]0;evil\x07"))
        listener(Started(name="a\x1b]0;odd\x07", total=5))
        listener(Finished(name="a\x1b]0;odd\x07"))
    assert "\x1b]0" not in terminal.getvalue()
    assert "code \\x1b]0;evil" in terminal.getvalue()


def test_one_of_a_thing_is_not_many() -> None:
    assert [count(number, "blob") for number in (0, 1, 2)] == ["0 blobs", "1 blob", "2 blobs"]


def test_what_failed_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as listener:
        listener(Expected(total=3_000))
        listener(Started(name="one", total=2_000))
        listener(Advanced(name="one", size=500))
        listener(Finished(name="one", failed=True))
        listener(Started(name="two", total=1_000))
        listener(Finished(name="two"))
    assert capsys.readouterr().err.splitlines() == [
        "one … 2 kB",
        "one: failed, 0 B of 3 kB",
        "two … 1 kB",
        "two: done, 1 kB of 3 kB",
    ]
