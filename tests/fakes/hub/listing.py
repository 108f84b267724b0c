"""What the hub tells of a repository: its card, its references, and the files of a commit."""

import hashlib
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlencode

from tests.fakes.hub.door import enter, who
from tests.fakes.hub.messages import Answer, Refused, Request, answer_json
from tests.fakes.hub.repository import Commit, Entry, Repository
from tests.fakes.hub.state import State

_DATE = "2026-01-02T03:04:05.000Z"
_PAGE, _EXPANDED_PAGE = 1000, 50


def whoami(state: State, request: Request) -> Answer:
    if who(state, request) == "nobody":
        raise Refused(401, message="Invalid username or password.")
    return answer_json({"type": "user", "name": "baker", "orgs": []})


def auth_check(state: State, request: Request, name: str) -> Answer:
    """Whether whoever asks may have the files."""
    enter(state, request, name, files=True)
    return answer_json({})


def info(state: State, request: Request, name: str, revision: str = "main") -> Answer:
    repository = enter(state, request, name)
    commit = find(repository, revision)
    card = repository.card_data
    told = {
        "_id": hashlib.sha1(name.encode()).hexdigest()[:24],
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": commit.sha,
        "lastModified": _DATE,
        "createdAt": _DATE,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": repository.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [f"license:{card['license']}"] if "license" in card else [],
        "cardData": card,
        "siblings": [
            _sibling(path, entry, "blobs" in request.query) for path, entry in commit.files.items()
        ],
    }
    if wanted := request.query.get("expand"):
        told = {key: told[key] for key in ("_id", "id", *wanted.split()) if key in told}
    return answer_json(told)


def refs(state: State, request: Request, name: str) -> Answer:
    repository = enter(state, request, name)
    listed = {
        "branches": [_ref("heads", *item) for item in sorted(repository.branches.items())],
        "tags": [_ref("tags", *item) for item in sorted(repository.tags.items())],
        "converts": [],
        "pullRequests": [],
    }
    return answer_json(listed)


def commits(state: State, request: Request, name: str, revision: str) -> Answer:
    """The history, last commit first."""
    repository = enter(state, request, name)
    at: Commit | None = find(repository, revision)
    found = []
    while at:
        found.append({"id": at.sha, "title": at.title, "message": "", "authors": [], "date": _DATE})
        at = repository.commits.get(at.parent or "")
    return answer_json(found)


def tree(state: State, request: Request, name: str, revision: str, folder: str = "") -> Answer:
    """Files and folders, in pages; where there is more, a Link says where."""
    commit = find(enter(state, request, name), revision)
    recursive = request.query.get("recursive", "").lower() in ("true", "1")
    expand = request.query.get("expand", "").lower() in ("true", "1")
    items = _below(commit, unquote(folder), recursive=recursive)
    if folder and not items:
        raise Refused(404, "EntryNotFound", f"{folder} does not exist", _commit_header(commit))
    start = int(request.query.get("cursor", "0"))
    size = state.page_size or (_EXPANDED_PAGE if expand else _PAGE)
    page = [_item(state, commit, path, expand) for path in items[start : start + size]]
    headers = _commit_header(commit)
    if start + size < len(items) or state.endless_list:
        query = urlencode({**dict(request.query), "cursor": start + size})
        where = state.next_link_to or state.endpoint
        headers["Link"] = f'<{where}{request.path}?{query}>; rel="next"'
    return answer_json(page, headers)


def paths_info(state: State, request: Request, name: str, revision: str) -> Answer:
    """What is known of some paths; those that are not there are left out."""
    commit = find(enter(state, request, name), revision)
    form = parse_qsl(request.body.decode())
    expand = ("expand", "true") in form or ("expand", "True") in form
    wanted = [value for key, value in form if key == "paths"]
    known = {*commit.files, *_folders(commit)}
    return answer_json([_item(state, commit, path, expand) for path in wanted if path in known])


def find(repository: Repository, revision: str) -> Commit:
    """The commit of a revision as it stands in a path: percent-encoded."""
    commit = repository.find(unquote(revision))
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
    return commit


def _below(commit: Commit, folder: str, *, recursive: bool) -> list[str]:
    inside = f"{folder}/" if folder else ""
    paths = [path for path in (*_folders(commit), *commit.files) if path.startswith(inside)]
    return sorted(path for path in paths if recursive or "/" not in path.removeprefix(inside))


def _folders(commit: Commit) -> Iterable[str]:
    parts = (path.split("/")[:-1] for path in commit.files)
    return {"/".join(names[:end]) for names in parts for end in range(1, len(names) + 1)}


def _item(state: State, commit: Commit, path: str, expand: bool) -> dict[str, object]:
    entry = commit.files.get(path)
    told: dict[str, object] = {"path": path}
    if entry is None:
        told |= {"type": "directory", "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
    else:
        told |= {"type": "file", "size": entry.size, "oid": entry.blob_id}
    if entry and entry.lfs:
        told["lfs"] = {"oid": entry.etag, "size": entry.size, "pointerSize": _pointer_size(entry)}
        told |= {"xetHash": entry.xet_hash} if state.xet else {}
    if expand:
        told["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": _DATE}
    return told


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, object]:
    told: dict[str, object] = {"rfilename": path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.blob_id}
    if blobs and entry.lfs:
        pointer = _pointer_size(entry)
        told["lfs"] = {"sha256": entry.etag, "size": entry.size, "pointerSize": pointer}
    return told


def _pointer_size(entry: Entry) -> int:
    return entry.content.pointer.size


def _ref(kind: str, name: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}


def _commit_header(commit: Commit) -> dict[str, str]:
    return {"X-Repo-Commit": commit.sha}
