"""Layers of random trees: slices, sizes, order; and what two other readers of tar see in them."""

import io
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ovenproof.core.action import Action
from ovenproof.core.content import Literal
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.image_lock import ImageLock, LockedDeb, LockedWheel
from ovenproof.core.layer import Directory, Entry, File, Hardlink, Recipe, Symlink, recipe
from ovenproof.core.model_lock import LockedFile, ModelLock, ModelsLock
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import measure, read

GNU_TAR = shutil.which("gtar") or shutil.which("tar")

# Random trees

NAMES = st.one_of(
    st.sampled_from(["a", "a-b", "a.b", "a0", "b", "usr", "n" * 100, "n" * 101, "d" * 155, "..."]),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"),
        min_size=1,
        max_size=12,
    ).filter(lambda name: name not in (".", "..")),
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
TARGETS = st.one_of(
    PATHS, PATHS.map(lambda path: f"../{path}"), st.sampled_from(["t" * 100, "t" * 101, "/usr/é"])
)
MODES = st.integers(0o400, 0o777) | st.sampled_from([0o1777, 0o2755, 0o4755, 0o7777])
BODIES = st.binary(max_size=40) | st.sampled_from([511, 512, 513, 1024, 5000]).map(
    lambda size: bytes(range(256)) * 20 if size == 5000 else (bytes(range(256)) * 4)[:size]
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries that are one possible tree: nothing lies below what is no directory."""
    leaves: dict[str, Entry] = {}
    folders: set[str] = set()
    for path in draw(st.lists(PATHS, max_size=8)):
        parents = {path[:place] for place, letter in enumerate(path) if letter == "/"}
        if path in leaves or path in folders or parents & set(leaves):
            continue
        folders |= parents
        match draw(st.integers(0, 5)):
            case 0:
                leaves[path] = Symlink(path=path, target=draw(TARGETS))
            case 1:
                # the owner can read and enter it, so that a reader can look inside
                folders.add(path)
            case _:
                leaves[path] = File(path=path, body=Literal(draw(BODIES)), mode=draw(MODES))
    named = draw(st.sets(st.sampled_from(sorted(folders)))) if folders else set()
    entries: list[Entry] = [*leaves.values()]
    entries += [Directory(path=path, mode=draw(MODES) | 0o700) for path in sorted(named)]
    files = {entry.path: entry for entry in entries if isinstance(entry, File)}
    target = draw(st.none() | st.sampled_from(sorted(files))) if files else None
    link = f"{target}~"  # of the same folder, and after its target
    if target is not None and link not in folders | leaves.keys():
        entries.append(Hardlink(path=link, target=target, mode=files[target].mode))
    return draw(st.permutations(entries))


def data_of(made: Recipe, offset: int = 0) -> bytes:
    return b"".join(read(Prepared(made, Openers({})), offset))


@given(trees())
def test_the_size_is_that_of_the_bytes_and_they_are_whole_blocks(entries: list[Entry]) -> None:
    made = recipe(entries)
    data = data_of(made)
    assert len(data) == made.size
    assert len(data) % 512 == 0
    assert data.endswith(bytes(1024))
    assert measure(Prepared(made, Openers({}))) == Content.of(data)


@given(trees(), st.data())
def test_any_slice_is_the_slice_of_the_whole(entries: list[Entry], data: st.DataObject) -> None:
    made = recipe(entries)
    whole = data_of(made)
    offset = data.draw(st.integers(0, len(whole) + 10))
    assert data_of(made, offset) == whole[offset:]


@given(trees())
def test_entries_are_unique_and_in_order_and_come_after_their_folders(entries: list[Entry]) -> None:
    made = recipe(entries)
    with tarfile.open(fileobj=io.BytesIO(data_of(made))) as archive:
        members = archive.getmembers()
    names = [(m.name + "/" if m.isdir() else m.name).encode() for m in members]
    assert names == sorted(set(names))
    seen = {""}
    for member in members:
        assert member.name.rpartition("/")[0] in seen
        if member.isdir():
            seen.add(member.name)


@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_is_not_in_the_bytes(
    entries: list[Entry], random: object
) -> None:
    turned = list(entries)
    random.shuffle(turned)  # type: ignore[attr-defined]
    assert data_of(recipe(turned)) == data_of(recipe(entries))


@given(trees())
def test_tarfile_reads_back_what_was_written(entries: list[Entry]) -> None:
    made = recipe(entries)
    with tarfile.open(fileobj=io.BytesIO(data_of(made))) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == [entry.path for entry in made.entries]
        for entry in made.entries:
            found = members[entry.path]
            assert (found.uid, found.gid, found.uname, found.gname) == (0, 0, "", "")
            assert found.mtime == 315532800
            match entry:
                case Directory(mode=mode):
                    assert found.isdir()
                    assert found.mode == mode
                case File(body=body, mode=mode):
                    assert isinstance(body, Literal)
                    assert found.isreg()
                    assert found.mode == mode
                    stream = archive.extractfile(found)
                    assert stream is not None
                    assert stream.read() == body.data
                case Symlink(target=target):
                    assert found.issym()
                    assert found.linkname == target
                case Hardlink(target=target, mode=mode):
                    assert found.islnk()
                    assert found.linkname == target
                    assert found.mode == members[target].mode == mode


EVERYTHING: list[Entry] = [
    Directory(path="tmp", mode=0o1777),
    File(path="usr/bin/su", body=Literal(b"x" * 700), mode=0o4755),
    Hardlink(path="usr/bin/su~", target="usr/bin/su", mode=0o4755),
    Symlink(path="l", target="t" * 101),
    Symlink(path="é", target="ü"),
    File(path="d" * 155 + "/" + "n" * 100, body=Literal(b"prefix")),
    File(path="/".join(["d" * 80] * 4), body=Literal(b"pax")),
    File(path="empty", body=Literal(b"")),
]


@pytest.mark.skipif(GNU_TAR is None, reason="there is no tar program on this machine")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING)
@given(trees())
def test_gnu_tar_extracts_what_was_written(entries: list[Entry]) -> None:
    made = recipe(entries)
    assert GNU_TAR is not None
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        root.mkdir()
        done = subprocess.run(
            [GNU_TAR, "-xpf", "-", "--no-same-owner", "--same-permissions", "-C", str(root)],
            input=data_of(made),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        listing = subprocess.run(
            [GNU_TAR, "-tf", "-", "--quoting-style=literal", "--show-transformed-names"],
            input=data_of(made),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            check=True,
        ).stdout.decode()
        names = [
            entry.path + "/" if isinstance(entry, Directory) else entry.path
            for entry in made.entries
        ]
        assert listing == "".join(f"{name}\n" for name in names)
        for entry in made.entries:
            path = root / entry.path
            status = path.lstat()
            match entry:
                case Directory(mode=mode):
                    assert stat.S_ISDIR(status.st_mode)
                    assert stat.S_IMODE(status.st_mode) == mode
                case File(body=body, mode=mode):
                    assert isinstance(body, Literal)
                    assert stat.S_IMODE(status.st_mode) == mode
                    assert path.read_bytes() == body.data
                case Symlink(target=target):
                    assert str(path.readlink()) == str(Path(target))
                case Hardlink(target=target):
                    assert path.samefile(root / target)
        found = {str(path.relative_to(root)) for path in root.rglob("*")}
        assert found == {entry.path for entry in made.entries}


# Keys

DIGESTS = st.binary(max_size=4).map(Digest.of)
CONTENTS = st.builds(Content, DIGESTS, st.integers(0, 1 << 50))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | WORDS
JSON: st.SearchStrategy[Json] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ACTIONS = st.builds(
    Action,
    kind=WORDS,
    version=st.integers(0, 9),
    inputs=st.dictionaries(WORDS, DIGESTS, max_size=3),
    parameters=st.dictionaries(WORDS, JSON, max_size=3),
)


def told_apart(value: Json) -> object:
    """Python takes 1 for True and 0 for False; JSON does not."""
    match value:
        case bool() | None | int() | str():
            return (type(value).__name__, value)
        case dict():
            return {key: told_apart(item) for key, item in value.items()}
        case _:
            return [told_apart(item) for item in value]


def fields(action: Action) -> object:
    parameters = told_apart(dict(action.parameters))
    return (action.kind, action.version, dict(action.inputs), parameters)


@given(ACTIONS, ACTIONS)
def test_two_actions_have_one_key_if_and_only_if_they_are_equal(one: Action, two: Action) -> None:
    assert (one.key == two.key) == (fields(one) == fields(two))


@given(ACTIONS, st.data())
def test_a_change_of_any_one_field_changes_the_key(action: Action, data: st.DataObject) -> None:
    changed = data.draw(
        st.one_of(
            st.builds(
                Action,
                kind=WORDS,
                version=st.just(action.version),
                inputs=st.just(action.inputs),
                parameters=st.just(action.parameters),
            ),
            st.builds(
                Action,
                kind=st.just(action.kind),
                version=st.integers(0, 9),
                inputs=st.just(action.inputs),
                parameters=st.just(action.parameters),
            ),
            st.builds(
                Action,
                kind=st.just(action.kind),
                version=st.just(action.version),
                inputs=st.dictionaries(WORDS, DIGESTS, max_size=3),
                parameters=st.just(action.parameters),
            ),
            st.builds(
                Action,
                kind=st.just(action.kind),
                version=st.just(action.version),
                inputs=st.just(action.inputs),
                parameters=st.dictionaries(WORDS, JSON, max_size=3),
            ),
        )
    )
    assert (changed.key == action.key) == (fields(changed) == fields(action))


def turned(value: Json) -> Json:
    """The same value, every object's keys the other way round."""
    match value:
        case dict():
            return {key: turned(value[key]) for key in reversed(value)}
        case list():
            return [turned(item) for item in value]
        case _:
            return value


@given(JSON)
def test_canonical_json_does_not_mind_the_order_of_keys(value: Json) -> None:
    assert canonical_json(turned(value)) == canonical_json(value)


@given(JSON, JSON)
def test_canonical_json_is_the_same_only_for_the_same_value(one: Json, two: Json) -> None:
    same = told_apart(one) == told_apart(two)
    assert (canonical_json(one) == canonical_json(two)) == same


# Locks

PROOFS = st.dictionaries(DIGESTS, CONTENTS, max_size=3)
SAFE_PATHS = PATHS.filter(lambda path: "\0" not in path)
IMAGE_LOCKS = st.builds(
    ImageLock,
    fingerprint=DIGESTS,
    debs=st.lists(
        st.builds(
            LockedDeb, name=WORDS, version=WORDS, archive=WORDS, path=WORDS, content=CONTENTS
        ),
        max_size=3,
        unique=True,
    ).map(lambda found: tuple(sorted(found))),
    wheels=st.lists(
        st.builds(LockedWheel, WORDS, CONTENTS), max_size=3, unique_by=lambda wheel: wheel.filename
    ).map(lambda found: tuple(sorted(found))),
    options=JSON,
    layers=PROOFS,
)
MODEL_LOCKS = st.builds(
    ModelLock,
    fingerprint=DIGESTS,
    origin=st.dictionaries(WORDS, JSON, max_size=3),
    files=st.lists(
        st.builds(
            LockedFile,
            path=SAFE_PATHS,
            size=st.integers(0, 1 << 50),
            digest=DIGESTS,
            pinned_by=st.sampled_from(["file", "layer"]),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda file: file.path,
    ).map(lambda found: tuple(sorted(found))),
    facts=st.dictionaries(WORDS, JSON, max_size=3),
    order=st.sampled_from(["weights-first", "base-first"]),
    layers=PROOFS,
)


@given(IMAGE_LOCKS)
def test_an_image_lock_survives_its_text(lock: ImageLock) -> None:
    text = lock.to_text()
    read_back = ImageLock.parse(text, name="image.lock")
    assert read_back == lock
    assert read_back.to_text() == text


@given(st.dictionaries(WORDS, MODEL_LOCKS, max_size=3))
def test_a_models_lock_survives_its_text(models: dict[str, ModelLock]) -> None:
    text = ModelsLock(models).to_text()
    read_back = ModelsLock.parse(text, name="models.lock")
    assert read_back == ModelsLock(models)
    assert read_back.to_text() == text
