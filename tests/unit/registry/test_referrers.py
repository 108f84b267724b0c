"""The list of referrers that lies under a tag."""

import json

from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.manifest import INDEX_TYPE, Manifest, read
from ovenproof.registry.referrers import fallback_tag, listed, with_entry


def referrer(text: str, artifact_type: str = "") -> Manifest:
    config = Content.of(b"{}")
    document: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/x.config",
            "digest": str(config.digest),
            "size": config.size,
        },
        "layers": [],
        "annotations": {"text": text},
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    return read(canonical_json(document), name="test")


def index(*referrers: Manifest) -> Manifest | None:
    found = None
    for item in referrers:
        found = read(with_entry(found, item), name="index")
    return found


def test_the_tag_is_the_digest_of_the_subject() -> None:
    digest = Digest.of(b"x")
    assert fallback_tag(digest) == f"sha256-{digest.hex}"


def test_the_order_in_which_they_came_changes_no_byte() -> None:
    one, two = referrer("one"), referrer("two")

    assert index(one, two) == index(two, one)


def test_an_entry_that_is_there_is_not_there_twice() -> None:
    one = referrer("one")

    assert index(one, one) == index(one)


def test_what_others_wrote_is_kept() -> None:
    theirs = {
        "mediaType": "application/x.unknown",
        "digest": f"sha256:{'0' * 64}",
        "size": 7,
        "x-extra": [1, {"deep": None}],
    }
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [theirs],
        "annotations": {"a": "b"},
        "artifactType": "application/x.theirs",
    }
    before = read(json.dumps(document, indent=3).encode(), name="theirs")

    after = json.loads(with_entry(before, referrer("one")))

    assert theirs in after["manifests"]
    assert len(after["manifests"]) == 2
    assert after["annotations"] == {"a": "b"}
    assert after["artifactType"] == "application/x.theirs"


def test_its_type_is_that_of_its_config_where_it_names_none() -> None:
    found = index(referrer("one"), referrer("two", "application/x.proof"))
    assert found is not None

    assert {item.artifact_type for item in listed(found)} == {
        "application/x.config",
        "application/x.proof",
    }
    assert len(listed(found, "application/x.proof")) == 1


def test_an_index_that_lists_nothing_yet_gets_its_first_entry() -> None:
    empty = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": None})

    assert len(json.loads(with_entry(read(empty.encode(), name="x"), referrer("one")))["manifests"])
