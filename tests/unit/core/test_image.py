"""Config and manifest, held against what the OCI image specification asks for."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from ovenproof.core.action import Action
from ovenproof.core.digest import Content
from ovenproof.core.image import MAX_LAYERS, Image, Layer, Settings, assemble

SETTINGS = Settings(
    entrypoint=("/usr/bin/python3.11", "/launch.py"),
    environment={"PATH": "/usr/bin", "HF_HUB_OFFLINE": "1"},
    labels={"org.opencontainers.image.title": "smol", "org.ovenproof.entry": "smol"},
    port=8000,
    user="1000:0",
    working_dir="/work",
)


def layer(data: bytes, title: str = "part") -> Layer:
    return Layer(content=Content.of(data), title=title, action=Action(kind="k", version=1))


def image(*layers: Layer, settings: Settings = SETTINGS) -> Image:
    return assemble(layers, settings)


def test_the_manifest_names_config_and_layers_by_digest_and_size_in_order() -> None:
    made = image(layer(b"low"), layer(b"higher"))
    manifest = json.loads(made.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(made.config).hexdigest()}",
        "size": len(made.config),
    }
    assert [item["digest"] for item in manifest["layers"]] == [
        f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (b"low", b"higher")
    ]
    assert [item["size"] for item in manifest["layers"]] == [3, 6]
    assert {item["mediaType"] for item in manifest["layers"]} == {
        "application/vnd.oci.image.layer.v1.tar"
    }


def test_the_config_says_how_to_run_it_and_nothing_of_who_built_it() -> None:
    config: dict[str, Any] = json.loads(image(layer(b"low", "weights")).config)
    assert config["config"] == {
        "Entrypoint": ["/usr/bin/python3.11", "/launch.py"],
        "Env": ["HF_HUB_OFFLINE=1", "PATH=/usr/bin"],
        "ExposedPorts": {"8000/tcp": {}},
        "Labels": dict(SETTINGS.labels),
        "StopSignal": "SIGTERM",
        "User": "1000:0",
        "WorkingDir": "/work",
    }
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{hashlib.sha256(b'low').hexdigest()}"],
    }
    assert config["history"] == [
        {"created": "1980-01-01T00:00:00Z", "created_by": "ovenproof: weights"}
    ]
    assert (config["created"], config["architecture"], config["os"]) == (
        "1980-01-01T00:00:00Z",
        "amd64",
        "linux",
    )
    assert "author" not in config


def test_the_standard_labels_stand_on_the_manifest_too_and_ours_do_not() -> None:
    manifest = json.loads(image(layer(b"x")).manifest)
    assert manifest["annotations"] == {"org.opencontainers.image.title": "smol"}


def test_the_image_is_named_by_its_manifest() -> None:
    made = image(layer(b"x"))
    assert made.digest.digest.hex == hashlib.sha256(made.manifest).hexdigest()
    assert made.size == 1 + len(made.config) + len(made.manifest)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, entrypoint=("/bin/sh",)),
        replace(SETTINGS, environment={"PATH": "/usr/bin"}),
        replace(SETTINGS, labels={}),
        replace(SETTINGS, port=8001),
        replace(SETTINGS, user="0"),
        replace(SETTINGS, working_dir="/"),
        replace(SETTINGS, architecture="arm64"),
    ],
)
def test_every_setting_is_in_the_digest(changed: Settings) -> None:
    assert image(layer(b"x"), settings=changed).digest != image(layer(b"x")).digest


def test_the_order_of_layers_is_in_the_digest_and_the_order_of_settings_is_not() -> None:
    a, b = layer(b"a"), layer(b"b")
    assert image(a, b).digest != image(b, a).digest
    turned = replace(SETTINGS, environment=dict(reversed(list(SETTINGS.environment.items()))))
    assert image(a, settings=turned).digest == image(a).digest


def test_how_a_layer_was_made_is_not_in_the_digest() -> None:
    """The same bytes made by another version of an action are the same image."""
    other = replace(layer(b"a"), action=Action(kind="k", version=2))
    assert image(other).digest == image(layer(b"a")).digest


def test_more_layers_than_docker_can_stack_are_refused() -> None:
    layers = [layer(b"%d" % number) for number in range(MAX_LAYERS + 1)]
    assert len(image(*layers[:-1]).layers) == MAX_LAYERS
    with pytest.raises(ValueError, match="121 layers"):
        image(*layers)
