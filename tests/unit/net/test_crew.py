"""Some things at once: all of them, in order, with their faults, and never stuck."""

import signal
import threading
from collections.abc import Iterator

import pytest

from ovenproof.errors import OvenproofError, Several, TryAgain
from ovenproof.net import crew
from ovenproof.net.crew import each


@pytest.mark.parametrize("jobs", [1, 3, 50])
@pytest.mark.parametrize("go_on", [False, True])
def test_everything_is_done_once_and_answered_in_order(jobs: int, go_on: bool) -> None:
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return -number

    assert each(work, range(40), jobs, go_on=go_on) == [-number for number in range(40)]
    assert sorted(done) == [*range(40)]
    assert each(work, [], jobs, go_on=go_on) == []


def test_faults_are_raised_in_the_order_of_the_items() -> None:
    together = threading.Barrier(3)

    def fail(number: int) -> None:
        together.wait(10)
        raise TryAgain(str(number))

    with pytest.raises(Several) as caught:
        each(fail, range(3), 3)
    assert [fault.what for fault in caught.value.faults] == ["0", "1", "2"]
    assert isinstance(caught.value, OvenproofError)


@pytest.mark.parametrize(("go_on", "begun"), [(False, 2), (True, 5)])
def test_after_a_fault_nothing_new_is_begun_unless_we_go_on(go_on: bool, begun: int) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        if number == 1:
            raise TryAgain("broken")

    with pytest.raises(TryAgain):
        each(work, range(5), 1, go_on=go_on)
    assert len(done) == begun


def test_what_nobody_foresaw_is_raised_as_it_is() -> None:
    def work(_number: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each(work, range(3), 2, go_on=True)


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Set at the end, so that no thread of a test lives on in the next."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("go_on", [False, True])
def test_an_interruption_does_not_wait_for_who_is_stuck(
    go_on: bool, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "GRACE_S", 0.05)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if len(begun) == 2:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        stuck.wait(10)

    try:
        with pytest.raises(KeyboardInterrupt):
            each(work, range(9), 2, go_on=go_on)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not stuck.is_set()
    assert len(begun) == 2
