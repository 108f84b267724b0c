"""A layer that is proven while somebody takes its bytes, however often and from wherever."""

import io
from collections.abc import Callable
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.content import Literal
from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import File, recipe
from ovenproof.errors import WrongBytes
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import Proving, measure, read

FIRST, SECOND = bytes(range(251)) * 9, b"the second file" * 99
CONTENTS = (Content.of(FIRST), Content.of(SECOND))


def prepared(*given: bytes) -> Prepared:
    """A layer that promises FIRST and SECOND; the shelf gives what is given."""
    files = [
        File(path="a", body=Literal(b"text")),
        File(path="b", body=CONTENTS[0]),
        File(path="c", body=CONTENTS[1]),
    ]

    def opener(data: bytes) -> Callable[[int], BinaryIO]:
        return lambda offset: io.BytesIO(data[offset:])

    pairs = zip(CONTENTS, given or (FIRST, SECOND), strict=True)
    return Prepared(recipe(files), Openers({content: opener(data) for content, data in pairs}))


WHOLE = b"".join(read(prepared()))


def test_one_pass_gives_the_bytes_and_the_digest() -> None:
    proving = Proving(prepared(), "the layer")
    assert b"".join(proving.read()) == WHOLE
    assert proving.digest() == measure(prepared()).digest == Digest.of(WHOLE)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 12)), max_size=8))
def test_any_tries_from_anywhere_give_the_same_bytes_and_one_digest(
    tries: list[tuple[int, int]],
) -> None:
    proving = Proving(prepared(), "the layer")
    for offset, count in tries:
        chunks = proving.read(offset)
        taken = b"".join(chunk for chunk, _ in zip(chunks, range(count), strict=False))
        assert taken == WHOLE[offset : offset + len(taken)]
    last = tries[-1][0] if tries else 0
    assert b"".join(proving.read(last)) == WHOLE[last:]
    assert proving.digest() == Digest.of(WHOLE)


def test_what_nobody_took_is_in_the_digest_too() -> None:
    proving = Proving(prepared(), "the layer")
    next(proving.read())
    assert proving.digest() == Digest.of(WHOLE)
    assert Proving(prepared(), "the layer").digest() == Digest.of(WHOLE)


@pytest.mark.parametrize("offset", [0, 1, 3000, len(WHOLE) - 1])
@pytest.mark.parametrize("which", [0, 1])
def test_a_flipped_bit_leaves_no_digest_even_where_only_the_end_is_taken(
    offset: int, which: int
) -> None:
    data = [bytearray(FIRST), bytearray(SECOND)]
    data[which][7] ^= 1
    proving = Proving(prepared(*map(bytes, data)), "the layer `b`")
    list(proving.read(offset))
    with pytest.raises(WrongBytes, match="the layer `b`") as caught:
        proving.digest()
    assert str(CONTENTS[which].digest) in str(caught.value.expected)
