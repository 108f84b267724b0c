"""Progress where nobody watches: plain lines on stderr."""

import pytest

from ovenproof.events import Advanced, Finished, Noted, Started
from ovenproof.tasks.screen import count, progress


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


def test_one_of_a_thing_is_not_many() -> None:
    assert [count(number, "blob") for number in (0, 1, 2)] == ["0 blobs", "1 blob", "2 blobs"]
