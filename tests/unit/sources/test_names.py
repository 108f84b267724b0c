"""Names that a stranger gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.content import Literal
from ovenproof.core.layer import File, recipe
from ovenproof.errors import Several, WrongBytes
from ovenproof.sources.names import check_names


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb",
     "\x1b[2J", "a\x7f", "\u202ea", "a\u200bb", "\ud800", "x" * 256, "/".join(["ab"] * 400)],
)  # fmt: skip
def test_what_is_no_path_below_the_repository_is_refused(name: str) -> None:
    with pytest.raises(WrongBytes, match="cannot be one"):
        check_names(["good", name], "org/m")


@pytest.mark.parametrize("name", ["a", "a/b/c.json", "ä/ö", "模型.json", "a b", "...", "x" * 255])
def test_what_is_one_is_taken(name: str) -> None:
    check_names([name], "org/m")


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]])
def test_two_things_cannot_have_one_name(names: list[str]) -> None:
    with pytest.raises(WrongBytes):
        check_names(names, "org/m")


def test_all_are_told_at_once_and_none_reaches_the_screen_as_it_is() -> None:
    with pytest.raises(Several) as caught:
        check_names(["\x1b[2J", "../a"], "org/m")
    assert len(caught.value.faults) == 2
    assert "\x1b" not in str(caught.value)


@given(st.lists(st.text(max_size=12), max_size=5))
def test_what_is_taken_can_be_a_layer(names: list[str]) -> None:
    try:
        check_names(names, "org/m")
    except (WrongBytes, Several):
        return
    assert recipe(File(path=name, body=Literal(b"")) for name in names).size
