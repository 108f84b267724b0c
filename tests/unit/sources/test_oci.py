"""A model in a registry: locked with few bytes, read by ranges, and refused where it is odd."""

import gzip
import io
import json
import struct
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core import weights
from ovenproof.core.digest import Content, Digest, canonical_json
from ovenproof.core.entry import Entry, OciModel
from ovenproof.core.image import MANIFEST_TYPE, Image, Layer
from ovenproof.core.layer import File, recipe
from ovenproof.core.manifest import INDEX_TYPE, Manifest
from ovenproof.core.manifest import read as read_manifest
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.modelpack import modelpack, raw_layers, raw_steps
from ovenproof.core.shapes import weights_image
from ovenproof.errors import BadFile, LockAgain, Several, WrongBytes
from ovenproof.events import Event, Finished, silent
from ovenproof.registry.client import Registries
from ovenproof.sources import raw
from ovenproof.sources.oci import OciArtifact
from ovenproof.sources.oci_files import Lying, Remote, files
from ovenproof.store.shelf import Absent, Openers, Prepared
from ovenproof.store.store import Store
from ovenproof.store.stream import measure, read
from tests.fakes.registry import FakeRegistry, digest_of

NAME = "team/smol"
ENTRY = Entry(
    name="smol", source=OciModel(reference="r"), served_names=("smol",), license="Apache-2.0"
)
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar"
MODELCTL = "application/vnd.cncf.model"


def safetensors(size: int) -> bytes:
    """A file of one tensor, of about this size."""
    head = canonical_json({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return struct.pack("<Q", len(head)) + head + b"\1" * size


BIG = safetensors(weights.ALONE_FROM)
FILES: dict[str, bytes] = {
    "config.json": b'{"architectures": ["X"], "max_position_embeddings": 77}',
    "a.safetensors": BIG,
    "b.safetensors": safetensors(1000),
    "tokenizer.json": b'{"tokens": "' + b"x" * 200_000 + b'"}',
    "README.md": b"read me",
}
LOCKED = tuple(
    LockedFile(path=path, size=len(data), digest=Digest.of(data))
    for path, data in sorted(FILES.items())
)
LOCK = ModelLock(fingerprint=Digest.of(b"words"), origin={"kind": "hub"}, files=LOCKED, facts={})


def shelf_of(contents: Iterable[bytes]) -> Openers:
    """These bytes, on a shelf."""

    def opener(data: bytes) -> Callable[[int], BinaryIO]:
        return lambda offset: io.BytesIO(data[offset:])

    return Openers({Content.of(data): opener(data) for data in contents})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def oci(registry: FakeRegistry, tmp_path: Path) -> Iterator[Callable[..., OciArtifact]]:
    """Makes sources that read from the registry."""
    with Registries(environment={}, home=tmp_path, waits_s=(0.001,)) as registries:

        def make(target: str = "v1", **changes: Any) -> OciArtifact:
            mark = "@" if ":" in target else ":"
            return OciArtifact(
                **{
                    "reference": f"{registry.address}/{NAME}{mark}{target}",
                    "model_path": "/model",
                    "remote_code": False,
                    "at": registries.at,
                    "store": Store(tmp_path / "store"),
                    "jobs": 2,
                    **changes,
                }
            )

        yield make


def push(registry: FakeRegistry, image: Image, blobs: Mapping[Content, bytes]) -> str:
    """Put an image there under `v1`."""
    for data in (image.config, *(blobs[layer.content] for layer in image.layers)):
        registry.add_blob(NAME, data)
    return registry.add_manifest(NAME, image.manifest, MANIFEST_TYPE, "v1")


def push_modelpack(registry: FakeRegistry) -> str:
    known = raw_layers(LOCKED, "/model")
    layers = [
        Layer(content=known[step.action.key], title=step.title, action=step.action)
        for step in raw_steps(LOCK, "/model")
    ]
    image = modelpack(layers, entry=ENTRY, lock=LOCK)
    return push(registry, image, {Content.of(data): data for data in FILES.values()})


def layers_of(model_path: str) -> dict[Content, tuple[weights.Group, bytes]]:
    """The layers of the weights as a serving image has them."""
    small = weights.small_group(LOCKED)
    assert small is not None
    found = {}
    for group in (*weights.big_groups(LOCKED, 50), small):
        bodies = [(file.path, Content(file.digest, file.size)) for file in group.files]
        made = Prepared(weights.layer_recipe(model_path, bodies), shelf_of(FILES.values()))
        found[measure(made)] = (group, b"".join(read(made)))
    return found


def push_weights(registry: FakeRegistry, model_path: str = "/model") -> str:
    made = layers_of(model_path)
    layers = [
        Layer(content=content, title=group.title, action=weights.action(group, model_path))
        for content, (group, _) in made.items()
    ]
    image = weights_image(layers, entry=ENTRY, lock=LOCK, architecture="amd64")
    return push(registry, image, {content: data for content, (_, data) in made.items()})


def push_layers(
    registry: FakeRegistry,
    *layers: tuple[str, bytes, Mapping[str, str]],
    config: str = f"{MODELCTL}.config.v1+json",
    tag: str = "v1",
    **more: Any,
) -> dict[str, Any]:
    """A manifest of these layers: (media type, bytes, annotations); gives its descriptor."""
    registry.add_blob(NAME, b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": config, "digest": digest_of(b"{}"), "size": 2},
        "layers": [
            {
                "mediaType": kind,
                "digest": registry.add_blob(NAME, data),
                "size": len(data),
                "annotations": dict(annotations),
            }
            for kind, data, annotations in layers
        ],
        **more,
    }
    data = json.dumps(document).encode()
    digest = registry.add_manifest(NAME, data, MANIFEST_TYPE, tag)
    return {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(data)}


def archive(*members: tarfile.TarInfo, contents: Mapping[str, bytes] | None = None) -> bytes:
    """An archive as another program writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as stream:
        for path, data in (contents or {}).items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            stream.addfile(member, io.BytesIO(data))
        for member in members:
            stream.addfile(member)
    return out.getvalue()


def raw_layer(path: str, data: bytes, kind: str = "weight.config") -> tuple[str, bytes, Any]:
    return f"{MODELCTL}.{kind}.v1.raw", data, {"org.cncf.model.filepath": path}


def locked_by(source: OciArtifact) -> ModelLock:
    found = source.resolve(silent)
    lock = ModelLock(
        fingerprint=Digest.of(b"words"),
        origin=found.origin,
        files=found.files,
        facts=found.facts,
    )
    json.dumps(lock.to_json())
    return lock


def bytes_of(source: OciArtifact, lock: ModelLock, path: str, offset: int = 0) -> bytes:
    (file,) = (file for file in lock.files if file.path == path)
    body = source.body(file)
    assert isinstance(body, Content)
    with source.shelf(lock, silent).open(body, offset) as stream:
        return stream.read(file.size - offset)


def test_a_modelpack_comes_back_as_the_files_that_went_into_it(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    digest = push_modelpack(registry)
    source = oci()
    lock = locked_by(source)
    assert lock.files == LOCKED
    assert lock.origin == {"kind": "oci", "reference": source.reference, "digest": digest}
    assert lock.facts["architectures"] == ["X"]
    assert lock.facts["context length"] == 77
    assert lock.facts["parameters"] == weights.ALONE_FROM + 1000
    assert lock.facts["license"] == "Apache-2.0"
    assert source.store.size() == 0
    for path, data in FILES.items():
        assert bytes_of(source, lock, path) == data
        assert bytes_of(source, lock, path, 5) == data[5:]


def test_a_weights_image_comes_back_with_its_big_layers_as_they_are(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_weights(registry)
    source = oci()
    lock = locked_by(source)
    (big, *_), made = list(layers_of("/model")), layers_of("/model")
    found = {file.path: file for file in lock.files}
    assert found["a.safetensors"].pinned_by == "layer"
    assert found["a.safetensors"].digest == big.digest
    assert [*weights.pinned(lock.files, "/model").values()] == [big]
    assert {file for file in lock.files if file.pinned_by == "file"} == {
        file for file in LOCKED if file.path != "a.safetensors"
    }
    body = source.body(found["a.safetensors"])
    again = Prepared(
        weights.layer_recipe("/model", [("a.safetensors", body)]), source.shelf(lock, silent)
    )
    assert b"".join(read(again)) == made[big][1]
    for path, data in FILES.items():
        assert bytes_of(source, lock, path, 3) == data[3:]


def test_elsewhere_in_the_image_a_big_file_is_read_once_for_a_digest_of_its_own(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_weights(registry, "/models")
    source = oci()
    lock = locked_by(source)
    assert lock.files == LOCKED
    assert bytes_of(source, lock, "a.safetensors", 1 << 20) == BIG[1 << 20 :]
    assert locked_by(oci(model_path="/models")).files != LOCKED  # there the layer is ours


def test_small_files_of_an_archive_stay_here_once_they_were_read(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_weights(registry)
    source = oci()
    lock = locked_by(source)
    assert set(source.distant(lock)) == {"a.safetensors"}


def test_what_is_brought_is_read_from_the_store_from_then_on(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    for pushed in (push_modelpack, push_weights):
        pushed(registry)
        source = oci()
        lock = locked_by(source)
        wanted = {supply.content for supply in source.distant(lock).values()}
        events: list[Event] = []
        source.bring(lock, wanted, events.append)
        assert {event.name for event in events if isinstance(event, Finished)}
        assert source.distant(lock) == {}
        before = len(registry.requests)
        source.bring(lock, wanted, silent)
        for path, data in FILES.items():
            assert bytes_of(source, lock, path, 7) == data[7:]
        assert len(registry.requests) == before
        source.store.empty()


def test_wrong_bytes_are_never_brought_and_all_faults_are_told(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    source = oci()
    lock = locked_by(source)
    for path in ("README.md", "tokenizer.json"):
        wrong = FILES[path][:-1] + b"?"
        registry.serves_instead[digest_of(FILES[path])] = wrong
    wanted = {supply.content for supply in source.distant(lock).values()}
    with pytest.raises(Several) as fault:
        source.bring(lock, wanted, silent)
    assert [type(one) for one in fault.value.faults] == [WrongBytes, WrongBytes]
    assert set(source.distant(lock)) == {"README.md", "tokenizer.json"}


def test_a_file_of_a_modelpack_is_a_layer_as_it_is(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    source = oci()
    lock = locked_by(source)
    known = raw_layers(lock.files, "/model")
    for step in raw_steps(lock, "/model", distant=source.distant(lock)):
        assert measure(raw.prepare(step, lock, source, silent)) == known[step.action.key]


def test_what_the_shelf_was_not_told_of_is_absent(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    source = oci()
    with pytest.raises(Absent):
        source.shelf(locked_by(source), silent).open(Content.of(b"another"))


@pytest.mark.parametrize("word", ["cncf", "cnai"])
def test_an_archive_of_each_file_as_modctl_packs_them_is_read(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], word: str
) -> None:
    push_layers(
        registry,
        *(
            (
                f"application/vnd.{word}.model.weight.v1.tar",
                archive(contents={path: data}),
                {f"org.{word}.model.filepath": path},
            )
            for path, data in FILES.items()
        ),
        (f"application/vnd.{word}.model.dataset.v1.tar+gzip", b"training data", {}),
        config=f"application/vnd.{word}.model.config.v1+json",
    )
    source = oci()
    lock = locked_by(source)
    assert lock.files == LOCKED
    assert bytes_of(source, lock, "tokenizer.json", 9) == FILES["tokenizer.json"][9:]


def test_the_model_is_where_the_topmost_config_is(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    data = safetensors(10)
    inside = {
        "./etc/motd": b"hello",
        "./models/config.json": b"{}",
        "./models/m.safetensors": data,
        "./models/draft/config.json": b"{}",
    }
    push_layers(registry, (IMAGE_LAYER, archive(contents=inside), {}), config=IMAGE_CONFIG)
    lock = locked_by(oci())
    assert [file.path for file in lock.files] == ["config.json", "m.safetensors"]


def test_a_higher_layer_hides_what_a_lower_one_has(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    low = archive(contents={"m/config.json": b"{}", "m/m.safetensors": safetensors(9)})
    high = archive(contents={"m/m.safetensors": safetensors(5)})
    push_layers(registry, (IMAGE_LAYER, low, {}), (IMAGE_LAYER, high, {}), config=IMAGE_CONFIG)
    lock = locked_by(oci())
    assert {file.path: file.digest for file in lock.files}["m.safetensors"] == Digest.of(
        safetensors(5)
    )


def test_two_models_in_one_image_are_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    two = archive(contents={"a/config.json": b"{}", "b/params.json": b"{}"})
    push_layers(registry, (IMAGE_LAYER, two, {}), config=IMAGE_CONFIG)
    with pytest.raises(BadFile, match="one model"):
        locked_by(oci())


@pytest.mark.parametrize(
    "kind",
    [
        f"{MODELCTL}.weight.v1.tar+gzip",
        f"{MODELCTL}.doc.v1.tar+zstd",
        f"{IMAGE_LAYER}+gzip",
        f"{IMAGE_LAYER}+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ],
)
def test_compressed_layers_are_refused_all_at_once_with_a_way_out(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], kind: str
) -> None:
    config = IMAGE_CONFIG if "model" not in kind else f"{MODELCTL}.config.v1+json"
    one, two = (gzip.compress(data, mtime=0) for data in (b"one", b"two"))
    push_layers(registry, (kind, one, {}), (kind, two, {}), config=config)
    with pytest.raises(Several) as fault:
        locked_by(oci())
    assert len(fault.value.faults) == 2
    assert "folder: PATH" in str(fault.value)


@pytest.mark.parametrize("name", ["../config.json", "/config.json", "a/../../b", "a//b", ""])
def test_names_that_climb_out_are_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], name: str
) -> None:
    push_layers(registry, raw_layer(name, b"{}"))
    with pytest.raises(BadFile, match="no image can hold"):
        locked_by(oci())
    if name not in ("", "a//b"):
        push_layers(registry, (IMAGE_LAYER, archive(contents={name: b""}), {}), config=IMAGE_CONFIG)
        with pytest.raises(BadFile, match="no image can hold"):
            locked_by(oci())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models/x", tarfile.SYMTYPE),
        ("models/x", tarfile.LNKTYPE),
        ("dev/null", tarfile.CHRTYPE),
        ("models/.wh.config.json", tarfile.REGTYPE),
        ("models/.wh..wh..opq", tarfile.REGTYPE),
    ],
)
def test_an_image_of_more_than_files_and_folders_is_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], name: str, kind: bytes
) -> None:
    odd = tarfile.TarInfo(name)
    odd.type, odd.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
    push_layers(registry, (IMAGE_LAYER, archive(odd), {}), config=IMAGE_CONFIG)
    with pytest.raises(BadFile, match="something else than files"):
        locked_by(oci())


def test_what_is_no_model_is_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_layers(registry, config="application/vnd.cncf.helm.config.v1+json")
    with pytest.raises(BadFile, match="nothing that weights can be read from") as fault:
        locked_by(oci())
    assert fault.value.got == "application/vnd.cncf.helm.config.v1+json"
    push_layers(registry, config=IMAGE_CONFIG)
    with pytest.raises(BadFile, match="holds no model"):
        locked_by(oci())
    push_layers(registry, ("application/x.odd", b"odd", {}))
    with pytest.raises(BadFile, match="not known"):
        locked_by(oci())
    push_layers(registry, (IMAGE_LAYER, b"no archive" * 100, {}), config=IMAGE_CONFIG)
    with pytest.raises(WrongBytes, match="no archive"):
        locked_by(oci())


def test_a_name_that_the_registry_does_not_have_is_told(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    with pytest.raises(BadFile, match="not in the registry") as fault:
        locked_by(oci("v2"))
    assert fault.value.got == "nothing under v2"
    with pytest.raises(BadFile, match="no name of an image"):
        locked_by(oci(reference="HTTP://x"))


def test_a_locked_manifest_that_is_gone_is_to_be_locked_again(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    lock = locked_by(oci())
    registry.manifests.clear()
    with pytest.raises(LockAgain, match="--upgrade"):
        locked_by(oci(locked=lock))


@pytest.mark.parametrize(
    ("reference", "told"),
    [("org/other--modeling.Model", "another repository"), ("modeling.Model", "push the model")],
)
def test_trusted_code_that_is_not_in_the_artifact_is_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], reference: str, told: str
) -> None:
    config = json.dumps({"auto_map": {"AutoModel": reference}}).encode()
    push_layers(
        registry,
        raw_layer("config.json", config),
        raw_layer("m.safetensors", safetensors(1)),
    )
    locked_by(oci())
    with pytest.raises(BadFile, match=told):
        locked_by(oci(remote_code=True))


@pytest.mark.parametrize("name", ["a\x1b[2J.json", "config.json/x.py", "x" * 300 + ".json"])
def test_names_that_no_file_can_have_are_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], name: str
) -> None:
    push_layers(
        registry,
        raw_layer("config.json", b"{}"),
        raw_layer("m.safetensors", safetensors(1)),
        raw_layer(name, b"{}"),
    )
    with pytest.raises(WrongBytes, match="cannot be one") as caught:
        locked_by(oci(remote_code=True))
    assert "hub" not in str(caught.value)


@pytest.mark.parametrize(("said", "kept"), [("MIT", "MIT"), ("\x1b[2J", None), ("x" * 201, None)])
def test_a_licence_that_nobody_can_read_is_left_out(
    registry: FakeRegistry, oci: Callable[..., OciArtifact], said: str, kept: str | None
) -> None:
    push_layers(
        registry,
        raw_layer("config.json", b"{}"),
        raw_layer("m.safetensors", safetensors(1)),
        annotations={"org.opencontainers.image.licenses": said},
    )
    assert locked_by(oci()).facts.get("license") == kept


def test_modelopts_own_file_is_read(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_layers(
        registry,
        raw_layer("config.json", b"{}"),
        raw_layer("hf_quant_config.json", b'{"quantization": {"quant_algo": "NVFP4"}}'),
        raw_layer("m.safetensors", safetensors(1)),
    )
    assert locked_by(oci()).facts["quantization"] == "modelopt_fp4"


def test_an_index_is_followed_to_our_platform(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    files = [raw_layer("config.json", b"{}"), raw_layer("m.safetensors", safetensors(3))]
    ours = push_layers(registry, *files)
    other = push_layers(registry, raw_layer("x", b""))

    def index(*manifests: dict[str, Any]) -> None:
        data = json.dumps(
            {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
        ).encode()
        registry.add_manifest(NAME, data, INDEX_TYPE, "v1")

    arm, amd = ({"os": "linux", "architecture": name} for name in ("arm64", "amd64"))
    index({**other, "platform": arm}, {**ours, "platform": amd})
    assert locked_by(oci()).origin["digest"] == ours["digest"]
    index(ours)  # artifacts say no platform
    assert locked_by(oci()).origin["digest"] == ours["digest"]
    index(ours, other)
    with pytest.raises(BadFile, match="no single image"):
        locked_by(oci())


def test_what_is_locked_stays_when_the_tag_moves(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    push_modelpack(registry)
    lock = locked_by(oci())
    other = [raw_layer("config.json", b"{}"), raw_layer("m.safetensors", safetensors(1))]
    for tag in ("v1", "v2"):
        push_layers(registry, *other, tag=tag)
    assert locked_by(oci(locked=lock)).origin == lock.origin
    assert locked_by(oci("v2", locked=lock)).files != lock.files  # that says nothing of another


def test_the_repository_is_told_as_a_home_of_its_layers(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    assert oci().homes == (f"{registry.address}/{NAME}",)


def test_a_registry_that_gives_another_archive_than_its_digest_is_refused(
    registry: FakeRegistry, oci: Callable[..., OciArtifact]
) -> None:
    inside = {
        "m/config.json": b"{}",
        "m/m.safetensors": safetensors(9),
        "m/z.txt": b"zebra",
        "m/zz.odd": bytes(3 << 20),  # nobody chooses it, and only its end proves the rest
    }
    data = archive(contents=inside)
    push_layers(registry, (IMAGE_LAYER, data, {}), config=IMAGE_CONFIG)
    registry.serves_instead[digest_of(data)] = data.replace(b"zebra", b"horse")
    with pytest.raises(WrongBytes, match="not those that were promised"):
        locked_by(oci())


class Shelves:
    """A repository in memory that may tell one thing in the middle and another from the start."""

    def __init__(self, manifest: Manifest | None = None) -> None:
        self.given = manifest
        self.whole: dict[Content, bytes] = {}
        self.parts: dict[Content, bytes] = {}
        self.read: Counter[Content] = Counter()
        """Bytes that were taken of each blob."""

    def manifest(self, _target: str) -> Manifest | None:
        return self.given

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        data = (self.parts if offset else self.whole).get(content, self.whole[content])
        for start in range(offset, len(data), 1000):
            self.read[content] += 1000
            yield data[start : start + 1000]


def manifest_of(*layers: bytes) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": IMAGE_CONFIG, "digest": digest_of(b"{}"), "size": 2},
        "layers": [
            {"mediaType": IMAGE_LAYER, "digest": digest_of(data), "size": len(data)}
            for data in layers
        ],
    }
    return read_manifest(json.dumps(document).encode(), name="test")


def lying_in(*layers: bytes, remote: Shelves | None = None) -> dict[str, Lying]:
    remote = remote or Shelves()
    remote.whole.update({Content.of(data): data for data in layers})
    seen: Remote = remote
    return files(manifest_of(*layers), seen, "test")


def reading(shelves: Shelves, store: Path) -> OciArtifact:
    return OciArtifact(
        reference="here.example/a/b:v1",
        model_path="/model",
        remote_code=False,
        at=lambda _repository: shelves,
        store=Store(store),
        jobs=1,
    )


def test_a_layer_that_is_ours_is_locked_without_being_read(tmp_path: Path) -> None:
    made = layers_of("/model")
    shelves = Shelves(manifest_of(*(data for _, data in made.values())))
    shelves.whole = {content: data for content, (_, data) in made.items()}
    events: list[Event] = []
    found = reading(shelves, tmp_path).resolve(events.append)
    (big, small) = made
    assert [file.pinned_by for file in found.files if file.digest == big.digest] == ["layer"]
    assert shelves.read[big] < 300_000
    assert shelves.read[small] >= small.size
    assert len([event for event in events if isinstance(event, Finished)]) == 1


def test_a_layer_that_is_ours_but_for_one_byte_is_read(tmp_path: Path) -> None:
    (group, data), other = layers_of("/model").values()
    assert [file.path for file in group.files] == ["a.safetensors"]
    for place in (100, 512 + 100):  # the mode of the folder, and of the file
        odd = bytearray(data)
        odd[place : place + 8] = b"0000700\0"
        block = place // 512 * 512
        odd[block + 148 : block + 156] = b" " * 8
        odd[block + 148 : block + 156] = b"%06o\0 " % sum(odd[block : block + 512])
        blobs = (bytes(odd), other[1])
        shelves = Shelves(manifest_of(*blobs))
        shelves.whole = {Content.of(blob): blob for blob in blobs}
        assert reading(shelves, tmp_path).resolve(silent).files == LOCKED


def test_texts_that_change_between_two_reads_are_found_out(tmp_path: Path) -> None:
    """The choice of files was made by what a range said; the digest is of the whole."""
    inside = {
        "m/a.txt": b"a" * 70_000,
        "m/config.json": b'{"a": 1}',
        "m/m.safetensors": safetensors(9),
    }
    data = archive(contents=inside)
    shelves = Shelves(manifest_of(data))
    shelves.whole[Content.of(data)] = data
    shelves.parts[Content.of(data)] = data.replace(b'{"a": 1}', b'{"b": 1}')
    with pytest.raises(WrongBytes, match="two things for one file"):
        locked_by(reading(shelves, tmp_path))


def test_only_headers_are_read_to_know_what_an_archive_holds() -> None:
    shelves = Shelves()
    data = archive(contents={"m/config.json": b"{}", "m/w.safetensors": bytes(5_000_000)})
    found = lying_in(data, remote=shelves)
    assert found["w.safetensors"].size == 5_000_000
    assert shelves.read[Content.of(data)] < 300_000


def test_a_header_that_claims_to_be_enormous_is_not_read() -> None:
    block = bytearray(archive(contents={"x" * 150: b""})[:512])
    block[124:136] = b"%011o\0" % (1 << 30)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(WrongBytes, match="larger than any name needs"):
        lying_in(bytes(block) + bytes(2 << 20))


def with_pax(said: Mapping[str, str], data: bytes = b"x" * 10) -> bytes:
    """An archive of one file with these words before it, whatever they mean."""
    records = b""
    for key, value in said.items():
        body = f" {key}={value}\n".encode()
        size = next(n for n in range(len(body), len(body) + 20) if n == len(str(n)) + len(body))
        records += str(size).encode() + body
    words = tarfile.TarInfo("words")
    words.type, words.size = tarfile.XHDTYPE, len(records)
    file = tarfile.TarInfo("m/config.json")
    file.size = len(data)
    parts = (words.tobuf(tarfile.USTAR_FORMAT), records, file.tobuf(tarfile.USTAR_FORMAT), data)
    return b"".join(part + bytes(-len(part) % 512) for part in parts) + bytes(1024)


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}


@pytest.mark.parametrize(
    "said",
    [
        {"GNU.sparse.map": "abc"},
        {"GNU.sparse.map": "1,2", "GNU.sparse.size": "x"},
        {**SPARSE, "GNU.sparse.realsize": "q"},
        {"size": "-1536"},  # it would lead back to its own header, for ever
        {"size": "-1"},
        {"size": "999999999"},
        {"size": "9" * 400},
    ],
)
def test_an_archive_that_lies_about_its_files_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(WrongBytes, match="no archive"):
        lying_in(with_pax(said))


def test_a_list_of_holes_without_an_end_is_not_read_to_its_end() -> None:
    data = with_pax(SPARSE, b"99999999\n" + b"1\n" * (2 << 20))
    shelves = Shelves()
    with pytest.raises(WrongBytes, match="larger than any name needs"):
        lying_in(data, remote=shelves)
    assert shelves.read[Content.of(data)] < 2_000_000


def test_a_file_with_holes_is_refused() -> None:
    data = b"1\n0\n512\n".ljust(512, b"\0") + b"x" * 512
    with pytest.raises(BadFile, match="no sparse files"):
        lying_in(with_pax({**SPARSE, "GNU.sparse.realsize": "512"}, data))


def test_headers_of_headers_come_to_an_end() -> None:
    words = tarfile.TarInfo("words")
    words.type = tarfile.XHDTYPE
    with pytest.raises(WrongBytes):
        lying_in(words.tobuf(tarfile.USTAR_FORMAT) * 3000)


def test_an_archive_of_more_members_than_a_model_has_is_refused() -> None:
    data = tarfile.TarInfo("m/a").tobuf(tarfile.USTAR_FORMAT) * 10_001
    with pytest.raises(WrongBytes, match="no archive"):
        lying_in(data)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
paths = (
    st.lists(names, min_size=1, max_size=12)
    .map("/".join)
    .filter(lambda path: not {".", ".."} & {*path.split("/")} and ".wh." not in path)
)


@given(st.dictionaries(paths, st.binary(max_size=2000), max_size=8))
def test_every_file_of_an_archive_of_ours_is_found_where_its_bytes_are(
    inside: dict[str, bytes],
) -> None:
    contents = {f"m/{number}/{path}": data for number, (path, data) in enumerate(inside.items())}
    contents["m/config.json"] = b"{}"
    made = recipe(File(path=path, body=Content.of(data)) for path, data in contents.items())
    data = b"".join(read(Prepared(made, shelf_of(contents.values()))))
    found = lying_in(data)
    if all("config.json" not in path and "params.json" not in path for path in inside):
        assert {
            f"m/{path}": data[item.start : item.start + item.size] for path, item in found.items()
        } == contents
