"""Pushed to real registries, looked at by skopeo and umoci, pulled and run by a Docker engine."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.client import DockerClient

from ovenproof.core.content import Literal
from ovenproof.core.layer import File, Recipe, recipe
from ovenproof.errors import NoAccess, OvenproofError
from ovenproof.events import Advanced, Event, silent
from ovenproof.outputs.registry import Registry, Tag
from ovenproof.registry.client import Registries
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender
from ovenproof.store.notes import Notes
from tests.system.registries import PASSWORD, USER, Authority, log_in, served

NAME = "smollm2-135m-chat"
ROOT = Path(__file__).parents[2]
KINDS = ("plain", "logins", "tls")


def big(word: str) -> Recipe:
    return recipe([File(path=f"model/{word}.safetensors", body=Literal(word.encode() * 400_000))])


@pytest.fixture
def baked(make_image: Callable[..., Any], tmp_path: Path) -> Any:
    return make_image(big("low"), big("high"), label=tmp_path.name)


@dataclass(frozen=True, slots=True)
class Served:
    """A registry, who we are to it, and how skopeo has to be told."""

    address: str
    home: Path
    environment: dict[str, str]
    words: tuple[str, ...]

    def push(self, baked: Any, name: str = "a/models", listener: Any = silent) -> Any:
        with Registries(environment=self.environment, home=self.home) as registries:
            remote = registries.at(Repository(self.address, name))
            sender = Sender(remote, notes=Notes(self.home), jobs=2, at=registries.at)
            made = Registry(sender, tag=Tag(name="1.0"))
            return made.write(baked.image, "kitchen:tiny", baked.open, listener)


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    home = tmp_path / "home"
    home.mkdir()
    authority = Authority.make(tmp_path / "authority") if request.param == "tls" else None
    with served(
        tmp_path / "served", logins=request.param == "logins", authority=authority
    ) as address:
        words = ["--tls-verify=false"]
        environment = {}
        if request.param == "logins":
            log_in(home, address)
            words.append(f"--creds={USER}:{PASSWORD}")
        if authority is not None:
            words = [f"--cert-dir={authority.folder}"]
            environment["SSL_CERT_FILE"] = str(authority.certificate)
        yield Served(address, home, environment, tuple(words))


def skopeo(*arguments: object) -> bytes:
    return tool("skopeo", "--insecure-policy", *arguments)


def tool(*command: object) -> bytes:
    done = subprocess.run([*map(str, command)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_what_was_pushed_is_what_skopeo_and_umoci_find(
    there: Served, baked: Any, tmp_path: Path
) -> None:
    written = there.push(baked)
    digest = str(baked.image.digest.digest)
    assert written.place == f"{there.address}/a/models:1.0@{digest}"
    place = f"docker://{there.address}/a/models:1.0"
    assert sha256(skopeo("inspect", "--raw", *there.words, place)) == digest
    words = [f"--src-{word.removeprefix('--')}" for word in there.words]
    layout = tmp_path / "layout"
    skopeo("copy", "--preserve-digests", *words, place, f"oci:{layout}:1.0")
    index = json.loads((layout / "index.json").read_bytes())
    assert [item["digest"] for item in index["manifests"]] == [digest]
    for blob in (layout / "blobs/sha256").iterdir():
        assert sha256(blob.read_bytes()) == f"sha256:{blob.name}"
    tool("umoci", "unpack", "--rootless", "--image", f"{layout}:1.0", tmp_path / "bundle")
    found = (tmp_path / "bundle/rootfs/model/high.safetensors").read_bytes()
    assert found == b"high" * 400_000
    again = there.push(baked)
    assert (again.moved, again.mounted) == (0, 0)
    other = there.push(baked, "b/models")
    assert (other.moved, other.mounted) == (0, written.moved)


def test_after_an_upload_that_was_stopped_the_next_push_sends_only_the_rest(
    there: Served, make_image: Callable[..., Any]
) -> None:
    """This registry gives up an upload that was cut in a request; so ours are ended, not cut."""
    whole = 33 << 20
    body = Literal(os.urandom(1 << 20) * 33)
    baked = make_image(recipe([File(path="model/one.safetensors", body=body)]))
    heard = 0

    def impatient(event: Event) -> None:
        nonlocal heard
        heard += event.size if isinstance(event, Advanced) else 0
        if heard > whole * 0.9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        there.push(baked, listener=impatient)
    written = there.push(baked)
    assert 0 < written.moved < 0.12 * whole
    place = f"docker://{there.address}/a/models:1.0"
    found = sha256(skopeo("inspect", "--raw", *there.words, place))
    assert found == str(baked.image.digest.digest)
    assert there.push(baked).moved == 0


@pytest.mark.parametrize("there", ["logins", "tls"], indirect=True)
def test_without_a_login_or_trust_nothing_is_pushed_and_it_is_said_why(
    there: Served, baked: Any, tmp_path: Path
) -> None:
    nobody = Served(there.address, tmp_path / "nobody", {}, ())
    nobody.home.mkdir()
    with pytest.raises(OvenproofError) as caught:
        nobody.push(baked)
    assert there.address in caught.value.text()
    assert caught.value.hint
    if there.environment:
        assert "certificate" in caught.value.text()
    else:
        assert isinstance(caught.value, NoAccess)


@pytest.mark.parametrize("there", ["tls"], indirect=True)
def test_a_certificate_where_docker_looks_for_it_is_trusted(there: Served, baked: Any) -> None:
    place = there.home / ".config/containers/certs.d" / there.address
    place.mkdir(parents=True)
    shutil.copyfile(there.environment["SSL_CERT_FILE"], place / "ca.crt")
    written = Served(there.address, there.home, {}, ()).push(baked)
    assert written.moved > 0


@pytest.mark.parametrize("there", ["plain"], indirect=True)
def test_a_docker_engine_pulls_what_was_pushed(
    there: Served, baked: Any, docker_client: DockerClient
) -> None:
    written = there.push(baked)
    repository, _, digest = written.reference.partition("@")
    pulled = docker_client.images.pull(repository, tag=digest)
    try:
        layers = [str(layer.diff_id) for layer in baked.image.layers]
        assert pulled.attrs["RootFS"]["Layers"] == layers
    finally:
        docker_client.images.remove(written.reference, force=True)


# The default image


@pytest.fixture(scope="module")
def kitchen(
    image: dict[str, Any], ovenproof: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A registry that has the default image: its address, and what `push --json` said."""
    with served(tmp_path_factory.mktemp("kitchen") / "served") as address:
        words = ("push", "--model", NAME, "--to", f"{address}/kitchen", "--locked", "--json")
        done = ovenproof(*words)
        assert done.returncode == 0, done.stderr
        (pushed,) = json.loads(done.stdout)
        assert pushed["digest"] == image["digest"]
        yield address, pushed


def test_the_default_image_is_pulled_by_its_digest_and_answers(
    kitchen: tuple[str, dict[str, Any]],
    ovenproof: Callable[..., Any],
    docker_client: DockerClient,
) -> None:
    _, pushed = kitchen
    try:
        done = ovenproof("test", "--model", NAME, "--image", pushed["reference"], "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        assert "chat" in json.loads(done.stdout)["passed"][pushed["reference"]]
    finally:
        docker_client.images.remove(pushed["reference"], force=True)


def test_weights_are_pushed_with_next_to_no_disk(
    kitchen: tuple[str, dict[str, Any]],
    ovenproof: Callable[..., Any],
    smollm2_folder: Path,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    """The runtime is in the registry, the weights are in a folder, and nothing else is anywhere."""
    address, before = kitchen
    project = tmp_path / "project"
    for name in ("images", "requirements"):
        shutil.copytree(ROOT / name, project / name)
    (project / "models.yaml").write_text(
        f"models:\n  mine: {{flavour: cpu, served_name: mine, weights: {{folder: {tmp_path}/w}}}}\n"
    )
    shutil.copytree(smollm2_folder, tmp_path / "w")
    (tmp_path / "w/config.json").write_bytes(
        (smollm2_folder / "config.json").read_bytes().rstrip() + b"\n\n"
    )
    large = tmp_path / "w/model.safetensors"
    with large.open("r+b") as stream:  # other weights: the registry has none of them
        stream.seek(-4096, os.SEEK_END)
        stream.write(os.urandom(4096))
    environment = {"OVENPROOF_CACHE": str(small_disk / "store"), "TMPDIR": str(small_disk)}
    words = ("push", "--model", "mine", "--to", f"{address}/kitchen", "--json")
    done = ovenproof(*words, cwd=project, **environment)
    assert done.returncode == 0, done.stderr
    (pushed,) = json.loads(done.stdout)
    assert pushed["sent"] > large.stat().st_size
    assert pushed["there"] > 1_500_000_000
    assert pushed["size"] < before["size"] + 1_000_000
    kept = [path for path in small_disk.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 1_000_000
    (again,) = json.loads(ovenproof(*words, cwd=project, **environment).stdout)
    assert (again["sent"], again["digest"]) == (0, pushed["digest"])
