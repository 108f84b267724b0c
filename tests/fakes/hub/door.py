"""Who may come in: nobody at all, a stranger with a token, or the one with the right token."""

from typing import Literal, TypeAlias

from tests.fakes.hub.messages import Refused, Request
from tests.fakes.hub.repository import Repository
from tests.fakes.hub.state import State

Who: TypeAlias = Literal["nobody", "somebody", "member"]


def who(state: State, request: Request) -> Who:
    """By the Authorization. A token that nobody has is refused, for public repositories too."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return "nobody"
    if scheme.lower() == "bearer":
        if token == state.token:
            return "member"
        anything = state.token is None and not state.other_tokens
        if anything or token in state.other_tokens:
            return "somebody"
    raise Refused(401, message="Invalid credentials in Authorization header")


def enter(state: State, request: Request, name: str, *, files: bool = False) -> Repository:
    """The repository, if whoever asks may see it; to have its files, a gate must be passed.

    A private repository looks as if there were none of that name.
    """
    visitor, repository = who(state, request), state.repositories.get(name)
    if repository is None or (repository.private and visitor != "member"):
        if visitor == "nobody":
            raise Refused(401, "RepoNotFound", "Invalid username or password.")
        raise Refused(404, "RepoNotFound", "Repository not found")
    if repository.disabled:
        raise Refused(403, message="Access to this resource is disabled.")
    if repository.gated and visitor != "member" and (files or not state.gated_listing):
        where = f"{state.endpoint}/{name}"
        if visitor == "nobody":
            raise Refused(401, "GatedRepo", f"Access to model {name} is restricted. Log in.")
        raise Refused(403, "GatedRepo", f"You are not authorized. Ask for access at {where}")
    return repository
