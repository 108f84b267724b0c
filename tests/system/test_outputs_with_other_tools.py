"""Layout and archive, read by programs of other people: skopeo, umoci, a real Docker engine."""

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient
from docker.errors import APIError, ImageNotFound

from ovenproof.core.content import Literal
from ovenproof.core.digest import Content
from ovenproof.core.layer import Directory, Entry, File, Hardlink, Recipe, Symlink, recipe
from ovenproof.errors import WrongBytes
from ovenproof.events import silent
from ovenproof.outputs.archive import Archive
from ovenproof.outputs.docker import Docker
from ovenproof.outputs.layout import Layout

TREE: tuple[Entry, ...] = (
    Directory(path="tmp", mode=0o1777),
    Directory(path="root", mode=0o700),
    File(path="usr/bin/tool", body=Literal(b"#!/bin/sh\n" * 60), mode=0o755),
    Hardlink(path="usr/bin/tool2", target="usr/bin/tool", mode=0o755),
    File(path="usr/bin/su", body=Literal(b"su"), mode=0o4755),
    Symlink(path="bin", target="usr/bin"),
    Symlink(path="long", target="t" * 150),
    File(path="模型/poids-été.txt", body=Literal("été".encode())),
    File(path="p" * 120 + "/" + "n" * 99, body=Literal(b"prefix")),
    File(path="/".join(["deep" * 30] * 4), body=Literal(b"pax")),
    File(path="empty", body=Literal(b"")),
)


def big(word: str) -> Recipe:
    """A layer of about 1 MB."""
    return recipe([File(path=f"model/{word}.safetensors", body=Literal(word.encode() * 200_000))])


def tool(name: str, *arguments: object) -> str:
    """Run a program; what it prints. A program that is missing fails the test."""
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed"
    done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def baked(make_image: Callable[..., Any]) -> Any:
    """The tree, and two layers above it."""
    return make_image(recipe(TREE), big("low"), big("high"))


@pytest.fixture
def layout(tmp_path: Path, baked: Any) -> Path:
    Layout(tmp_path / "layout").write(baked.image, "repo/smol:1.0", baked.open, silent)
    return tmp_path / "layout"


def check_tree(read: Callable[[str], tarfile.TarInfo], body: Callable[[str], bytes]) -> None:
    """Each entry of the tree is there with its kind, mode and content."""
    for entry in TREE:
        found = read(entry.path)
        match entry:
            case Directory(mode=mode):
                assert found.isdir()
                assert found.mode & 0o7777 == mode
            case File(mode=mode, body=Literal(data)):
                assert found.mode & 0o7777 == mode, entry.path
                assert body(entry.path) == data
            case Symlink(target=target):
                assert found.linkname == target
            case Hardlink(target=target, mode=mode):
                assert body(entry.path) == body(target)
                assert read(target).mode & 0o7777 == mode


# skopeo


def test_skopeo_sees_the_very_digests(layout: Path, baked: Any) -> None:
    found = json.loads(tool("skopeo", "inspect", f"oci:{layout}:1.0"))
    assert found["Digest"] == str(baked.image.digest.digest)
    assert found["Layers"] == [str(layer.content.digest) for layer in baked.image.layers]
    assert found["Labels"]["org.ovenproof.test"] == "1"
    assert (found["Architecture"], found["Os"]) == ("amd64", "linux")


def test_skopeo_copies_the_image_without_changing_it(
    layout: Path, baked: Any, tmp_path: Path
) -> None:
    target = f"oci-archive:{tmp_path}/copy.tar:copy"
    tool("skopeo", "--insecure-policy", "copy", "--preserve-digests", f"oci:{layout}:1.0", target)
    found = json.loads(tool("skopeo", "inspect", target))
    assert found["Digest"] == str(baked.image.digest.digest)


def test_skopeo_makes_a_docker_archive_of_the_layout(
    layout: Path, baked: Any, tmp_path: Path
) -> None:
    target = f"docker-archive:{tmp_path}/copy.tar:repo/smol:1.0"
    tool("skopeo", "--insecure-policy", "copy", f"oci:{layout}:1.0", target)
    config = tool("skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/copy.tar")
    diff_ids = [str(layer.content.digest) for layer in baked.image.layers]
    assert json.loads(config)["rootfs"]["diff_ids"] == diff_ids


def test_skopeo_reads_our_archive_both_ways(baked: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    Archive(path).write(baked.image, "repo/smol:1.0", baked.open, silent)
    as_layout = json.loads(tool("skopeo", "inspect", f"oci-archive:{path}:1.0"))
    assert as_layout["Digest"] == str(baked.image.digest.digest)
    as_docker = json.loads(tool("skopeo", "inspect", "--config", f"docker-archive:{path}"))
    assert as_docker == json.loads(baked.image.config)


# umoci


@pytest.fixture
def unpacked_archive(baked: Any, tmp_path: Path) -> Path:
    """Our archive as GNU tar unpacks it, which is a layout."""
    path, folder = tmp_path / "image.tar", tmp_path / "unpacked"
    Archive(path).write(baked.image, "repo/smol:1.0", baked.open, silent)
    folder.mkdir()
    tool("tar", "-xf", path, "-C", folder)
    return folder


@pytest.mark.parametrize("given", ["layout", "unpacked_archive"])
def test_umoci_unpacks_what_is_written(
    given: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    layout = request.getfixturevalue(given)
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    tool("umoci", "unpack", *rootless, "--image", f"{layout}:1.0", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"

    def read(path: str) -> tarfile.TarInfo:
        status = (root / path).lstat()
        found = tarfile.TarInfo(path)
        found.mode = stat.S_IMODE(status.st_mode)
        found.type = tarfile.DIRTYPE if stat.S_ISDIR(status.st_mode) else tarfile.REGTYPE
        if stat.S_ISLNK(status.st_mode):
            found.linkname = str((root / path).readlink())
        return found

    check_tree(read, lambda path: (root / path).read_bytes())
    assert (root / "usr/bin/tool").samefile(root / "usr/bin/tool2")
    assert (root / "model/low.safetensors").read_bytes() == b"low" * 200_000


# A real engine


class Engine:
    """A real engine that counts what it is sent; what it was given is removed again."""

    def __init__(self, client: DockerClient) -> None:
        self.client = client
        self.api = self
        self.sent = 0
        self.repository = f"ovenproof-test-{uuid.uuid4().hex[:12]}"

    def reference(self, tag: str) -> str:
        return f"{self.repository}:{tag}"

    def load_image(self, data: Iterable[bytes]) -> Any:
        def counted() -> Iterator[bytes]:
            for chunk in data:
                self.sent += len(chunk)
                yield chunk

        return self.client.api.load_image(counted())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client.api, name)

    def clean(self) -> None:
        for image in self.client.images.list(filters={"label": "org.ovenproof.test=1"}):
            for tag in image.tags:
                if tag.startswith(f"{self.repository}:"):
                    self.client.images.remove(tag, force=True)


@pytest.fixture
def engine(docker_client: DockerClient) -> Iterator[Engine]:
    made = Engine(docker_client)
    yield made
    made.clean()


@pytest.fixture
def word() -> str:
    """A word that no other run has used, so that the engine cannot have the layers already."""
    return uuid.uuid4().hex


def output(engine: Engine) -> Docker:
    client: Any = engine
    return Docker(client)


def diff_ids(engine: Engine, reference: str) -> list[str]:
    layers = engine.client.api.inspect_image(reference)["RootFS"]["Layers"]
    assert isinstance(layers, list)
    return layers


def test_the_engine_loads_an_archive_and_names_our_layers(
    engine: Engine, baked: Any, tmp_path: Path
) -> None:
    path = tmp_path / "image.tar"
    Archive(path).write(baked.image, engine.reference("1"), baked.open, silent)
    with path.open("rb") as stream:
        list(engine.client.api.load_image(stream))
    found = engine.client.api.inspect_image(engine.reference("1"))
    assert found["RootFS"]["Layers"] == [str(layer.content.digest) for layer in baked.image.layers]
    assert found["Id"] == str(Content.of(baked.image.config).digest)
    assert found["Config"]["Labels"]["org.ovenproof.test"] == "1"


def test_a_container_sees_every_entry_as_it_was_written(engine: Engine, baked: Any) -> None:
    output(engine).write(baked.image, engine.reference("1"), baked.open, silent)
    container = engine.client.containers.create(engine.reference("1"), ["/nothing"])
    try:
        data = b"".join(container.export())
    finally:
        container.remove()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name.rstrip("/"): member for member in archive}

        def body(path: str) -> bytes:
            stream = archive.extractfile(members[path])
            assert stream is not None
            return stream.read()

        check_tree(lambda path: members[path], body)


def test_only_the_new_layers_travel_to_the_engine(
    engine: Engine, make_image: Callable[..., Any], word: str
) -> None:
    low, middle, high = (big(f"{word}{number}") for number in range(3))
    one, two = make_image(low, middle), make_image(low, middle, high, label=word)
    output(engine).write(one.image, engine.reference("one"), one.open, silent)
    assert engine.sent > sum(layer.content.size for layer in one.image.layers)
    engine.sent = 0
    written = output(engine).write(two.image, engine.reference("two"), two.open, silent)
    new = two.image.layers[-1].content
    assert two.asked == [new]
    assert written.moved == new.size
    assert new.size < engine.sent < new.size + 20_000
    assert diff_ids(engine, engine.reference("two")) == [
        str(layer.content.digest) for layer in two.image.layers
    ]


def test_a_second_write_sends_nothing_and_moves_the_tag(
    engine: Engine, make_image: Callable[..., Any], word: str
) -> None:
    baked = make_image(big(word))
    output(engine).write(baked.image, engine.reference("one"), baked.open, silent)
    engine.sent = 0
    written = output(engine).write(baked.image, engine.reference("two"), baked.open, silent)
    assert (engine.sent, written.moved) == (0, 0)
    assert diff_ids(engine, engine.reference("two")) == diff_ids(engine, engine.reference("one"))


def test_wrong_bytes_leave_no_image_in_the_engine(
    engine: Engine, make_image: Callable[..., Any], word: str
) -> None:
    baked = make_image(big(word), big(f"{word}2"))
    content = baked.image.layers[1].content
    good = baked.bytes[content]
    baked.bytes[content] = good[:-2000] + b"x" + good[-1999:]
    with pytest.raises(WrongBytes):
        output(engine).write(baked.image, engine.reference("1"), baked.open, silent)
    with pytest.raises(ImageNotFound):
        engine.client.api.inspect_image(engine.reference("1"))
    baked.bytes[content] = good
    output(engine).write(baked.image, engine.reference("1"), baked.open, silent)
    assert len(diff_ids(engine, engine.reference("1"))) == 2


def test_a_stack_as_high_as_ours_may_be_loads_and_starts_a_container(
    engine: Engine, make_image: Callable[..., Any], word: str
) -> None:
    layers = [
        recipe([File(path=f"l/{number}", body=Literal(word.encode()))]) for number in range(120)
    ]
    baked = make_image(*layers)
    output(engine).write(baked.image, engine.reference("1"), baked.open, silent)
    container = engine.client.containers.create(engine.reference("1"))
    try:
        with pytest.raises(APIError, match="no such file"):  # it got as far as the program
            container.start()
    finally:
        container.remove(force=True)
