"""What follows from each answer to an upload's requests: a table, and a function for each cell."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from ovenproof.registry.reference import Repository
from ovenproof.registry.upload_course import Course, location
from ovenproof.registry.upload_steps import (
    Answer,
    Ask,
    Begin,
    Cancel,
    Done,
    GaveUp,
    Look,
    Patch,
    Put,
    Refused,
    Request,
    Wrong,
)
from ovenproof.registry.verdict import Verdict

SMALLER = (64 << 20, 4 << 20, 1 << 20)
"""Chunks for who refuses a body as too large: most often a proxy with a limit of its own."""
Cell: TypeAlias = Callable[[Course, Answer], None]


def follow(course: Course, verdict: Verdict, answer: Answer) -> None:
    """Set what is next. Raises ValueError where nobody may pass over what was asked."""
    row = _TABLE[_kind(course)]
    if verdict is Verdict.SPARED and verdict not in row:
        raise ValueError("the upload hangs on this")
    row.get(verdict, row[None])(course, answer)


def _kind(course: Course) -> "type[Request] | str":
    match course.asked:
        case Begin(Repository()):
            return "mount"
        case Ask() if course.inherited:
            return "inherited"
        case asked:
            return type(asked)


def _refuse(course: Course, _answer: Answer) -> None:
    course.next = Refused()


def _again(course: Course, _answer: Answer) -> None:
    course.fault()


def _ask(course: Course, _answer: Answer) -> None:
    course.ask()


def _look(course: Course, _answer: Answer) -> None:
    """It may have been taken before."""
    course.fault(Look())


def _anew(course: Course, _answer: Answer) -> None:
    course.anew()


def _anew_after_gone(course: Course, _answer: Answer) -> None:
    course.anew(gone=True)


def _go_without(course: Course, _answer: Answer) -> None:
    """Without a mount from this home, or without the session of another process."""
    course.begin()


def _try_another_home(course: Course, _answer: Answer) -> None:
    course.begin(counted=True)


def _wait_for_mount(course: Course, answer: Answer) -> None:
    """A mount saves all the bytes: where a wait is asked for it is worth one."""
    if not answer.waits:
        course.begin()
    elif course.faults:
        course.begin(counted=True)
    else:
        course.fault()


def _begun(course: Course, answer: Answer) -> None:
    address, mounts = location(answer), course.next != Begin()
    if address is None and mounts:
        course.begin()
    elif address is None:
        course.next = Refused()
    elif mounts and course.more_homes:
        course.cancel(address)
    else:
        course.start(address)


def _after_cancel(course: Course, _answer: Answer) -> None:
    course.after_cancel()


def _taken(course: Course, answer: Answer) -> None:
    """Bytes went by: all of them, some, or the registry counts in its own way."""
    before, end = course.own.received, course.own.sent
    received = None if course.manner.whole else answer.received
    course.moved(answer)
    if received is None or received == end:
        course.advance(end)
    elif before < received < end:
        course.fault()
        if not isinstance(course.next, GaveUp):
            course.advance(received, joined=True)
    else:
        course.manner = replace(course.manner, whole=True)
        course.anew()


def _all_in_one(course: Course, _answer: Answer) -> None:
    if course.late and course.next == Patch(course.own.address, 0, course.size, ranged=False):
        course.next = Refused()  # a digest that is not known yet leaves no other way
    else:
        course.manner = replace(course.manner, whole=True, ranged=False)
        course.anew()


def _cut_smaller(course: Course, _answer: Answer) -> None:
    size = course.own.sent - course.own.received
    fitting = [smaller for smaller in SMALLER if smaller < size]
    if course.manner.whole or not fitting:
        course.next = Refused()
    else:
        course.manner = replace(course.manner, chunk=fitting[0], ranged=True)
        course.ask()


def _misplaced(course: Course, _answer: Answer) -> None:
    """It may have counted late, bytes of a broken try; saying so twice, it counts wrongly."""
    own, asked = course.own, course.asked
    ranged = isinstance(asked, Patch) and asked.ranged
    course.manner = replace(course.manner, ranged=True)
    if ranged and own.received == own.misplaced:
        course.anew()
    else:
        course.begun = replace(own, misplaced=own.received if ranged else None)
        course.ask()


def _not_at_its_end(course: Course, _answer: Answer) -> None:
    if course.manner.whole:
        course.next = Refused()
    else:
        course.ask()


def _other_bytes(course: Course, answer: Answer) -> None:
    if course.own.joined:
        course.anew(gone=True)
    else:
        course.next = Wrong(answer.code)


def _resume(course: Course, answer: Answer) -> None:
    received = answer.received or 0
    course.moved(answer)
    if course.manner.whole:  # all was sent: the question was only whether it is still there
        course.advance(course.size)
    elif received <= 1 or received > course.own.sent:
        # One byte or none, or more than was sent: nothing to build on.
        course.anew()
    else:
        course.advance(received, joined=True)


def _not_there(course: Course, _answer: Answer) -> None:
    if course.manner.whole and not course.late:
        course.anew()
    else:
        course.next = Ask(course.own.address)


def _seen(course: Course, answer: Answer) -> None:
    size = answer.headers.get("content-length", "")
    if size.isdecimal() and int(size) != course.size:
        course.next = Wrong(f"{size} bytes")
    else:
        _settle(course, answer)


def _settle(course: Course, answer: Answer) -> None:
    """The registry says that it has the blob: under the name that we call it?"""
    named = answer.headers.get("docker-content-digest", "").strip()
    home = course.next.home if isinstance(course.next, Begin) else None
    # A digest of another algorithm says nothing.
    other = named.startswith("sha256:") and named != str(course.digest)
    course.next = Wrong(named) if other else Done(home)


_TABLE: "Mapping[type[Request] | str, Mapping[Verdict | None, Cell]]" = {
    # A home that is not ours to read, or no mounts at all: then the bytes are sent.
    "mount": {
        Verdict.TAKEN: _settle,
        Verdict.ACCEPTED: _begun,
        Verdict.BUSY: _wait_for_mount,
        Verdict.LOST: _try_another_home,
        Verdict.SPARED: _go_without,
        None: _go_without,
    },
    Begin: {Verdict.ACCEPTED: _begun, Verdict.BUSY: _again, Verdict.LOST: _again, None: _refuse},
    Patch: {
        Verdict.TAKEN: _taken,
        Verdict.BUSY: _ask,
        Verdict.LOST: _ask,
        Verdict.GONE: _anew_after_gone,
        Verdict.UNKNOWN: _all_in_one,
        Verdict.TOO_LARGE: _cut_smaller,
        Verdict.MISPLACED: _misplaced,
        Verdict.OTHER_BYTES: _anew,
        Verdict.CONFUSED: _anew,
        Verdict.MALFORMED: _anew,
        None: _refuse,
    },
    Put: {
        Verdict.TAKEN: _settle,
        Verdict.ACCEPTED: _look,
        Verdict.BUSY: _look,
        Verdict.LOST: _look,
        Verdict.GONE: _look,
        Verdict.MISPLACED: _not_at_its_end,
        Verdict.OTHER_BYTES: _other_bytes,
        Verdict.CONFUSED: _anew,
        None: _refuse,
    },
    Look: {Verdict.TAKEN: _seen, Verdict.BUSY: _again, Verdict.LOST: _again, None: _not_there},
    Ask: {
        Verdict.TAKEN: _resume,
        Verdict.BUSY: _again,
        Verdict.LOST: _again,
        Verdict.DENIED: _refuse,
        None: _anew_after_gone,
    },
    "inherited": {Verdict.TAKEN: _resume, Verdict.SPARED: _go_without, None: _go_without},
    Cancel: {Verdict.SPARED: _after_cancel, None: _after_cancel},
}
"""For each kind of request: what follows from a verdict; None: from all others."""
