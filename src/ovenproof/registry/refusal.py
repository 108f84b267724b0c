"""What a registry answered, or did not answer, as errors that say what to do.

No error holds a login, a token or the query of an address: that may be a signature.
"""

import json
import re
import socket
import ssl
from collections.abc import Iterator

import httpx2

from ovenproof.core.address import shown
from ovenproof.errors import BadFile, LockAgain, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.registry.reference import Repository

INSECURE = "OVENPROOF_INSECURE_REGISTRIES"
_QUERY = re.compile(r"(https?://[^\s?\"']*)\?[^\s\"']*")
_SECRET = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_LONGEST = 200
_NOT_THE_CA = {
    9: "look at this machine's clock: the certificate begins later",
    10: "let the registry renew its certificate, and look at this machine's clock",
    62: "call the registry by a name that its certificate has",
    64: "call the registry by an address that its certificate has",
}
"""What OpenSSL calls faults of a certificate that another CA would not mend."""
_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})


class Unanswered(TryAgain):
    """Nobody answered this time; the same request may succeed later."""


class Absent(Unanswered):
    """Nobody listens there, and nobody ever did: more often a wrong name than a fault."""


def where(url: httpx2.URL | str) -> str:
    """An address for a person: without user, password and query."""
    return shown(str(url)).partition("?")[0]


def codes(response: httpx2.Response) -> tuple[tuple[str, str], ...]:
    """The (code, message) pairs of an answer that says no."""
    try:
        found = json.loads(response.content)
    except (ValueError, RecursionError, httpx2.StreamError):
        return ()
    errors = found.get("errors") if isinstance(found, dict) else None
    if not isinstance(errors, list):
        return ()
    return tuple(
        (str(item.get("code") or ""), str(item.get("message") or ""))
        for item in errors
        if isinstance(item, dict)
    )


def code(response: httpx2.Response) -> str:
    """The first error code, or nothing."""
    return next((found for found, _message in codes(response)), "")


def said(response: httpx2.Response) -> str:
    """Status and errors, in one line."""
    texts = [f"{name}: {message}" if message else name for name, message in codes(response)[:3]]
    line = " ".join("; ".join(texts).split())
    line = _SECRET.sub(r"\1 …", _QUERY.sub(r"\1", shown(line)))
    line = "".join(letter for letter in line if letter.isprintable())
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    return f"HTTP status {response.status_code}" + (f", {line}" if line else "")


def refused(
    what: str, repository: Repository, response: httpx2.Response, *, advice: str = ""
) -> OvenproofError:
    """The error for an answer that says no. `advice` is what helps whoever has no access."""
    status, names = response.status_code, {name for name, _message in codes(response)}
    kind: type[OvenproofError] = NoAccess
    hint: str | None = None
    anonymous = False
    if status == 429 or "TOOMANYREQUESTS" in names:
        kind, hint = TryAgain, _patience(response)
    elif "MANIFEST_BLOB_UNKNOWN" in names or (
        names & {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN"} and _puts_manifest(response)
    ):
        kind, hint = TryAgain, "run the same again: what the registry no longer has is sent anew"
    elif status in {401, 403} or names & {"UNAUTHORIZED", "DENIED"}:
        hint = advice or f"log in: docker login {repository.host}"
        anonymous = hint.startswith("log in:")
    elif status >= 500 or status in {408, 425}:
        kind, hint = TryAgain, "try again later: the registry, or a proxy before it, is in trouble"
    elif status == 413:
        hint = (
            "the registry, or a proxy before it, takes no body of this size: raise its limit "
            "(nginx: client_max_body_size 0), or make the layers smaller"
        )
    elif "DIGEST_INVALID" in names:
        kind, hint = WrongBytes, "try again; if it stays, something between here and there is bad"
    elif "BLOB_UNKNOWN" in names:
        kind, hint = LockAgain, "the registry no longer has it: push it again, or lock again"
    elif status == 405:
        hint = "the registry takes nothing now (maintenance?), or this is a mirror: push elsewhere"
    elif "NAME_UNKNOWN" in names or status == 404:
        hint = "look at the name; some registries want a repository to be created first"
    elif 300 <= status < 400:
        hint = "the registry sends us on to a place that we may not go to"
    got = said(response) + (", asked without a login" if anonymous else "")
    return kind(what, subject=repository, where=where(response.url), got=got, hint=hint)


def unreachable(
    error: Exception, repository: Repository, url: httpx2.URL, *, met: bool = True
) -> OvenproofError:
    """The error for a request that got no answer: `Unanswered` where another try may help.

    `met`: it has answered before.
    """
    kind = Unanswered
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _NOT_THE_CA:
            return NoAccess(
                "the registry's certificate does not hold here",
                subject=repository,
                where=where(url),
                got=cause.verify_message or cause.reason,
                hint=_NOT_THE_CA[cause.verify_code],
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAccess(
                "the registry cannot be trusted: its certificate is not one that is known here",
                subject=repository,
                where=where(url),
                got=cause.verify_message or cause.reason,
                hint=f"put its CA into ~/.config/containers/certs.d/{host}/ca.crt, or let "
                "SSL_CERT_FILE name a file with it",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _PLAIN:
            return NoAccess(
                "the registry does not speak https",
                subject=repository,
                where=where(url),
                got=cause.reason,
                hint=f"if you trust the network between, set {INSECURE}={host}",
            )
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return TryAgain(
                "no registry answers under this name",
                subject=repository,
                where=where(url),
                got=cause.strerror or "the name is not known",
                hint=f"go online, or look at the name: is `{host}` the registry's host?",
            )
        if isinstance(cause, ConnectionRefusedError | socket.gaierror) and not met:
            kind = Absent
    return kind(
        "the registry does not answer",
        subject=repository,
        where=where(url),
        got=_QUERY.sub(r"\1", shown(str(error))) or type(error).__name__,
        hint="go online, or see whether the registry runs; then try again",
    )


def broken_trust(folder: object, error: Exception) -> BadFile:
    """A certificate that a person put there cannot be read."""
    return BadFile(
        "the certificates for a registry cannot be read",
        subject=folder,
        expected="*.crt: CAs; *.cert with *.key: who we are; all as PEM",
        got=error,
        hint="mend the files, or take them away",
    )


def _puts_manifest(response: httpx2.Response) -> bool:
    return response.request.method == "PUT" and "/manifests/" in response.url.path


def _patience(response: httpx2.Response) -> str:
    told = response.headers.get("Retry-After", "")
    time = f"{told} s" if told.isdecimal() else told
    return f"too much was asked of it: try again {f'after {time}' if time else 'later'}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
