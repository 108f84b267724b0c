"""Whether a hub answers, and whether it takes our token: one question, without a second try."""

import httpx2

from ovenproof.errors import NoAccess, TryAgain
from ovenproof.hub.place import Place
from ovenproof.hub.refusal import cleaned
from ovenproof.net.client import client

_TIMEOUT = httpx2.Timeout(3.0, connect=2.0)
"""Somebody waits for this, and for nothing else."""


def greet(place: Place) -> None:
    """Ask the hub who we are. Any answer will do, for mirrors need not know this question.

    Raises TryAgain where none comes soon or nobody is to be asked, NoAccess where the token is
    refused. Nobody is followed to another place: the token is for this one.
    """
    if place.offline:
        hint = "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or lock on another machine"
        raise TryAgain("it is not asked", where=place.shown, got="told to stay offline", hint=hint)
    headers = {"User-Agent": "ovenproof"}
    if place.token is not None:
        headers["Authorization"] = f"Bearer {place.token}"
    try:
        with client(timeout=_TIMEOUT, follow_redirects=False) as http:
            status = http.get(f"{place.endpoint}/api/whoami-v2", headers=headers).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        got = cleaned(error, place) or type(error).__name__
        hint = "look at the network, or set HF_ENDPOINT to a hub within reach"
        raise TryAgain("it does not answer", where=place.shown, got=got, hint=hint) from error
    if status >= 500:
        hint = "try again, or set HF_ENDPOINT to another hub"
        raise TryAgain("it fails", where=place.shown, got=f"HTTP status {status}", hint=hint)
    if place.has_login and status in (401, 403):
        raise NoAccess(
            "it refuses the login of HF_ENDPOINT",
            where=place.shown,
            got=f"HTTP status {status}",
            hint="correct the user and the password in HF_ENDPOINT",
        )
    if place.token is not None and status in (401, 403):
        raise NoAccess(
            "it refuses the token",
            where=place.shown,
            got=f"HTTP status {status}",
            hint=f"put a valid token there, or remove it: public models need none ({place.origin})",
        )
