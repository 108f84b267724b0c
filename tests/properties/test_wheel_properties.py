"""What holds for any wheel: slices of members, and the places of wheels in layers."""

import tempfile
import zipfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.digest import Content, Digest
from ovenproof.core.lock import LockedWheel
from ovenproof.wheels.archive import Archive, folders
from ovenproof.wheels.layers import groups

names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
wheels = st.dictionaries(names, st.integers(0, 40 << 20), max_size=30).map(
    lambda sizes: [
        LockedWheel(
            f"{name}-1.0-py3-none-any.whl", Content(Digest.of(f"{name} {size}".encode()), size)
        )
        for name, size in sizes.items()
    ]
)


@given(
    st.binary(max_size=5000),
    st.integers(1, 100),
    st.booleans(),
    st.lists(st.integers(1, 9000), min_size=1),
    st.data(),
)
def test_any_slice_of_a_member_equals_the_slice_of_the_whole(
    data: bytes, times: int, stored: bool, steps: list[int], draw: st.DataObject
) -> None:
    whole = data * times
    offset = draw.draw(st.integers(0, len(whole)))
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.whl")
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("loaf", whole)
        opened = Archive(path, "a.whl")
        (member,) = opened.members()
        found = b""
        with opened.open(member, offset) as stream:
            for step in steps:
                chunk = stream.read(step)
                assert len(chunk) <= step
                found += chunk
            found += stream.read()
        assert found == whole[offset:]


@given(wheels, st.lists(names, unique=True, max_size=3), st.data())
def test_every_wheel_has_one_place_in_whatever_order_they_come(
    found: list[LockedWheel], top: list[str], draw: st.DataObject
) -> None:
    made = groups(found, top=top)
    assert sorted(wheel for group in made for wheel in group.wheels) == sorted(found)
    shuffled = draw.draw(st.permutations(found))
    assert groups(shuffled, top=top) == made


@given(wheels.filter(bool), st.data())
def test_a_wheel_that_goes_away_moves_no_other(
    found: list[LockedWheel], draw: st.DataObject
) -> None:
    gone = draw.draw(st.sampled_from(found))
    before = {
        group.title: [wheel for wheel in group.wheels if wheel != gone] for group in groups(found)
    }
    after = {
        group.title: list(group.wheels)
        for group in groups([wheel for wheel in found if wheel != gone])
    }
    assert {title: kept for title, kept in before.items() if kept} == after


@given(st.sets(st.lists(names, min_size=1, max_size=5).map("/".join)))
def test_folders_are_the_parents_of_all_paths(paths: set[str]) -> None:
    parents = {str(parent) for path in paths for parent in Path(path).parents}
    assert folders(paths) == parents - {"."}
