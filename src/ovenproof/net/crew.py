"""Threads: some things at once, and a pile of tasks on which a task may lay others."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from ovenproof.errors import OvenproofError, raise_all

GRACE_S = 10.0
"""How long an interrupted run waits for its threads, which tidy up meanwhile: uploads end so that
they can go on later. Whoever is stuck at the other end does not hold it longer."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Task: TypeAlias = Callable[[], None]


class Crew:
    """A few threads, and one pile: what was laid down last is done first.

    Every task is called, even after a stop: it looks at `stopped`, and tidies up.
    """

    def __init__(self, jobs: int) -> None:
        self.stopped = False
        """Whether to end early. Anybody may set it."""
        self._jobs = jobs
        self._pile: list[Task] = []
        self._busy = 0
        self._change = threading.Condition()
        self._faults: list[BaseException] = []

    def add(self, tasks: Sequence[Task]) -> None:
        """Lay tasks on the pile; the first of them is done first."""
        with self._change:
            self._pile += reversed(tasks)
            self._change.notify_all()

    def run(self, tasks: Iterable[Task]) -> None:
        """Do these, and all that they add. Raises what a task raised, once all have ended."""
        self.add(tuple(tasks))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._jobs)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self.stopped = True
            deadline = time.monotonic() + GRACE_S
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
            raise
        for fault in self._faults:
            raise fault

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except BaseException as fault:
                self.stopped = True
                self._faults.append(fault)
            finally:
                with self._change:
                    self._busy -= 1
                    self._change.notify_all()

    def _next(self) -> Task | None:
        """What is to be done; None when there is nothing, and nobody who could add anything."""
        with self._change:
            self._change.wait_for(lambda: self._pile or not self._busy)
            if not self._pile:
                return None
            self._busy += 1
            return self._pile.pop()


def each(
    work: Callable[[Item], Answer], items: Iterable[Item], jobs: int, *, go_on: bool = False
) -> list[Answer]:
    """What the work gives for each item, in their order; so many are done at once.

    Raises all faults together, once what runs has ended. After one of them nothing new is begun,
    unless we are to `go_on`: then there is one for each item that has a fault.
    """
    wanted = tuple(items)
    crew = Crew(min(jobs, len(wanted)))
    answers: dict[int, Answer] = {}
    faults: dict[int, OvenproofError] = {}

    def do(number: int, item: Item) -> None:
        if crew.stopped:
            return
        try:
            answers[number] = work(item)
        except OvenproofError as fault:
            faults[number] = fault
            if not go_on:
                crew.stopped = True

    crew.run(partial(do, number, item) for number, item in enumerate(wanted))
    raise_all(faults[number] for number in sorted(faults))
    return [answers[number] for number in sorted(answers)]
