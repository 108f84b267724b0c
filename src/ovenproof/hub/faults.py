"""What went wrong while files of the hub were fetched, told together."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ovenproof.core.digest import Content
from ovenproof.errors import LockAgain, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.hub.files import Located
from ovenproof.hub.place import Place

_NAMED = 3
"""Files that an error names; of the others it says how many they are."""


def cut_off(at: Located, content: Content) -> TryAgain:
    """A stream ended, and nobody said that it would."""
    return TryAgain(
        "a file of the hub ended too early",
        subject=at,
        expected=f"{content.size} bytes",
        got="less",
        hint="run the same command again",
    )


def wrong(place: Place, at: Located, fault: WrongBytes) -> WrongBytes:
    """The whole file came twice, and was not what is locked."""
    return WrongBytes(
        "the hub gives other bytes than are locked, twice",
        subject=at,
        where=f"{place.shown}, commit {at.commit}",
        expected=fault.expected,
        got=fault.got,
        hint="set HF_ENDPOINT to another mirror; or see what changed there before you lock again",
    )


def grouped(faults: Sequence[tuple[Located, OvenproofError]]) -> Iterator[OvenproofError]:
    """One error for all files that the same remedy brings; one each for wrong bytes."""
    groups: dict[object, list[tuple[Located, OvenproofError]]] = defaultdict(list)
    for at, fault in sorted(faults, key=lambda item: str(item[0])):
        alone = at if isinstance(fault, WrongBytes) else None
        groups[(type(fault), fault.what, fault.hint, alone)].append((at, fault))
    for group in groups.values():
        _at, fault = group[0]
        if isinstance(fault, LockAgain | TryAgain | NoAccess) and len(group) > 1:
            names = [str(at) for at, _fault in group]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            fault.subject = ", ".join(names[:_NAMED]) + more
            fault.args = (fault.text(),)
        yield fault
