"""Segments, and cutting the first bytes off."""

from pathlib import Path

import pytest

from ovenproof.core.content import Literal, LocalFile, Segment, Span, cut, whole
from ovenproof.core.digest import Content

BODY = Content.of(b"0123456789")


def test_the_whole_of_a_literal_is_itself() -> None:
    assert whole(Literal(b"abc")) == Literal(b"abc")


def test_the_whole_of_a_reference_spans_all_of_it() -> None:
    assert whole(BODY) == Span(BODY, 0, 10)
    local = LocalFile(Path("/a"), 7)
    assert whole(local) == Span(local, 0, 7)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (0, 11), (10, 1), (11, 0)])
def test_a_span_outside_its_body_is_refused(offset: int, size: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        Span(BODY, offset, size)


def test_an_empty_span_at_the_very_end_is_a_range() -> None:
    assert Span(BODY, 10, 0).size == 0


def test_cutting_goes_through_literals_and_spans() -> None:
    segments: list[Segment] = [Literal(b"abc"), Span(BODY, 2, 4), Literal(b"xy")]
    assert list(cut(segments, 0)) == segments
    assert list(cut(segments, 1)) == [Literal(b"bc"), *segments[1:]]
    assert list(cut(segments, 3)) == segments[1:]
    assert list(cut(segments, 5)) == [Span(BODY, 4, 2), Literal(b"xy")]
    assert list(cut(segments, 8)) == [Literal(b"y")]
    assert list(cut(segments, 9)) == []
    assert list(cut(segments, 99)) == []


def test_cutting_before_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        list(cut([Literal(b"abc")], -1))


def test_cutting_takes_no_more_segments_than_it_is_asked_for() -> None:
    """A layer of a thousand files must not be walked to the end for its first bytes."""
    taken = []

    def produce() -> object:
        for number in range(1000):
            taken.append(number)
            yield Literal(b"x")

    stream = cut(produce(), 2)  # type: ignore[arg-type]
    assert next(stream) == Literal(b"x")
    assert taken == [0, 1, 2]
