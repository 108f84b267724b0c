"""A model on the hub: locked by commit and digest, read from wherever it lies."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest
from ovenproof.core.model_lock import ModelLock
from ovenproof.errors import BadFile, LockAgain, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.events import Event, silent
from ovenproof.hub.cache import HubCache
from ovenproof.hub.hub import Hub, HubFile, Snapshot
from ovenproof.hub.place import Place
from ovenproof.sources.adapter import HubAdapter
from ovenproof.sources.hub import HubSource
from ovenproof.store.seen import Seen
from ovenproof.store.shelf import Absent, Prepared
from ovenproof.store.store import Store
from ovenproof.store.stream import measure
from tests.fakes.hub import Entry, FakeHub, Repository
from tests.fakes.hub.content import Body
from tests.unit.sources.repositories import (
    BIG,
    CONFIG,
    INDEX,
    TOKEN,
    big_tensors,
    every,
    file,
    index_of,
    locked,
    notes,
    paths,
    tensors,
)

if TYPE_CHECKING:
    from ovenproof.core.digest import Json
    from tests.unit.sources.conftest import Source

SMALL = tensors(a=100, b=200)
LARGE = big_tensors(w=BIG)
FILES: dict[str, Body] = {
    "config.json": CONFIG,
    "tokenizer.json": b"{}",
    "README.md": b"# hello\n",
    "LICENSE": b"",
    "small.safetensors": SMALL,
    "large.safetensors": LARGE,
    INDEX: index_of(a="small.safetensors", b="small.safetensors", w="large.safetensors"),
    "original/consolidated.00.pth": b"no",
    "model.gguf": b"no",
    "picture.png": b"no",
}


@pytest.fixture
def repository(fake: FakeHub) -> Repository:
    repository = fake.repository("org/m", license="apache-2.0")
    repository.commit(FILES)
    return repository


class Unread(Seen):
    """Notes which files were hashed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[Path] = []

    def remember(
        self, path: Path, purpose: "Json", status: os.stat_result, content: Content
    ) -> None:
        self.read.append(path)
        super().remember(path, purpose, status, content)


def entry(repository: Repository, path: str) -> Entry:
    return repository.commits[repository.branches["main"]].files[path]


def sha256(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def asked(fake: FakeHub, name: str) -> int:
    """Bytes of a file that went out."""
    return sum(one.sent for one in [*fake.requests, *fake.cdn_requests] if one.path.endswith(name))


def times(fake: FakeHub, name: str) -> int:
    """How often a file was asked for."""
    return sum(one.path.endswith(name) for one in [*fake.requests, *fake.cdn_requests])


def read(source: HubSource, lock: ModelLock, path: str, offset: int = 0) -> bytes:
    one = file(lock, path)
    with source.shelf(lock, silent).open(Content(one.digest, one.size), offset) as stream:
        return stream.read()


def test_a_model_is_locked_by_commit_and_by_the_digest_of_each_file(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    found = make_source(revision="main").resolve(silent)
    assert paths(found) == sorted(
        {*FILES} - {"original/consolidated.00.pth", "model.gguf", "picture.png"}
    )
    assert found.origin == {
        "kind": "hub",
        "model": "org/m",
        "revision": "main",
        "commit": repository.branches["main"],
        "gated": False,
    }
    assert found.facts == {
        "architectures": ["LlamaForCausalLM"],
        "context length": 2048,
        "dtype": "bfloat16",
        "license": "apache-2.0",
        "parameters": BIG + 300,
        "tensor dtypes": {"U8": BIG + 300},
    }
    assert file(found, "tokenizer.json").digest == sha256(b"{}")
    assert file(found, "small.safetensors").digest == sha256(SMALL)
    assert file(found, "LICENSE").size == 0
    large = file(found, "large.safetensors")
    assert (large.size, large.pinned_by, large.cut) == (LARGE.size, "file", None)


def test_of_a_big_file_nothing_but_its_head_is_read(
    fake: FakeHub, repository: Repository, make_source: "Source", store: Store
) -> None:
    found = make_source().resolve(silent)
    assert 0 < asked(fake, "large.safetensors") <= 2 << 18
    large = file(found, "large.safetensors")
    assert not store.has(Content(large.digest, large.size))
    assert store.has(Content.of(SMALL))


def test_what_was_locked_once_does_not_come_again(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    first = make_source().resolve(silent)
    before = [asked(fake, name) for name in ("config.json", "small.safetensors", "README.md")]
    assert make_source().resolve(silent) == first
    again = [asked(fake, name) for name in ("config.json", "small.safetensors", "README.md")]
    assert again == before


def test_a_revision_is_followed_until_it_is_locked_and_then_its_commit_is_kept(
    repository: Repository, make_source: "Source"
) -> None:
    lock = locked(make_source().resolve(silent))
    old = lock.origin["commit"]
    repository.commit({"README.md": b"# another\n"})
    assert make_source(locked=lock).resolve(silent).origin["commit"] == old
    assert make_source().resolve(silent).origin["commit"] == repository.branches["main"] != old
    other = make_source(locked=lock, revision="main").resolve(silent)
    assert other.origin["commit"] == repository.branches["main"]


def test_a_commit_that_a_force_push_removed_is_told(
    repository: Repository, make_source: "Source"
) -> None:
    lock = locked(make_source().resolve(silent))
    repository.force_push("main", {**FILES, "README.md": b"# rewritten\n"})
    with pytest.raises(LockAgain, match="--upgrade"):
        make_source(locked=lock).resolve(silent)
    with pytest.raises(LockAgain):
        read(make_source(), lock, "large.safetensors")


def test_a_locked_model_that_is_hidden_now_is_not_taken_for_a_commit_that_is_gone(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    lock = locked(make_source().resolve(silent))
    repository.private = True
    with (
        Hub(Place(endpoint=fake.endpoint), waits_s=()) as anonymous,
        pytest.raises(BadFile, match="HF_TOKEN"),
    ):
        make_source(hub=lambda: anonymous, locked=lock).resolve(silent)

    def unmade() -> Hub:
        raise BadFile("the hub's token cannot be sent")

    with pytest.raises(BadFile, match="cannot be sent"):
        make_source(hub=unmade, locked=lock).resolve(silent)


@pytest.mark.parametrize("path", ["tokenizer.json", "small.safetensors", "large.safetensors"])
def test_a_file_that_changed_under_its_commit_is_refused(
    repository: Repository, make_source: "Source", path: str
) -> None:
    lock = locked(make_source().resolve(silent))
    before = repository.commits[repository.branches["main"]].files
    others: dict[str, Body] = {
        "tokenizer.json": b"[]",
        "small.safetensors": tensors(a=101, b=200),
        "large.safetensors": big_tensors(seed=1, w=BIG),
    }
    repository.commit({path: others[path]})
    changed = repository.commits[repository.branches["main"]].files[path]
    before[path] = changed  # type: ignore[index]
    with pytest.raises(WrongBytes, match="its commit has not") as caught:
        make_source(locked=lock).resolve(silent)
    assert caught.value.subject == path


def test_a_file_that_is_gone_from_its_commit_is_refused(
    repository: Repository, make_source: "Source"
) -> None:
    lock = locked(make_source().resolve(silent))
    del repository.commits[repository.branches["main"]].files["README.md"]  # type: ignore[attr-defined]
    with pytest.raises(WrongBytes, match=r"README\.md"):
        make_source(locked=lock).resolve(silent)


@pytest.mark.parametrize("path", ["tokenizer.json", "small.safetensors"])
def test_bytes_that_are_not_those_that_the_hub_names_are_not_kept(
    fake: FakeHub, repository: Repository, make_source: "Source", path: str
) -> None:
    fake.wrong_bytes = {path: 1}
    with pytest.raises(WrongBytes):
        make_source().resolve(silent)
    fake.wrong_bytes = {}
    assert file(make_source().resolve(silent), path)


def test_a_big_file_without_a_sha256_is_refused(fake: FakeHub, make_source: "Source") -> None:
    repository = fake.repository("org/m")
    repository.lfs_from = 1 << 40
    huge = b"x" * (BIG + 1)
    repository.commit({"config.json": CONFIG, "model.safetensors": SMALL, "vocab.txt": huge})
    with pytest.raises(BadFile, match="no sha256") as caught:
        make_source().resolve(silent)
    assert caught.value.subject == "vocab.txt"
    assert "exclude" in str(caught.value.hint)
    assert "vocab.txt" not in paths(make_source(exclude=("vocab.txt",)).resolve(silent))


def test_a_gated_model_says_so_and_is_locked_by_who_may(
    fake: FakeHub, repository: Repository, make_source: "Source", tmp_path: Path
) -> None:
    repository.gated = "manual"
    assert make_source().resolve(silent).origin["gated"] is True
    place = Place(endpoint=fake.endpoint)
    with Hub(place, waits_s=()) as anonymous, pytest.raises(NoAccess):
        make_source(hub=lambda: anonymous, store=Store(tmp_path / "other")).resolve(silent)


def test_what_is_included_and_excluded_is_recorded(
    repository: Repository, make_source: "Source"
) -> None:
    found = make_source(include=("*.gguf", "picture.png"), exclude=("README*",)).resolve(silent)
    assert {"model.gguf", "picture.png"} <= {*paths(found)}
    assert "README.md" not in paths(found)
    assert found.origin["include"] == ["*.gguf", "picture.png"]
    assert found.origin["exclude"] == ["README*"]


def test_all_bad_heads_are_named_at_once(fake: FakeHub, make_source: "Source") -> None:
    bad = {"a.safetensors": b"bad", "b.safetensors": SMALL[:-1], "c.safetensors": SMALL}
    fake.repository("org/m").commit({"config.json": CONFIG, **bad})
    with pytest.raises(OvenproofError, match="safetensors") as caught:
        make_source().resolve(silent)
    assert [one.subject for one in every(caught.value)] == ["a.safetensors", "b.safetensors"]
    assert [one.where for one in every(caught.value)] == ["org/m", "org/m"]


# Reading what is locked


def test_bytes_come_from_the_hub_without_touching_the_disk(
    fake: FakeHub, repository: Repository, make_source: "Source", store: Store
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    large = file(lock, "large.safetensors")
    content = Content(large.digest, large.size)
    assert source.body(large) == content
    shelf = source.shelf(lock, silent)
    with shelf.open(content) as stream:
        seen = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            seen.update(chunk)
    assert seen.hexdigest() == large.digest.hex
    assert len(read(source, lock, "large.safetensors", large.size - 10)) == 10
    assert not store.has(content)
    with pytest.raises(Absent):
        shelf.open(Content.of(b"another"))


def test_only_what_is_not_here_is_distant(
    repository: Repository, make_source: "Source", store: Store
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    assert source.supplies(lock) == ()
    (supply,) = source.distant(lock).values()
    assert (supply.kind, supply.name) == ("weights", "large.safetensors")
    source.bring(lock, [supply.content], silent)
    assert store.verify(supply.content)
    assert source.distant(lock) == {}


def test_after_the_store_was_emptied_everything_is_distant_and_still_readable(
    repository: Repository, make_source: "Source", store: Store
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    store.empty()
    assert sorted(source.distant(lock)) == [file.path for file in lock.files]
    assert read(source, lock, "tokenizer.json") == b"{}"
    assert read(source, lock, "LICENSE") == b""
    wanted = [supply.content for supply in source.distant(lock).values()]
    source.bring(lock, wanted, silent)
    assert source.distant(lock) == {}


def test_the_hubs_own_cache_is_read_in_place(
    fake: FakeHub, repository: Repository, make_source: "Source", tmp_path: Path, hub: Hub
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    large = file(lock, "large.safetensors")
    content = Content(large.digest, large.size)
    place = tmp_path / "hub" / "models--org--m" / "blobs" / large.digest.hex
    place.parent.mkdir(parents=True)
    at = source._reach(str(lock.origin["commit"])).at(large.path)
    with hub.open(at, 0, large.size) as stream:
        place.write_bytes(stream.read())
    before = times(fake, "large.safetensors")
    assert "large.safetensors" not in source.distant(lock)
    with source.shelf(lock, silent).open(content, 5) as stream:
        assert len(stream.read(10)) == 10
    assert make_source().resolve(silent).files == lock.files
    assert times(fake, "large.safetensors") == before


def test_a_damaged_file_in_the_hubs_cache_is_told_and_not_used(
    repository: Repository, make_source: "Source", tmp_path: Path
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    one = file(lock, "large.safetensors")
    place = tmp_path / "hub" / "models--org--m" / "blobs" / one.digest.hex
    place.parent.mkdir(parents=True)
    with place.open("wb") as stream:
        stream.truncate(one.size)
    events: list[Event] = []
    assert "large.safetensors" not in source.distant(lock)  # nobody has read it so far
    with source.shelf(lock, silent).open(source.body(one), 5) as stream:  # type: ignore[arg-type]
        stream.read(1)
    source.shelf(lock, events.append)
    (note,) = notes(events)
    assert "damaged" in note
    assert read(source, lock, "large.safetensors", one.size - 8) != bytes(8)


def test_of_a_file_in_the_hubs_cache_nothing_but_the_head_is_read_to_lock_it(
    repository: Repository, make_source: "Source", tmp_path: Path, fake: FakeHub
) -> None:
    seen = Unread(tmp_path / "cache")
    expected = make_source().resolve(silent)
    one = file(expected, "large.safetensors")
    place = tmp_path / "hub" / "models--org--m" / "blobs" / one.digest.hex
    place.parent.mkdir(parents=True)
    with place.open("wb") as stream:
        for block in entry(repository, "large.safetensors").content.read():
            stream.write(block)
    before = times(fake, "large.safetensors")
    again = make_source(cache=HubCache(tmp_path / "hub", seen)).resolve(silent)
    assert again == expected
    assert times(fake, "large.safetensors") == before
    assert not seen.read


def test_a_damaged_head_in_the_hubs_cache_is_told_and_read_from_the_hub(
    repository: Repository, make_source: "Source", tmp_path: Path
) -> None:
    expected = make_source().resolve(silent)
    one = file(expected, "large.safetensors")
    place = tmp_path / "hub" / "models--org--m" / "blobs" / one.digest.hex
    place.parent.mkdir(parents=True)
    with place.open("wb") as stream:
        stream.truncate(one.size)
    events: list[Event] = []
    assert make_source().resolve(events.append) == expected
    (note,) = notes(events)
    assert "damaged" in note


def test_wrong_bytes_from_the_hub_are_found_when_the_layer_is_made(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    fake.wrong_bytes = {"large.safetensors": LARGE.size - 1}
    one = file(lock, "large.safetensors")
    recipe = weights.layer_recipe("/model", [(one.path, source.body(one))])
    with pytest.raises(WrongBytes):
        measure(Prepared(recipe, source.shelf(lock, silent)))


def test_a_hub_that_is_gone_is_told(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    source = make_source()
    lock = locked(source.resolve(silent))
    fake.go_away()
    assert read(source, lock, "small.safetensors") == SMALL
    with pytest.raises(TryAgain):
        read(source, lock, "large.safetensors")
    with pytest.raises(TryAgain):
        source.resolve(silent)


# A stranger's words


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/etc/passwd.json",
        "a//b.json",
        "./a.json",
        "a/../../b.json",
        "c:\\windows.json",
        "nul\0.json",
        "line\nbreak.json",
        "\u202etxt.json",
        "x" * 256 + ".json",
        "config.json/inside.json",
    ],
)
def test_a_name_that_cannot_be_a_files_is_refused(
    fake: FakeHub, repository: Repository, make_source: "Source", name: str
) -> None:
    files = repository.commits[repository.branches["main"]].files
    files[name] = files["README.md"]  # type: ignore[index]
    with pytest.raises(OvenproofError) as caught:
        make_source().resolve(silent)
    assert all(isinstance(one, WrongBytes | TryAgain) for one in every(caught.value))


def test_a_hub_that_gives_another_commit_than_the_locked_one_is_refused(
    repository: Repository, hub: Hub, make_source: "Source"
) -> None:
    class Lying(Hub):
        def look(self, model: str, revision: str | None) -> Snapshot:
            return hub.look(model, "main")

    lock = locked(make_source().resolve(silent))
    repository.commit({"README.md": b"# another\n"})
    with Lying(hub.place) as lying, pytest.raises(WrongBytes, match="another commit"):
        make_source(hub=lambda: lying, locked=lock).resolve(silent)


@pytest.mark.parametrize("kind", [HubSource, HubAdapter])
@pytest.mark.parametrize("upper", [False, True])
def test_a_commit_that_is_asked_for_is_the_one_that_is_locked(
    repository: Repository, hub: Hub, make_source: "Source", kind: type[HubSource], upper: bool
) -> None:
    class Lying(Hub):
        def look(self, model: str, revision: str | None) -> Snapshot:
            return hub.look(model, "main")

    asked = repository.branches["main"]
    revision = asked.upper() if upper else asked
    with Lying(hub.place) as lying:
        if kind is HubSource:
            make_source(hub=lambda: lying, revision=revision).resolve(silent)
        repository.commit({"README.md": b"# another\n"})
        with pytest.raises(WrongBytes, match="another commit"):
            make_source(kind, hub=lambda: lying, revision=revision).resolve(silent)


def test_what_vanishes_while_it_is_locked_is_in_no_lock(
    fake: FakeHub, repository: Repository, make_source: "Source"
) -> None:
    fake.status_path, fake.status_next = "/large.safetensors", [404]
    with pytest.raises(TryAgain, match="that it lists") as caught:
        make_source().resolve(silent)
    assert "models.lock" not in str(caught.value)
    lock = locked(make_source().resolve(silent))
    fake.status_next = [404, 404]
    with pytest.raises(LockAgain, match=r"models\.lock"):
        make_source(locked=lock).resolve(silent)


@pytest.mark.parametrize("size", [-1, "7", 1.5, True])
def test_an_impossible_size_is_refused(hub: Hub, make_source: "Source", size: Any) -> None:
    class Lying(Hub):
        def look(self, model: str, revision: str | None) -> Snapshot:
            one = HubFile(path="config.json", size=size, blob_id="0" * 40, sha256=None)
            return Snapshot(
                model=model, commit="0" * 40, files=(one,), gated=False, license="\x1b[2J"
            )

    with Lying(hub.place) as lying, pytest.raises(WrongBytes, match="impossible size"):
        make_source(hub=lambda: lying).resolve(silent)


def test_a_licence_that_nobody_can_read_is_left_out(
    repository: Repository, make_source: "Source"
) -> None:
    repository.license = "\x1b[2J"
    assert "license" not in make_source().resolve(silent).facts


def test_the_token_is_nowhere(
    fake: FakeHub,
    repository: Repository,
    make_source: "Source",
    tmp_path: Path,
) -> None:
    repository.gated = "auto"
    events: list[Event] = []
    source = make_source(largest_file=BIG - 1000)
    with pytest.raises(BadFile) as too_large:
        source.resolve(events.append)
    whole = make_source()
    found = whole.resolve(events.append)
    lock = locked(found)
    whole.bring(lock, [supply.content for supply in whole.distant(lock).values()], events.append)
    fake.status_next = [403, 403, 403]
    with pytest.raises(Exception) as refused:  # noqa: PT011  any: it is what it says that counts
        make_source(store=Store(tmp_path / "other")).resolve(events.append)
    said = [repr(found), repr(events), repr(source), str(lock.to_json())]
    said += [repr(too_large.value), str(refused.value), repr(refused.value)]
    assert not [text for text in said if TOKEN in text]
    for place in tmp_path.rglob("*"):
        if place.is_file():
            assert TOKEN.encode() not in place.read_bytes(), place
    assert any(one.headers.get("authorization") == f"Bearer {TOKEN}" for one in fake.requests)
