"""Blobs, and the uploads by which they come."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.fakes.registry.messages import Answer, Dropped, Refused, Request
from tests.fakes.registry.state import State, Upload

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def get(state: State, request: Request, name: str, digest: str) -> Answer:
    """GET and HEAD of a blob."""
    size = state.size_of(name, digest)
    if size is None:
        raise Refused(404, "BLOB_UNKNOWN")
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        **state.digest_header(request.method, digest),
    }
    if request.method == "HEAD":
        return Answer(200, {**headers, "Content-Length": str(size)})
    if state.redirect_blobs and "signature" not in request.query:
        there = f"http://{state.other_address}{request.path}?signature=secret"
        return Answer(307, {"Location": there})
    data = state.serves_instead.get(digest, state.blobs.get(name, {}).get(digest))
    if data is None:
        raise Refused(404, "BLOB_UNKNOWN", "this blob is only pretended")
    asked = request.headers.get("range", "")
    if not asked or state.ignores_ranges:
        return Answer(200, headers, data, _cut_download(state, len(data)))
    start, end = _span(asked, len(data))
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Answer(206, headers, data[start:end], _cut_download(state, end - start))


def begin(state: State, request: Request, name: str) -> Answer:
    """POST: mounts a blob, or begins an upload. A body is not looked at, as distribution does."""
    mounted, home = request.query.get("mount", ""), request.query.get("from", "")
    size = state.size_of(home, mounted)
    if size is not None and not state.no_mount:
        with state.lock:
            if mounted in state.blobs.get(home, {}):
                state.blobs[name][mounted] = state.blobs[home][mounted]
            else:
                state.discarded[name][mounted] = size
        return _created(state, request, name, mounted)
    session, upload = str(uuid4()), Upload(name, keeps=not state.discard)
    with state.lock:
        state.uploads[session] = upload
    return Answer(202, _headers(state, session, upload))


def patch(state: State, request: Request, name: str, session: str) -> Answer:
    """PATCH: more bytes, with or without a Content-Range."""
    if state.patch_unsupported:
        raise Refused(405, "UNSUPPORTED")
    with _held(state, request, name, session) as upload:
        if upload.patches in state.lose_session_after:
            state.lose_session_after.remove(upload.patches)
            del state.uploads[session]
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN")
        if state.requires_content_range and "content-range" not in request.headers:
            raise Refused(416, "BLOB_UPLOAD_INVALID", "which bytes?")
        _append(state, request, session, upload)
        upload.patches += 1
        told = 0 if state.range_stands_still else None
        return Answer(202, _headers(state, session, upload, size=told))


def status(state: State, request: Request, name: str, session: str) -> Answer:
    """GET of an upload: how much of it is here."""
    with _held(state, request, name, session) as upload:
        return Answer(204, _headers(state, session, upload, size=state.wrong_range))


def finish(state: State, request: Request, name: str, session: str) -> Answer:
    """PUT: the last bytes, if any, and what the whole of them must be."""
    digest = request.query.get("digest", "")
    if not _DIGEST.fullmatch(digest):
        raise Refused(400, "DIGEST_INVALID", f"not a digest: {digest!r}")
    with _held(state, request, name, session) as upload:
        _append(state, request, session, upload)
        with state.lock:
            del state.uploads[session]
            if upload.digest != digest and not state.ignores_digest:
                raise Refused(400, "DIGEST_INVALID", f"these bytes are {upload.digest}")
            if upload.keeps:
                state.blobs[name][digest] = bytes(upload.data)
            else:
                state.discarded[name][digest] = upload.size
    return _created(state, request, name, digest)


def cancel(state: State, request: Request, name: str, session: str) -> Answer:
    """DELETE: the upload is forgotten."""
    with _held(state, request, name, session):
        del state.uploads[session]
    return Answer(204)


@contextmanager
def _held(state: State, request: Request, name: str, session: str) -> Iterator[Upload]:
    """An upload that nobody else touches meanwhile."""
    upload = state.uploads.get(session)
    if upload is None or upload.repository != name:
        raise Refused(404, "BLOB_UPLOAD_UNKNOWN")
    if request.query.get("_state") not in upload.states:
        raise Refused(400, "BLOB_UPLOAD_INVALID", "the Location's query was not kept")
    with upload.lock:
        if session not in state.uploads:  # it has just been finished
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN")
        yield upload


def _append(state: State, request: Request, session: str, upload: Upload) -> None:
    """Take the body. What is too large leaves the upload as it was; a cut keeps what came."""
    _check_range(state, request, session, upload)
    room = state.max_chunk
    if state.max_blob is not None:
        left = state.max_blob - upload.size
        room = left if room is None else min(room, left)
    if room is not None and (request.body.length or 0) > room:
        raise Refused(413, "SIZE_INVALID")
    mark = upload.mark()
    try:
        _take(state, request, upload, room)
    except Refused:
        upload.rewind(mark)
        raise
    except Dropped:
        if state.forgets_cut:
            upload.rewind(mark)
        raise


def _take(state: State, request: Request, upload: Upload, room: int | None) -> None:
    for piece in request.body:
        received = request.body.received
        if room is not None and received > room:
            raise Refused(413, "SIZE_INVALID")
        cut = _cut_upload(state, received)
        if cut is not None:
            upload.append(piece[: max(cut - (received - len(piece)), 0)])
            raise Dropped
        upload.append(_spoilt(state, piece, received))


def _spoilt(state: State, piece: bytes, received: int) -> bytes:
    """The piece as it is kept: bits may flip on the way."""
    with state.lock:
        if not state.spoil_after or received < state.spoil_after[0]:
            return piece
        del state.spoil_after[0]
    return bytes([piece[0] ^ 1]) + piece[1:]


def _check_range(state: State, request: Request, session: str, upload: Upload) -> None:
    told = request.headers.get("content-range")
    if told is None:
        return
    found = re.fullmatch(r"(\d+)-(\d+)", told)
    if not found:
        raise Refused(400, "BLOB_UPLOAD_INVALID", f"not a Content-Range: {told!r}")
    start, last = int(found[1]), int(found[2])
    if start != upload.size:
        raise Refused(
            416, "BLOB_UPLOAD_INVALID", f"not at {start}", _headers(state, session, upload)
        )
    if request.body.length not in (None, last - start + 1):
        raise Refused(400, "SIZE_INVALID", f"{told} is not the body's size")


def _headers(
    state: State, session: str, upload: Upload, *, size: int | None = None
) -> dict[str, str]:
    """Where the upload goes on, and how much of it is here. Nothing is `0-0`, as one byte is."""
    with state.lock:
        mark = f"{len(upload.states)}-{session[:8]}"
        upload.states.add(mark)
    path = f"/v2/{upload.repository}/blobs/uploads/{session}?_state={mark}"
    match state.location:
        case "absolute":
            path = state.url + path
        case "other-host":
            path = f"http://{state.other_address}{path}&signature=secret"
    here = upload.size if size is None else size
    return {
        "Location": path,
        "Range": f"0-{max(here - 1, 0)}",
        "Docker-Upload-UUID": session,
    }


def _created(state: State, request: Request, name: str, digest: str) -> Answer:
    location = f"/v2/{name}/blobs/{digest}"
    return Answer(201, {"Location": location, **state.digest_header(request.method, digest)})


def _cut_upload(state: State, received: int) -> int | None:
    """Where the connection breaks, if it does before so many bytes of this body."""
    with state.lock:
        if state.cut_after and received >= state.cut_after[0]:
            return state.cut_after.pop(0)
    return None


def _cut_download(state: State, size: int) -> int | None:
    with state.lock:
        if state.cut_download_after and size >= state.cut_download_after[0]:
            return state.cut_download_after.pop(0)
    return None


def _span(asked: str, size: int) -> tuple[int, int]:
    """The start and the end (exclusive) of `bytes=A-` or `bytes=A-B`."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    start = int(found[1]) if found else size
    end = min(int(found[2]) + 1, size) if found and found[2] else size
    if start >= end:
        raise Refused(416, "RANGE_INVALID", "", {"Content-Range": f"bytes */{size}"})
    return start, end
