"""A repository as an output: what it lacks, what it refuses, and when its tag moves."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.action import Action
from ovenproof.core.content import Literal
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import Image
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.core.manifest import Manifest
from ovenproof.core.model_lock import LockedFile
from ovenproof.core.plan import Plan, PlannedStep, Step
from ovenproof.core.weights import Group, action
from ovenproof.errors import BadFile, LockAgain
from ovenproof.events import silent
from ovenproof.outputs.registry import Registry, Tag
from ovenproof.registry.client import Blob, Uploaded
from ovenproof.registry.limits import Limits, limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender
from ovenproof.store.notes import Notes

HERE, OTHER = Repository("here:5000", "a/models"), Repository("here:5000", "b/models")
SOMEONES = Digest.of(b"somebody else's image")


def text(word: str) -> Recipe:
    return recipe([File(path=f"etc/{word}", body=Literal(word.encode() * 400))])


LOW, HIGH = text("low"), text("high")


@dataclass(slots=True)
class Repo:
    """A repository that a test can look into; `puts` has what was put, in order."""

    repository: Repository = HERE
    limits: Limits = field(default_factory=lambda: limits("here:5000"))
    held: set[Content] = field(default_factory=set)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    at_last_blob: Callable[[], None] = lambda: None

    def has(self, content: Content) -> bool:
        return content in self.held

    def head(self, target: str) -> Digest | None:
        if target.startswith("sha256:"):
            return next((digest for digest in self.manifests if str(digest) == target), None)
        return self.tags.get(target)

    def put_manifest(self, manifest: Manifest, target: str) -> None:
        assert {blob.content for blob in manifest.blobs} <= self.held
        digest = Digest.of(manifest.data)
        self.puts.append(target)
        self.manifests[digest] = manifest.data
        if target != str(digest):
            assert str(digest) in self.puts, "by digest first"
            self.tags[target] = digest

    def upload(self, blob: Blob, *, resume: str | None = None, began: Any, heard: Any) -> Uploaded:
        assert Content.of(b"".join(blob.open(0))) == blob.content
        self.puts.append(blob.title)
        self.held.add(blob.content)
        self.at_last_blob()
        return Uploaded(sent=blob.content.size)


def output(repo: Repo, root: Path, tag: Tag | None, *, others: tuple[Repo, ...] = ()) -> Registry:
    remote: Any = repo
    found: dict[Repository, Any] = {other.repository: other for other in others}
    sender = Sender(remote, notes=Notes(root), jobs=1, at=found.__getitem__)
    return Registry(sender, tag=tag, homes=tuple(found))


def push(made: Registry, baked: Any) -> Any:
    return made.write(baked.image, "kitchen:tiny", baked.open, silent)


def test_the_manifest_goes_after_the_blobs_and_the_tag_last(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW, HIGH), Repo()
    written = push(output(repo, tmp_path, Tag(name="tiny")), baked)
    digest = str(baked.image.digest.digest)
    assert {*repo.puts[:2]} == {"layer 0", "layer 1"}
    assert repo.puts[2:] == ["config", digest, "tiny"]
    assert written.place == f"here:5000/a/models:tiny@{digest}"
    assert written.reference == f"here:5000/a/models@{digest}"
    assert repo.manifests == {baked.image.digest.digest: baked.image.manifest}
    assert written.moved == sum(layer.content.size for layer in baked.image.layers)


def test_what_is_there_is_put_no_second_time(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW, HIGH), Repo()
    push(output(repo, tmp_path, Tag(name="tiny")), baked)
    repo.puts.clear()
    written = push(output(repo, tmp_path, Tag(name="tiny")), baked)
    assert repo.puts == []
    assert (written.moved, written.mounted) == (0, 0)
    assert written.there > 0


def test_without_a_tag_an_image_has_its_digest_alone(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW), Repo()
    made = output(repo, tmp_path, None)
    assert made.foresee(baked.image.layers, baked.image).tag is None
    written = push(made, baked)
    assert repo.tags == {}
    assert written.place == f"here:5000/a/models@{baked.image.digest.digest}"


def test_a_layer_that_another_repository_can_give_is_not_lacking(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    low, high = baked.image.layers
    other = Repo(repository=OTHER, held={low.content})
    made = output(Repo(), tmp_path, Tag(name="tiny"), others=(other,))
    found = made.foresee(baked.image.layers, baked.image)
    assert (found.lacks, found.mounts) == ((high,), (low,))
    assert made.lacks(baked.image) == (high,)


def test_a_layer_that_names_its_homes_is_looked_for_there(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    (low,) = make_image(LOW).image.layers
    other: Any = Repo(repository=OTHER, held={low.content})
    here: Any = Repo()
    sender = Sender(here, notes=Notes(tmp_path), jobs=1, at={OTHER: other}.__getitem__)
    made = Registry(sender, tag=None)
    image = Image(config=b"{}", manifest=b"{}", layers=(replace(low, homes=(str(OTHER),)),))
    assert made.foresee(image.layers, image).mounts == image.layers


def test_a_layer_that_the_registry_would_not_take_is_named_before_anything_moves(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    small = replace(limits("here:5000"), blob=3000)
    made = output(Repo(limits=small), tmp_path, Tag(name="tiny"))
    sizes = [layer.content.size for layer in baked.image.layers]
    assert min(sizes) > 3000
    faults = made.refuses(baked.image)
    assert [type(fault) for fault in faults] == [BadFile, BadFile]
    assert "the layer `layer 0`" in faults[0].text()
    assert "3000 bytes at most" in faults[0].text()
    assert f"got      {sizes[0]} bytes" in faults[0].text()
    assert "--to" in str(faults[0].hint)


def test_a_large_layer_is_refused_before_it_is_proven_and_before_anybody_is_asked(
    tmp_path: Path,
) -> None:
    class Silent(Repo):
        def has(self, content: Content) -> bool:
            raise AssertionError("asked")

    file = LockedFile(path="model.safetensors", size=5000, digest=Digest.of(b"weights"))
    step = Step(title="the weights", action=action(Group("t", (file,)), "/model"))
    other = Step(title="wheels", action=Action(kind="wheels", version=1))
    unproven = (PlannedStep(step=step, layer=None, missing=(), distant=()),)
    proven = (PlannedStep(step=step, layer=Content(file.digest, 7000), missing=(), distant=()),)
    unknown = (PlannedStep(step=other, layer=None, missing=(), distant=()),)
    small, large = (replace(limits("here:5000"), blob=blob) for blob in (3000, 10_000))
    made = output(Silent(limits=small), tmp_path, None)
    (fault,) = made.foresees_too_large(Plan(name="a", steps=(*unproven, *unknown), image=None))
    assert "the layer `the weights` is larger" in fault.text()
    assert made.foresees_too_large(Plan(name="a", steps=proven, image=None)) == ()
    roomy = output(Silent(limits=large), tmp_path, None)
    assert roomy.foresees_too_large(Plan(name="a", steps=unproven, image=None)) == ()


def test_a_large_layer_that_is_there_already_is_not_refused(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    low, high = baked.image.layers
    repo = Repo(limits=replace(limits("here:5000"), blob=10), held={low.content})
    other = Repo(repository=OTHER, held={high.content})
    assert output(repo, tmp_path, None, others=(other,)).refuses(baked.image) == ()


def test_a_manifest_that_is_too_large_is_refused(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    repo = Repo(limits=replace(limits("here:5000"), manifest=100))
    (fault,) = output(repo, tmp_path, None).refuses(make_image(LOW).image)
    assert "the manifest is larger" in fault.text()


def test_a_tag_that_somebody_moved_meanwhile_is_not_moved(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW), Repo()
    repo.tags["tiny"] = Digest.of(b"before")
    repo.at_last_blob = lambda: repo.tags.update(tiny=SOMEONES)
    with pytest.raises(LockAgain) as caught:
        push(output(repo, tmp_path, Tag(name="tiny")), baked)
    assert str(Digest.of(b"before")) in str(caught.value.expected)
    assert caught.value.got == str(SOMEONES)
    assert "--force" in str(caught.value.hint)
    assert repo.tags == {"tiny": SOMEONES}
    assert baked.image.digest.digest in repo.manifests


def test_what_was_seen_before_a_push_still_has_to_be_so_at_its_end(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW), Repo()
    made = output(repo, tmp_path, Tag(name="tiny"))
    made.lacks(baked.image)
    repo.tags["tiny"] = SOMEONES
    with pytest.raises(LockAgain, match="no such tag"):
        push(made, baked)
    assert repo.tags == {"tiny": SOMEONES}


def test_a_tag_is_moved_by_force(tmp_path: Path, make_image: Callable[..., Any]) -> None:
    baked, repo = make_image(LOW), Repo()
    repo.at_last_blob = lambda: repo.tags.update(tiny=SOMEONES)
    push(output(repo, tmp_path, Tag(name="tiny", force=True)), baked)
    assert repo.tags == {"tiny": baked.image.digest.digest}


def test_somebody_who_moves_the_tag_to_the_same_image_is_in_nobodys_way(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW), Repo()
    repo.at_last_blob = lambda: repo.tags.update(tiny=baked.image.digest.digest)
    push(output(repo, tmp_path, Tag(name="tiny")), baked)
    assert "tiny" not in repo.puts


@pytest.mark.parametrize(
    ("was", "names"),
    [("none", SOMEONES), (Digest.of(b"expected"), SOMEONES), (Digest.of(b"expected"), None)],
)
def test_a_tag_that_is_not_what_it_was_said_to_be_stops_the_push_at_once(
    tmp_path: Path, make_image: Callable[..., Any], was: Any, names: Digest | None
) -> None:
    baked, repo = make_image(LOW), Repo()
    repo.tags.update({"tiny": names} if names else {})
    with pytest.raises(LockAgain, match="--was"):
        push(output(repo, tmp_path, Tag(name="tiny", was=was)), baked)
    assert repo.puts == []


@pytest.mark.parametrize("was", ["none", SOMEONES])
def test_a_tag_that_is_what_it_was_said_to_be_is_moved(
    tmp_path: Path, make_image: Callable[..., Any], was: Any
) -> None:
    baked, repo = make_image(LOW), Repo()
    repo.tags.update({} if was == "none" else {"tiny": SOMEONES})
    push(output(repo, tmp_path, Tag(name="tiny", was=was)), baked)
    assert repo.tags == {"tiny": baked.image.digest.digest}


def test_a_push_that_is_repeated_with_the_same_was_has_already_succeeded(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked, repo = make_image(LOW), Repo()
    tag = Tag(name="tiny", was="none")
    push(output(repo, tmp_path, tag), baked)
    repo.puts.clear()
    push(output(repo, tmp_path, tag), baked)
    assert repo.puts == []
