"""Manifests and indexes: what is read out of them, and the bytes that stay as they are."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.digest import Content, Json, canonical_json
from ovenproof.core.image import LAYER_TYPE, MANIFEST_TYPE
from ovenproof.core.manifest import (
    DOCKER_LIST_TYPE,
    DOCKER_MANIFEST_TYPE,
    INDEX_TYPE,
    Platform,
    read,
)
from ovenproof.errors import BadCall, WrongBytes

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def descriptor(data: bytes, media_type: str = LAYER_TYPE, **more: Any) -> dict[str, Any]:
    content = Content.of(data)
    size = content.size
    return {"mediaType": media_type, "digest": str(content.digest), "size": size, **more}


def manifest(**more: Any) -> bytes:
    body = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(b"{}", "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(b"low"), descriptor(b"high")],
    }
    return json.dumps({**body, **more}, indent=3).encode()


def index(*platforms: str, media_type: str = INDEX_TYPE) -> bytes:
    items = []
    for platform in platforms:
        os, architecture, *variant = platform.split("/")
        said = {
            "os": os,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
        }
        items.append(descriptor(platform.encode(), MANIFEST_TYPE, platform=said))
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": items}).encode()


def test_the_bytes_of_a_manifest_stay_as_somebody_wrote_them() -> None:
    data = manifest()
    found = read(data, name="m")
    assert found.data == data
    assert found.digest == Content.of(data)
    assert [item.content for item in found.layers] == [Content.of(b"low"), Content.of(b"high")]
    assert not found.is_index


@pytest.mark.parametrize("media_type", [MANIFEST_TYPE, DOCKER_MANIFEST_TYPE])
def test_what_the_bearer_calls_a_manifest_counts_where_it_does_not_say(media_type: str) -> None:
    body = json.loads(manifest())
    del body["mediaType"]
    assert read(canonical_json(body), media_type, name="m").media_type == media_type
    assert read(canonical_json(body), name="m").media_type == MANIFEST_TYPE


def test_a_manifest_that_contradicts_its_bearer_is_refused() -> None:
    with pytest.raises(WrongBytes):
        read(manifest(), INDEX_TYPE, name="m")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"mediaType": 7}',
        b'{"mediaType": "text/html"}',
        b'{"schemaVersion": 1, "layers": []}',
        manifest(layers=7),
        manifest(layers=[7]),
        manifest(config=descriptor(b"", size=-1)),
        manifest(config=descriptor(b"", digest="sha512:" + 128 * "0")),
        manifest(subject="sha256:"),
        index("linux/amd64").replace(b'"linux"', b"7"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(WrongBytes, match="not a manifest"):
        read(data, name="m")


@given(st.binary(max_size=60) | st.sampled_from([manifest(), index("linux/amd64")]), st.data())
def test_any_bytes_are_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    data = data[:at] + draw.draw(st.binary(max_size=3)) + data[at + 1 :]
    with suppress(WrongBytes):
        assert read(data, name="m").data == data


def test_what_a_program_writes_as_null_is_not_there() -> None:
    found = read(manifest(layers=None, subject=None, annotations=None), name="m")
    assert (found.layers, found.subject, found.annotations) == ((), None, {})


def test_an_artifact_says_what_it_is_and_what_it_is_about() -> None:
    found = read(
        manifest(
            artifactType="application/x",
            subject=descriptor(b"image", MANIFEST_TYPE),
            annotations={"a": "b"},
        ),
        name="m",
    )
    assert found.subject is not None
    assert found.subject.content == Content.of(b"image")
    assert (found.artifact_type, found.annotations) == ("application/x", {"a": "b"})


def test_each_blob_is_named_once_and_foreign_layers_are_kept_apart() -> None:
    layers = [descriptor(b"low"), descriptor(b"low"), descriptor(b"w", FOREIGN)]
    found = read(manifest(layers=[*layers, descriptor(b"v", NONDISTRIBUTABLE)]), name="m")
    assert [item.content for item in found.blobs] == [Content.of(b"{}"), Content.of(b"low")]
    assert [item.content for item in found.foreign] == [Content.of(b"w"), Content.of(b"v")]


def test_an_index_may_list_blobs_too() -> None:
    items: list[Json] = [descriptor(b"m", MANIFEST_TYPE), descriptor(b"cache")]
    found = read(canonical_json({"mediaType": INDEX_TYPE, "manifests": items}), name="m")
    assert [item.is_manifest for item in found.manifests] == [True, False]
    assert [item.content for item in found.blobs] == [Content.of(b"cache")]


@pytest.mark.parametrize("media_type", [INDEX_TYPE, DOCKER_LIST_TYPE])
@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/s390x", "linux/s390x"),
    ],
)
def test_an_index_has_one_manifest_for_a_platform(
    media_type: str, wanted: str, chosen: str
) -> None:
    names = ("linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7", "linux/s390x")
    found = read(index(*names, "unknown/unknown", media_type=media_type), name="m")
    assert found.for_platform(Platform.parse(wanted)).content == Content.of(chosen.encode())


def test_the_usual_variant_of_arm64_need_not_be_said() -> None:
    found = read(index("linux/amd64", "linux/arm64"), name="m")
    assert found.for_platform(Platform.parse("linux/arm64/v8")).platform == Platform(
        "linux", "arm64"
    )


def test_an_exact_platform_goes_before_its_variants() -> None:
    found = read(index("linux/amd64/v3", "linux/amd64", "linux/amd64/v2"), name="m")
    assert str(found.for_platform(Platform("linux", "amd64")).platform) == "linux/amd64"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("linux/s390x", r"no image[^`]*`linux/s390x`\n  expected linux/amd64, linux/arm/v6"),
        ("linux/arm/v8", "no image for this platform"),
        ("linux/arm", r"several images[^`]*`linux/arm`[^#]*hint: name one of them by its digest"),
    ],
)
def test_a_platform_that_is_not_there_or_not_clear_is_told(wanted: str, said: str) -> None:
    names = ("linux/amd64", "linux/arm/v6", "linux/arm/v7", "unknown/unknown")
    with pytest.raises(BadCall, match=said):
        read(index(*names), name="m").for_platform(Platform.parse(wanted))


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "a//b"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(BadCall, match="no platform"):
        Platform.parse(text)


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7"])
def test_a_platform_reads_as_it_is_written(text: str) -> None:
    assert str(Platform.parse(text)) == text
