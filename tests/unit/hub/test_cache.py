"""The hub client's own cache: read in place, hashed once, and not trusted."""

from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from ovenproof.core.digest import Content
from ovenproof.hub.cache import HubCache, repository_folder
from ovenproof.store.seen import Seen
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import MODEL, Model

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(fake: FakeHub, model: Model, tmp_path: Path) -> Path:
    """A cache that the real client has filled."""
    snapshot_download(MODEL, endpoint=fake.endpoint, cache_dir=tmp_path / "hub", token=False)
    probe = tmp_path / "probe"
    while True:  # until the file system's clock has gone on
        probe.write_bytes(b"x")
        newest = max(path.stat().st_ctime_ns for path in (tmp_path / "hub").rglob("*"))
        if probe.stat().st_mtime_ns > newest:
            return tmp_path / "hub"


@pytest.fixture
def cache(folder: Path, tmp_path: Path) -> HubCache:
    return HubCache(folder, Seen(tmp_path / "store"))


def find(cache: HubCache, model: Model, path: str, *, commit: str = "") -> Path | None:
    content = Content.of(model.files[path])
    return cache.find(MODEL, commit or model.commit, path, content)


def test_every_file_that_the_client_has_is_found(cache: HubCache, model: Model) -> None:
    for path, data in model.files.items():
        found = find(cache, model, path)
        assert found is not None
        assert found.read_bytes() == data
        assert not found.is_symlink()
    assert not cache.doubted


def test_a_file_is_hashed_once(cache: HubCache, model: Model, folder: Path, tmp_path: Path) -> None:
    found = find(cache, model, WEIGHTS)
    assert found is not None
    remembered = Content(Content.of(b"what was remembered").digest, len(model.files[WEIGHTS]))
    Seen(tmp_path / "store").remember(found, "file", found.stat(), remembered)
    later = HubCache(folder, Seen(tmp_path / "store"))
    assert later.find(MODEL, model.commit, WEIGHTS, remembered) == found


def test_what_somebody_changed_is_not_taken(cache: HubCache, model: Model) -> None:
    found = find(cache, model, WEIGHTS)
    assert found is not None
    data = bytearray(found.read_bytes())
    data[5] ^= 1
    found.chmod(0o644)
    found.write_bytes(data)
    assert find(cache, model, WEIGHTS) is None
    assert found in cache.doubted


def test_what_has_another_size_is_not_read(cache: HubCache, model: Model, folder: Path) -> None:
    named = repository_folder(folder, MODEL) / "snapshots" / model.commit / WEIGHTS
    named.resolve().chmod(0o644)
    named.resolve().write_bytes(b"short")
    assert find(cache, model, WEIGHTS) is None
    assert named in cache.doubted


def test_weights_of_another_commit_are_found_by_their_digest(cache: HubCache, model: Model) -> None:
    assert find(cache, model, WEIGHTS, commit="0" * 40) is not None
    assert find(cache, model, "config.json", commit="0" * 40) is None


def test_plain_files_stand_where_links_cannot_be(
    cache: HubCache, model: Model, folder: Path
) -> None:
    named = repository_folder(folder, MODEL) / "snapshots" / model.commit / WEIGHTS
    blob = named.resolve()
    named.unlink()
    blob.rename(named)
    assert find(cache, model, WEIGHTS) == named.resolve()


@pytest.mark.parametrize("kind", ["nothing", "a link to nowhere", "a circle", "a folder"])
def test_what_is_no_file_is_passed_by(
    kind: str, cache: HubCache, model: Model, folder: Path
) -> None:
    named = repository_folder(folder, MODEL) / "snapshots" / model.commit / WEIGHTS
    named.resolve().unlink()
    if kind != "a link to nowhere":
        named.unlink()
    if kind == "a circle":
        named.symlink_to(named.name)
    if kind == "a folder":
        named.mkdir()
    assert find(cache, model, WEIGHTS) is None


def test_no_cache_has_nothing(model: Model, tmp_path: Path) -> None:
    assert find(HubCache(tmp_path / "none", Seen(tmp_path)), model, WEIGHTS) is None
