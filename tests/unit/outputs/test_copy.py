"""The walk from one place to another, and the folder of a layout as a place."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import LAYER_TYPE, MANIFEST_TYPE
from ovenproof.core.manifest import INDEX_TYPE, Descriptor, Manifest, Platform, read
from ovenproof.errors import BadCall, BadFile, LockAgain, OvenproofError, WrongBytes
from ovenproof.events import Event, Noted, silent
from ovenproof.outputs.copy import Graph, blobs_of, copy, gather, narrowed
from ovenproof.outputs.copy_places import ToLayout, ToRegistry
from ovenproof.outputs.layout_folder import LayoutFolder
from ovenproof.registry.client import Blob, Remote
from ovenproof.registry.limits import Limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender, Sent
from ovenproof.store.disk import PREFIX
from ovenproof.store.notes import Notes
from ovenproof.store.stream import checked

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@dataclass
class Memory:
    """A place in memory: images come from it, and go to it; it remembers what was asked."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refusals: tuple[OvenproofError, ...] = ()

    def blob(self, data: bytes, media_type: str = LAYER_TYPE) -> dict[str, Any]:
        content = Content.of(data)
        self.blobs[content.digest] = data
        return {"mediaType": media_type, "digest": str(content.digest), "size": content.size}

    def add(self, **body: Any) -> Manifest:
        made = read(json.dumps({"schemaVersion": 2, **body}, indent=1).encode(), name="test")
        self.manifests[made.digest.digest] = made
        return made

    def image(self, word: str, **more: Any) -> Manifest:
        config = {"os": "linux", "architecture": "amd64", "word": word}
        return self.add(
            **{
                "mediaType": MANIFEST_TYPE,
                "config": self.blob(json.dumps(config).encode(), CONFIG_TYPE),
                "layers": [self.blob(b"shared" * 90), self.blob(word.encode() * 90)],
                **more,
            }
        )

    def index(self, *images: Manifest) -> Manifest:
        names = ("amd64", "arm64", "s390x")
        items = [
            {**said(image), "platform": {"os": "linux", "architecture": name}}
            for image, name in zip(images, names, strict=False)
        ]
        return self.add(mediaType=INDEX_TYPE, manifests=items)

    def manifest(self, target: str) -> Manifest | None:
        return self.manifests.get(Digest.parse(target))

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        return checked([self.blobs[content.digest][offset:]], content, "a blob")

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        return tuple(
            Descriptor(media_type=one.media_type, content=one.digest)
            for one in self.manifests.values()
            if one.subject and one.subject.content.digest == subject
        )

    def begin(self, root: Manifest) -> Digest | None:
        self.asked.append("begin")
        return None

    def refuses(self, graph: Graph) -> tuple[OvenproofError, ...]:
        return self.refusals

    def foresee(self, blobs: Sequence[Blob]) -> Sent:
        return Sent()

    def take(self, blobs: Sequence[Blob], listener: object) -> Sent:
        for blob in blobs:
            self.asked.append(f"blob {blob.content.digest.short}")
            self.blobs[blob.content.digest] = b"".join(blob.open(0))
        return Sent(sent=sum(blob.content.size for blob in blobs))

    def put(self, manifest: Manifest) -> None:
        self.asked.append(f"put {manifest.digest.digest.short}")
        needed = [item.content.digest for item in manifest.manifests if item.is_manifest]
        assert all(digest in self.manifests for digest in needed)
        assert all(item.content.digest in self.blobs for item in manifest.blobs)
        self.manifests[manifest.digest.digest] = manifest

    def finish(self, root: Manifest) -> None:
        self.asked.append("tag")
        assert root.digest.digest in self.manifests


def said(manifest: Manifest) -> dict[str, Any]:
    """How another manifest names this one."""
    digest = str(manifest.digest.digest)
    return {"mediaType": manifest.media_type, "digest": digest, "size": manifest.digest.size}


def bring(origin: Memory | LayoutFolder, root: Manifest, to: Memory | ToLayout) -> Sent:
    graph = gather(origin, root, referrers=True)
    return copy(graph, blobs_of(graph, origin), to, silent)


def listed(root: Path) -> dict[str | None, str]:
    """Tag -> digest, of a layout."""
    items = json.loads((root / "index.json").read_bytes())["manifests"]
    name = "org.opencontainers.image.ref.name"
    return {item.get("annotations", {}).get(name): item["digest"] for item in items}


def test_blobs_go_first_then_manifests_children_before_parents_and_the_tag_last() -> None:
    here, there = Memory(), Memory()
    one, two = here.image("one"), here.image("two")
    inner = here.index(two)
    outer = here.index(one, inner)
    bring(here, outer, there)
    words = [word.split()[0] for word in there.asked]
    assert words == ["begin", *["blob"] * 5, *["put"] * 4, "tag"]
    assert there.asked[-2] == f"put {outer.digest.digest.short}"
    assert (there.manifests, there.blobs) == (here.manifests, here.blobs)


def test_what_two_images_share_is_asked_for_once() -> None:
    here, there = Memory(), Memory()
    one = here.image("one")
    bring(here, here.index(one, here.image("two"), one), there)
    assert len(there.asked) == len(set(there.asked))


def test_what_refers_to_an_image_comes_when_it_is_asked_for_with_what_refers_to_that() -> None:
    here = Memory()
    image = here.image("one")
    top = here.index(image)
    sbom = here.image("sbom", subject=said(image))
    signature = here.image("signature", subject=said(sbom))
    other = here.image("other", subject=said(here.image("stranger")))
    plain = gather(here, top)
    assert [one.digest for one in plain.manifests] == [image.digest, top.digest]
    every = gather(here, top, referrers=True)
    assert every.manifests == (image, top, sbom, signature)
    assert other not in every.manifests
    there = Memory()
    bring(here, top, there)
    assert there.asked[-1] == "tag"


def test_a_manifest_that_is_named_but_not_there_is_told_before_anything_moves() -> None:
    here, there = Memory(), Memory()
    one, two = here.image("one"), here.image("two")
    top = here.index(one, two)
    del here.manifests[two.digest.digest]
    with pytest.raises(WrongBytes, match=r"linux/arm64[^#]*--platform"):
        bring(here, top, there)
    assert there.asked == []
    assert narrowed(here, top, Platform("linux", "amd64")) == one


def test_a_manifest_of_another_size_or_kind_than_its_index_says_is_refused() -> None:
    here = Memory()
    image = here.image("one")
    for wrong in ({"size": 7}, {"mediaType": INDEX_TYPE}):
        top = here.add(mediaType=INDEX_TYPE, manifests=[{**said(image), **wrong}])
        with pytest.raises(WrongBytes, match="not what it is said to be"):
            gather(here, top)


def test_indexes_in_indexes_without_end_are_refused() -> None:
    here = Memory()
    top = here.image("one")
    for _ in range(20):
        top = here.index(top)
    with pytest.raises(WrongBytes, match="deeper than anybody needs"):
        gather(here, top)


def test_a_layer_that_nobody_may_hand_on_is_left_out_and_told() -> None:
    here, there = Memory(), Memory()
    image = here.image("one", layers=[here.blob(b"windows", FOREIGN), here.blob(b"ours")])
    heard: list[Event] = []
    graph = gather(here, image)
    copy(graph, blobs_of(graph, here), there, heard.append)
    assert Digest.of(b"windows") not in there.blobs
    (note,) = [event.text for event in heard if isinstance(event, Noted)]
    assert str(Digest.of(b"windows")) in note


def test_a_place_that_refuses_is_heard_before_anything_moves() -> None:
    here, there = Memory(), Memory(refusals=(BadCall("too large"),))
    with pytest.raises(BadCall, match="too large"):
        bring(here, here.image("one"), there)
    assert there.asked == ["begin"]


def test_an_image_that_is_no_index_is_for_the_platform_of_its_config() -> None:
    here = Memory()
    image = here.image("one")
    assert narrowed(here, image, Platform("linux", "amd64")) == image
    with pytest.raises(BadCall, match="expected linux/arm64\n  got      linux/amd64"):
        narrowed(here, image, Platform("linux", "arm64"))
    with pytest.raises(BadCall, match="for another platform"):
        narrowed(here, image, Platform("linux", "amd64", "v3"))
    artifact = here.image("x", config=here.blob(b"{}", "application/vnd.oci.empty.v1+json"))
    with pytest.raises(BadCall, match="an artifact"):
        narrowed(here, artifact, Platform("linux", "amd64"))


def test_a_layout_takes_all_of_an_image_and_gives_it_back(tmp_path: Path) -> None:
    here, back = Memory(), Memory()
    image = here.image("one")
    top = here.index(image, here.image("two"))
    here.image("signature", subject=said(image))
    folder = LayoutFolder(tmp_path / "out")
    sent = bring(here, top, ToLayout(folder, tag="v1", jobs=2))
    assert sent == Sent(sent=sum(map(len, here.blobs.values())))
    assert folder.only().content == top.digest, "a signature is no image of its own"
    found = folder.manifest("v1")
    assert found is not None
    bring(folder, found, back)
    assert (back.manifests, back.blobs) == (here.manifests, here.blobs)
    assert not list(tmp_path.rglob(".ovenproof-*"))


def test_what_lies_in_a_layout_is_not_asked_for_again(tmp_path: Path) -> None:
    here = Memory()
    place = ToLayout(LayoutFolder(tmp_path), tag="a", jobs=1)
    bring(here, here.image("one"), place)
    two = here.image("two")
    graph = gather(here, two)
    foreseen = place.foresee(blobs_of(graph, here))
    assert foreseen.there == len(b"shared" * 90)
    del here.blobs[Digest.of(b"shared" * 90)]
    assert bring(here, two, place) == foreseen


def test_other_images_of_a_layout_stay_and_the_same_one_is_listed_once(tmp_path: Path) -> None:
    here = Memory()
    one, two = here.image("one"), here.image("two")
    folder = LayoutFolder(tmp_path)
    for tag, image in (("a", one), ("b", two), ("b", two), ("a", two), (None, one), (None, one)):
        bring(here, image, ToLayout(folder, tag=tag, jobs=1))
    items = json.loads((tmp_path / "index.json").read_bytes())["manifests"]
    assert len(items) == 3
    assert listed(tmp_path) == {
        "a": str(two.digest.digest),
        "b": str(two.digest.digest),
        None: str(one.digest.digest),
    }


def test_a_damaged_blob_of_a_layout_is_found_before_the_tag_moves(tmp_path: Path) -> None:
    here, there = Memory(), Memory()
    image = here.image("one")
    folder = LayoutFolder(tmp_path)
    bring(here, image, ToLayout(folder, tag="a", jobs=1))
    path = folder.path(Digest.of(b"one" * 90))
    for damaged in (b"two" * 90, b"one", None):
        path.write_bytes(damaged) if damaged else path.unlink()
        there.asked.clear()
        with pytest.raises(WrongBytes, match=path.name):
            bring(folder, image, there)
        assert "tag" not in there.asked
        assert not [word for word in there.asked if word.startswith("put")]


def test_a_damaged_manifest_of_a_layout_is_found(tmp_path: Path) -> None:
    here = Memory()
    image = here.image("one")
    folder = LayoutFolder(tmp_path)
    bring(here, image, ToLayout(folder, tag="a", jobs=1))
    path = folder.path(image.digest.digest)
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))
    with pytest.raises(WrongBytes, match=path.name):
        folder.manifest("a")


def test_wrong_bytes_from_elsewhere_do_not_get_into_a_layout(tmp_path: Path) -> None:
    here = Memory()
    image = here.image("one")
    here.blobs[Digest.of(b"one" * 90)] = b"two" * 90
    with pytest.raises(WrongBytes):
        bring(here, image, ToLayout(LayoutFolder(tmp_path), tag="a", jobs=1))
    assert not LayoutFolder(tmp_path).path(Digest.of(b"one" * 90)).exists()
    assert not (tmp_path / "index.json").exists()


def test_a_layout_with_several_images_wants_a_name_and_tells_those_it_has(tmp_path: Path) -> None:
    here = Memory()
    folder = LayoutFolder(tmp_path)
    for word in ("one", "two"):
        bring(here, here.image(word), ToLayout(folder, tag=word, jobs=1))
    with pytest.raises(BadCall, match=r"several images lie here[^#]*:TAG[^#]*it has one, two"):
        folder.only()
    assert folder.manifest("three") is None
    assert folder.manifest(str(Digest.of(b"three"))) is None


def test_a_blob_is_not_read_into_memory_as_a_manifest(tmp_path: Path) -> None:
    folder = LayoutFolder(tmp_path)
    path = folder.path(Digest.of(b"big"))
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(WrongBytes, match="too large for a manifest"):
        folder.manifest(str(Digest.of(b"big")))


def test_a_folder_that_is_no_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadCall, match=r"no index\.json"):
        LayoutFolder(tmp_path).only()
    (tmp_path / "index.json").write_text("[]")
    here = Memory()
    with pytest.raises(BadFile, match=r"index\.json"):
        bring(here, here.image("one"), ToLayout(LayoutFolder(tmp_path), tag="a", jobs=1))
    assert list(tmp_path.iterdir()) == [tmp_path / "index.json"]


def test_a_tag_of_a_layout_is_moved_from_where_it_was_seen_only(tmp_path: Path) -> None:
    here = Memory()
    one, two, three = here.image("one"), here.image("two"), here.image("three")
    folder = LayoutFolder(tmp_path)
    bring(here, one, ToLayout(folder, tag="a", jobs=1))
    wrong = ToLayout(folder, tag="a", jobs=1, was=three.digest.digest)
    with pytest.raises(LockAgain, match="--force"):
        bring(here, two, wrong)
    with pytest.raises(LockAgain, match="expected no such tag"):
        bring(here, two, ToLayout(folder, tag="a", jobs=1, was="none"))
    slow = ToLayout(folder, tag="a", jobs=1)
    slow.begin(two)
    bring(here, three, ToLayout(folder, tag="a", jobs=1, was=one.digest.digest))
    with pytest.raises(LockAgain, match=three.digest.digest.hex):
        slow.finish(two)
    assert listed(tmp_path) == {"a": str(three.digest.digest)}
    bring(here, two, ToLayout(folder, tag="a", jobs=1, was="none", force=True))
    assert listed(tmp_path) == {"a": str(two.digest.digest)}


def test_blobs_that_an_index_lists_are_copied_as_blobs(tmp_path: Path) -> None:
    here = Memory()
    cache = here.blob(b"a build's cache", "application/vnd.buildkit.cacheconfig.v0")
    top = here.add(mediaType=INDEX_TYPE, manifests=[cache, said(here.image("one"))])
    folder = LayoutFolder(tmp_path)
    bring(here, top, ToLayout(folder, tag="a", jobs=1))
    assert folder.path(Digest.of(b"a build's cache")).read_bytes() == b"a build's cache"


def test_what_a_killed_copy_left_in_a_layout_is_removed_by_the_next(tmp_path: Path) -> None:
    left = [tmp_path / PREFIX, tmp_path / "blobs" / "sha256" / PREFIX]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    here = Memory()
    bring(here, here.image("one"), ToLayout(LayoutFolder(tmp_path), tag="a", jobs=1))
    assert not any(path.exists() for path in left)


class Narrow:
    """A repository that takes 100 bytes of blob and 300 of manifest, and has some blobs."""

    def __init__(self, there: set[Content]) -> None:
        self.there = there
        self.repository = Repository("registry.test", "a/b")
        self.limits = Limits(registry="the narrow one", blob=100, manifest=300, note="a sign")

    def has(self, content: Content) -> bool:
        return content in self.there


def test_what_a_registry_does_not_take_is_told_all_at_once(tmp_path: Path) -> None:
    here = Memory()
    graph = gather(here, here.image("one"))
    shared, own = (item.content for item in graph.root.layers)

    def faults(*there: Content) -> list[str]:
        sender = Sender(cast("Remote", Narrow(set(there))), notes=Notes(tmp_path), jobs=1)
        return [str(fault) for fault in ToRegistry(sender, tag="a").refuses(graph)]

    told = faults()
    assert len(told) == 3
    assert all("registry.test/a/b" in text and "(a sign)" in text for text in told)
    assert "expected 300 bytes" in told[2]
    assert str(shared.digest) in told[0]
    assert len(faults(shared)) == 2, "what is there is taken"
    assert len(faults(shared, own)) == 1
