"""Who may come in: Basic, or tokens from the registry's own /token."""

import base64
import json
import re
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs

from tests.fakes.registry.messages import Answer, Refused, Request
from tests.fakes.registry.state import State, Token

_NAME = re.compile(r"/v2/(.+?)/(?:blobs|manifests|tags|referrers)/")


def check(state: State, request: Request) -> None:
    """Refuse a request that is not allowed."""
    wanted = _wanted(request)
    match state.auth:
        case "basic":
            _check_basic(state, request, wanted)
        case "bearer":
            _check_bearer(state, request, wanted)
    if state.push_denied and any(scope.endswith(":push") for scope in wanted):
        raise Refused(403, "DENIED", "requested access to the resource is denied")


def token(state: State, request: Request) -> Answer:
    """GET with Basic, or POST with a form: gives out a token for the scopes that are asked for."""
    user: str | None
    if request.method == "POST":
        fields = parse_qs(request.body.read().decode())
        form = {name: " ".join(values) for name, values in fields.items()}
        scope, user = form.get("scope", ""), _user_of_form(state, form)
    else:
        scope, user = request.query.get("scope", ""), _user_of_header(state, request)
    with state.lock:
        state.scopes += scope.split()
    if {item.split(":")[1] for item in scope.split()} & state.secret_repositories:
        raise Refused(403, "DENIED", "no such repository")
    scopes = _single(scope.split())
    if user is None or state.pull_tokens_only:
        scopes = frozenset(item for item in scopes if item.endswith(":pull"))
    text = issue(state, scopes)
    answer: dict[str, object] = {
        "token": text,
        "access_token": text,
        "expires_in": state.expires_in,
    }
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())


def issue(state: State, scopes: Iterable[str]) -> str:
    """A new token for scopes such as `repository:a/b:pull,push`."""
    text = secrets.token_hex(16)
    with state.lock:
        state.tokens[text] = Token(_single(scopes))
    return text


def _wanted(request: Request) -> list[str]:
    """What a request needs, one action each. A mount needs to read the other repository too."""
    found = _NAME.match(request.path)
    if not found:
        return []
    actions = ("pull",) if request.method in ("GET", "HEAD") else ("pull", "push")
    wanted = [f"repository:{found[1]}:{action}" for action in actions]
    if request.method == "POST" and request.query.get("from"):
        wanted.append(f"repository:{request.query['from']}:pull")
    return wanted


def _check_basic(state: State, request: Request, wanted: list[str]) -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="fake registry"'}
    try:
        user = _user_of_header(state, request)
    except Refused as refused:
        raise Refused(401, "UNAUTHORIZED", "", challenge) from refused
    if user is None and any(scope.endswith(":push") for scope in wanted):
        raise Refused(401, "UNAUTHORIZED", "", challenge)


def _check_bearer(state: State, request: Request, wanted: list[str]) -> None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    with state.lock:
        held = state.tokens.get(text) if scheme.lower() == "bearer" else None
        if held and held.uses == state.token_uses:
            held = None
        if held and held.scopes >= set(wanted):
            held.uses += 1
            return
    error = "insufficient_scope" if held else "invalid_token" if text else ""
    raise Refused(401, "UNAUTHORIZED", "", {"WWW-Authenticate": _challenge(state, wanted, error)})


def _challenge(state: State, wanted: list[str], error: str) -> str:
    actions: dict[str, list[str]] = {}
    for scope in wanted:
        resource, _, action = scope.rpartition(":")
        actions.setdefault(resource, []).append(action)
    scope = " ".join(f"{resource}:{','.join(found)}" for resource, found in actions.items())
    said = {"realm": state.realm or f"{state.url}/token", "service": state.address}
    said |= {"scope": scope} if scope else {}
    said |= {"error": error} if error else {}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in said.items())


def _user_of_header(state: State, request: Request) -> str | None:
    """Who comes with Basic; None for nobody, where nobody may pull."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if not scheme and state.anonymous_pull:
        return None
    if scheme.lower() == "basic":
        user, _, password = base64.b64decode(text).decode().partition(":")
        if state.users.get(user) == password:
            return user
    raise Refused(401, "UNAUTHORIZED", "who are you?")


def _user_of_form(state: State, form: dict[str, str]) -> str:
    match form.get("grant_type"):
        case "refresh_token":
            user = state.identity_tokens.get(form.get("refresh_token", ""))
        case "password":
            name = form.get("username", "")
            user = name if state.users.get(name) == form.get("password", "") else None
        case _:
            raise Refused(400, "UNSUPPORTED", "no such grant_type")
    if user is None:
        raise Refused(401, "UNAUTHORIZED", "who are you?")
    return user


def _single(scopes: Iterable[str]) -> frozenset[str]:
    """`repository:a:pull,push` as one scope for each action."""
    cut = (scope.rpartition(":") for scope in scopes)
    return frozenset(f"{head}:{action}" for head, _, tail in cut for action in tail.split(","))
