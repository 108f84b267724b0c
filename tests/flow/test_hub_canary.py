"""A token of the hub: planted, used, and then looked for in everything that is produced."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import FIRST, MODEL, NAME, TOKEN, config, serve

if TYPE_CHECKING:
    from tests.flow.conftest import Done, Project


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN, other_tokens={"hf_other"}) as hub:
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def shapes() -> tuple[bytes, ...]:
    """How the token could stand somewhere."""
    plain = TOKEN.encode()
    return (plain, base64.b64encode(plain), plain.hex().encode(), b"Bearer " + plain)


def search(
    project: Project, hub: FakeHub, registry: FakeRegistry, said: list[Done]
) -> Iterator[str]:
    """Where the token stands and must not."""
    signatures = tuple(one.encode() for one in hub.signatures)
    for path in (*project.root.parent.rglob("*"),):
        if path.is_file() and path != project.home / "shared/token":
            data = path.read_bytes()
            if any(shape in data for shape in (*shapes(), *signatures)):
                yield str(path)
        if TOKEN in path.name:
            yield str(path)
    held = {**registry.blobs[NAME]}
    held |= {digest: stored.data for digest, stored in registry.manifests[NAME].items()}
    yield from (key for key, data in held.items() if any(shape in data for shape in shapes()))
    for asked in registry.requests:
        if any(shape.decode() in f"{asked.path} {dict(asked.headers)}" for shape in shapes()):
            yield f"{asked.method} {asked.path} of the registry"
    for there in hub.cdn_requests:
        if "authorization" in there.headers or TOKEN in str(there.headers):
            yield f"{there.method} {there.path} of the CDN"
    for done in said:
        text = (done.out + done.err).encode()
        if any(shape in text for shape in (*shapes(), *signatures)):
            yield done.out + done.err


@pytest.mark.parametrize("place", ["HF_TOKEN", "a file"])
def test_the_token_opens_a_gated_model_and_stands_nowhere(
    project: Project, hub: FakeHub, registry: FakeRegistry, place: str
) -> None:
    repository = serve(hub, project, gated=True)
    if place == "HF_TOKEN":
        project.environment["HF_TOKEN"] = TOKEN
    else:
        project.environment["HF_HOME"] = str(project.home / "shared")
        (project.home / "shared").mkdir()
        (project.home / "shared/token").write_text(f"{TOKEN}\n")
    to = f"{registry.address}/{NAME}"
    said = [
        project.run("lock", "--model", "tiny", "--json"),
        project.run("push", "--model", "tiny", "--to", to, "--json"),
    ]
    if place == "HF_TOKEN":
        said += [
            project.run("push", "--model", "tiny", "--to", to, "--as", "modelpack"),
            project.build("--output", "layout:dist"),
            project.build("--output", "archive:image.tar", "--as", "weights"),
            project.run("plan", "--model", "tiny", "--json"),
        ]
    assert [done.code for done in said] == [0] * len(said), said
    repository.commit({"config.json": config(changed=1)})
    said.append(project.run("lock", "--model", "tiny", "--check"))
    said.append(project.run("lock", "--model", "tiny", "--upgrade"))
    assert [done.code for done in said[-2:]] == [4, 0], said[-2:]
    assert any("authorization" in asked.headers for asked in hub.requests)
    assert hub.cdn_requests != []
    assert [*search(project, hub, registry, said)] == []


def test_what_fails_says_nothing_of_it_either(
    project: Project, hub: FakeHub, registry: FakeRegistry
) -> None:
    repository = serve(hub, project, gated=True)
    project.environment["HF_TOKEN"] = TOKEN
    words = ("push", "--model", "tiny", "--to", f"{registry.address}/{NAME}")
    said = []

    def fails(code: int, *call: str, **environment: Any) -> None:
        done = project.run(*(call or words), **environment)
        assert done.code == code, done
        assert "Traceback" not in done.err
        said.append(done)

    hub.status_next = [401]
    fails(5, "lock", "--model", "tiny", "--json")
    hub.status_next = [403]
    fails(5, "lock", "--model", "tiny")
    hub.retry_after, hub.status_next = "999", [429]
    fails(6, "lock", "--model", "tiny")
    assert project.run("lock", "--model", "tiny").code == 0
    hub.status_path = "safetensors"
    for status, code in ((401, 5), (403, 5), (404, 4), (429, 6)):
        hub.status_next = [status] * 2
        fails(code)
    hub.status_next = []
    hub.location = "http://127.0.0.1:9/elsewhere?Signature=secret-signature"
    fails(6)
    hub.location = f"{hub.endpoint}/{MODEL}/resolve/main/{FIRST}?token=secret-signature"
    fails(5)
    hub.location = None
    hub.wrong_bytes = {FIRST: 5_000_000}
    fails(8)
    fails(8, "build", "--model", "tiny", "--output", "none")
    other = hub.endpoint.replace("http://", f"http://user:{TOKEN}@")
    fails(5, HF_ENDPOINT=other, HF_TOKEN="")
    hub.wrong_bytes = {}
    repository.private = True
    hub.token, hub.other_tokens = "hf_new", {TOKEN}
    fails(3, "lock", "--model", "tiny", "--upgrade")
    shutil.rmtree(project.cache / "seen", ignore_errors=True)
    hub.go_away()
    fails(6, "lock", "--model", "tiny", "--check", "--json")
    assert [*search(project, hub, registry, said)] == []
    assert not any("secret-signature" in done.out + done.err for done in said)
    assert registry.tags[NAME] == {}
