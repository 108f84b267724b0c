"""A base from a registry: what it becomes in the lock, what is refused, and how its bytes come."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovenproof.bases.registry_base import Layers, asked, steps
from ovenproof.bases.registry_lock import resolve
from ovenproof.core.base import GZIP_TYPE, ZSTD_TYPE, LockedBase
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from ovenproof.core.image_lock import ImageLock
from ovenproof.core.layer import Verbatim
from ovenproof.core.manifest import DOCKER_LIST_TYPE, DOCKER_MANIFEST_TYPE, INDEX_TYPE, Manifest
from ovenproof.core.manifest import read as read_manifest
from ovenproof.core.plan import taken
from ovenproof.errors import BadCall, BadFile, Several, WrongBytes
from ovenproof.registry.reference import Repository
from ovenproof.store.shelf import Prepared
from ovenproof.store.stream import read

DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WHERE = "images/official/image.yaml"
NAME = "kitchen.example/vllm:v1"


class Shop:
    """Registries in memory; they remember who was asked, and what was opened."""

    def __init__(self) -> None:
        self.blobs: dict[Content, bytes] = {}
        self.manifests: dict[str, Manifest] = {}
        self.asked: list[Repository] = []
        self.opened: list[tuple[Content, int]] = []

    def at(self, repository: Repository) -> "Shop":
        self.asked.append(repository)
        return self

    def manifest(self, target: str) -> Manifest | None:
        return self.manifests.get(target)

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        self.opened.append((content, offset))
        data = self.blobs[content][offset:]
        return iter([data[start : start + 7] for start in range(0, len(data), 7)])

    def put(self, document: Any, media_type: str, *targets: str) -> dict[str, Any]:
        """A manifest, found under its digest and these tags; gives what an index says of it."""
        data = json.dumps(document).encode()
        manifest = read_manifest(data, media_type, name="test")
        for target in (str(manifest.digest.digest), *targets):
            self.manifests[target] = manifest
        return descriptor(media_type, manifest.digest)

    def blob(self, data: bytes) -> Content:
        self.blobs[Content.of(data)] = data
        return Content.of(data)

    def image(
        self,
        *targets: str,
        layers: tuple[tuple[str, bytes], ...] = ((DOCKER_GZIP, b"root"), (DOCKER_GZIP, b"vllm")),
        media_type: str = DOCKER_MANIFEST_TYPE,
        **config: Any,
    ) -> dict[str, Any]:
        """An image of layers that were compressed by whoever made it."""
        packed = [
            data if kind == LAYER_TYPE else gzip.compress(data, mtime=0) for kind, data in layers
        ]
        told = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/opt/bin:/bin", "LD_LIBRARY_PATH=/cuda", "EQUAL=a=b"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [str(Digest.of(data)) for _, data in layers],
            },
            **config,
        }
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(CONFIG_TYPE, self.blob(json.dumps(told).encode())),
            "layers": [
                descriptor(kind, self.blob(data))
                for (kind, _), data in zip(layers, packed, strict=True)
            ],
        }
        return self.put(document, media_type, *targets)

    def index(self, *images: tuple[str, dict[str, Any]], media_type: str = INDEX_TYPE) -> Digest:
        """An index under the tag `v1`, of (platform, image)."""
        listed = []
        for platform, image in images:
            os, architecture, *variant = platform.split("/")
            told = {"os": os, "architecture": architecture}
            listed.append(
                {**image, "platform": told | ({"variant": variant[0]} if variant else {})}
            )
        document = {"schemaVersion": 2, "mediaType": media_type, "manifests": listed}
        return Digest.parse(str(self.put(document, media_type, "v1")["digest"]))

    def resolve(self, image: str = NAME, mirror: str | None = None) -> LockedBase:
        return resolve(image, architecture="amd64", at=self.at, mirror=mirror, where=WHERE)

    def refuse(self, image: str = NAME) -> BadFile:
        with pytest.raises(BadFile) as caught:
            self.resolve(image)
        assert WHERE in str(caught.value.where)
        return caught.value


def descriptor(media_type: str, content: Content) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(content.digest), "size": content.size}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_an_image_is_locked_by_its_digest_with_what_its_layers_unpack_to(shop: Shop) -> None:
    found = shop.image("v1")
    base = shop.resolve()
    assert (base.repository, base.tag, base.index) == ("kitchen.example/vllm", "v1", None)
    assert base.name == NAME
    assert str(base.digest) == found["digest"]
    assert [layer.diff_id for layer in base.layers] == [Digest.of(b"root"), Digest.of(b"vllm")]
    assert {layer.media_type for layer in base.layers} == {GZIP_TYPE}
    assert shop.blobs[base.layers[0].content] == gzip.compress(b"root", mtime=0)


def test_no_layer_is_opened_to_lock_a_base(shop: Shop) -> None:
    shop.image("v1")
    base = shop.resolve()
    assert len(shop.opened) == 1
    assert shop.opened[0][0] not in {layer.content for layer in base.layers}


def test_the_bases_variables_are_kept_whatever_is_in_them(shop: Shop) -> None:
    shop.image("v1")
    assert shop.resolve().environment == {
        "PATH": "/opt/bin:/bin",
        "LD_LIBRARY_PATH": "/cuda",
        "EQUAL": "a=b",
    }


@pytest.mark.parametrize("own", [None, {}, {"Env": None}])
def test_a_base_may_have_no_variables(shop: Shop, own: Any) -> None:
    shop.image("v1", config=own)
    assert shop.resolve().environment == {}


@pytest.mark.parametrize("media_type", [INDEX_TYPE, DOCKER_LIST_TYPE])
def test_of_an_index_the_image_for_the_platform_is_locked(shop: Shop, media_type: str) -> None:
    ours = shop.image()
    other = shop.image(architecture="arm64")
    proof = shop.image(architecture="unknown", os="unknown")
    index = shop.index(
        ("linux/arm64/v8", other),
        ("linux/amd64", ours),
        ("unknown/unknown", proof),
        media_type=media_type,
    )
    base = shop.resolve()
    assert (str(base.digest), base.index) == (ours["digest"], index)


def test_a_digest_may_be_an_indexes_own(shop: Shop) -> None:
    ours = shop.image()
    index = shop.index(("linux/amd64", ours))
    base = shop.resolve(f"kitchen.example/vllm:any@{index}")
    assert (str(base.digest), base.index, base.tag) == (ours["digest"], index, "any")
    base = shop.resolve(f"kitchen.example/vllm@{ours['digest']}")
    assert (base.index, base.tag) == (None, None)
    assert base.name == f"kitchen.example/vllm@{ours['digest']}"


def test_an_index_without_our_platform_says_which_it_has(shop: Shop) -> None:
    shop.index(("linux/arm64", shop.image(architecture="arm64")))
    fault = shop.refuse()
    assert "linux/amd64" in fault.what
    assert fault.got == "linux/arm64"


def test_an_image_for_another_platform_is_refused_by_its_config(shop: Shop) -> None:
    shop.image("v1", architecture="arm64")
    fault = shop.refuse()
    assert "linux/arm64" in str(fault.got)


def test_a_tag_that_is_not_there_is_the_files_fault(shop: Shop) -> None:
    assert shop.refuse().what == "the base is not there"


@pytest.mark.parametrize("image", ["Kitchen/Vllm:v1", "a//b:v1", "-.example:5000/a:v1"])
def test_a_name_that_is_none_is_the_files_fault(shop: Shop, image: str) -> None:
    assert shop.refuse(image).subject == image


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
def test_a_layer_that_may_not_be_handed_on_is_refused(shop: Shop, kind: str) -> None:
    shop.image("v1", layers=((DOCKER_GZIP, b"root"), (kind, b"secret")))
    fault = shop.refuse()
    assert "only its owner" in fault.what
    assert fault.got == kind


def test_every_layer_of_an_unknown_kind_is_named(shop: Shop) -> None:
    kind = "application/vnd.oci.image.layer.v1.tar+brotli"
    shop.image("v1", layers=((kind, b"root"), (DOCKER_GZIP, b"more"), (kind, b"vllm")))
    with pytest.raises(Several) as caught:
        shop.resolve()
    assert [fault.got for fault in caught.value.faults] == [kind, kind]


@pytest.mark.parametrize(
    ("kind", "locked"),
    [
        (LAYER_TYPE, LAYER_TYPE),
        (f"{LAYER_TYPE}+gzip", GZIP_TYPE),
        (f"{LAYER_TYPE}+zstd", ZSTD_TYPE),
        (DOCKER_GZIP, GZIP_TYPE),
    ],
)
def test_layers_are_locked_by_their_oci_names(shop: Shop, kind: str, locked: str) -> None:
    shop.image("v1", layers=((kind, b"root"),), media_type=MANIFEST_TYPE)
    assert shop.resolve().layers[0].media_type == locked


def test_a_plain_layer_unpacks_to_itself_or_somebody_lies(shop: Shop) -> None:
    other = {"type": "layers", "diff_ids": [str(Digest.of(b"other"))]}
    shop.image("v1", layers=((LAYER_TYPE, b"root"),), rootfs=other)
    with pytest.raises(WrongBytes, match="not compressed"):
        shop.resolve()


@pytest.mark.parametrize(
    "rootfs", [{}, {"diff_ids": []}, {"diff_ids": "no"}, {"diff_ids": ["md5:1", "md5:2"]}]
)
def test_a_config_that_does_not_fit_its_manifest_is_refused(shop: Shop, rootfs: Any) -> None:
    shop.image("v1", rootfs=rootfs)
    with pytest.raises(WrongBytes):
        shop.resolve()


def test_an_artifact_that_is_no_image_is_refused(shop: Shop) -> None:
    config = descriptor(CONFIG_TYPE, shop.blob(b"{}"))
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}
    shop.put(document, MANIFEST_TYPE, "v1")
    with pytest.raises(WrongBytes, match="cannot be built on"):
        shop.resolve()


def test_a_config_with_other_bytes_is_never_believed(shop: Shop) -> None:
    shop.image("v1")
    (content,) = [item for item, data in shop.blobs.items() if b"rootfs" in data]
    shop.blobs[content] = shop.blobs[content].replace(b"/cuda", b"/evil")
    with pytest.raises(WrongBytes):
        shop.resolve()


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (None, "docker.io/vllm/vllm-openai"),
        ("", "docker.io/vllm/vllm-openai"),
        ("mirror.example", "mirror.example/vllm/vllm-openai"),
        ("https://mirror.example:444/hub/", "mirror.example:444/hub/vllm/vllm-openai"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b/vllm/vllm-openai"),
    ],
)
def test_a_mirror_stands_where_the_host_does(mirror: str | None, expected: str) -> None:
    assert str(asked("docker.io/vllm/vllm-openai", mirror)) == expected


@pytest.mark.parametrize("mirror", ["mirror", "http://mirror.example", "m.example/UPPER", "a b.c"])
def test_a_mirror_that_is_no_host_is_told_by_the_settings_name(mirror: str) -> None:
    with pytest.raises(BadCall, match="OVENPROOF_BASE_URL"):
        asked("docker.io/vllm/vllm-openai", mirror)


@pytest.mark.parametrize("mirror", ["https://bob:c4n4ry@m.example", "bob:c4n4ry@m.example/hub"])
def test_a_mirrors_password_is_not_shown(mirror: str) -> None:
    with pytest.raises(BadCall, match="OVENPROOF_BASE_URL") as caught:
        asked("docker.io/vllm/vllm-openai", mirror)
    assert "c4n4ry" not in str(caught.value)


def test_with_a_mirror_the_lock_is_the_same_and_nobody_else_is_asked(shop: Shop) -> None:
    shop.image("v1")
    assert shop.resolve() == shop.resolve(mirror="mirror.example/hub")
    assert shop.asked[1:] == [Repository("mirror.example", "hub/vllm")]


def test_the_layers_are_steps_that_anybody_can_plan(shop: Shop) -> None:
    shop.image("v1")
    base = shop.resolve()
    made = steps(base, None)
    assert [step.base for step in made] == list(base.layers)
    assert [step.homes for step in made] == [("kitchen.example/vllm",)] * 2
    assert taken(made) == {
        step.action.key: layer.content for step, layer in zip(made, base.layers, strict=True)
    }


def test_a_mirror_is_one_more_home_and_changes_no_key(shop: Shop) -> None:
    shop.image("v1")
    base = shop.resolve()
    made = steps(base, "m.example/hub")
    assert made[0].homes == ("kitchen.example/vllm", "m.example/hub/vllm")
    keys = [step.action.key for step in steps(base, None)]
    assert [step.action.key for step in made] == keys


@pytest.mark.parametrize(("count", "fits"), [(117, True), (118, False)])
def test_a_base_that_leaves_no_room_says_how_many_layers_it_has(
    shop: Shop, count: int, fits: bool
) -> None:
    layers = tuple((DOCKER_GZIP, str(number).encode()) for number in range(count))
    shop.image("v1", layers=layers)
    base = shop.resolve()
    if fits:
        assert len(steps(base, None)) == count
        return
    with pytest.raises(BadFile) as caught:
        steps(base, None)
    assert caught.value.got == "118 layers"
    assert "117" in str(caught.value.expected)


@pytest.mark.parametrize("offset", [0, 1, 7, 20, 29, 30])
def test_a_layer_streams_from_any_offset(shop: Shop, offset: int) -> None:
    data = bytes(range(30))
    prepared = Prepared(Verbatim(shop.blob(data)), Layers(shop))
    assert b"".join(read(prepared, offset)) == data[offset:]


def test_whoever_stops_reading_ends_the_connection(shop: Shop) -> None:
    ended = []

    class Remote(Shop):
        def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
            try:
                while True:
                    yield b"more"
            finally:
                ended.append(content)

    content = Content(Digest.of(b""), 1 << 30)
    with Layers(Remote()).open(content) as stream:
        assert stream.read(6) == b"moremo"
    assert ended == [content]


def test_the_section_of_a_lock_survives_a_round_trip(shop: Shop, tmp_path: Path) -> None:
    shop.index(("linux/amd64", shop.image()))
    lock = ImageLock(fingerprint=Digest.of(b"words"), base=shop.resolve(), options=[])
    assert ImageLock.parse(lock.to_text(), name="image.lock") == lock
    assert '"base"' not in ImageLock(fingerprint=Digest.of(b"words")).to_text()
