"""Two kinds of trouble kept apart: a place that cannot be written, and bytes that do not come."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenproof.store.disk import writing_to


class _NotHere(Exception):
    """Carries what went wrong elsewhere past those who speak of this place."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def writing(place: Path, *, hint: str) -> Iterator[None]:
    """`writing_to`, but what `elsewhere` marks is raised as it is, not blamed on this place."""
    try:
        with writing_to(place, hint=hint):
            yield
    except _NotHere as carrier:
        raise carrier.error from carrier.error.__cause__


def elsewhere(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; a file that cannot be read while they are made is no fault of the place."""
    try:
        yield from chunks
    except OSError as error:
        raise _NotHere(error) from error
