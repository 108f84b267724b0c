"""Recipes: what may be in a layer, in which order, and which bytes that gives."""

from pathlib import Path

import pytest

from ovenproof.core import tar
from ovenproof.core.content import Literal, LocalFile, Span
from ovenproof.core.digest import Content
from ovenproof.core.layer import (
    Directory,
    Entry,
    File,
    Hardlink,
    Recipe,
    Symlink,
    check_path,
    member,
    recipe,
)

HELLO = Literal(b"hello\n")


def paths(made: Recipe) -> list[str]:
    return [entry.path for entry in made.entries]


def test_missing_parents_are_added_once_each() -> None:
    made = recipe([File(path="a/b/x", body=HELLO), File(path="a/b/y", body=HELLO)])
    assert paths(made) == ["a", "a/b", "a/b/x", "a/b/y"]
    assert made.entries[0] == Directory(path="a", mode=0o755)


def test_a_parent_that_is_given_is_not_added_again() -> None:
    given = Directory(path="tmp", mode=0o1777)
    made = recipe([File(path="tmp/x", body=HELLO), given])
    assert made.entries == (given, File(path="tmp/x", body=HELLO))


def test_entries_are_sorted_by_the_bytes_of_their_member_names() -> None:
    """A directory's name ends in a slash, which comes after `-` and before `0`."""
    made = recipe([File(path=name, body=HELLO) for name in ("a/x", "a-b", "a0", "a.b", "é", "z")])
    assert paths(made) == ["a-b", "a.b", "a", "a/x", "a0", "z", "é"]


def test_the_order_in_which_entries_are_given_does_not_matter() -> None:
    entries: list[Entry] = [
        File(path="b", body=HELLO),
        Symlink(path="a/l", target="../b"),
        Hardlink(path="c", target="b"),
    ]
    assert recipe(entries) == recipe(reversed(entries))


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "../a", "a/../b", "a\0b", "\udcff"]
)
def test_what_is_no_path_inside_an_image_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path inside|surrogates"):
        check_path(path)
    with pytest.raises(ValueError, match=r"path inside|surrogates"):
        Recipe((File(path=path, body=HELLO),))


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a b", ".hidden", "a\\b", "a\nb", "é", "-"])
def test_an_odd_path_is_still_a_path(path: str) -> None:
    check_path(path)
    assert paths(recipe([File(path=path, body=HELLO)]))[-1] == path


@pytest.mark.parametrize(
    "entries",
    [
        [File(path="a", body=HELLO), File(path="a", body=HELLO)],
        [File(path="a", body=HELLO), Directory(path="a")],
        [Directory(path="a"), Directory(path="a")],
        [File(path="a", body=HELLO), Symlink(path="a", target="b")],
        [File(path="a", body=HELLO), File(path="a-b", body=HELLO), Directory(path="a")],
    ],
)
def test_one_path_twice_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match="twice in one layer"):
        recipe(entries)


@pytest.mark.parametrize(
    "parent",
    [
        File(path="a", body=HELLO),
        Symlink(path="a", target="b"),
    ],
)
def test_nothing_lies_below_what_is_no_directory(parent: Entry) -> None:
    """Through a symbolic link an entry would land somewhere else in the image."""
    with pytest.raises(ValueError, match="parent is not a directory"):
        recipe([parent, File(path="a/b", body=HELLO)])


def test_a_recipe_without_its_parents_is_refused() -> None:
    with pytest.raises(ValueError, match="parent is not a directory"):
        Recipe((File(path="a/b", body=HELLO),))


def test_a_recipe_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="out of order"):
        Recipe((File(path="b", body=HELLO), File(path="a", body=HELLO)))


@pytest.mark.parametrize(
    "others",
    [
        [],
        [File(path="z", body=HELLO)],
        [Directory(path="a")],
        [Symlink(path="a", target="b")],
    ],
)
def test_a_hard_link_needs_an_earlier_file_of_the_layer(others: list[Entry]) -> None:
    target = others[0].path if others else "nowhere"
    with pytest.raises(ValueError, match="hard link to no earlier file"):
        recipe([*others, Hardlink(path="m", target=target)])


def test_a_hard_link_repeats_the_mode_of_its_file() -> None:
    """Docker gives the file the mode of the last header that names it: 0644 would end a program."""
    program = File(path="a", body=HELLO, mode=0o755)
    made = recipe([program, Hardlink(path="b", target="a", mode=0o755)])
    assert [member(entry).mode for entry in made.entries] == [0o755, 0o755]
    with pytest.raises(ValueError, match="not the mode of its file"):
        recipe([program, Hardlink(path="b", target="a")])


@pytest.mark.parametrize("target", ["", "a\0b"])
def test_a_link_to_what_no_kernel_can_name_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        recipe([Symlink(path="link", target=target)])


@pytest.mark.parametrize("mode", [-1, 0o10000, 0o100644])
def test_a_mode_is_twelve_bits(mode: int) -> None:
    with pytest.raises(ValueError, match="mode"):
        recipe([File(path="a", body=HELLO, mode=mode)])
    with pytest.raises(ValueError, match="mode"):
        recipe([Directory(path="a", mode=mode)])


def test_the_segments_refer_to_a_body_and_do_not_copy_it() -> None:
    big = Content.of(b"x" * 700)
    local = LocalFile(Path("/weights"), 512)
    made = recipe([File(path="a", body=big), File(path="b", body=local)])
    header_a, span_a, fill, header_b, span_b, end = made.segments()
    assert header_a == Literal(tar.header(tar.Member(path="a", kind=b"0", mode=0o644, size=700)))
    assert span_a == Span(big, 0, 700)
    assert fill == Literal(bytes(324))
    assert header_b == Literal(tar.header(tar.Member(path="b", kind=b"0", mode=0o644, size=512)))
    assert span_b == Span(local, 0, 512)
    assert end == Literal(bytes(1024))


def test_the_size_is_known_before_a_byte_is_read() -> None:
    made = recipe([File(path="model/w", body=LocalFile(Path("/nowhere"), 60 << 30))])
    # directory, pax header and its data (8 GiB and more), header, body, end
    assert made.size == 512 + 1024 + 512 + (60 << 30) + 1024


def test_a_layer_without_entries_is_two_zero_blocks() -> None:
    assert list(recipe([]).segments()) == [Literal(bytes(1024))]
