"""A client and a registry that errs, lies and breaks off."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.core.manifest import INDEX_TYPE, Manifest, read
from ovenproof.errors import BadCall, NoAccess, OvenproofError, Several, TryAgain, WrongBytes
from ovenproof.net.crew import each
from ovenproof.registry.client import Blob, Registries, Remote
from ovenproof.registry.reference import Repository
from ovenproof.registry.referrers import with_entry
from tests.fakes.registry import FakeRegistry, digest_of

NAME = "team/models"
DATA = bytes(range(256)) * 400
CONTENT = Content.of(DATA)
WAITS_S = (0.001, 0.001, 0.001)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], Registries]]:
    made: list[Registries] = []

    def make() -> Registries:
        made.append(Registries(environment={}, home=tmp_path, waits_s=WAITS_S))
        return made[-1]

    yield make
    for registries in made:
        registries.close()


@pytest.fixture
def remote(registry: FakeRegistry, connect: Callable[[], Registries]) -> Remote:
    return connect().at(Repository(registry.address, NAME))


def blob(data: bytes = DATA, *homes: Repository, promised: Content | None = None) -> Blob:
    def pieces(offset: int) -> Iterator[bytes]:
        return (data[start : start + 10_000] for start in range(offset, len(data), 10_000))

    return Blob(content=promised or Content.of(data), title="weights", open=pieces, homes=homes)


def manifest(text: str = "x", subject: Manifest | None = None) -> Manifest:
    config: Json = {"mediaType": "application/x.test", "digest": digest_of(b"{}"), "size": 2}
    document: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": [],
        "annotations": {"text": text},
    }
    if subject:
        document["subject"] = {
            "mediaType": MANIFEST_TYPE,
            "digest": str(subject.digest.digest),
            "size": subject.digest.size,
        }
    return read(canonical_json(document), name="test")


def methods(registry: FakeRegistry) -> list[str]:
    return [asked.method for asked in registry.requests]


def test_what_is_uploaded_is_there(registry: FakeRegistry, remote: Remote) -> None:
    heard: list[int] = []
    assert not remote.has(CONTENT)

    done = remote.upload(blob(), heard=heard.append)

    assert done.sent == sum(heard) == len(DATA)
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA
    assert remote.has(CONTENT)
    assert b"".join(remote.open(CONTENT)) == DATA
    assert b"".join(remote.open(CONTENT, 1000)) == DATA[1000:]


def test_an_interrupted_upload_is_ended_so_that_nothing_of_it_is_lost(
    registry: FakeRegistry, remote: Remote, connect: Callable[[], Registries]
) -> None:
    registry.forgets_cut = True  # as distribution 2.8: what ends amid a request is thrown away
    sessions: list[str] = []
    heard = 0

    def interrupt(size: int) -> None:
        nonlocal heard
        heard += size
        if heard > 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remote.upload(blob(), began=sessions.append, heard=interrupt)
    done = connect().at(Repository(registry.address, NAME)).upload(blob(), resume=sessions[-1])

    assert done.sent == len(DATA) - 50_000
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


@pytest.mark.parametrize(
    "behaviour", [{"patch_unsupported": True}, {"requires_content_range": True}]
)
def test_an_interrupted_upload_that_must_say_its_size_is_cut(
    registry: FakeRegistry, remote: Remote, behaviour: dict[str, Any]
) -> None:
    for name, value in behaviour.items():
        setattr(registry, name, value)

    def interrupt(_size: int) -> None:
        if "PATCH" in methods(registry):
            raise KeyboardInterrupt  # while the second try is on its way

    with pytest.raises(KeyboardInterrupt):
        remote.upload(blob(), heard=interrupt)
    assert str(CONTENT.digest) not in registry.blobs.get(NAME, {})


def test_a_blob_is_mounted_from_its_home(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_blob("team/other", DATA)
    home = Repository(registry.address, "team/other")

    done = remote.upload(blob(DATA, home))

    assert (done.sent, done.mounted_from) == (0, home)
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


def test_an_upload_that_is_cut_goes_on(registry: FakeRegistry, remote: Remote) -> None:
    registry.cut_after = [50_000]

    remote.upload(blob())

    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA
    assert methods(registry) == ["POST", "PATCH", "GET", "PATCH", "PUT"]
    assert registry.requests[3].received == len(DATA) - 50_000


def test_another_process_sends_the_rest_only(
    registry: FakeRegistry, connect: Callable[[], Registries]
) -> None:
    registry.cut_after = [60_000]
    sessions: list[str] = []
    killed = connect().at(Repository(registry.address, NAME))
    heard: list[int] = []

    def dies(size: int) -> None:
        heard.append(size)
        if sum(heard) > 70_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.upload(blob(), began=sessions.append, heard=dies)
    (upload,) = registry.uploads.values()
    with upload.lock:  # the registry has let go of what was cut
        there = upload.size
    done = connect().at(Repository(registry.address, NAME)).upload(blob(), resume=sessions[-1])

    assert done.sent == len(DATA) - there
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


@pytest.mark.parametrize(
    "odd",
    [
        {"patch_unsupported": True},
        {"requires_content_range": True},
        {"location": "absolute"},
        {"location": "other-host"},
        {"no_mount": True},
        {"cut_after": [30_000], "wrong_range": 99_999_999},
        {"cut_after": [30_000], "wrong_range": 20_000},
        {"cut_after": [30_000], "forgets_cut": True},
        {"cut_after": [30_000], "lose_session_after": [0]},
        {"fail": [("PATCH", "uploads", 503, {}), ("PUT", "uploads", 502, {})]},
        {"fail": [("POST", "uploads", 429, {"Retry-After": "0"})]},
        {"fail": [("POST", "uploads", 0, {}), ("PUT", "uploads", 0, {})]},
        {"no_digest_for": {"PUT", "HEAD", "GET"}},
    ],
    ids=str,
)
def test_an_odd_registry_gets_the_very_bytes_all_the_same(
    registry: FakeRegistry, remote: Remote, odd: dict[str, Any]
) -> None:
    for name, value in odd.items():
        setattr(registry, name, value)

    remote.upload(blob())

    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


def none(_result: object) -> None:
    """Nobody asks for the result."""


def log_in(home: Path, registry: FakeRegistry) -> None:
    registry.users = {"me": "secret"}
    login = {"auths": {registry.address: {"username": "me", "password": "secret"}}}
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps(login))


def test_a_login_is_not_sent_to_another_origin(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.location, registry.redirect_blobs = "basic", "other-host", True
    remote = connect().at(Repository(registry.address, NAME))

    remote.upload(blob())

    assert b"".join(remote.open(CONTENT)) == DATA
    assert registry.other_requests
    assert not [ask for ask in registry.other_requests if "authorization" in ask.headers]


def test_a_token_that_ends_in_mid_upload_is_renewed(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.token_uses = "bearer", 2

    connect().at(Repository(registry.address, NAME)).upload(blob())

    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA
    assert len(registry.tokens) > 1


def test_tokens_for_one_request_each_bring_a_whole_upload_through(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.token_uses = "bearer", 1
    registry.cut_after = [30_000, 60_000]
    remote = connect().at(Repository(registry.address, NAME))

    remote.upload(blob())
    for number in range(20):
        assert remote.has(CONTENT), number

    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


@pytest.mark.parametrize("uses", [1, 3])
def test_many_threads_with_short_tokens_get_through(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path, uses: int
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.token_uses = "bearer", uses
    remote = connect().at(Repository(registry.address, NAME))
    blobs = [blob(bytes([number]) * 20_000) for number in range(32)]

    each(lambda one: none(remote.upload(one)), blobs, 8)

    assert {str(one.content.digest) for one in blobs} <= set(registry.blobs[NAME])


def test_many_threads_that_may_not_push_ask_for_few_tokens(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.pull_tokens_only = "bearer", True
    remote = connect().at(Repository(registry.address, NAME))

    with pytest.raises((NoAccess, Several)) as caught:
        each(lambda one: none(remote.upload(one)), [blob(bytes([n])) for n in range(8)], 8)

    fault = caught.value
    assert {type(one) for one in getattr(fault, "faults", (fault,))} == {NoAccess}
    # What one request alone was refused with ends it; any other token was for two at least.
    assert len(registry.tokens) <= 8 + 8


def test_where_a_token_for_a_mount_is_refused_the_blob_is_sent(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth, registry.secret_repositories = "bearer", {"team/secret"}
    home = Repository(registry.address, "team/secret")
    registry.add_blob(home.name, DATA)
    remote = connect().at(Repository(registry.address, NAME))

    done = remote.upload(blob(DATA, home))

    assert (done.sent, done.mounted_from) == (len(DATA), None)
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


def test_who_has_no_login_is_told_to_get_one(registry: FakeRegistry, remote: Remote) -> None:
    registry.auth = "basic"

    with pytest.raises(NoAccess, match=f"docker login {registry.address}"):
        remote.has(CONTENT)
    with pytest.raises(NoAccess, match=f"docker login {registry.address}"):
        remote.upload(blob())
    with pytest.raises(NoAccess, match=f"docker login {registry.address}"):
        list(remote.open(CONTENT))


def test_a_registry_that_names_another_digest_is_not_believed(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.wrong_digest_for = {"PUT", "HEAD", "GET"}
    registry.add_blob(NAME, b"{}")
    registry.blobs[NAME][str(CONTENT.digest)] = DATA
    one = manifest()

    with pytest.raises(WrongBytes):
        remote.has(CONTENT)
    with pytest.raises(WrongBytes):
        remote.upload(blob())
    with pytest.raises(WrongBytes):
        remote.put_manifest(one, "v1")
    registry.add_manifest(NAME, one.data, MANIFEST_TYPE, "v1")
    with pytest.raises(WrongBytes):
        remote.manifest("v1")
    with pytest.raises(WrongBytes):
        remote.head(str(one.digest.digest))


def test_another_size_under_a_digest_is_wrong_bytes(registry: FakeRegistry, remote: Remote) -> None:
    registry.pretend[str(CONTENT.digest)] = 5

    with pytest.raises(WrongBytes):
        remote.has(CONTENT)


def test_wrong_bytes_of_a_blob_are_never_given_out_whole(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.add_blob(NAME, DATA)
    registry.serves_instead[str(CONTENT.digest)] = DATA[:-1] + b"x"
    taken = bytearray()

    with pytest.raises(WrongBytes):
        taken.extend(byte for chunk in remote.open(CONTENT) for byte in chunk)

    assert len(taken) < len(DATA)


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1]], ids=["longer", "shorter"])
def test_a_blob_of_another_length_is_wrong_bytes(
    registry: FakeRegistry, remote: Remote, data: bytes
) -> None:
    registry.add_blob(NAME, DATA)
    registry.serves_instead[str(CONTENT.digest)] = data

    with pytest.raises(WrongBytes):
        list(remote.open(CONTENT))


@pytest.mark.parametrize("ignores", [False, True])
def test_a_download_that_is_cut_goes_on(
    registry: FakeRegistry, remote: Remote, ignores: bool
) -> None:
    registry.add_blob(NAME, DATA)
    registry.cut_download_after = [20_000, 10_000]
    registry.ignores_ranges = ignores

    assert b"".join(remote.open(CONTENT)) == DATA
    assert "bytes=20000-" in [ask.headers.get("range") for ask in registry.requests]


def test_a_source_that_has_other_bytes_lets_its_session_go(
    registry: FakeRegistry, remote: Remote
) -> None:
    for promised in (Content(CONTENT.digest, 102_399), Content(CONTENT.digest, 102_401)):
        with pytest.raises(WrongBytes):
            remote.upload(blob(promised=promised))

    assert registry.uploads == {}
    assert registry.blobs[NAME] == {}


def test_wrong_bytes_that_were_sent_are_found_by_the_registry(
    registry: FakeRegistry, remote: Remote
) -> None:
    with pytest.raises(WrongBytes):
        remote.upload(blob(promised=Content(Digest.of(b"other"), len(DATA))))


def test_a_manifest_comes_back_byte_for_byte(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_blob(NAME, b"{}")
    one = manifest()
    digest = one.digest.digest
    assert remote.head("v1") is None
    assert remote.manifest("v1") is None

    remote.put_manifest(one, str(digest))
    remote.put_manifest(one, "v1")

    assert remote.head("v1") == remote.head(str(digest)) == digest
    found = remote.manifest("v1")
    assert found is not None
    assert found.data == one.data
    assert set(registry.tags[NAME]) == {"v1"}


def test_where_a_head_says_no_digest_the_manifest_is_read(
    registry: FakeRegistry, remote: Remote
) -> None:
    one = manifest()
    registry.add_manifest(NAME, one.data, MANIFEST_TYPE, "v1")
    registry.no_digest_for = {"HEAD"}

    assert remote.head("v1") == one.digest.digest


def test_a_manifest_that_is_not_its_digest_is_wrong_bytes(
    registry: FakeRegistry, remote: Remote
) -> None:
    one = manifest()
    digest = registry.add_manifest(NAME, one.data, MANIFEST_TYPE, "v1")
    registry.serves_instead[digest] = manifest("another").data

    for target in ("v1", digest):
        with pytest.raises(WrongBytes):
            remote.manifest(target)


@pytest.mark.parametrize("api", [True, False])
def test_referrers_are_found_with_and_without_the_api(
    registry: FakeRegistry, remote: Remote, api: bool
) -> None:
    registry.no_referrers = not api
    registry.page_size = 1
    registry.add_blob(NAME, b"{}")
    image = manifest("image")
    subject = image.digest.digest
    remote.put_manifest(image, "v1")
    assert remote.referrers(subject) == ()

    for text in ("one", "two", "two"):
        remote.refer(manifest(text, image))

    wanted = {manifest(text, image).digest for text in ("one", "two")}
    assert {found.content for found in remote.referrers(subject)} == wanted
    assert len(remote.referrers(subject, "application/x.test")) == 2
    assert remote.referrers(subject, "application/x.other") == ()
    assert (f"sha256-{subject.hex}" in registry.tags[NAME]) is not api


@pytest.mark.parametrize("status", [401, 403, 429, 500])
@pytest.mark.parametrize("page", [0, 1])
def test_a_fault_is_not_taken_for_no_referrers(
    registry: FakeRegistry, remote: Remote, status: int, page: int
) -> None:
    registry.page_size, registry.accepts_missing = 1, True
    image = manifest("image")
    for text in ("one", "two"):
        remote.refer(manifest(text, image))
    asked = 0

    def fail(_method: str, path: str) -> None:
        nonlocal asked
        if "/referrers/" in path:
            if asked >= page:
                registry.fail.append(("GET", "/referrers/", status, {}))
            asked += 1

    registry.before = fail

    with pytest.raises(OvenproofError, match="who refers to"):
        remote.referrers(image.digest.digest)


def test_a_referrer_that_another_one_has_written_over_is_written_again(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.no_referrers = registry.accepts_missing = True
    image, theirs, ours = manifest("image"), manifest("theirs"), manifest("ours")
    tag = f"sha256-{image.digest.digest.hex}"
    listed = with_entry(None, theirs)
    overwritten = 0

    def overwrite(method: str, path: str) -> None:
        nonlocal overwritten
        asked = [ask.method for ask in registry.requests if ask.path.endswith(tag)]
        if method == "GET" and path.endswith(tag) and "PUT" in asked and overwritten < 2:
            overwritten += 1
            registry.add_manifest(NAME, listed, INDEX_TYPE, tag)

    registry.before = overwrite
    ours = manifest("ours", image)
    remote.refer(ours)

    found = {item.content for item in remote.referrers(image.digest.digest)}
    assert found == {theirs.digest, ours.digest}
    assert overwritten == 2


def test_a_list_of_referrers_that_never_keeps_ours_is_told(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.no_referrers = registry.accepts_missing = True
    image = manifest("image")
    tag = f"sha256-{image.digest.digest.hex}"
    listed = with_entry(None, manifest("theirs"))

    def overwrite(method: str, path: str) -> None:
        if method == "GET" and path.endswith(tag):
            registry.add_manifest(NAME, listed, INDEX_TYPE, tag)

    registry.before = overwrite

    with pytest.raises(TryAgain, match=tag):
        remote.refer(manifest("ours", image))
    puts = [ask for ask in registry.requests if ask.method == "PUT" and ask.path.endswith(tag)]
    assert len(puts) == 5


@pytest.mark.parametrize("data", [b'{"manifests": [{"size": 1.5}]}', manifest("image").data])
def test_a_list_of_referrers_that_is_none_is_named_by_its_tag(
    registry: FakeRegistry, remote: Remote, data: bytes
) -> None:
    registry.no_referrers = registry.accepts_missing = True
    image = manifest("image")
    tag = f"sha256-{image.digest.digest.hex}"
    kind = INDEX_TYPE if b"manifests" in data else MANIFEST_TYPE
    registry.add_manifest(NAME, data, kind, tag)

    with pytest.raises(WrongBytes, match=tag):
        remote.refer(manifest("ours", image))
    with pytest.raises(WrongBytes, match=tag):
        remote.referrers(image.digest.digest)


@pytest.mark.parametrize("target", ["../../other/manifests/v1", "a b", "", "sha256:12", "v1?x=1"])
def test_what_is_neither_tag_nor_digest_is_asked_of_nobody(
    registry: FakeRegistry, remote: Remote, target: str
) -> None:
    for ask in (remote.head, remote.manifest):
        with pytest.raises(BadCall, match="neither a tag nor a digest"):
            ask(target)
    with pytest.raises(OvenproofError if ":" not in target else ValueError):
        remote.put_manifest(manifest(), target)
    assert registry.requests == []


def test_who_will_push_says_so_with_the_first_question(
    registry: FakeRegistry, connect: Callable[[], Registries], tmp_path: Path
) -> None:
    log_in(tmp_path, registry)
    registry.auth = "bearer"
    repository = Repository(registry.address, NAME)

    assert not connect().at(repository, writes=True).has(CONTENT)
    assert connect().at(repository, writes=True).head("v1") is None
    assert set(registry.scopes) == {f"repository:{NAME}:pull,push"}

    connect().at(repository).has(CONTENT)
    assert registry.scopes[-1] == f"repository:{NAME}:pull"


@pytest.mark.parametrize(
    "there",
    [
        "http://127.0.0.1:9/u",
        "https://registry.invalid/u",
        "http://far.example/u",
        "http://bad:port/",
    ],
)
def test_a_session_that_leads_nowhere_begins_anew_without_a_wait(
    registry: FakeRegistry, tmp_path: Path, there: str
) -> None:
    with Registries(environment={}, home=tmp_path, waits_s=()) as impatient:
        done = impatient.at(Repository(registry.address, NAME)).upload(blob(), resume=there)

    assert done.sent == len(DATA)
    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


def test_a_session_where_no_patch_is_known_is_let_go_wherever_it_leads(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    with Registries(environment={}, home=tmp_path, waits_s=()) as impatient:
        remote = impatient.at(Repository(registry.address, NAME))
        remote.limits = replace(remote.limits, patch=False)
        remote.upload(blob(), resume="http://far.example/u")

    assert registry.blobs[NAME][str(CONTENT.digest)] == DATA


def test_a_no_says_what_to_do_and_tells_no_secret(registry: FakeRegistry, remote: Remote) -> None:
    registry.push_denied = True

    with pytest.raises(NoAccess) as raised:
        remote.upload(blob())

    assert f"docker login {registry.address}" in str(raised.value)
    assert "DENIED" in str(raised.value)


def test_a_body_that_is_too_large_says_whose_limit_it_may_be(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.max_chunk = 1000

    with pytest.raises(NoAccess, match="client_max_body_size"):
        remote.upload(blob())


def test_who_asks_for_a_long_wait_is_told_of_and_not_waited_for(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.fail = [("HEAD", ".*", 429, {"Retry-After": "3600"})]

    with pytest.raises(TryAgain, match="after 3600 s"):
        remote.has(CONTENT)


def test_faults_that_pass_are_not_noticed(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_blob(NAME, DATA)
    registry.fail = [("HEAD", ".*", status, {}) for status in (503, 0, 500)]

    assert remote.has(CONTENT)


def test_faults_that_stay_end_it(registry: FakeRegistry, remote: Remote) -> None:
    registry.fail = [(".*", "uploads", 503, {})] * 50

    with pytest.raises(TryAgain):
        remote.upload(blob())

    assert len(registry.requests) == 1 + len(WAITS_S)


def test_the_signature_of_an_address_is_in_no_error(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_blob(NAME, DATA)
    registry.redirect_blobs = True
    del registry.blobs[NAME][str(CONTENT.digest)]
    registry.pretend[str(CONTENT.digest)] = len(DATA)

    with pytest.raises(OvenproofError) as raised:
        list(remote.open(CONTENT))

    assert "signature" not in str(raised.value)
    assert registry.other_address in str(raised.value)


def test_a_cancelled_session_is_gone_and_may_be_cancelled_again(
    registry: FakeRegistry, remote: Remote
) -> None:
    sessions: list[str] = []
    registry.fail = [("PATCH", ".*", 403, {})]
    with pytest.raises(NoAccess):
        remote.upload(blob(), began=sessions.append)
    assert registry.uploads

    remote.cancel(sessions[-1])
    remote.cancel(sessions[-1])

    assert not registry.uploads
