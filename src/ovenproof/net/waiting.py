"""How long to wait before a request is made again, and how often."""

import random
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx2

LONGEST_WAIT_S = 60.0
"""Who is told to wait longer is not kept waiting: a person decides."""
ABSENT_S = 2.0
"""In all, for whoever has never answered and listens nowhere: most often a name is wrong."""


def pause_s(longest_s: float, told_s: float = 0.0) -> float | None:
    """What to wait, at least what was asked for; None where that is too long.

    Full jitter: many machines that were refused at once do not come back at once.
    """
    if told_s > LONGEST_WAIT_S:
        return None
    return max(random.uniform(0, longest_s), told_s)  # noqa: S311  no secret hangs on it


def absent_waits(waits_s: Sequence[float]) -> int:
    """How many of the waits there are for whoever is not there."""
    return sum(sum(waits_s[: number + 1]) <= ABSENT_S for number in range(len(waits_s)))


def retry_after_s(response: httpx2.Response) -> float:
    """How long to wait, in seconds. A date is compared with the server's own clock, not ours."""
    told = response.headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
        now = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=UTC) - now.replace(tzinfo=UTC)).total_seconds())
