"""The archive that every engine loads, read back by the standard library's tarfile."""

import io
import json
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.content import Literal
from ovenproof.core.digest import Content
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.errors import BadFile, NoAccess
from ovenproof.events import silent
from ovenproof.outputs.archive import Archive, stream


def text(word: str) -> Recipe:
    return recipe([File(path=f"etc/{word}", body=Literal(word.encode() * 400))])


LOW, HIGH = text("low"), text("high")


def members(data: bytes) -> dict[str, bytes]:
    """Path -> bytes, in the order of the archive; directories have none."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = {}
        for item in archive:
            reader = archive.extractfile(item)
            found[item.name] = b"" if reader is None else reader.read()
        assert len(found) == len(archive.getmembers())
        last = archive.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
        assert data[end:] == bytes(1024)
        return found


def test_the_archive_is_a_layout_with_dockers_manifest(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    path = tmp_path / "deep" / "out.tar"
    written = Archive(path).write(baked.image, "repo/smol:1.0", baked.open, silent)
    found = members(path.read_bytes())
    config = f"blobs/sha256/{Content.of(baked.image.config).digest.hex}"
    manifest = f"blobs/sha256/{baked.image.digest.digest.hex}"
    layers = [f"blobs/sha256/{layer.content.digest.hex}" for layer in baked.image.layers]
    assert list(found) == [
        "oci-layout",
        "index.json",
        "manifest.json",
        "blobs",
        "blobs/sha256",
        config,
        manifest,
        *layers,
    ]
    assert json.loads(found["manifest.json"]) == [
        {"Config": config, "RepoTags": ["repo/smol:1.0"], "Layers": layers}
    ]
    assert json.loads(found["index.json"])["manifests"][0]["digest"] == str(
        baked.image.digest.digest
    )
    assert found[config] == baked.image.config
    assert found[manifest] == baked.image.manifest
    assert [found[name] for name in layers] == list(baked.bytes.values())
    assert written.moved == sum(layer.content.size for layer in baked.image.layers)
    assert written.use == f"docker load --input {path}"


def test_the_command_to_load_an_archive_can_be_pasted(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW)
    path = tmp_path / "my images" / "a'b.tar"
    written = Archive(path).write(baked.image, "repo:a", baked.open, silent)
    assert written.use is not None
    assert shlex.split(written.use) == ["docker", "load", "--input", str(path)]


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("smol:1.0", "docker.io/library/smol:1.0"),
        ("repo/smol:1.0", "docker.io/repo/smol:1.0"),
        ("ghcr.io/repo/smol:1.0", "ghcr.io/repo/smol:1.0"),
        ("localhost/smol:1.0", "localhost/smol:1.0"),
        ("registry:5000/smol:1.0", "registry:5000/smol:1.0"),
    ],
)
def test_containerd_finds_the_whole_name_in_the_index(
    make_image: Callable[..., Any], reference: str, full: str
) -> None:
    baked = make_image(LOW)
    found = members(b"".join(stream(baked.image, reference, [], baked.open, silent)))
    (item,) = json.loads(found["index.json"])["manifests"]
    assert item["annotations"] == {
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": "1.0",
    }


def test_an_archive_is_all_layers_each_time(tmp_path: Path, make_image: Callable[..., Any]) -> None:
    baked = make_image(LOW, HIGH)
    archive = Archive(tmp_path / "out.tar")
    archive.write(baked.image, "repo:a", baked.open, silent)
    first = archive.path.read_bytes()
    assert archive.lacks(baked.image) == baked.image.layers
    archive.write(baked.image, "repo:a", baked.open, silent)
    assert archive.path.read_bytes() == first
    assert len(baked.asked) == 4


def test_a_layer_that_lies_twice_in_the_stack_is_once_in_the_archive(
    make_image: Callable[..., Any],
) -> None:
    baked = make_image(LOW, HIGH, LOW)
    layers = baked.image.layers
    found = members(
        b"".join(
            stream(baked.image, "repo:a", Archive(Path()).lacks(baked.image), baked.open, silent)
        )
    )
    legacy = json.loads(found["manifest.json"])[0]["Layers"]
    assert legacy == [f"blobs/sha256/{layer.content.digest.hex}" for layer in layers]
    assert len(legacy) == 3
    assert sum(name.startswith("blobs/sha256/") for name in found) == 4


def test_a_layer_that_is_left_out_is_still_listed(make_image: Callable[..., Any]) -> None:
    baked = make_image(LOW, HIGH)
    low, high = baked.image.layers
    found = members(b"".join(stream(baked.image, "repo:a", [high], baked.open, silent)))
    names = [f"blobs/sha256/{layer.content.digest.hex}" for layer in (low, high)]
    assert json.loads(found["manifest.json"])[0]["Layers"] == names
    assert names[0] not in found
    assert names[1] in found
    assert baked.asked == [high.content]


def test_a_folder_in_the_place_of_the_archive_is_refused(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW)
    with pytest.raises(BadFile, match="is a folder"):
        Archive(tmp_path).write(baked.image, "repo:a", baked.open, silent)
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(NoAccess, match="--output"):
        Archive(tmp_path / "file" / "out.tar").write(baked.image, "repo:a", baked.open, silent)
    assert baked.asked == []


def test_other_hidden_files_beside_the_archive_stay(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    (tmp_path / ".draft-letter").write_bytes(b"precious")
    baked = make_image(LOW)
    Archive(tmp_path / "out.tar").write(baked.image, "repo:a", baked.open, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".draft-letter", "out.tar"]
