"""Records as artifacts: one tag and one manifest each, and nothing else that would have to move."""

import json
from dataclasses import dataclass, field

import pytest

from ovenproof.core import manifest, record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.manifest import Manifest
from ovenproof.errors import WrongBytes
from ovenproof.registry.client import Blob, Remote, Stream, Uploaded
from ovenproof.registry.outcomes import ANNOTATION, OutcomesRepository, artifact, tag
from ovenproof.registry.reference import Repository

KEY = Digest.of(b"action")
TEXT = record.write(KEY, Outcome({"layer": Content.of(b"layer")}))


@dataclass
class Memory(Remote):
    """A repository that keeps what it is given, and says what was asked."""

    repository: Repository = field(default_factory=lambda: Repository("registry.test", "outcomes"))
    blobs: dict[Content, bytes] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def has(self, content: Content) -> bool:
        self.asked.append("has")
        return content in self.blobs

    def upload(self, blob: Blob | Stream, **_how: object) -> Uploaded:
        assert isinstance(blob, Blob)
        self.asked.append("upload")
        self.blobs[blob.content] = b"".join(blob.open(0))
        return Uploaded(sent=blob.content.size)

    def manifest(self, target: str) -> Manifest | None:
        self.asked.append("manifest")
        return self.manifests.get(target)

    def put_manifest(self, manifest: Manifest, target: str) -> None:
        self.asked.append("put_manifest")
        assert all(item.content in self.blobs for item in manifest.blobs), "blobs come first"
        self.manifests[target] = manifest


@pytest.fixture
def remote() -> Memory:
    return Memory()


@pytest.fixture
def place(remote: Memory) -> OutcomesRepository:
    return OutcomesRepository(remote)


def test_a_record_is_read_in_one_request(place: OutcomesRepository, remote: Memory) -> None:
    assert place.get(KEY) is None
    place.put(KEY, TEXT)
    remote.asked.clear()
    assert place.get(KEY) == TEXT
    assert remote.asked == ["manifest"]


def test_the_empty_content_is_sent_once(place: OutcomesRepository, remote: Memory) -> None:
    place.put(KEY, TEXT)
    place.put(Digest.of(b"other"), TEXT)
    assert remote.asked.count("upload") == 1
    assert list(remote.blobs.values()) == [b"{}"]


def test_another_record_takes_the_place_of_the_first(place: OutcomesRepository) -> None:
    other = record.write(KEY, Outcome({}))
    place.put(KEY, TEXT)
    place.put(KEY, other)
    assert place.get(KEY) == other


def test_the_tag_names_the_key_and_is_one_that_registries_take() -> None:
    assert tag(KEY) == f"ovenproof-{KEY.hex}"
    assert len(tag(KEY)) <= 128


def test_the_artifact_is_as_the_specification_wants_one_without_content() -> None:
    found = json.loads(artifact(TEXT))
    assert found["artifactType"] == "application/vnd.ovenproof.outcome.v1+json"
    assert found["mediaType"] == MANIFEST_TYPE
    assert found["config"] == found["layers"][0]
    assert found["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    assert found["annotations"][ANNOTATION] == TEXT.decode()


@pytest.mark.parametrize(
    "spoil",
    [{"artifactType": "application/other"}, {"annotations": {}}, {"annotations": {ANNOTATION: 1}}],
)
def test_something_else_under_the_tag_is_no_record(
    place: OutcomesRepository, remote: Memory, spoil: dict[str, object]
) -> None:
    data = json.dumps({**json.loads(artifact(TEXT)), **spoil}).encode()
    remote.manifests[tag(KEY)] = manifest.read(data, name="spoilt")
    with pytest.raises(WrongBytes, match="this is no record"):
        place.get(KEY)


def test_a_record_that_is_no_text_does_no_harm(place: OutcomesRepository, remote: Memory) -> None:
    data = json.dumps(json.loads(artifact(TEXT)) | {"annotations": {ANNOTATION: "\ud800"}})
    remote.manifests[tag(KEY)] = manifest.read(data.encode(), name="spoilt")
    found = place.get(KEY)
    assert found is not None
    with pytest.raises(WrongBytes):
        record.read(KEY, found)
