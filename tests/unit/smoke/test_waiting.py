import pickle

import pytest

from ovenproof.core.entry import Expectation
from ovenproof.errors import ImageFailed
from ovenproof.smoke.container import wait
from ovenproof.smoke.http import Answer
from ovenproof.smoke.report import Check, Report, Subject


class FakeContainer:
    """Dies after some looks at it; answers /health with what it is told, one after the other."""

    def __init__(self, *answers: int | OSError, dies_after: int | None = None) -> None:
        self.answers = list(answers)
        self.dies_after = dies_after
        self.looks = 0
        self.now = 0.0

    def exit_code(self) -> int | None:
        self.looks += 1
        return 78 if self.dies_after is not None and self.looks > self.dies_after else None

    def last_lines(self) -> str:
        return "ovenproof: there is no model directory"

    def send(self, method: str, path: str, body: bytes | None) -> Answer:
        assert (method, path, body) == ("GET", "/health", None)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return Answer(answer, "", b"")

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, timeout_s: float = 60) -> None:
        wait(self, self.send, timeout_s=timeout_s, clock=lambda: self.now, pause=self.pause)


def test_waiting_ends_when_the_server_is_healthy() -> None:
    container = FakeContainer(ConnectionRefusedError("refused"), 503, 200)
    container.wait()
    assert container.looks == 2


def test_a_dead_container_fails_at_once_with_its_last_lines() -> None:
    container = FakeContainer(ConnectionRefusedError("refused"), dies_after=1)
    with pytest.raises(ImageFailed, match="ended with 78") as caught:
        container.wait(timeout_s=1000)
    assert "there is no model directory" in str(caught.value)
    assert container.now < 2


def test_a_server_that_never_gets_healthy_fails_after_the_time_given() -> None:
    container = FakeContainer(503)
    with pytest.raises(ImageFailed, match="not healthy after 5 s") as caught:
        container.wait(timeout_s=5)
    assert "/health says 503" in str(caught.value)
    assert 5 <= container.now < 6


def test_a_report_raises_all_failures_together() -> None:
    report = Report("image", (Check("a", True), Check("b", False, "bee"), Check("c", False, "sea")))
    with pytest.raises(ImageFailed, match="2 of 3 checks failed") as caught:
        report.raise_if_failed()
    assert "b: bee" in str(caught.value)
    assert "c: sea" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).text() == caught.value.text()
    Report("image", (Check("a", True),)).raise_if_failed()


def test_white_space_around_an_answer_does_not_count_but_case_does() -> None:
    assert Expectation(prompt="?", equals="Paris.").accepts(" Paris.\n")
    assert not Expectation(prompt="?", equals="Paris.").accepts("paris.")
    assert not Expectation(prompt="?", contains="Paris").accepts("")


def test_a_subject_has_a_name() -> None:
    with pytest.raises(ValueError, match="one name"):
        Subject(served_names=(), port=8000, interpreter="/usr/bin/python3")
