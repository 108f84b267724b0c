"""What every output promises, asked of each of them: layout, archive, Docker, registry.

What an output holds afterwards is read by code of this file, not by the output itself.
"""

import errno
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import docker.errors
import pytest

from ovenproof.core.content import Literal
from ovenproof.core.image import Image, Layer
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.errors import ImageFailed, NoSpace, OvenproofError, TryAgain, WrongBytes
from ovenproof.events import Event, Listener, Noted, silent
from ovenproof.outputs.archive import Archive
from ovenproof.outputs.docker import Docker
from ovenproof.outputs.interface import Absorber, OpenLayer, Output, Written
from ovenproof.outputs.layout import Layout
from ovenproof.outputs.registry import Registry, Tag
from ovenproof.registry.client import Registries, Remote
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender
from ovenproof.store.notes import Notes
from tests.fakes.registry import FakeRegistry


def text(word: str) -> Recipe:
    return recipe([File(path=f"etc/{word}", body=Literal(word.encode() * 400))])


LOW, MIDDLE, HIGH = text("low"), text("middle"), text("high")
REFERENCE = "repo/smol:1.0"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# The outputs, and an independent look into each


class Case(Protocol):
    """An output, and what it holds."""

    output: Output
    keeps: bool
    """Whether it keeps what it has, so that a second write of an image moves nothing."""
    shares: bool
    """Whether images share their layers there, so that another image moves only what is new."""

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        """The config and the layers under a reference, every digest checked on the way."""


class InLayout:
    keeps = shares = True

    def __init__(self, root: Path) -> None:
        self.output: Output = Layout(root / "layout")
        self._root = root / "layout"

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        algorithm, _, hex_ = str(descriptor["digest"]).partition(":")
        data = (self._root / "blobs" / algorithm / hex_).read_bytes()
        assert sha256(data) == hex_
        assert len(data) == descriptor["size"]
        return data

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        if not (self._root / "index.json").exists():
            return None
        for item in json.loads((self._root / "index.json").read_bytes())["manifests"]:
            if item["annotations"]["org.opencontainers.image.ref.name"] == reference.split(":")[1]:
                manifest = json.loads(self._blob(item))
                layers = [self._blob(layer) for layer in manifest["layers"]]
                return self._blob(manifest["config"]), layers
        return None


class InArchive:
    keeps = shares = False

    def __init__(self, root: Path) -> None:
        self._path = root / "image.tar"
        self.output: Output = Archive(self._path)

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        if not self._path.exists():
            return None
        found = members(self._path.read_bytes())
        (item,) = json.loads(found["manifest.json"])
        assert item["RepoTags"] == [reference]
        for name, data in found.items():
            if name.startswith("blobs/sha256/"):
                assert sha256(data) == name.rpartition("/")[2]
        return found[item["Config"]], [found[name] for name in item["Layers"]]


class InDocker:
    keeps = shares = True

    def __init__(self, root: Path) -> None:
        self.engine = FakeEngine()
        client: Any = FakeClient(self.engine)
        self.output: Output = Docker(client)

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        identity = self.engine.tags.get(reference)
        if identity is None:
            return None
        config = self.engine.configs[identity]
        names = json.loads(config)["rootfs"]["diff_ids"]
        return config, [
            self.engine.layers[tuple(names[: number + 1])] for number in range(len(names))
        ]


class InContainerd:
    keeps = True
    shares = False

    def __init__(self, root: Path) -> None:
        self.engine = FakeContainerd()
        client: Any = FakeClient(self.engine)
        self.output: Output = Docker(client)

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        identity = self.engine.tags.get(reference)
        if identity is None:
            return None
        manifest = json.loads(self.engine.blobs[identity])
        layers = [self.engine.blobs[layer["digest"]] for layer in manifest["layers"]]
        return self.engine.blobs[manifest["config"]["digest"]], layers


class InRegistry:
    keeps = shares = True

    def __init__(self, root: Path) -> None:
        self._open = ExitStack()
        self.fake = self._open.enter_context(FakeRegistry())
        self.output: Output = ByReference(self._remote(root), Notes(root / "store"))

    def _remote(self, root: Path) -> Remote:
        registries = Registries(environment={}, home=root, waits_s=())
        self._open.enter_context(registries)
        return registries.at(Repository(self.fake.address, "a/smol"))

    def close(self) -> None:
        self._open.close()

    def held(self, reference: str) -> tuple[bytes, list[bytes]] | None:
        name = self.fake.tags["a/smol"].get(reference.rpartition(":")[2])
        if name is None:
            return None
        data = self.fake.manifests["a/smol"][name].data
        assert f"sha256:{sha256(data)}" == name
        manifest = json.loads(data)
        layers = [self._blob(layer) for layer in manifest["layers"]]
        return self._blob(manifest["config"]), layers

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        data = self.fake.blobs["a/smol"][descriptor["digest"]]
        assert f"sha256:{sha256(data)}" == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data


class ByReference:
    """A repository whose tag follows from each image's reference; every call starts anew."""

    def __init__(self, remote: Remote, notes: Notes) -> None:
        self._remote = remote
        self._notes = notes

    def _registry(self, tag: Tag | None = None) -> Registry:
        return Registry(Sender(self._remote, notes=self._notes, jobs=2), tag=tag)

    @property
    def absorber(self) -> Absorber:
        return self._registry().absorber

    def lacks(self, image: Image) -> tuple[Layer, ...]:
        return self._registry().lacks(image)

    def refuses(self, image: Image) -> tuple[OvenproofError, ...]:
        return self._registry().refuses(image)

    def write(
        self, image: Image, reference: str, open_layer: OpenLayer, listener: Listener
    ) -> Written:
        made = self._registry(Tag(name=reference.rpartition(":")[2]))
        return made.write(image, reference, open_layer, listener)


def members(data: bytes) -> dict[str, bytes]:
    """Path -> bytes of the files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = {}
        for item in archive:
            reader = archive.extractfile(item)
            if reader is not None:
                found[item.name] = reader.read()
        return found


class FakeEngine:
    """Keeps layers by their position in a stack, as Docker does; takes an archive whole or not."""

    driver_status: tuple[tuple[str, str], ...] = (("Backing Filesystem", "extfs"),)

    def __init__(self) -> None:
        self.layers: dict[tuple[str, ...], bytes] = {}
        self.configs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.received: list[set[str]] = []
        """The layers that each load brought."""
        self.complaint = ""
        self.asked_for_info = 0

    def load(self, data: bytes) -> Iterator[dict[str, str]]:
        found = members(data)
        (item,) = json.loads(found["manifest.json"])
        self.received.append({name.rpartition("/")[2] for name in item["Layers"] if name in found})
        if self.complaint:
            yield {"error": self.complaint}
            return
        config = found[item["Config"]]
        names: list[str] = json.loads(config)["rootfs"]["diff_ids"]
        new: dict[tuple[str, ...], bytes] = {}
        for number, (name, path) in enumerate(zip(names, item["Layers"], strict=True)):
            chain = tuple(names[: number + 1])
            if chain in self.layers:
                continue
            if path not in found:
                yield {
                    "error": f"open /var/lib/docker/tmp/import/{path}: no such file or directory"
                }
                return
            if f"sha256:{sha256(found[path])}" != name:
                yield {"error": f"invalid diffID for layer {number}"}
                return
            new[chain] = found[path]
        self.layers.update(new)
        identity = f"sha256:{sha256(config)}"
        self.configs[identity] = config
        self.tags[item["RepoTags"][0]] = identity
        yield {"stream": f"Loaded image: {item['RepoTags'][0]}\n"}

    def forget(self) -> None:
        """What `docker image prune --all` does."""
        self.layers.clear()
        self.configs.clear()
        self.tags.clear()


class FakeContainerd(FakeEngine):
    """Docker with containerd's store: it reads an archive as a layout, and goes by manifests.

    An image has the name that the index gives in full; every blob must be in the archive.
    """

    driver_status: tuple[tuple[str, str], ...] = (("driver-type", "io.containerd.snapshotter.v1"),)

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}

    def load(self, data: bytes) -> Iterator[dict[str, str]]:
        found = members(data)
        assert json.loads(found["oci-layout"])["imageLayoutVersion"] == "1.0.0"
        blobs = {
            f"sha256:{sha256(body)}": body
            for name, body in found.items()
            if name.startswith("blobs/")
        }
        (item,) = json.loads(found["index.json"])["manifests"]
        manifest = json.loads(blobs[item["digest"]])
        names = [layer["digest"] for layer in manifest["layers"]]
        self.received.append({name.partition(":")[2] for name in names if name in blobs})
        for name in (manifest["config"]["digest"], *names):
            if name not in blobs:
                yield {"error": f"failed to extract: content digest {name}: not found"}
                return
        self.blobs.update(blobs)
        self.configs[item["digest"]] = blobs[manifest["config"]["digest"]]
        name = item["annotations"]["io.containerd.image.name"]
        assert name.startswith("docker.io/"), "a name that is not full is never found again"
        self.tags[name.removeprefix("docker.io/").removeprefix("library/")] = item["digest"]
        yield {"stream": f"Loaded image: {name}\n"}


class FakeClient:
    """The few methods of docker-py's low-level client that an output needs."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.api = self

    def info(self) -> dict[str, object]:
        self.engine.asked_for_info += 1
        return {"DriverStatus": [list(pair) for pair in self.engine.driver_status]}

    def load_image(self, data: Iterable[bytes]) -> Iterator[dict[str, str]]:
        return self.engine.load(b"".join(data))

    def images(self, *, filters: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"Id": identity}
            for identity, config in self.engine.configs.items()
            if filters["label"] in json.loads(config)["config"]["Labels"]
        ]

    def inspect_image(self, name: str) -> dict[str, object]:
        identity = self.engine.tags.get(name, name)
        if identity not in self.engine.configs:
            raise docker.errors.ImageNotFound(f"No such image: {name}")
        layers = json.loads(self.engine.configs[identity])["rootfs"]["diff_ids"]
        return {"Id": identity, "RootFS": {"Layers": layers}}

    def tag(self, image: str, repository: str, tag: str) -> bool:
        if image not in self.engine.configs:
            raise docker.errors.ImageNotFound(f"No such image: {image}")
        self.engine.tags[f"{repository}:{tag}"] = image
        return True


@pytest.fixture(
    params=[InLayout, InArchive, InDocker, InContainerd, InRegistry],
    ids=["layout", "archive", "docker", "containerd", "registry"],
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Case = request.param(tmp_path)
    yield made
    if isinstance(made, InRegistry):
        made.close()


# The contract


def expect(case: Case, baked: Any, reference: str = REFERENCE) -> None:
    """The image is under the reference, to the byte."""
    layers = [baked.bytes[layer.content] for layer in baked.image.layers]
    assert case.held(reference) == (baked.image.config, layers)


def test_an_output_holds_nothing_and_lacks_every_layer(
    case: Case, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH)
    assert case.held(REFERENCE) is None
    assert case.output.lacks(baked.image) == baked.image.layers


def test_what_is_written_is_the_image_to_the_byte(
    case: Case, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, MIDDLE, HIGH)
    written = case.output.write(baked.image, REFERENCE, baked.open, silent)
    expect(case, baked)
    assert written.moved == sum(layer.content.size for layer in baked.image.layers)
    assert written.place
    if isinstance(case, InRegistry):
        assert written.reference == f"{case.fake.address}/a/smol@{baked.image.digest.digest}"
    in_reach = isinstance(case, InDocker | InContainerd | InRegistry)
    assert written.use is None if in_reach else written.use


@pytest.mark.parametrize("before", [[], [(LOW,)], [(LOW, MIDDLE)], [(LOW, MIDDLE, HIGH)]])
def test_an_output_asks_for_exactly_the_layers_that_it_said_it_lacks(
    case: Case, make_image: Callable[..., Any], before: list[tuple[Recipe, ...]]
) -> None:
    for recipes in before:
        earlier = make_image(*recipes)
        case.output.write(earlier.image, "repo/smol:0.9", earlier.open, silent)
    baked = make_image(LOW, MIDDLE, HIGH)
    lacking = case.output.lacks(baked.image)
    written = case.output.write(baked.image, REFERENCE, baked.open, silent)
    assert sorted(baked.asked) == sorted(layer.content for layer in lacking)
    assert written.moved == sum(layer.content.size for layer in lacking)
    expect(case, baked)
    if case.keeps:
        if case.shares:
            assert len(lacking) == 3 - (len(before[0]) if before else 0)
        assert case.output.lacks(baked.image) == ()


def test_a_second_write_moves_nothing(case: Case, make_image: Callable[..., Any]) -> None:
    baked = make_image(LOW, HIGH)
    case.output.write(baked.image, REFERENCE, baked.open, silent)
    baked.asked.clear()
    written = case.output.write(baked.image, REFERENCE, baked.open, silent)
    if case.keeps:
        assert baked.asked == []
        assert written.moved == 0
    expect(case, baked)


def test_two_references_may_name_one_image(case: Case, make_image: Callable[..., Any]) -> None:
    baked = make_image(LOW, HIGH)
    case.output.write(baked.image, "repo/smol:a", baked.open, silent)
    case.output.write(baked.image, "repo/smol:b", baked.open, silent)
    expect(case, baked, "repo/smol:b")
    if case.keeps:
        expect(case, baked, "repo/smol:a")


@pytest.mark.parametrize("case", [InLayout, InDocker, InContainerd, InRegistry], indirect=True)
def test_two_images_lie_side_by_side(case: Case, make_image: Callable[..., Any]) -> None:
    one, two = make_image(LOW, HIGH), make_image(LOW, MIDDLE)
    case.output.write(one.image, "repo/smol:one", one.open, silent)
    case.output.write(two.image, "repo/smol:two", two.open, silent)
    expect(case, one, "repo/smol:one")
    expect(case, two, "repo/smol:two")


def test_a_reference_moves_to_the_newer_image(case: Case, make_image: Callable[..., Any]) -> None:
    one, two = make_image(LOW), make_image(LOW, label="other")
    case.output.write(one.image, REFERENCE, one.open, silent)
    case.output.write(two.image, REFERENCE, two.open, silent)
    expect(case, two)
    assert two.image.digest != one.image.digest


def test_a_layer_that_lies_twice_in_the_stack_is_asked_for_once(
    case: Case, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW, HIGH, LOW)
    case.output.write(baked.image, REFERENCE, baked.open, silent)
    assert len(baked.asked) == 2
    expect(case, baked)


@pytest.mark.parametrize("bad", [0, 1])
def test_wrong_bytes_leave_nothing_that_is_believed(
    case: Case, make_image: Callable[..., Any], bad: int
) -> None:
    baked = make_image(LOW, HIGH)
    content = baked.image.layers[bad].content
    good = baked.bytes[content]
    baked.bytes[content] = good[:600] + bytes([good[600] ^ 1]) + good[601:]
    with pytest.raises(WrongBytes):
        case.output.write(baked.image, REFERENCE, baked.open, silent)
    assert case.held(REFERENCE) is None
    assert baked.image.layers[bad] in case.output.lacks(baked.image)
    baked.bytes[content] = good
    case.output.write(baked.image, REFERENCE, baked.open, silent)
    expect(case, baked)


class Stop(BaseException):
    """Somebody pressed ^C."""


@pytest.mark.parametrize("fault", [Stop, ValueError, lambda: WrongBytes("rotten")])
def test_an_interruption_leaves_what_was_there_before(
    case: Case, make_image: Callable[..., Any], fault: Callable[[], BaseException]
) -> None:
    old, new = make_image(LOW, MIDDLE), make_image(LOW, HIGH)
    case.output.write(old.image, REFERENCE, old.open, silent)

    def interrupted(layer: Layer, offset: int = 0) -> Iterator[bytes]:
        stream = new.open(layer)
        yield next(stream)
        if layer is new.image.layers[-1]:
            raise fault()
        yield from stream

    with pytest.raises((Stop, ValueError, WrongBytes)):
        case.output.write(new.image, REFERENCE, interrupted, silent)
    expect(case, old)
    assert new.image.layers[-1] in case.output.lacks(new.image)
    case.output.write(new.image, REFERENCE, new.open, silent)
    expect(case, new)


def test_nothing_is_left_lying_about_after_an_interruption(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW)

    def interrupted(layer: Layer, offset: int = 0) -> Iterator[bytes]:
        yield next(baked.open(layer))
        raise Stop

    for output in (Layout(tmp_path / "layout"), Archive(tmp_path / "image.tar")):
        with pytest.raises(Stop):
            output.write(baked.image, REFERENCE, interrupted, silent)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_all_outputs_hold_the_same_image(tmp_path: Path, make_image: Callable[..., Any]) -> None:
    baked = make_image(LOW, HIGH)
    held = []
    for kind in (InLayout, InArchive, InDocker, InContainerd, InRegistry):
        one: Case = kind(tmp_path)
        one.output.write(baked.image, REFERENCE, baked.open, silent)
        held.append(one.held(REFERENCE))
        if isinstance(one, InRegistry):
            one.close()
    assert held[0] is not None
    assert all(one == held[0] for one in held)


def test_what_keeps_a_layer_from_being_read_is_not_blamed_on_the_output(
    case: Case, make_image: Callable[..., Any]
) -> None:
    baked = make_image(LOW)

    def unreadable(layer: Layer, offset: int = 0) -> Iterator[bytes]:
        yield next(baked.open(layer))
        raise PermissionError(errno.EACCES, "Permission denied", "/store/crumb.whl")

    with pytest.raises(PermissionError) as caught:
        case.output.write(baked.image, REFERENCE, unreadable, silent)
    assert caught.value.filename == "/store/crumb.whl"
    assert case.held(REFERENCE) is None


# What only an engine does


def write(case: InDocker, image: Image, baked: Any, heard: list[Event]) -> None:
    case.output.write(image, REFERENCE, baked.open, heard.append)


def test_only_the_layers_above_a_shared_beginning_travel(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)
    for baked in (make_image(LOW, MIDDLE), make_image(LOW, HIGH), make_image(MIDDLE, LOW)):
        write(case, baked.image, baked, [])
    low, middle, high = (
        sha256(b"".join(make_image(one).bytes.values())) for one in (LOW, MIDDLE, HIGH)
    )
    assert case.engine.received == [{low, middle}, {high}, {middle, low}]


def test_an_engine_that_lost_layers_meanwhile_gets_all_of_them(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)
    old, new = make_image(LOW), make_image(LOW, HIGH)
    write(case, old.image, old, [])

    def forgetful(layer: Layer, offset: int = 0) -> Iterator[bytes]:
        case.engine.forget()
        yield from new.open(layer)

    heard: list[Event] = []
    written = case.output.write(new.image, REFERENCE, forgetful, heard.append)
    expect(case, new)
    assert [event for event in heard if isinstance(event, Noted)] != []
    assert written.moved == sum(layer.content.size for layer in new.image.layers)


def test_an_engine_with_containerds_store_gets_all_layers_and_is_asked_once_which_it_has(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InContainerd(tmp_path)
    for baked in (make_image(LOW), make_image(LOW, HIGH)):
        case.output.write(baked.image, REFERENCE, baked.open, silent)
        expect(case, baked)
    assert [len(names) for names in case.engine.received] == [1, 2]
    assert case.engine.asked_for_info == 1


def test_an_engine_that_hides_its_containerd_store_gets_all_layers_in_the_end(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InContainerd(tmp_path)
    case.engine.driver_status = ()
    old, new = make_image(LOW), make_image(LOW, HIGH)
    for baked in (old, new):
        case.output.write(baked.image, REFERENCE, baked.open, silent)
        expect(case, baked)
    assert [len(names) for names in case.engine.received] == [1, 1, 2]


def test_an_engine_that_misses_a_layer_of_a_whole_archive_is_not_sent_it_again(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)
    case.engine.complaint = f"content digest sha256:{'0' * 64}: not found"
    baked = make_image(LOW, HIGH)
    with pytest.raises(TryAgain, match="misses a layer"):
        write(case, baked.image, baked, [])
    assert len(case.engine.received) == 1


def test_an_image_that_goes_away_before_it_gets_its_name_is_sent(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)
    baked = make_image(LOW, HIGH)
    write(case, baked.image, baked, [])
    assert case.output.lacks(baked.image) == ()
    case.engine.forget()
    write(case, baked.image, baked, [])
    expect(case, baked)


def test_an_image_that_goes_away_right_after_its_load_is_said(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)

    class Pruned(FakeClient):
        def load_image(self, data: Iterable[bytes]) -> Iterator[dict[str, str]]:
            yield from super().load_image(data)
            self.engine.forget()

    client: Any = Pruned(case.engine)
    baked = make_image(LOW)
    with pytest.raises(TryAgain, match=REFERENCE):
        Docker(client).write(baked.image, REFERENCE, baked.open, silent)


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", NoSpace),
        ("something else", TryAgain),
    ],
)
def test_what_an_engine_complains_about_is_said_with_a_remedy(
    tmp_path: Path, make_image: Callable[..., Any], complaint: str, kind: type[Exception]
) -> None:
    case = InDocker(tmp_path)
    case.engine.complaint = complaint
    baked = make_image(LOW)
    with pytest.raises(kind, match=complaint):
        write(case, baked.image, baked, [])
    assert case.held(REFERENCE) is None


def test_an_engine_that_says_it_has_other_layers_is_not_believed(
    tmp_path: Path, make_image: Callable[..., Any]
) -> None:
    case = InDocker(tmp_path)
    baked = make_image(LOW, HIGH)

    class Liar(FakeClient):
        def inspect_image(self, name: str) -> dict[str, object]:
            found = super().inspect_image(name)
            return {**found, "RootFS": {"Layers": ["sha256:" + "0" * 64]}}

    liar: Any = Liar(case.engine)
    with pytest.raises(ImageFailed, match="other layers"):
        Docker(liar).write(baked.image, REFERENCE, baked.open, silent)
