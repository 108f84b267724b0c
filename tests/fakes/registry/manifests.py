"""Manifests by tag and by digest, lists of tags, and who refers to whom."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from tests.fakes.registry.messages import Answer, Refused, Request
from tests.fakes.registry.state import State, Stored, digest_of

LARGEST = 4 << 20
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def get(state: State, request: Request, name: str, target: str) -> Answer:
    """GET and HEAD of a manifest."""
    with state.lock:
        digest = state.tags.get(name, {}).get(target, target)
        found = state.manifests.get(name, {}).get(digest)
    if found is None:
        raise Refused(404, "MANIFEST_UNKNOWN" if state.knows(name) else "NAME_UNKNOWN")
    headers = {"Content-Type": found.media_type, **state.digest_header(request.method, digest)}
    return Answer(200, headers, state.serves_instead.get(digest, found.data))


def put(state: State, request: Request, name: str, target: str) -> Answer:
    """PUT of a manifest: its bytes and its type are kept as they came."""
    if (request.body.length or 0) > LARGEST:
        raise Refused(413, "SIZE_INVALID")
    data = request.body.read()
    digest = digest_of(data)
    document = _read(data, request.headers.get("content-type", ""))
    if target.startswith("sha256:") and target != digest and not state.ignores_digest:
        raise Refused(400, "DIGEST_INVALID", f"these bytes are {digest}")
    if not state.accepts_missing:
        _check_parts(state, name, document)
    with state.lock:
        state.manifests[name][digest] = Stored(data, request.headers["content-type"])
        if not target.startswith("sha256:"):
            state.tags[name][target] = digest
    headers = {"Location": f"/v2/{name}/manifests/{digest}"}
    subject = document.get("subject")
    if subject and not state.no_referrers:
        headers["OCI-Subject"] = subject["digest"]
    return Answer(201, {**headers, **state.digest_header(request.method, digest)})


def tags(state: State, request: Request, name: str) -> Answer:
    """GET of the tags, in order."""
    if not state.knows(name):
        raise Refused(404, "NAME_UNKNOWN")
    with state.lock:
        names = sorted(state.tags.get(name, {}))
    page, link = _page(state, request, names)
    headers = {"Content-Type": "application/json", **link}
    return Answer(200, headers, json.dumps({"name": name, "tags": page}).encode())


def referrers(state: State, request: Request, name: str, digest: str) -> Answer:
    """GET of an index of the manifests whose subject is this one."""
    if state.no_referrers:
        raise Refused(404, "UNSUPPORTED")
    with state.lock:
        held = dict(state.manifests.get(name, {}))
    found = {own: _described(own, item) for own, item in held.items() if _subject(item) == digest}
    wanted = request.query.get("artifactType")
    if wanted:
        found = {own: item for own, item in found.items() if item["artifactType"] == wanted}
    page, link = _page(state, request, sorted(found))
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [found[own] for own in page],
    }
    applied = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    headers = {"Content-Type": INDEX_TYPE, **applied, **link}
    return Answer(200, headers, json.dumps(index).encode())


def _read(data: bytes, media_type: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise Refused(400, "MANIFEST_INVALID")
    if not media_type or document.get("mediaType", media_type) != media_type:
        raise Refused(400, "MANIFEST_INVALID", f"Content-Type says {media_type!r}")
    return document


def _check_parts(state: State, name: str, document: dict[str, Any]) -> None:
    """Whoever pushes a manifest before what it names has made a mistake."""
    blobs = [*filter(None, [document.get("config")]), *document.get("layers", ())]
    missing = [item for item in blobs if state.size_of(name, item["digest"]) != item["size"]]
    held = state.manifests.get(name, {})
    missing += [item for item in document.get("manifests", ()) if item["digest"] not in held]
    if missing:
        raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"not here: {missing[0]['digest']}")


def _subject(item: Stored) -> str | None:
    subject = json.loads(item.data).get("subject")
    return subject["digest"] if subject else None


def _described(digest: str, item: Stored) -> dict[str, Any]:
    document = json.loads(item.data)
    return {
        "mediaType": item.media_type,
        "digest": digest,
        "size": len(item.data),
        "artifactType": document.get("artifactType")
        or document.get("config", {}).get("mediaType", ""),
        "annotations": document.get("annotations", {}),
    }


def _page(state: State, request: Request, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The names after `last`, `n` of them, and the Link to the next page where there is one."""
    rest = [name for name in names if name > request.query.get("last", "")]
    sizes = [int(request.query.get("n", len(rest)))]
    if state.page_size is not None:
        sizes.append(state.page_size)
    page = rest[: min(sizes)]
    if not page or len(page) == len(rest):
        return page, {}
    query = urlencode({**request.query, "n": min(sizes), "last": page[-1]})
    return page, {"Link": f'<{request.path}?{query}>; rel="next"'}
