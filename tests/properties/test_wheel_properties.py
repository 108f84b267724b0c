"""What holds for any wheel: slices of members, and the places of wheels in layers."""

import io
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedWheel
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.store.stream import measure
from ovenproof.wheels.archive import Archive, folders
from ovenproof.wheels.layers import groups, prepare
from ovenproof.wheels.spread import Place

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


def small_wheel() -> bytes:
    contents = {
        "toast/__init__.py": b"slices = 2\n" * 50,
        "toast-1.0.data/scripts/toast": b"#!python\n",
        "toast-1.0.dist-info/entry_points.txt": b"[console_scripts]\nt = toast:main\n",
        "toast-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
    }
    rows = [
        f"{path},sha256={urlsafe_b64encode(sha256(data).digest()).decode().rstrip('=')},{len(data)}"
        for path, data in contents.items()
    ]
    record = "\n".join([*rows, "toast-1.0.dist-info/RECORD,,"]).encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**contents, "toast-1.0.dist-info/RECORD": record}.items():
            archive.writestr(path, data)
    return written.getvalue()


WHEEL = small_wheel()


@given(
    st.dictionaries(st.integers(0, len(WHEEL) - 1), st.integers(0, 255), min_size=1, max_size=4),
    st.integers(0, len(WHEEL)) | st.just(len(WHEEL)),
)
@example({1005: 4}, 1010)  # a header before the archive begins
def test_whatever_is_damaged_is_told_in_our_words(damage: dict[int, int], end: int) -> None:
    data = bytearray(WHEEL)
    for at, byte in damage.items():
        data[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.whl")
        path.write_bytes(data[:end])
        locked = LockedWheel("toast-1.0-py3-none-any.whl", Content.of(bytes(data)))
        with suppress(BadFile, WrongBytes):
            assert measure(prepare([(locked, path)], place=Place())).size > 0


@given(st.sets(st.lists(names, min_size=1, max_size=5).map("/".join)))
def test_folders_are_the_parents_of_all_paths(paths: set[str]) -> None:
    parents = {str(parent) for path in paths for parent in Path(path).parents}
    assert folders(paths) == parents - {"."}
