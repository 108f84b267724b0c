"""A model in other shapes, held against the ModelPack specification and the OCI image's."""

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core import modelpack, weights
from ovenproof.core.action import Action
from ovenproof.core.content import LocalFile
from ovenproof.core.digest import Content, Digest
from ovenproof.core.entry import Entry, HubModel
from ovenproof.core.image import Image, Layer
from ovenproof.core.layer import Verbatim
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.core.modelpack import media_type, param_size, raw_layers, raw_steps
from ovenproof.core.plan import Supply
from ovenproof.core.shapes import labels, weights_image
from ovenproof.errors import BadFile
from ovenproof.store.shelf import Openers, Prepared
from ovenproof.store.stream import measure

ENTRY = Entry(
    name="smol",
    source=HubModel(model="team/smol"),
    served_names=("smol",),
    description="A small one",
    license="Apache-2.0",
)
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.model": b"pieces",
    "LICENSE": b"as is",
    "README.md": b"read",
    "code/modeling.py": b"pass",
}


def lock(files: Iterable[LockedFile] | None = None, **changes: Any) -> ModelLock:
    locked = [
        LockedFile(path=path, size=len(data), digest=Digest.of(data))
        for path, data in FILES.items()
    ]
    words = {
        "fingerprint": Digest.of(b"words"),
        "origin": {"kind": "hub", "model": "team/smol", "commit": "c0ffee"},
        "files": tuple(locked if files is None else files),
        "facts": {
            "architectures": ["LlamaForCausalLM"],
            "parameters": 134_515_008,
            "dtype": "bfloat16",
        },
    }
    return ModelLock(**{**words, **changes})


def packed(locked: ModelLock) -> Image:
    known = raw_layers(locked.files, "/model")
    layers = [
        Layer(content=known[step.action.key], title=step.title, action=step.action)
        for step in raw_steps(locked, "/model")
    ]
    return modelpack.modelpack(layers, entry=ENTRY, lock=locked)


def test_each_layer_of_a_modelpack_is_a_file_under_its_own_digest() -> None:
    manifest = json.loads(packed(lock()).manifest)
    found = {
        layer["annotations"]["org.cncf.model.filepath"]: (layer["digest"], layer["size"])
        for layer in manifest["layers"]
    }
    assert found == {
        path: (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        for path, data in FILES.items()
    }


def test_the_manifest_of_a_modelpack_is_what_the_specification_asks_for() -> None:
    made = packed(lock())
    manifest = json.loads(made.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.cncf.model.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(made.config).hexdigest()}",
        "size": len(made.config),
    }
    (weight,) = (
        layer["annotations"]
        for layer in manifest["layers"]
        if layer["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"
    )
    assert weight["org.opencontainers.image.title"] == "model.safetensors"
    assert json.loads(weight["org.cncf.model.file.metadata+json"]) == {
        "name": "model.safetensors",
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "size": 7,
        "mtime": "1980-01-01T00:00:00Z",
        "typeflag": 0,
    }


def test_the_config_of_a_modelpack_has_the_keys_of_the_schema_and_no_others() -> None:
    made = packed(lock())
    config = json.loads(made.config)
    assert config == {
        "descriptor": {
            "createdAt": "1980-01-01T00:00:00Z",
            "name": "smol",
            "title": "smol",
            "description": "A small one",
            "licenses": ["Apache-2.0"],
            "revision": "c0ffee",
        },
        "config": {
            "architecture": "LlamaForCausalLM",
            "format": "safetensors",
            "paramSize": "134.5M",
            "precision": "bf16",
        },
        "modelfs": {
            "type": "layers",
            "diffIds": [layer["digest"] for layer in json.loads(made.manifest)["layers"]],
        },
    }


def test_a_model_that_says_nothing_of_itself_is_packed_all_the_same() -> None:
    bare = lock([LockedFile(path="w.bin", size=1, digest=Digest.of(b"w"))], facts={}, origin={})
    assert json.loads(packed(bare).config)["config"] == {}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("model-00001-of-00002.safetensors", "weight"),
        ("pytorch_model.bin", "weight"),
        ("config.json", "weight.config"),
        ("merges.txt", "weight.config"),
        ("tokenizer.model", "weight.config"),
        ("chat_template.jinja", "weight.config"),
        ("README.md", "doc"),
        ("LICENSE.txt", "doc"),
        ("sub/modeling_x.py", "code"),
    ],
)
def test_files_are_called_what_they_are(path: str, kind: str) -> None:
    assert media_type(path) == f"application/vnd.cncf.model.{kind}.v1.raw"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (999, None),
        (1_000, "1K"),
        (134_515_008, "134.5M"),
        (8_030_261_248, "8B"),
        (1_049_999_999_999, "1T"),
        (1_050_000_000_000, "1.1T"),
    ],
)
def test_a_number_of_parameters_has_one_digit_after_the_point(count: int, said: str | None) -> None:
    assert param_size(count) == said


def test_the_order_in_which_files_were_found_changes_nothing() -> None:
    shuffled = list(lock().files)
    random.Random(7).shuffle(shuffled)
    assert packed(lock(shuffled)).manifest == packed(lock()).manifest


def test_raw_steps_say_what_is_read_from_afar() -> None:
    content = Content.of(FILES["config.json"])
    distant = {"config.json": Supply(kind="weights", name="config.json", content=content)}
    steps = {step.title: step for step in raw_steps(lock(), "/model", distant=distant)}
    assert steps["config.json"].distant == (distant["config.json"],)
    assert steps["LICENSE"].distant == ()
    assert steps["config.json"].reads == len(FILES["config.json"])


def test_a_local_file_without_a_digest_of_its_own_is_proven_as_a_layer(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    file = LockedFile(
        path="w.safetensors", size=7, digest=Digest.of(b"its layer"), pinned_by="layer"
    )
    locked = lock([file], origin={"kind": "folder", "folder": "w"})
    (step,) = raw_steps(locked, "/model")
    assert step.action.key not in raw_layers(locked.files, "/model")
    body = LocalFile(tmp_path / "w.safetensors", 7)
    made = measure(Prepared(Verbatim(body), Openers({})))
    assert made == Content.of(b"weights")


def test_files_that_only_a_registrys_layers_pin_are_refused_as_a_modelpack() -> None:
    file = LockedFile(path="w.safetensors", size=7, digest=Digest.of(b"x"), pinned_by="layer")
    with pytest.raises(BadFile, match="each file's own digest") as fault:
        raw_steps(lock([file], origin={"kind": "oci"}), "/model")
    assert "--as weights" in str(fault.value)


def test_a_weights_image_has_the_layers_it_is_given_and_nothing_that_could_be_started() -> None:
    layers = [
        Layer(content=Content.of(data), title=title, action=Action(kind=weights.KIND, version=1))
        for title, data in (("big", b"big layer"), ("small", b"small layer"))
    ]
    made = weights_image(layers, entry=ENTRY, lock=lock(), architecture="arm64")
    manifest, config = json.loads(made.manifest), json.loads(made.config)
    digests = [
        f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (b"big layer", b"small layer")
    ]
    assert [layer["digest"] for layer in manifest["layers"]] == digests
    assert {layer["mediaType"] for layer in manifest["layers"]} == {
        "application/vnd.oci.image.layer.v1.tar"
    }
    assert "artifactType" not in manifest
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(made.config).hexdigest()}"
    assert config["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    assert config["config"] == {"Labels": labels(ENTRY, lock())}
    assert made.layers == tuple(layers)


def test_labels_say_where_a_model_comes_from_and_not_where_it_lay() -> None:
    found = labels(
        ENTRY, lock(origin={"kind": "oci", "reference": "r", "places": {"a": {}}, "folder": "/me"})
    )
    assert json.loads(found["org.ovenproof.model"]) == {"kind": "oci", "reference": "r"}


def test_the_licence_of_the_card_is_said_where_the_entry_names_none() -> None:
    bare = Entry(name="smol", source=HubModel(model="team/smol"), served_names=("smol",))
    found = labels(bare, lock(facts={"license": "mit"}))
    assert found["org.opencontainers.image.licenses"] == "mit"
    assert "org.opencontainers.image.licenses" not in labels(bare, lock(facts={}))
