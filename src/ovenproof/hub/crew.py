"""Threads that work off a pile of tasks; a task may lay others on top of it."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

GRACE_S = 10.0
"""How long an interrupted run waits for its threads; a stuck hub does not hold it longer."""

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
