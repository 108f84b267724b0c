"""An OCI layout, held against the image specification's words about its files."""

import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.content import Literal
from ovenproof.core.digest import Content
from ovenproof.core.image import Layer
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.errors import BadFile, NoAccess
from ovenproof.events import Advanced, Event, Finished, Started, silent
from ovenproof.outputs.layout import Layout


def text(word: str) -> Recipe:
    return recipe([File(path=f"etc/{word}", body=Literal(word.encode() * 400))])


LOW, HIGH = text("low"), text("high")


def index(root: Path) -> dict[str, Any]:
    found = json.loads((root / "index.json").read_bytes())
    assert isinstance(found, dict)
    return found


def tags(root: Path) -> list[str]:
    return [
        item["annotations"]["org.opencontainers.image.ref.name"]
        for item in index(root)["manifests"]
    ]


def test_a_layout_is_what_the_specification_asks_for(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    Layout(tmp_path / "out").write(baked.image, "repo/smol:1.0", baked.open, silent)
    out = tmp_path / "out"
    assert json.loads((out / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert index(out) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(baked.image.digest.digest),
                "size": len(baked.image.manifest),
                "annotations": {"org.opencontainers.image.ref.name": "1.0"},
            }
        ],
    }
    blobs = list((out / "blobs" / "sha256").iterdir())
    assert len(blobs) == 4
    assert all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs)
    assert sorted(path.name for path in out.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_the_command_to_use_a_layout_can_be_pasted(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW)
    root = tmp_path / "my images"
    written = Layout(root).write(baked.image, "repo/smol:1.0", baked.open, silent)
    assert written.use is not None
    assert shlex.split(written.use) == [
        "skopeo", "copy", f"oci:{root}:1.0", "docker-daemon:repo/smol:1.0",
    ]  # fmt: skip


def test_a_damaged_config_or_manifest_is_mended_by_the_next_write(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    Layout(tmp_path).write(baked.image, "repo:a", baked.open, silent)
    small = [Content.of(data).digest.hex for data in (baked.image.config, baked.image.manifest)]
    for name in small:
        path = tmp_path / "blobs" / "sha256" / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    Layout(tmp_path).write(baked.image, "repo:a", baked.open, silent)
    for blob in (tmp_path / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_the_same_tag_again_replaces_the_image_and_another_tag_stands_beside_it(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    one, two = make_image(LOW), make_image(LOW, HIGH)
    layout = Layout(tmp_path)
    layout.write(one.image, "repo:a", one.open, silent)
    layout.write(one.image, "repo:b", one.open, silent)
    layout.write(two.image, "repo:a", two.open, silent)
    assert sorted(tags(tmp_path)) == ["a", "b"]
    digests = {
        item["annotations"]["org.opencontainers.image.ref.name"]: item["digest"]
        for item in index(tmp_path)["manifests"]
    }
    assert digests == {"a": str(two.image.digest.digest), "b": str(one.image.digest.digest)}


def test_somebody_elses_image_in_the_folder_is_left_alone(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    others: list[object] = [{"digest": "sha256:other", "size": 1}, {"annotations": {"x": "y"}}, 7]
    said = {"annotations": {"keep": "me"}, "artifactType": "application/x.theirs"}
    theirs = {"schemaVersion": 2, "manifests": others, **said}
    (tmp_path / "index.json").write_text(json.dumps(theirs))
    baked = make_image(LOW)
    Layout(tmp_path).write(baked.image, "repo:a", baked.open, silent)
    assert index(tmp_path)["manifests"][:3] == others
    assert said.items() <= index(tmp_path).items()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifests": 1}', '{"manifests": null}'])
def test_a_folder_with_another_index_is_refused_before_a_byte_moves(
    tmp_path: Path, make_image: Callable[..., Any], text: str
) -> None:
    (tmp_path / "index.json").write_text(text)
    baked = make_image(LOW)
    with pytest.raises(BadFile, match=r"index\.json"):
        Layout(tmp_path).write(baked.image, "repo:a", baked.open, silent)
    assert baked.asked == []
    assert (tmp_path / "index.json").read_text() == text


def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    baked = make_image(LOW)
    with pytest.raises(BadFile, match="not a folder"):
        Layout(tmp_path / "out").write(baked.image, "repo:a", baked.open, silent)
    with pytest.raises(NoAccess, match="--output"):
        Layout(tmp_path / "out" / "deeper").write(baked.image, "repo:a", baked.open, silent)
    assert (tmp_path / "out").read_bytes() == b"precious"


def test_two_builds_into_one_layout_both_end_up_in_it(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    """The second begins and ends while the first still writes its layers."""
    one, two = make_image(LOW), make_image(HIGH)

    def slow(layer: Layer, offset: int = 0) -> Iterator[bytes]:
        thread = threading.Thread(
            target=Layout(tmp_path).write, args=(two.image, "repo:two", two.open, silent)
        )
        thread.start()
        thread.join()
        yield from one.open(layer)

    Layout(tmp_path).write(one.image, "repo:one", slow, silent)
    assert sorted(tags(tmp_path)) == ["one", "two"]


def test_a_listener_hears_each_layer_from_beginning_to_end(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    heard: list[Event] = []
    baked = make_image(LOW, HIGH)
    Layout(tmp_path).write(baked.image, "repo:a", baked.open, heard.append)
    low, high = (layer.content.size for layer in baked.image.layers)
    assert [event for event in heard if not isinstance(event, Advanced)] == [
        Started(name="layer 0", total=low),
        Finished(name="layer 0"),
        Started(name="layer 1", total=high),
        Finished(name="layer 1"),
    ]
    advanced = [event.size for event in heard if isinstance(event, Advanced)]
    assert sum(advanced) == low + high
