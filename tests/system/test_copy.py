"""`copy` between real registries and layouts, looked at by skopeo and a real Docker engine."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from ovenproof.core.content import Literal
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.events import silent
from ovenproof.outputs.layout import Layout


def skopeo(*arguments: object) -> bytes:
    path = shutil.which("skopeo")
    assert path is not None, "skopeo is not installed"
    command = [path, "--insecure-policy", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def raw(place: str) -> str:
    """The digest of the bytes that skopeo finds there, whatever they say of themselves."""
    words = ["--tls-verify=false"] if place.startswith("docker://") else []
    data = skopeo("inspect", "--raw", *words, place)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def big(word: str) -> Recipe:
    return recipe([File(path=f"model/{word}.safetensors", body=Literal(word.encode() * 200_000))])


@pytest.fixture
def baked(make_image: Callable[..., Any], tmp_path: Path) -> Any:
    """An image in `layout:TMP/layout:1.0`."""
    found = make_image(big("low"), big("high"), label=tmp_path.name)
    Layout(tmp_path / "layout").write(found.image, "repo/smol:1.0", found.open, silent)
    return found


@pytest.fixture
def copied(ovenproof: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Copies, and gives what `copy --json` says."""

    def call(source: str, destination: str, *words: str) -> Any:
        done = ovenproof(
            "copy", source, destination, "--json", *words,
            cwd=tmp_path, OVENPROOF_CACHE=str(tmp_path / "store"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_skopeo_finds_the_same_bytes_wherever_an_image_was_copied(
    baked: Any, copied: Callable[..., Any], registry: str, other_registry: str, tmp_path: Path
) -> None:
    digest = str(baked.image.digest.digest)
    copied("layout:layout", f"{registry}/a/b")
    copied(f"{registry}/a/b:1.0", "layout:between:v2")
    copied("layout:between", f"{other_registry}/c/d:v3")
    assert copied(f"{other_registry}/c/d:v3", f"{other_registry}/e:v4")["sent"] == 0
    places = [
        f"docker://{registry}/a/b:1.0",
        f"oci:{tmp_path}/between:v2",
        f"docker://{other_registry}/c/d:v3",
        f"docker://{other_registry}/e:v4",
    ]
    assert [raw(place) for place in places] == [digest] * 4
    target = f"oci:{tmp_path}/theirs:v5"
    skopeo("copy", "--preserve-digests", "--src-tls-verify=false", places[2], target)
    assert raw(target) == digest


def test_docker_pulls_the_very_image_that_went_through_a_layout(
    baked: Any,
    copied: Callable[..., Any],
    registry: str,
    other_registry: str,
    docker_client: DockerClient,
) -> None:
    copied("layout:layout", f"{registry}/a/b")
    copied(f"{registry}/a/b:1.0", "layout:between")
    copied("layout:between", f"{other_registry}/c/d")
    pulled = docker_client.images.pull(f"{other_registry}/c/d", tag="1.0")
    try:
        digest = str(baked.image.digest.digest)
        assert pulled.attrs["RepoDigests"] == [f"{other_registry}/c/d@{digest}"]
        layers = [str(layer.diff_id) for layer in baked.image.layers]
        assert pulled.attrs["RootFS"]["Layers"] == layers
    finally:
        docker_client.images.remove(f"{other_registry}/c/d:1.0", force=True)


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_index_of_several_platforms_is_copied_as_skopeo_copies_it(
    baked: Any,
    copied: Callable[..., Any],
    registry: str,
    other_registry: str,
    tmp_path: Path,
    kind: str,
) -> None:
    source = f"{registry}/multi:v1"
    several(tmp_path / "layout", str(baked.image.digest.digest), len(baked.image.manifest))
    skopeo(
        "copy", "--all", "--format=v2s2" if kind == "docker" else "--preserve-digests",
        "--dest-tls-verify=false", f"oci:{tmp_path}/layout:multi", f"docker://{source}",
    )  # fmt: skip
    digest = raw(f"docker://{source}")
    done = copied(source, "layout:between")
    assert (done["digest"], done["manifests"]) == (digest, 3)
    assert ("docker" in done["type"]) == (kind == "docker")
    copied("layout:between", f"{other_registry}/multi")
    assert raw(f"docker://{other_registry}/multi:v1") == digest
    skopeo(
        "copy", "--all", "--preserve-digests", "--src-tls-verify=false",
        f"docker://{other_registry}/multi:v1", f"dir:{tmp_path}/dir",
    )  # fmt: skip
    one = copied(source, "layout:one", "--platform", "linux/amd64")
    assert raw(f"docker://{registry}/multi@{one['digest']}") == one["digest"]


def several(layout: Path, digest: str, size: int) -> None:
    """Put an index of two platforms into a layout, both of them with the same image's parts."""
    blobs = layout / "blobs" / "sha256"
    image = json.loads((blobs / digest.removeprefix("sha256:")).read_text())

    def add(value: Any, media_type: str) -> dict[str, Any]:
        data = json.dumps(value, indent=1).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    config = json.loads((blobs / image["config"]["digest"].removeprefix("sha256:")).read_text())
    arm = add({**config, "architecture": "arm64"}, image["config"]["mediaType"])
    items = [
        {"mediaType": image["mediaType"], "digest": digest, "size": size},
        add({**image, "config": arm}, image["mediaType"]),
    ]
    for item, name in zip(items, ("amd64", "arm64"), strict=True):
        item["platform"] = {"os": "linux", "architecture": name}
    media_type = "application/vnd.oci.image.index.v1+json"
    top = add({"schemaVersion": 2, "mediaType": media_type, "manifests": items}, media_type)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"].append(
        {**top, "annotations": {"org.opencontainers.image.ref.name": "multi"}}
    )
    (layout / "index.json").write_text(json.dumps(index))
