"""What an answer to an upload's request amounts to: judged once, by status and error code."""

from enum import Enum, auto

from ovenproof.registry.upload_steps import (
    NO_PATCH,
    Answer,
    Ask,
    Begin,
    Cancel,
    Look,
    Patch,
    Put,
    Request,
)

_SUCCESS = frozenset({200, 201, 202, 204})
_YES: dict[type[Request], frozenset[int]] = {
    Begin: frozenset({201}),
    Patch: _SUCCESS,
    Put: _SUCCESS - {202},
    Ask: _SUCCESS,
    Look: frozenset({200}),
    Cancel: _SUCCESS,
}
_NOT_THESE = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})


class Verdict(Enum):
    """What came of a request."""

    TAKEN = auto()
    """Yes, all of it."""
    ACCEPTED = auto()
    """202 where that is not yet a yes: an upload is begun, or not ended so far."""
    BUSY = auto()
    """Not now; the same request may be answered otherwise later."""
    GONE = auto()
    """What was asked for is not there."""
    UNKNOWN = auto()
    """The registry does not know this kind of request."""
    TOO_LARGE = auto()
    MISPLACED = auto()
    """The bytes do not begin where the registry wants to go on."""
    OTHER_BYTES = auto()
    """The bytes are not what the digest stands for."""
    CONFUSED = auto()
    """The upload is in a state that allows nothing more."""
    MALFORMED = auto()
    """400, and no more is said of it."""
    DENIED = auto()
    NO = auto()
    """Any other answer."""
    LOST = auto()
    """There was no answer: nobody knows how much of the request has arrived."""
    SPARED = auto()
    """It could not even be asked, and we do as well without."""


_BY_STATUS = {
    401: Verdict.DENIED,
    403: Verdict.DENIED,
    413: Verdict.TOO_LARGE,
    416: Verdict.MISPLACED,
}


def judge(asked: Request, answer: Answer) -> Verdict:
    """What an answer to this request amounts to."""
    if answer.status in _YES[type(asked)]:
        return Verdict.TAKEN
    return Verdict.ACCEPTED if answer.status == 202 else _of_no(answer)


def _of_no(answer: Answer) -> Verdict:
    if answer.status in {404, 410}:
        return Verdict.GONE
    if answer.again:
        return Verdict.BUSY
    if answer.status in NO_PATCH or answer.code == "UNSUPPORTED":
        return Verdict.UNKNOWN
    if answer.status == 400:
        return _of_code(answer.code)
    return _BY_STATUS.get(answer.status, Verdict.NO)


def _of_code(code: str) -> Verdict:
    if code in _NOT_THESE:
        return Verdict.OTHER_BYTES
    return Verdict.CONFUSED if code.startswith("BLOB_UPLOAD") else Verdict.MALFORMED
