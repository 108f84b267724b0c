"""`copy`: images between registries and layouts, as a user calls it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.conftest import Project

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
BIG = 3 << 20


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as found:
        yield found


def blob(registry: FakeRegistry, data: bytes, media_type: str, name: str = "a/b") -> dict[str, Any]:
    digest = registry.add_blob(name, data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def image(
    registry: FakeRegistry,
    *tags: str,
    word: bytes = b"amd64",
    media_type: str = MANIFEST_TYPE,
    **more: Any,
) -> dict[str, Any]:
    """An image at a registry, and how another manifest names it."""
    config = {"os": "linux", "architecture": word.decode()}
    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": blob(registry, json.dumps(config).encode(), CONFIG),
        "layers": [
            blob(registry, b"shared" * 1000, LAYER),
            blob(registry, word * (BIG // len(word)), LAYER),
        ],
        **more,
    }
    return manifest(registry, body, *tags)


def index(
    registry: FakeRegistry, *tags: str, media_type: str = INDEX_TYPE, child: str = MANIFEST_TYPE
) -> dict[str, Any]:
    items = [
        {
            **image(registry, word=word.encode(), media_type=child),
            "platform": {"os": "linux", "architecture": word},
        }
        for word in ("amd64", "arm64")
    ]
    return manifest(
        registry, {"schemaVersion": 2, "mediaType": media_type, "manifests": items}, *tags
    )


def manifest(registry: FakeRegistry, body: dict[str, Any], *tags: str) -> dict[str, Any]:
    data = json.dumps(body, indent=2).encode()  # nobody's canonical JSON
    digest = registry.add_manifest("a/b", data, body["mediaType"], *tags)
    return {"mediaType": body["mediaType"], "digest": digest, "size": len(data)}


def same(one: FakeRegistry, two: FakeRegistry, name: str = "c/d") -> None:
    """The second has everything of the first, byte for byte."""
    assert two.manifests[name] == one.manifests["a/b"]
    assert two.blobs[name] == one.blobs["a/b"]


@pytest.mark.parametrize(
    ("media_type", "child"), [(INDEX_TYPE, MANIFEST_TYPE), (DOCKER_LIST, DOCKER_MANIFEST)]
)
def test_an_index_goes_through_a_layout_to_another_registry_byte_for_byte(
    project: Project, registry: FakeRegistry, other: FakeRegistry, media_type: str, child: str
) -> None:
    top = index(registry, "v1", media_type=media_type, child=child)
    first = project.run("copy", f"{registry.address}/a/b:v1", "layout:here", "--json").json()
    assert (first["digest"], first["tag"], first["manifests"]) == (top["digest"], "v1", 3)
    project.run("copy", "layout:here", f"{other.address}/c/d")
    assert other.tags["c/d"] == {"v1": top["digest"]}
    same(registry, other)
    assert not project.leftovers()


def test_what_we_built_goes_to_a_registry_and_back(
    project: Project, registry: FakeRegistry
) -> None:
    digest = project.build("--output", "layout:dist").digest()
    project.run("copy", "layout:dist:tiny", f"{registry.address}/a/b")
    done = project.run("copy", f"{registry.address}/a/b@{digest}", "layout:back:again", "--json")
    assert done.json()["digest"] == digest
    shutil.rmtree(project.dist.root)
    (project.root / "back").rename(project.dist.root)
    assert project.dist.check().images() == {"again": digest}


def test_what_is_there_does_not_move_again(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    image(registry, "v1")
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d", "--json")
    first = project.run(*words).json()
    assert (first["there"], first["was"]) == (0, None)
    before = len(registry.requests)
    again = project.run(*words).json()
    assert (again["sent"], again["there"]) == (0, first["sent"])
    assert again["was"] == first["digest"]
    assert not [asked for asked in registry.requests[before:] if "/blobs/" in asked.path]


@pytest.mark.parametrize("api", [True, False])
def test_a_copy_with_nothing_to_do_writes_nothing(
    project: Project, registry: FakeRegistry, other: FakeRegistry, api: bool
) -> None:
    other.no_referrers = not api
    signature = signed(registry, index(registry, "v1"))
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d", "--referrers")
    assert project.run(*words).code == 0
    before = len(other.requests)
    assert project.run(*words).code == 0
    methods = {asked.method for asked in other.requests[before:]}
    assert methods <= {"GET", "HEAD"}
    assert signature["digest"] in other.manifests["c/d"]


def test_a_signature_that_is_there_but_that_nobody_finds_is_put_again(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    other.no_referrers = True
    subject = image(registry, "v1")
    signature = signed(registry, subject)
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d", "--referrers")
    assert project.run(*words).code == 0
    fallback = subject["digest"].replace(":", "-")
    lost = other.tags["c/d"].pop(fallback)
    assert project.run(*words).code == 0
    assert other.tags["c/d"][fallback] == lost
    assert signature["digest"] in other.manifests["c/d"]


def signed(registry: FakeRegistry, subject: dict[str, Any]) -> dict[str, Any]:
    """A signature of it, at the same registry."""
    body = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "config": blob(registry, b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [blob(registry, b"signed", "application/json")],
        "subject": subject,
    }
    return manifest(registry, body)


FOREIGN = ["../../../other/manifests/latest", "with space", "docker.io/library/x:1", "", "-v1", "ü"]


@pytest.mark.parametrize("tag", FOREIGN)
def test_a_tag_that_only_a_layout_can_have_goes_into_no_address(
    project: Project, registry: FakeRegistry, other: FakeRegistry, tag: str
) -> None:
    top = image(registry, "v1")
    project.run("copy", f"{registry.address}/a/b:v1", "layout:in")
    path = project.root / "in" / "index.json"
    listed = json.loads(path.read_text())
    listed["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = tag
    path.write_text(json.dumps(listed))
    for words in ((), ("--dry",)):
        done = project.run(*words, "copy", "layout:in", f"{other.address}/me/img")
        assert done.code == 2, done
        assert f"hint: name one: {other.address}/me/img:TAG" in done.err
    assert not other.requests
    assert project.run("copy", "layout:in", f"{other.address}/me/img:v2").code == 0
    assert other.tags["me/img"] == {"v2": top["digest"]}


def test_within_one_registry_everything_is_mounted(
    project: Project, registry: FakeRegistry
) -> None:
    image(registry, "v1")
    done = project.run(
        "copy", f"{registry.address}/a/b:v1", f"{registry.address}/c/d:v2", "--json"
    ).json()
    assert (done["sent"], done["mounted"]) == (0, sum(map(len, registry.blobs["a/b"].values())))
    assert not [asked for asked in registry.requests if asked.method in ("PATCH",)]
    same(registry, registry)


def test_one_platform_of_an_index_is_an_image_of_its_own(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    top = index(registry, "v1")
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d", "--json")
    done = project.run(*words, "--platform", "linux/arm64").json()
    assert done["manifests"] == 1
    assert done["digest"] != top["digest"]
    assert list(other.manifests["c/d"]) == [done["digest"]]
    refused = project.run(*words, "--platform", "linux/s390x")
    assert refused.code == 2
    assert "expected linux/amd64, linux/arm64" in refused.err


@pytest.mark.parametrize("api", [True, False])
def test_signatures_go_along_when_they_are_asked_for(
    project: Project, registry: FakeRegistry, other: FakeRegistry, api: bool
) -> None:
    other.no_referrers = not api
    subject = image(registry, "v1")
    empty = blob(registry, b"{}", "application/vnd.oci.empty.v1+json")
    signature = manifest(
        registry,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "config": empty,
            "layers": [blob(registry, b"signed", "application/json")],
            "subject": subject,
        },
    )
    source = f"{registry.address}/a/b:v1"
    project.run("copy", source, "layout:plain")
    assert project.run("copy", source, "layout:full", "--referrers", "--json").json()["blobs"] == 5
    project.run("copy", "layout:full", f"{other.address}/c/d", "--referrers")
    assert signature["digest"] in other.manifests["c/d"]
    back = project.run("copy", f"{other.address}/c/d:v1", "layout:back", "--referrers", "--json")
    assert (back.json()["manifests"], back.json()["tag"]) == (2, "v1")
    plain = json.loads((project.root / "plain/index.json").read_text())
    assert len(plain["manifests"]) == 1


def test_dry_says_what_would_move_and_moves_nothing(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    index(registry, "v1")
    for end in (f"{other.address}/c/d", "layout:out"):
        done = project.run("--dry", "copy", f"{registry.address}/a/b:v1", end)
        assert done.code == 0, done
        assert "6.3 MB to send, 0 B to mount, 0 B there" in done.out
    assert not [asked for asked in other.requests if asked.method not in ("GET", "HEAD")]
    assert not [asked for asked in registry.requests if "/blobs/" in asked.path]
    assert not (project.root / "out").exists()


def test_a_killed_copy_sends_only_what_is_not_there(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    index(registry, "v1")
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d")
    begun: list[str] = []
    process: list[subprocess.Popen[str]] = []

    def kill(method: str, path: str) -> None:
        if method == "POST":
            begun.append(path)
        if len(begun) == 3 and process:
            process[0].kill()

    other.before = kill
    process.append(project.start(*words, OVENPROOF_JOBS="1"))
    process[0].communicate()
    assert process[0].returncode == -9
    other.before = None
    assert not other.tags["c/d"]
    there = sum(map(len, other.blobs["c/d"].values()))
    assert there >= BIG - 5
    again = project.run(*words, "--json").json()
    assert again["there"] == there
    same(registry, other)


def test_a_damaged_layout_is_found_and_no_tag_moves(
    project: Project, registry: FakeRegistry, spoil: Callable[[Any], None]
) -> None:
    project.build("--output", "layout:dist")
    spoil(project.dist.blob(project.dist.layers()[-1]))
    done = project.run("copy", "layout:dist", f"{registry.address}/a/b:v1")
    assert done.code == 8, done
    assert not registry.tags["a/b"]
    assert not registry.manifests["a/b"]


def test_a_registry_that_gives_other_bytes_is_found_and_no_tag_moves(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    image(registry, "v1")
    digest = "sha256:" + hashlib.sha256(b"shared" * 1000).hexdigest()
    registry.serves_instead[digest] = b"shaped" * 1000
    for end in (f"{other.address}/c/d", "layout:out"):
        done = project.run("copy", f"{registry.address}/a/b:v1", end)
        assert done.code == 8, done
    assert not other.manifests["c/d"]
    assert not (project.root / "out/index.json").exists()


def test_a_tag_that_somebody_else_moves_meanwhile_stays_where_they_put_it(
    project: Project, registry: FakeRegistry, other: FakeRegistry
) -> None:
    image(registry, "v1")
    theirs = digest_of_theirs(other)
    words = ("copy", f"{registry.address}/a/b:v1", f"{other.address}/c/d", "--json")

    def meddle(method: str, path: str) -> None:
        if method == "POST":
            other.tags["c/d"]["v1"] = theirs

    other.before = meddle
    done = project.run(*words)
    assert done.code == 4, done
    assert theirs in done.err
    other.before = None
    assert other.tags["c/d"] == {"v1": theirs}
    assert project.run(*words, "--was", "none").code == 4
    assert project.run(*words, "--was", theirs).json()["was"] == theirs


def digest_of_theirs(registry: FakeRegistry) -> str:
    body = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    return registry.add_manifest("c/d", json.dumps(body).encode(), INDEX_TYPE)


def test_a_layout_with_several_images_wants_to_be_told_which(project: Project) -> None:
    project.build("--output", "layout:dist")
    for tag in ("a", "b"):
        done = project.run("copy", "layout:dist:tiny", f"layout:out:{tag}", "--json")
        assert done.json()["tag"] == tag
    digest = done.json()["digest"]
    assert project.run("copy", "layout:out", "layout:again").code == 2, "which of the two names?"
    assert (
        project.run("copy", f"layout:out@{digest}", "layout:bare", "--json").json()["tag"] is None
    )
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n    port: 8123\n")
    project.build("--output", "layout:out")
    done = project.run("copy", "layout:out", "layout:third")
    assert done.code == 2
    assert "hint: it has a, b, tiny" in done.err
    done = project.run("copy", "layout:out:c", "layout:third")
    assert done.code == 2
    assert "hint: it has a, b, tiny" in done.err


CALLS = [
    (("layout:", "layout:x"), "no folder is named"),
    (("layout:x", "a/b"), "no registry's host"),
    (("layout:x", "layout:y@sha256:" + 64 * "0"), "by its tag"),
    (("layout:x@sha256:12", "layout:y"), "this is no digest"),
    (("layout:x", "layout:y"), "no index.json"),
    (("layout:x", "layout:y", "--platform", "linux"), "this is no platform"),
    (("layout:x", "layout:y", "--was", "v1"), "this is no digest"),
    (("layout:x", "layout:y", "--was", "none", "--force"), "cannot go together"),
]


@pytest.mark.parametrize(("words", "said"), CALLS, ids=lambda item: str(item)[:40])
def test_a_wrong_call_is_told_and_does_nothing(
    project: Project, words: tuple[str, ...], said: str
) -> None:
    done = project.run("copy", *words)
    assert done.code == 2, done
    assert said in done.err
    assert done.out == ""
    assert not (project.root / "y").exists()


def test_an_image_that_is_not_there_is_told(project: Project, registry: FakeRegistry) -> None:
    image(registry, "v1")
    done = project.run("copy", f"{registry.address}/a/b:v2", "layout:out")
    assert done.code == 2, done
    assert "v2" in done.err
