"""The fake registry keeps the specification, and breaks it only where it is told to.

Driven by the standard library's plainest client: what the product's client does with it is
another test.
"""

import base64
import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urlencode, urlsplit

import pytest

from tests.fakes.registry import FakeRegistry, digest_of

DATA = bytes(range(256)) * 40
DIGEST = digest_of(DATA)
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
UPLOADS = "/v2/a/b/blobs/uploads/"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


class Answered:
    """A response, read to its end."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


def ask(
    registry: FakeRegistry, method: str, address: str, body: object = None, **headers: str
) -> Answered:
    """One request on a connection of its own. Names of headers are written with `_`."""
    found = urlsplit(address)
    connection = HTTPConnection(found.netloc or registry.address, timeout=5)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    target = found.path + (f"?{found.query}" if found.query else "")
    try:
        connection.request(method, target, body, named)  # type: ignore[arg-type]
        return Answered(connection.getresponse())
    finally:
        connection.close()


def begin(registry: FakeRegistry) -> str:
    begun = ask(registry, "POST", UPLOADS)
    assert begun.status == 202
    return begun.headers["Location"]


def finish(
    registry: FakeRegistry, location: str, body: bytes = b"", digest: str = DIGEST
) -> Answered:
    return ask(registry, "PUT", f"{location}&{urlencode({'digest': digest})}", body)


def manifest(subject: str = "") -> bytes:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "text/plain", "digest": DIGEST, "size": len(DATA)},
        "layers": [],
    }
    if subject:
        document["subject"] = {"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1}
    return json.dumps(document, indent=3).encode()


def put_manifest(registry: FakeRegistry, data: bytes, target: str) -> Answered:
    return ask(registry, "PUT", f"/v2/a/b/manifests/{target}", data, content_type=MANIFEST_TYPE)


def test_a_blob_goes_in_whole_and_comes_out_in_part(registry: FakeRegistry) -> None:
    assert ask(registry, "HEAD", f"/v2/a/b/blobs/{DIGEST}").status == 404
    assert finish(registry, begin(registry), DATA).status == 201
    head = ask(registry, "HEAD", f"/v2/a/b/blobs/{DIGEST}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(DATA)))
    part = ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}", range="bytes=100-299")
    assert (part.status, part.body) == (206, DATA[100:300])
    assert ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}", range="bytes=99999-").status == 416
    assert registry.uploads == {}


def test_pieces_may_be_streamed_and_their_offset_is_told(registry: FakeRegistry) -> None:
    location = begin(registry)
    streamed = ask(registry, "PATCH", location, iter([DATA[:1000], DATA[1000:3000]]))
    assert (streamed.status, streamed.headers["Range"]) == (202, "0-2999")
    told = ask(registry, "GET", streamed.headers["Location"])
    assert (told.status, told.headers["Range"]) == (204, "0-2999")
    wrong = ask(registry, "PATCH", location, DATA[4000:], content_range="4000-10239")
    assert (wrong.status, wrong.headers["Range"]) == (416, "0-2999")
    right = ask(registry, "PATCH", location, DATA[3000:], content_range="3000-10239")
    assert finish(registry, right.headers["Location"]).status == 201
    assert registry.blobs["a/b"] == {DIGEST: DATA}


def test_what_is_not_the_digest_is_refused_unless_told(registry: FakeRegistry) -> None:
    assert finish(registry, begin(registry), b"other").code == "DIGEST_INVALID"
    assert registry.blobs == {}
    registry.ignores_digest = True
    assert finish(registry, begin(registry), b"other").status == 201


def test_an_upload_wants_its_whole_location_back(registry: FakeRegistry) -> None:
    location = begin(registry)
    assert ask(registry, "PATCH", location.partition("?")[0], DATA).code == "BLOB_UPLOAD_INVALID"
    assert ask(registry, "DELETE", location).status == 204
    assert ask(registry, "GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_mount_gives_the_blob_or_an_upload(registry: FakeRegistry) -> None:
    registry.add_blob("home", DATA)
    mount = f"{UPLOADS}?mount={DIGEST}&from="
    assert ask(registry, "POST", mount + "elsewhere").status == 202
    assert ask(registry, "POST", mount + "home").status == 201
    assert ask(registry, "HEAD", f"/v2/a/b/blobs/{DIGEST}").status == 200
    registry.no_mount = True
    assert ask(registry, "POST", mount + "home").status == 202


def test_a_cut_upload_goes_on_where_it_broke(registry: FakeRegistry) -> None:
    registry.cut_after = [2500]
    location = begin(registry)
    with pytest.raises((ConnectionError, HTTPException)):
        ask(registry, "PATCH", location, DATA)
    assert ask(registry, "GET", location).headers["Range"] == "0-2499"
    assert finish(registry, location, DATA[2500:]).status == 201
    assert [asked.received for asked in registry.requests if asked.method == "PUT"] == [7740]


def test_a_cut_may_cost_what_came_before_it(registry: FakeRegistry) -> None:
    registry.cut_after, registry.forgets_cut = [2500], True
    location = ask(registry, "PATCH", begin(registry), DATA[:1000]).headers["Location"]
    with pytest.raises((ConnectionError, HTTPException)):
        ask(registry, "PATCH", location, DATA[1000:])
    assert ask(registry, "GET", location).headers["Range"] == "0-999"
    assert finish(registry, location, DATA[1000:]).status == 201


def test_a_client_that_dies_leaves_what_it_had_sent(registry: FakeRegistry) -> None:
    def dying() -> Iterator[bytes]:
        yield DATA[:1500]
        raise KeyboardInterrupt

    location = begin(registry)
    with pytest.raises(KeyboardInterrupt):
        ask(registry, "PATCH", location, dying())
    for _ in range(100):  # its end may arrive after our question
        found = ask(registry, "GET", location).headers["Range"]
        if found == "0-1499":
            break
        time.sleep(0.02)
    assert found == "0-1499"


def test_a_cut_download_ends_early(registry: FakeRegistry) -> None:
    registry.add_blob("a/b", DATA)
    registry.cut_download_after = [300]
    with pytest.raises(HTTPException) as cut:
        ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}")
    assert cut.value.partial == DATA[:300]  # type: ignore[attr-defined]
    assert ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}").body == DATA


def test_manifests_are_kept_byte_for_byte(registry: FakeRegistry) -> None:
    data = manifest()
    assert put_manifest(registry, data, "v1").code == "MANIFEST_BLOB_UNKNOWN"
    registry.add_blob("a/b", DATA)
    assert put_manifest(registry, data, digest_of(b"")).code == "DIGEST_INVALID"
    assert put_manifest(registry, data, "v1").status == 201
    for target in ("v1", digest_of(data)):
        found = ask(registry, "GET", f"/v2/a/b/manifests/{target}")
        assert (found.body, found.headers["Content-Type"]) == (data, MANIFEST_TYPE)
        assert found.headers["Docker-Content-Digest"] == digest_of(data)
    assert ask(registry, "GET", "/v2/a/b/manifests/v2").code == "MANIFEST_UNKNOWN"


def test_tags_come_in_pages(registry: FakeRegistry) -> None:
    registry.add_manifest("a/b", manifest(), MANIFEST_TYPE, "c", "a", "b")
    first = ask(registry, "GET", "/v2/a/b/tags/list?n=2")
    assert json.loads(first.body) == {"name": "a/b", "tags": ["a", "b"]}
    address = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    last = ask(registry, "GET", address)
    assert (json.loads(last.body)["tags"], last.headers["Link"]) == (["c"], None)
    assert ask(registry, "GET", "/v2/none/tags/list").code == "NAME_UNKNOWN"


def test_who_has_a_subject_is_found_from_it(registry: FakeRegistry) -> None:
    subject = digest_of(b"not here yet")
    registry.add_blob("a/b", DATA)
    assert put_manifest(registry, manifest(subject), "v1").headers["OCI-Subject"] == subject
    found = json.loads(ask(registry, "GET", f"/v2/a/b/referrers/{subject}").body)
    assert [item["digest"] for item in found["manifests"]] == [digest_of(manifest(subject))]
    none = ask(registry, "GET", f"/v2/a/b/referrers/{subject}?artifactType=other/type")
    assert json.loads(none.body)["manifests"] == []
    assert none.headers["OCI-Filters-Applied"] == "artifactType"
    registry.no_referrers = True
    assert ask(registry, "GET", f"/v2/a/b/referrers/{subject}").status == 404
    assert put_manifest(registry, manifest(subject), "v2").headers["OCI-Subject"] is None


def test_tokens_open_what_they_name_until_they_are_revoked(registry: FakeRegistry) -> None:
    registry.auth, registry.users = "bearer", {"me": "secret"}
    refused = ask(registry, "POST", UPLOADS)
    assert refused.headers["WWW-Authenticate"] == (
        f'Bearer realm="{registry.url}/token",service="{registry.address}",'
        'scope="repository:a/b:pull,push"'
    )
    basic = "Basic " + base64.b64encode(b"me:secret").decode()
    address = "/token?scope=repository:a/b:pull,push"
    assert ask(registry, "GET", address).status == 401
    token = json.loads(ask(registry, "GET", address, authorization=basic).body)["token"]
    bearer = f"Bearer {token}"
    assert ask(registry, "POST", UPLOADS, authorization=bearer).status == 202
    assert ask(registry, "POST", "/v2/other/blobs/uploads/", authorization=bearer).status == 401
    assert registry.scopes == ["repository:a/b:pull,push"]
    registry.revoke()
    assert ask(registry, "POST", UPLOADS, authorization=bearer).status == 401


def test_a_mount_needs_to_read_the_home_too(registry: FakeRegistry) -> None:
    registry.auth = "bearer"
    registry.add_blob("home", DATA)
    mount = f"{UPLOADS}?mount={DIGEST}&from=home"
    own = f"Bearer {registry.issue('repository:a/b:pull,push')}"
    refused = ask(registry, "POST", mount, authorization=own)
    assert 'scope="repository:a/b:pull,push repository:home:pull"' in str(refused.headers)
    both = f"Bearer {registry.issue('repository:a/b:pull,push', 'repository:home:pull')}"
    assert ask(registry, "POST", mount, authorization=both).status == 201


def test_an_identity_token_is_changed_for_a_token(registry: FakeRegistry) -> None:
    registry.auth, registry.identity_tokens, registry.token_uses = "bearer", {"long": "me"}, 1
    form = {"grant_type": "refresh_token", "refresh_token": "long", "scope": "repository:a:pull"}
    given = ask(registry, "POST", "/token", urlencode(form).encode())
    bearer = f"Bearer {json.loads(given.body)['access_token']}"
    assert [ask(registry, "GET", "/v2/", authorization=bearer).status for _ in "12"] == [200, 401]


def test_the_other_origin_takes_signed_addresses_only(registry: FakeRegistry) -> None:
    registry.add_blob("a/b", DATA)
    registry.redirect_blobs, registry.location = True, "other-host"
    there = ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}").headers["Location"]
    assert ask(registry, "GET", there).body == DATA
    assert ask(registry, "GET", there, authorization="Basic bWU6").status == 400
    assert ask(registry, "GET", there.partition("?")[0]).status == 403
    location = begin(registry)
    assert urlsplit(location).netloc == registry.other_address
    assert finish(registry, location, DATA).status == 201
    assert [asked.method for asked in registry.other_requests] == ["GET", "GET", "GET", "PUT"]


def test_failures_are_used_up_in_order(registry: FakeRegistry) -> None:
    registry.fail = [("GET", "/tags/", 429, {"Retry-After": "7"}), ("GET|HEAD", "/v2/$", 503, {})]
    assert ask(registry, "GET", "/v2/").status == 503
    limited = ask(registry, "GET", "/v2/a/b/tags/list")
    assert (limited.code, limited.headers["Retry-After"]) == ("TOOMANYREQUESTS", "7")
    assert ask(registry, "GET", "/v2/").status == 200


def test_too_large_a_piece_leaves_the_upload_as_it_was(registry: FakeRegistry) -> None:
    registry.max_chunk = 4000
    location = begin(registry)
    assert ask(registry, "PATCH", location, DATA[:4000]).status == 202
    assert ask(registry, "PATCH", location, DATA[:4001]).status == 413
    assert ask(registry, "PATCH", location, iter([DATA[:3000], DATA[:3000]])).status == 413
    assert ask(registry, "GET", location).headers["Range"] == "0-3999"
    registry.max_chunk, registry.max_blob = None, len(DATA) - 1
    assert finish(registry, location, DATA[4000:]).status == 413
    registry.max_blob = len(DATA)
    assert finish(registry, location, DATA[4000:]).status == 201


def test_each_peculiarity_shows(registry: FakeRegistry) -> None:
    location = begin(registry)
    registry.wrong_range = 77
    assert ask(registry, "GET", location).headers["Range"] == "0-76"
    registry.requires_content_range = True
    assert ask(registry, "PATCH", location, DATA).status == 416
    assert ask(registry, "PATCH", location, DATA, content_range="0-10239").status == 202
    registry.lose_session_after = [1]
    assert ask(registry, "PATCH", location, DATA).code == "BLOB_UPLOAD_UNKNOWN"
    registry.patch_unsupported = True
    assert ask(registry, "PATCH", begin(registry), DATA).code == "UNSUPPORTED"
    registry.push_denied = True
    assert ask(registry, "POST", UPLOADS).code == "DENIED"


def test_lies_are_told_where_they_are_asked_for(registry: FakeRegistry) -> None:
    registry.wrong_digest_for, registry.no_digest_for = {"PUT"}, {"HEAD"}
    assert finish(registry, begin(registry), DATA).headers["Docker-Content-Digest"] != DIGEST
    head = ask(registry, "HEAD", f"/v2/a/b/blobs/{DIGEST}")
    assert head.headers["Docker-Content-Digest"] is None
    registry.serves_instead[DIGEST] = b"rotten"
    assert ask(registry, "GET", f"/v2/a/b/blobs/{DIGEST}").body == b"rotten"


def test_sizes_may_be_larger_than_memory(registry: FakeRegistry) -> None:
    registry.pretend[DIGEST] = 30 << 30
    head = ask(registry, "HEAD", f"/v2/any/blobs/{DIGEST}")
    assert head.headers["Content-Length"] == str(30 << 30)
    registry.pretend, registry.discard = {}, True
    location = begin(registry)
    assert finish(registry, location, b"other").status == 400
    assert finish(registry, begin(registry), DATA).status == 201
    assert registry.discarded["a/b"] == {DIGEST: len(DATA)}
    assert registry.blobs == {}


def test_a_hook_may_move_a_tag_between_two_requests(registry: FakeRegistry) -> None:
    registry.add_manifest("a/b", manifest(), MANIFEST_TYPE, "v1")
    second = registry.add_manifest("a/b", manifest(DIGEST), MANIFEST_TYPE)
    registry.before = lambda _method, _path: registry.tags["a/b"].update(v1=second)
    found = ask(registry, "HEAD", "/v2/a/b/manifests/v1")
    assert found.headers["Docker-Content-Digest"] == second


def test_a_fault_of_a_hook_is_not_lost() -> None:
    def before(method: str, path: str) -> None:
        raise RuntimeError(f"no {method} {path}")

    def run() -> None:
        with FakeRegistry(before=before) as running:
            assert ask(running, "GET", "/v2/").status == 500

    with pytest.raises(RuntimeError, match="no GET /v2/"):
        run()
