"""What the doctor asks of others: the hub, who we are to a registry, the remote outcomes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovenproof.errors import OvenproofError, WrongBytes
from ovenproof.events import silent
from ovenproof.tasks.shell import refused
from ovenproof.tasks.surroundings import project

if TYPE_CHECKING:
    from ovenproof.registry.hearsay import Hearsay


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    fine: bool
    needed_for: str
    detail: str
    hint: str = ""


def hub() -> Finding:
    """Which hub is asked, whether it answers, with whose token, and where its client's cache is."""
    from ovenproof.hub.greeting import greet
    from ovenproof.hub.place import find_cache, find_place

    name, needed_for = "hub", "locking, and fetching weights"
    try:
        place = find_place(os.environ, Path.home())
    except OvenproofError as error:
        return Finding(
            name=name, fine=False, needed_for=needed_for, detail=error.what, hint=error.hint or ""
        )
    says, hint = "answers", ""
    try:
        greet(place)
    except OvenproofError as error:
        says = f"{error.what.removeprefix('it ')} ({error.got})"
        hint = error.hint or error.what
    token = f"token from {place.origin}" if place.token else "no token"
    cache = find_cache(os.environ, Path.home())
    return Finding(
        name=name,
        fine=not hint,
        needed_for=needed_for,
        detail=f"{place.shown} {says}, {token}, cache in {cache}",
        hint=hint,
    )


def registry() -> Finding:
    """Who we would be to the catalogue's registry. Asks no registry, but maybe a login helper."""
    from ovenproof.registry.credentials import Credentials
    from ovenproof.registry.reference import parse_repository

    name, needed_for = "registry login", "push, and what is not public"
    try:
        repository = parse_repository(project().catalogue().repository)
    except OvenproofError:
        return Finding(
            name=name,
            fine=True,
            needed_for=needed_for,
            detail="the catalogue's repository is at no registry: push --to names one",
        )
    try:
        login = Credentials(os.environ, Path.home()).find(repository)
    except OvenproofError as error:
        return Finding(
            name=name,
            fine=False,
            needed_for=needed_for,
            detail=f"{repository.host}: {error.what}",
            hint=error.hint or error.what,
        )
    return Finding(
        name=name,
        fine=login is not None,
        needed_for=needed_for,
        detail=f"{repository.host}: {f'from {login.origin}' if login else 'none'}",
        hint=f"docker login {repository.host}",
    )


def outcomes(*, writes: bool) -> Finding:
    """Whether the remote store does what it is for; `writes` says whether a probe may be written.

    A place that only answers has proven nothing: a login page does that, too.
    """
    from ovenproof.tasks.outcomes import FORMS, OUTCOMES, remote_outcomes

    name, needed_for = "remote outcomes", "building what others have proven"
    try:
        remote = remote_outcomes(silent)
        if remote is None:
            detail = f"{OUTCOMES} is not set"
            return Finding(name=name, fine=True, needed_for=needed_for, detail=detail)
        says, hint = _proven(remote, writes=writes and remote.writes)
    except (OvenproofError, OSError) as error:
        fault = refused(error) if isinstance(error, OSError) else error
        return Finding(
            name=name,
            fine=False,
            needed_for=needed_for,
            detail=f"set, but {fault.got or fault.what}",
            hint=fault.hint or f"set {OUTCOMES} to {FORMS}",
        )
    return Finding(
        name=name, fine=not hint, needed_for=needed_for, detail=f"{remote.name} {says}", hint=hint
    )


def _proven(remote: "Hearsay", *, writes: bool) -> tuple[str, str]:
    """What works there, and what helps where that is less than is wanted.

    Raises what stands in the way of asking at all.
    """
    from ovenproof.core.action import Action, Outcome
    from ovenproof.core.digest import Content
    from ovenproof.tasks.outcomes import FORMS, OUTCOMES, REGISTRY, WRITE

    key, outcome = Action(kind="probe", version=1).key, Outcome({"probe": Content.of(b"probe")})
    refusal: OvenproofError | OSError | None = None
    if writes:
        try:
            remote.tell(key, outcome)
        except (OvenproofError, OSError) as error:
            refusal = error
    language = "a registry's" if remote.name.startswith(REGISTRY) else "a Bazel cache's"
    foreign = f"answers, but does not speak {language} protocol"
    try:
        found = remote.ask(key)
    except WrongBytes as error:
        return f"{foreign}: {error.got or error.what}", f"set {OUTCOMES} to {FORMS}"
    reads = "reads" if found == outcome else "answers"
    if refusal is not None:
        fault = refused(refusal) if isinstance(refusal, OSError) else refusal
        hint = fault.hint or f"give this machine an account that may write, or unset {WRITE}"
        return f"{reads}, but refuses to be written: {fault.got or fault.what}", hint
    if found == outcome:
        return ("reads and writes" if writes else "reads"), ""
    if writes:
        return f"{foreign}: what it takes it does not give back", f"set {OUTCOMES} to {FORMS}"
    return (
        "answers, but has no probe to prove that it reads",
        f"run `invoke doctor` once on a machine with {WRITE}=1, which leaves one there",
    )
