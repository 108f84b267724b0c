"""Caches that the hub's own client reads, written from the store and taken into it."""

import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

from ovenproof.core.digest import Content
from ovenproof.errors import BadFile, WrongBytes
from ovenproof.hub.cache import HubCache, repository_folder
from ovenproof.hub.exchange import export, import_
from ovenproof.store.seen import Seen
from ovenproof.store.store import Store
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import MODEL, Model

WEIGHTS = "model.safetensors"
Files = list[tuple[str, Content, Callable[[], BinaryIO]]]


@pytest.fixture
def files(model: Model, store: Store) -> Files:
    """The model in the store, as an export is given it."""

    def opener(content: Content) -> Callable[[], BinaryIO]:
        return lambda: store.open(content)

    contents = {path: store.add([data]) for path, data in model.files.items()}
    return [(path, content, opener(content)) for path, content in contents.items()]


def read_by_the_client(folder: Path, revision: str | None, model: Model) -> None:
    root = Path(
        snapshot_download(MODEL, revision=revision, cache_dir=folder, local_files_only=True)
    )
    for path, data in model.files.items():
        found = hf_hub_download(
            MODEL, path, revision=revision, cache_dir=folder, local_files_only=True
        )
        assert Path(found) == root / path
        assert Path(found).read_bytes() == data


@pytest.mark.parametrize("revision", [None, "main", "v1", "refs/pr/1"])
def test_the_client_finds_what_was_exported(
    revision: str | None, files: Files, model: Model, tmp_path: Path
) -> None:
    export(MODEL, model.commit, revision, files, tmp_path / "hub")
    read_by_the_client(tmp_path / "hub", revision, model)
    read_by_the_client(tmp_path / "hub", model.commit, model)
    report = scan_cache_dir(tmp_path / "hub")
    assert not report.warnings
    (repository,) = report.repos
    assert repository.repo_id == MODEL


def test_a_commit_that_was_asked_for_by_name_needs_no_reference(
    files: Files, model: Model, tmp_path: Path
) -> None:
    export(MODEL, model.commit, model.commit, files, tmp_path / "hub")
    read_by_the_client(tmp_path / "hub", model.commit, model)
    assert not list((tmp_path / "hub").glob("*/refs/*"))


def test_blobs_have_the_names_that_the_client_gives_them(
    files: Files, fake: FakeHub, model: Model, tmp_path: Path
) -> None:
    export(MODEL, model.commit, None, files, tmp_path / "ours")
    snapshot_download(MODEL, endpoint=fake.endpoint, cache_dir=tmp_path / "theirs", token=False)
    ours, theirs = (
        {
            str(path.relative_to(tmp_path / side)): path.readlink()
            for path in (tmp_path / side).rglob("snapshots/*/**/*")
            if path.is_symlink()
        }
        for side in ("ours", "theirs")
    )
    assert ours == theirs


def test_online_too_the_client_asks_for_no_byte(
    files: Files, fake: FakeHub, model: Model, tmp_path: Path
) -> None:
    export(MODEL, model.commit, None, files, tmp_path / "hub")
    snapshot_download(MODEL, endpoint=fake.endpoint, cache_dir=tmp_path / "hub", token=False)
    assert not fake.cdn_requests
    assert not [asked for asked in fake.requests if asked.method == "GET" and asked.sent > 5000]


def test_on_one_file_system_nothing_is_copied(
    files: Files, model: Model, store: Store, tmp_path: Path
) -> None:
    export(MODEL, model.commit, None, files, tmp_path / "hub")
    blob = store.path(Content.of(model.files[WEIGHTS]))
    (named,) = (tmp_path / "hub").rglob(WEIGHTS)
    assert named.samefile(blob) != can_clone(tmp_path)


def can_clone(folder: Path) -> bool:
    """Whether two files can share their blocks here; else they must be one file."""
    (folder / "a").write_bytes(b"x")
    with (folder / "a").open("rb") as source, (folder / "b").open("wb") as target:
        try:
            fcntl.ioctl(target.fileno(), 0x40049409, source.fileno())
        except OSError:
            return False
    return True


def test_bytes_from_elsewhere_are_copied_and_proven(model: Model, tmp_path: Path) -> None:
    good: Files = [
        (path, Content.of(data), lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        for path, data in model.files.items()
    ]
    export(MODEL, model.commit, None, good, tmp_path / "hub")
    read_by_the_client(tmp_path / "hub", None, model)
    for path, content, _open in good:
        bad: Files = [(path, content, lambda: io.BytesIO(b"other"))]
        with pytest.raises(WrongBytes):
            export(MODEL, "0" * 40, None, bad, tmp_path / "bad")
    assert not list((tmp_path / "bad").rglob("refs/*"))


def test_an_export_goes_on_and_mends_what_is_wrong(
    files: Files, model: Model, tmp_path: Path
) -> None:
    export(MODEL, model.commit, None, files[:1], tmp_path / "hub")
    export(MODEL, model.commit, None, files, tmp_path / "hub")
    (named,) = (tmp_path / "hub").rglob(WEIGHTS)
    blob = named.resolve()
    blob.unlink()
    blob.write_bytes(bytes(1_000_000))
    opened = []

    def opener(open_: Callable[[], BinaryIO], path: str) -> Callable[[], BinaryIO]:
        def call() -> BinaryIO:
            opened.append(path)
            return open_()

        return call

    export(
        MODEL,
        model.commit,
        None,
        [(path, content, opener(open_, path)) for path, content, open_ in files],
        tmp_path / "hub",
    )
    assert opened.count(WEIGHTS) == 1
    read_by_the_client(tmp_path / "hub", None, model)


def test_a_newer_commit_shares_what_is_the_same(files: Files, model: Model, tmp_path: Path) -> None:
    export(MODEL, model.commit, None, files, tmp_path / "hub")
    export(MODEL, "1" * 40, None, files, tmp_path / "hub")
    (root,) = (tmp_path / "hub").iterdir()
    assert len(list((root / "blobs").iterdir())) == len(files)
    assert (root / "refs" / "main").read_text() == "1" * 40


@pytest.mark.parametrize("path", ["../climbs", "/absolute", "a//b", ""])
def test_a_name_that_climbs_out_is_refused(path: str, tmp_path: Path) -> None:
    files: Files = [(path, Content.of(b"x"), lambda: io.BytesIO(b"x"))]
    with pytest.raises(BadFile):
        export(MODEL, "0" * 40, None, files, tmp_path / "hub")
    with pytest.raises(BadFile):
        export(MODEL, "0" * 40, path or "..", [], tmp_path / "hub")


def test_a_cache_is_taken_into_the_store(
    fake: FakeHub, model: Model, store: Store, tmp_path: Path
) -> None:
    snapshot_download(MODEL, endpoint=fake.endpoint, cache_dir=tmp_path / "hub", token=False)
    cache = HubCache(tmp_path / "hub", Seen(store.root))
    taken = import_(cache, model.wanted(), store)
    assert set(taken) == {content for _at, content in model.wanted()}
    for _at, content in model.wanted():
        assert Store(store.root).verify(content)
    assert not import_(cache, model.wanted(), store)
    read_by_the_client(tmp_path / "hub", None, model)


@pytest.mark.parametrize(("mode", "mine"), [(0o664, True), (0o646, True), (0o644, False)])
def test_a_file_that_others_may_write_to_is_copied(
    mode: int,
    mine: bool,
    model: Model,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = Content.of(model.files[WEIGHTS])
    blob = repository_folder(tmp_path / "hub", MODEL) / "blobs" / content.digest.hex
    blob.parent.mkdir(parents=True)
    blob.write_bytes(model.files[WEIGHTS])
    blob.chmod(mode)
    if not mine:
        another = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: another)
    cache = HubCache(tmp_path / "hub", Seen(store.root))
    assert import_(cache, model.wanted(WEIGHTS), store) == (content,)
    assert not store.path(content).samefile(blob)
    assert S_IMODE(blob.stat().st_mode) == mode


def test_what_is_not_locked_is_not_taken(
    fake: FakeHub, model: Model, store: Store, tmp_path: Path
) -> None:
    snapshot_download(MODEL, endpoint=fake.endpoint, cache_dir=tmp_path / "hub", token=False)
    (named,) = (tmp_path / "hub").rglob(WEIGHTS)
    named.resolve().chmod(0o644)
    named.resolve().write_bytes(bytes(1_000_000))
    cache = HubCache(tmp_path / "hub", Seen(store.root))
    taken = import_(cache, model.wanted(), store)
    assert len(taken) == len(model.files) - 1
    assert not store.has(Content.of(model.files[WEIGHTS]))
    assert named.resolve() in cache.doubted
