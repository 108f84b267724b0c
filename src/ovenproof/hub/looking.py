"""What a repository of the hub has at a revision.

Its commit and its card are asked for by the hub's own client. Not by its `resolve_revision`, which
writes into the hub's cache, and where nobody answers gives what lies there: a lock is made from
what the hub says now. Nor is the client's listing used: it shows the token to whoever is named as
the next page, and waits as long as it is told to.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import TypeVar

import httpx2
import huggingface_hub
from huggingface_hub import HfApi, ModelInfo, constants, errors
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status
from huggingface_hub.utils.logging import set_verbosity

from ovenproof.errors import BadFile, NoAccess, OvenproofError, TryAgain
from ovenproof.hub.asking import NEAR, Asking, is_near
from ovenproof.hub.files import NoRevision, Snapshot
from ovenproof.hub.listing import Page, list_files
from ovenproof.hub.place import Place
from ovenproof.hub.refusal import (
    astray,
    cleaned,
    gated,
    hidden,
    login,
    login_refused,
    offline,
    origin,
    patience,
    unreachable,
)
from ovenproof.net.waiting import absent_waits, pause_s, retry_after_s

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0).as_dict()
_ONCE = Lock()
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAY_SEE: ContextVar[Place | None] = ContextVar("_MAY_SEE", default=None)
"""The hub that is being asked: nobody else is shown its token. The client is one for all."""

Found = TypeVar("Found")


def look(asking: Asking, model: str, revision: str | None, waits_s: Sequence[float]) -> Snapshot:
    """The repository at the commit that the revision names now. See `Hub.look`."""
    place = asking.place
    if place.offline:
        raise offline(model)
    with _ONCE:
        _prepare()
    api = HfApi(
        endpoint=place.endpoint,
        token=place.token or False,  # False: none, and not one that it finds by itself
        library_name="ovenproof",
    )

    def page(url: httpx2.URL) -> Page:
        def ask() -> httpx2.Response:
            response = asking.page(model, url)
            hf_raise_for_status(response)
            return response

        response = _patiently(ask, waits_s)
        return Page(entries=response.json(), next=response.links.get("next", {}).get("url"))

    with _told(place, model, revision), _shown_to(place):
        info = _patiently(lambda: api.model_info(model, revision=revision), waits_s)
        commit = info.sha or ""
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"`{commit}` as the name of a commit")
        files = list_files(place, model, commit, page)
    return Snapshot(
        model=model,
        commit=commit,
        files=files,
        gated=bool(info.gated),
        license=_license(info),
    )


@cache
def _prepare() -> None:
    """Once in a process: the client tells nobody of us, says nothing itself, and never hangs."""
    constants.HF_HUB_DISABLE_TELEMETRY = True
    set_verbosity(logging.ERROR)

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.event_hooks["request"] += [_in_time, _to_the_hub_alone]
        return made

    huggingface_hub.set_client_factory(client)


def _in_time(request: httpx2.Request) -> None:
    """The client asks without any timeout."""
    request.extensions["timeout"] = _TIMEOUT


@contextmanager
def _shown_to(hub: Place) -> Iterator[None]:
    before = _MAY_SEE.set(hub)
    try:
        yield
    finally:
        _MAY_SEE.reset(before)


def _to_the_hub_alone(request: httpx2.Request) -> None:
    """Whoever the hub sends the client on to is not shown the token."""
    hub = _MAY_SEE.get()
    if hub is None:
        return
    own = httpx2.URL(hub.endpoint)
    if is_near(request.url) and not is_near(own):
        raise astray(hub, None, request.url, NEAR)
    if origin(request.url) != origin(own):
        request.headers.pop("Authorization", None)


def _patiently(ask: Callable[[], Found], waits_s: Sequence[float]) -> Found:
    """Ask again while there may be an answer."""
    attempt = 0
    while True:
        try:
            return ask()
        except errors.HfHubHTTPError as error:
            tries, told_s = len(waits_s), retry_after_s(error.response)
            if error.response.status_code not in _AGAIN:
                raise
            again: httpx2.HTTPError = error
        except httpx2.TransportError as error:
            tries, told_s = absent_waits(waits_s), 0.0
            again = error
        pause = pause_s(waits_s[attempt], told_s) if attempt < tries else None
        if pause is None:
            raise again
        time.sleep(pause)
        attempt += 1


def _license(info: ModelInfo) -> str | None:
    name = getattr(info.card_data, "license", None)
    if name == "other":
        name = getattr(info.card_data, "license_name", None) or name
    return name if isinstance(name, str) else None


@contextmanager
def _told(place: Place, model: str, revision: str | None) -> Iterator[None]:
    """The client's complaints as errors with a remedy."""
    try:
        yield
    except errors.GatedRepoError as error:
        raise gated(place, model, _said(place, error)) from error
    except errors.RevisionNotFoundError as error:
        raise NoRevision(
            "the hub has no such revision of the model",
            subject=revision or "main",
            where=f"{place.shown}/{model}",
            got=_said(place, error),
            hint="look at `revision` in models.yaml: a branch, a tag or a commit that is there",
        ) from error
    except errors.RepositoryNotFoundError as error:
        if place.has_login and error.response.status_code == 401:
            raise login_refused(place, model, _said(place, error)) from error
        raise hidden(place, model, _said(place, error)) from error
    except errors.HfHubHTTPError as error:
        raise _refused(place, model, error) from error
    except errors.OfflineModeIsEnabled as error:
        raise offline(model) from error
    except (httpx2.HTTPError, RuntimeError) as error:
        # The latter where another thread lost its connection: the client shares them, and closes.
        raise unreachable(place, model, error) from error
    except errors.HFValidationError as error:
        raise BadFile(
            "this is not the name of a model on the hub",
            subject=model,
            expected="OWNER/NAME",
            got=cleaned(error, place),
            hint="correct it in models.yaml",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TryAgain(
            "what answers is not a hub, or not one that is understood here",
            subject=model,
            where=place.shown,
            got=cleaned(error, place),
            hint="look at HF_ENDPOINT, and at the proxies between",
        ) from error


def _refused(place: Place, model: str, error: errors.HfHubHTTPError) -> OvenproofError:
    """The error for an answer that says no, for none of the reasons that have a name."""
    status = error.response.status_code
    where, got = f"{place.shown}/{model}", _said(place, error)
    if status == 401 and place.has_login:
        return login_refused(place, model, got)
    if status in (401, 403, 407, 451):
        return NoAccess(
            "the hub does not show the model",
            subject=model,
            where=where,
            got=got,
            hint=login(place),
        )
    if status == 429:
        hint = patience(error.response)
    else:
        hint = "try again later, or set HF_ENDPOINT to a mirror"
    return TryAgain(
        "the hub does not tell of a model", subject=model, where=where, got=got, hint=hint
    )


def _said(place: Place, error: errors.HfHubHTTPError) -> str:
    """Status and message, without the addresses in it."""
    told = cleaned(error.response.headers.get("X-Error-Message", ""), place)
    return f"HTTP status {error.response.status_code}" + (f", {told}" if told else "")
