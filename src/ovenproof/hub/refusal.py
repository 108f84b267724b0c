"""What a hub answered, or did not answer, as errors that say what to do.

No error holds a token, or the query of an address: where a hub sends us on, that is a signature.
"""

import re
import ssl

import httpx2

from ovenproof.core.address import shown
from ovenproof.errors import BadFile, LockAgain, NoAccess, OvenproofError, TryAgain
from ovenproof.hub.files import Located
from ovenproof.hub.place import Place

GATED = "GatedRepo"
_QUERY = re.compile(r"(https?://[^\s?\"']*)\?[^\s\"']*")
_LONGEST = 200
_PORTS = {"http": 80, "https": 443}


class Unanswered(TryAgain):
    """Nobody answered this time; the same request may succeed later."""


def where(url: httpx2.URL | str) -> str:
    """An address for a person: without user, password and query."""
    return shown(str(url)).partition("?")[0]


def cleaned(text: object, place: Place) -> str:
    """Somebody else's words in one line, without what is secret."""
    line = _QUERY.sub(r"\1", shown(" ".join(str(text).split())))
    if place.token:
        line = line.replace(place.token, "…")
    line = "".join(letter for letter in line if letter.isprintable())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def is_at(place: Place, url: httpx2.URL) -> bool:
    """Whether an address is one of the hub itself, and not of whoever it sends us on to."""
    return origin(url) == origin(httpx2.URL(place.endpoint))


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Who answers at an address, as browsers see it."""
    return url.scheme, url.host.lower(), url.port or _PORTS.get(url.scheme)


def login(place: Place) -> str:
    """How the hub is told who asks."""
    return (
        f"set HF_TOKEN to a token that may read it ({place.shown}/settings/tokens)"
        if place.token is None
        else "look at the token (HF_TOKEN, or `hf auth whoami`): may it read this repository?"
    )


def login_refused(place: Place, subject: object, got: str) -> NoAccess:
    """A mirror does not know the user and the password of its own address."""
    return NoAccess(
        "the login of HF_ENDPOINT was refused",
        subject=subject,
        where=place.shown,
        got=got,
        hint="correct the user and the password in HF_ENDPOINT",
    )


def gated(place: Place, model: str, got: str) -> NoAccess:
    """The model's licence was not accepted, or the hub cannot know by whom."""
    page = f"{place.shown}/{model}"
    return NoAccess(
        "the model is gated: its licence has to be accepted first",
        subject=model,
        where=page,
        got=got + _anonymous(place),
        hint=f"accept it at {page} with your account, then give that account's token: "
        "HF_TOKEN=… or `hf auth login`",
    )


def hidden(place: Place, model: str, got: str) -> BadFile:
    """Nobody may know whether there is such a repository."""
    return BadFile(
        "the hub knows no such model, or does not show it to us",
        subject=model,
        where=f"{place.shown}/{model}",
        got=got + _anonymous(place),
        hint="look at the name in models.yaml; a private model looks the same to whoever may not "
        f"read it: {login(place)}",
    )


def refused(place: Place, at: Located, response: httpx2.Response) -> OvenproofError:
    """The error for an answer to the question for a file that is not the file."""
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    told = cleaned(response.headers.get("X-Error-Message", ""), place)
    got = f"HTTP status {status}" + (f", {told}" if told else "")
    url = where(response.url)
    if status in (401, 403, 407, 451) or code == GATED:
        return _not_allowed(place, at, response, got)
    if status == 429:
        return TryAgain(
            "the hub gives no more for now", subject=at, where=url, got=got, hint=patience(response)
        )
    if status in (404, 410) and not at.locked:
        return TryAgain(
            "the hub does not have a file that it lists",
            subject=at,
            where=url,
            expected=f"commit {at.commit}",
            got=got,
            hint="try again later, or set HF_ENDPOINT to another mirror",
        )
    if status in (404, 410):
        return LockAgain(
            "the hub no longer has what is locked",
            subject=at,
            where=url,
            expected=f"commit {at.commit} (models.lock)",
            got=got,
            hint="set HF_ENDPOINT to a mirror that still has it, or run `invoke lock --model NAME "
            "--upgrade` to lock what is there now",
        )
    return TryAgain(
        "the hub does not give a file",
        subject=at,
        where=url,
        got=got,
        hint="try again later, or set HF_ENDPOINT to a mirror",
    )


def _not_allowed(place: Place, at: Located, response: httpx2.Response, got: str) -> NoAccess:
    """Somebody says no; who it is decides what helps."""
    url, status = where(response.url), response.status_code
    if not is_at(place, response.url):
        return NoAccess(
            "the place that the hub sent us on to does not give a file",
            subject=at,
            where=url,
            got=got,
            hint="run the same command again: the hub lets us in there for a while only; if it "
            "stays, that place refuses this machine: set HF_ENDPOINT to another mirror",
        )
    if response.headers.get("X-Error-Code") == GATED:
        return gated(place, at.model, got)
    if status == 401 and place.has_login:
        return login_refused(place, at, got)
    return NoAccess(
        "the hub does not give a file",
        subject=at,
        where=url,
        got=got + _anonymous(place),
        hint=login(place),
    )


def unreachable(place: Place, subject: object, error: object, url: object = "") -> OvenproofError:
    """The error for a question that got no answer: `Unanswered` where another try may help."""
    if (doubt := _distrust(error)) is not None:
        return NoAccess(
            "the hub cannot be trusted: its certificate is not one that is known here",
            subject=subject,
            where=where(str(url or place.endpoint)),
            got=doubt.verify_message or doubt.reason,
            hint="let SSL_CERT_FILE name a file with its CA",
        )
    text = cleaned(error, place) or type(error).__name__
    return Unanswered(
        "the hub does not answer",
        subject=subject,
        where=where(str(url or place.endpoint)),
        got=text,
        hint="go online, or set HF_ENDPOINT to a mirror; then try again",
    )


def astray(place: Place, subject: object, url: httpx2.URL | str, got: str) -> NoAccess:
    """The hub sends us where we do not go."""
    return NoAccess(
        "the hub sends us on to a place that we do not go to",
        subject=subject,
        where=where(url),
        got=got,
        hint=f"see what answers under {place.shown}; HF_ENDPOINT names another hub",
    )


def offline(subject: object) -> TryAgain:
    """Whoever calls wants that nobody is asked."""
    return TryAgain(
        "the hub is not asked: its client is told to stay offline",
        subject=subject,
        got="HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE",
        hint="unset it, and run the same command again",
    )


def patience(response: httpx2.Response) -> str:
    """When to come back."""
    told = response.headers.get("Retry-After", "")
    time = f"{told} s" if told.isdecimal() else told
    return (
        f"try again {f'after {time}' if time else 'later'}; "
        "the hub lets those with a token (HF_TOKEN) ask more often"
    )


def _distrust(error: object) -> ssl.SSLCertVerificationError | None:
    """What is wrong with a certificate, where that is the cause."""
    while isinstance(error, BaseException):
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _anonymous(place: Place) -> str:
    if place.has_login:
        return ", asked with the login of HF_ENDPOINT"
    return "" if place.token else ", asked without a token"
