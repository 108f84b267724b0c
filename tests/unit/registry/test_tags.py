"""A tag is moved only from where it was seen, or was said to be."""

import pytest

from ovenproof.core.digest import Digest
from ovenproof.errors import BadCall, LockAgain
from ovenproof.registry.tags import Guard, Was, parse_was

SEEN, OTHER, WANTED = (Digest.of(word) for word in (b"seen", b"other", b"wanted"))


@pytest.mark.parametrize(
    ("seen", "was", "found"),
    [
        (SEEN, None, SEEN),
        (None, None, None),
        (SEEN, None, WANTED),
        (None, "none", None),
        (OTHER, SEEN, SEEN),
        (None, "none", WANTED),
    ],
)
def test_a_tag_may_move_from_where_it_should_be(
    seen: Digest | None, was: Was, found: Digest | None
) -> None:
    Guard(tag="here/a:t", seen=seen, was=was).check(found, WANTED)


@pytest.mark.parametrize(
    ("seen", "was", "found", "expected"),
    [
        (SEEN, None, OTHER, f"{SEEN} (when this began)"),
        (SEEN, None, None, f"{SEEN} (when this began)"),
        (None, None, SEEN, "no such tag (when this began)"),
        (SEEN, "none", SEEN, "no such tag (--was)"),
        (SEEN, OTHER, SEEN, f"{OTHER} (--was)"),
    ],
)
def test_a_tag_that_is_elsewhere_is_moved_by_force_alone(
    seen: Digest | None, was: Was, found: Digest | None, expected: str
) -> None:
    with pytest.raises(LockAgain) as caught:
        Guard(tag="here/a:t", seen=seen, was=was).check(found, WANTED)
    assert (caught.value.subject, caught.value.expected) == ("here/a:t", expected)
    assert caught.value.got == str(found or "no such tag")
    Guard(tag="here/a:t", seen=seen, was=was, force=True).check(found, WANTED)


def test_what_a_tag_was_is_a_digest_or_none_and_does_not_go_with_force() -> None:
    assert parse_was("", force=True) is None
    assert parse_was("none", force=False) == "none"
    assert parse_was(str(SEEN), force=False) == SEEN
    with pytest.raises(BadCall, match="no digest"):
        parse_was("latest", force=False)
    with pytest.raises(BadCall, match="keep one of them"):
        parse_was("none", force=True)
