"""Downloads: who is sent where, and which bytes come."""

import gzip
import re
import secrets
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote, unquote, urlencode

from tests.fakes.hub.content import Content, Sparse
from tests.fakes.hub.door import enter
from tests.fakes.hub.listing import find
from tests.fakes.hub.messages import Answer, Refused, Request
from tests.fakes.hub.repository import Commit, Entry
from tests.fakes.hub.state import State


def resolve(state: State, request: Request, name: str, revision: str, path: str) -> Answer:
    """A file of a repository: itself, or where it is to be had."""
    commit, entry = _find(state, request, name, revision, path)
    headers = _linked(state, name, commit, entry)
    if state.location is not None:
        return Answer(302, {**headers, "Location": state.location})
    if entry.lfs and state.redirect_to_cdn:
        return Answer(302, {**headers, "Location": _signed(state, name, commit, path)})
    if not entry.lfs and state.redirect_to_cache:
        there = f"/api/resolve-cache/models/{name}/{commit.sha}/{path}"
        query = urlencode({request.path: "", "etag": f'"{entry.etag}"'})
        return Answer(307, {**headers, "Location": f"{there}?{query}"})
    return _give(state, request, unquote(path), entry, headers)


def from_cache(state: State, request: Request, name: str, revision: str, path: str) -> Answer:
    """Where files outside of LFS are sent to; the same origin, and the same rules."""
    commit, entry = _find(state, request, name, revision, path)
    return _give(state, request, unquote(path), entry, _linked(state, name, commit, entry))


def from_cdn(state: State, request: Request, name: str, revision: str, path: str) -> Answer:
    """As a bucket answers: the signature lets in, and an Authorization beside it is refused.

    Its ETag is its own, and neither git's nor LFS's name of the file.
    """
    if "authorization" in request.headers:
        raise Refused(400, message="only one way to log in at a time")
    if request.query.get("Signature") not in state.signatures:
        raise Refused(403, message="no signature, or one that has expired")
    entry = find(state.repositories[name], revision).files[unquote(path)]
    return _give(state, request, unquote(path), entry, {"ETag": f'"{entry.content.sha256[::-1]}"'})


def _find(
    state: State, request: Request, name: str, revision: str, path: str
) -> tuple[Commit, Entry]:
    commit = find(enter(state, request, name, files=True), revision)
    entry = commit.files.get(unquote(path))
    if entry is None:
        raise Refused(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha})
    return commit, entry


def _linked(state: State, name: str, commit: Commit, entry: Entry) -> dict[str, str]:
    """What the hub says of the file itself, wherever its bytes come from."""
    headers = {
        "X-Repo-Commit": commit.sha,
        "X-Linked-Size": str(entry.size),
        "X-Linked-Etag": f'"{entry.etag}"',
        "ETag": f'"{entry.etag}"',
    }
    if state.xet and entry.lfs:
        refresh = f"{state.endpoint}/api/models/{name}/xet-read-token/{commit.sha}"
        headers |= {"X-Xet-Hash": entry.xet_hash, "Link": f'<{refresh}>; rel="xet-auth"'}
    return headers


def _signed(state: State, name: str, commit: Commit, path: str) -> str:
    signature = secrets.token_hex(16)
    with state.lock:
        state.signatures.add(signature)
    return f"{state.cdn}/{quote(name)}/{commit.sha}/{path}?Expires=1&Signature={signature}"


def _give(
    state: State, request: Request, path: str, entry: Entry, headers: dict[str, str]
) -> Answer:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    asked = request.headers.get("range", "")
    if state.compress and not entry.lfs and "gzip" in request.headers.get("accept-encoding", ""):
        packed = gzip.compress(b"".join(_bytes(state, path, entry, 0, entry.size)), mtime=0)
        headers |= {"Content-Encoding": "gzip", "ETag": f'W/"{entry.etag}"'}
        return Answer(200, headers, (packed,), len(packed))
    if not asked or state.ignore_range:
        start, end, status = 0, entry.size, 200
    else:
        start, end = _span(asked, entry.size)
        start, status = min(start + state.wrong_range, end - 1), 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    size = end - start
    if status == 206 and state.surplus:
        body = chain(_bytes(state, path, entry, start, end), Content(Sparse(state.surplus)).read())
        return Answer(status, headers, body, size + state.surplus)
    cut = None if request.method == "HEAD" else _cut(state, size)
    return Answer(status, headers, _bytes(state, path, entry, start, end), size, cut)


def _bytes(state: State, path: str, entry: Entry, start: int, end: int) -> Iterator[bytes]:
    flipped, at = state.wrong_bytes.get(path), start
    for block in entry.content.read(start, end):
        if flipped is not None and at <= flipped < at + len(block):
            here = flipped - at
            yield block[:here] + bytes([block[here] ^ 0xFF]) + block[here + 1 :]
        else:
            yield block
        at += len(block)


def _span(asked: str, size: int) -> tuple[int, int]:
    """The start and the end (exclusive) of `bytes=A-B`, `bytes=A-` or `bytes=-N`."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    start = end = size
    if found and found[1]:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    elif found and found[2]:
        start = max(size - int(found[2]), 0)
    if start >= end:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refused(416, message="no such range", headers=headers)
    return start, end


def _cut(state: State, size: int) -> int | None:
    with state.lock:
        if state.cut_after and size > state.cut_after[0]:
            return state.cut_after.pop(0)
    return None
