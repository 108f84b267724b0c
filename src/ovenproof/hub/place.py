"""Which hub is asked, with which token, and where its client keeps its cache.

The places are those that the hub's own client looks at, so that who is logged in there is logged in
here. The token is shown nowhere: not in an error, and not where a place is printed.
"""

import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from ovenproof.core.address import shown
from ovenproof.errors import BadCall, BadFile

ENDPOINT = "https://huggingface.co"
INSECURE = "OVENPROOF_INSECURE_HUB"
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A hub, and what it is told of who asks."""

    endpoint: str = ENDPOINT
    """Without a slash at its end."""
    token: str | None = field(default=None, repr=False)
    """A secret."""
    origin: str | None = field(default=None, compare=False)
    """Where the token was found, for a person."""
    xet: bool = True
    """Whether its chunked storage may be used, where it has one."""
    offline: bool = False
    """Whether it is not to be asked at all."""

    @property
    def has_login(self) -> bool:
        """Whether the endpoint holds a user and a password."""
        return "@" in urlsplit(self.endpoint).netloc

    @property
    def shown(self) -> str:
        """The endpoint for a person: it may hold a mirror's user and password."""
        return shown(self.endpoint)


def find_place(environment: Mapping[str, str], home: Path) -> Place:
    """The hub that the environment names, and the token that it or a file there holds.

    Raises BadCall for an endpoint that is no address, and for a token that should not be sent
    there; BadFile for one that cannot be one.
    """
    endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).strip().rstrip("/")
    if not _is_address(endpoint):
        raise BadCall(
            "HF_ENDPOINT is not the address of a hub",
            subject=re.sub(r"//.*@", "//", endpoint, flags=re.DOTALL).partition("?")[0],
            expected=f"https://HOST, as in {ENDPOINT}",
            hint="correct HF_ENDPOINT, or unset it",
        )
    implicit = environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in _TRUE
    token, origin = _token(environment, home) if implicit else (None, None)
    # The client looks at the second where the first is empty, not where it says no.
    offline = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    found = Place(
        endpoint=endpoint,
        token=token,
        origin=origin,
        xet=environment.get("HF_HUB_DISABLE_XET", "").upper() not in _TRUE,
        offline=offline.upper() in _TRUE,
    )
    if found.token and not found.offline:
        _check_token(found, insecure=environment.get(INSECURE, "").upper() in _TRUE)
    return found


def find_cache(environment: Mapping[str, str], home: Path) -> Path:
    """The folder in which the hub's own client keeps what it has downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if found := environment.get(name):
            return _path(found, environment, home)
    return _hub_home(environment, home) / "hub"


def _token(environment: Mapping[str, str], home: Path) -> tuple[str | None, str | None]:
    """The token, and where it was found."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if found := _clean(environment.get(name, ""), name):
            return found, name
    if named := environment.get("HF_TOKEN_PATH"):
        path = _path(named, environment, home)
    else:
        path = _hub_home(environment, home) / "token"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):  # whoever needs one is told so by the hub
        return None, None
    found = _clean(text, path)
    return found, str(path) if found else None


def _clean(text: str, where: object) -> str | None:
    """A token without the line ends around it; others would show one that cannot be sent."""
    token = text.replace("\r", "").replace("\n", "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise BadFile(
            "the hub's token cannot be sent: it has spaces, or letters that no token has",
            subject=where,
            hint="put the token there again, or unset it: public models need none",
        )
    return token or None


def _check_token(place: Place, *, insecure: bool) -> None:
    """Raise BadCall where the token would not reach the hub alone, or not at all."""
    without = "HF_HUB_DISABLE_IMPLICIT_TOKEN=1 asks without the token"
    if place.has_login:  # a request has room for one of the two
        raise BadCall(
            "HF_ENDPOINT holds a login, and there is a token too: only one of them can be sent",
            subject=place.shown,
            got=f"a token from {place.origin}",
            hint=f"take the login out of HF_ENDPOINT; or {without}",
        )
    if urlsplit(place.endpoint).scheme == "http" and not (insecure or _is_loopback(place.endpoint)):
        raise BadCall(
            "the hub's token is not sent over plain http, where others could read it",
            subject=place.shown,
            expected="https://HOST in HF_ENDPOINT",
            got=f"a token from {place.origin}",
            hint=f"use https; {without}; {INSECURE}=1 sends it all the same",
        )


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _hub_home(environment: Mapping[str, str], home: Path) -> Path:
    if found := environment.get("HF_HOME"):
        return _path(found, environment, home)
    base = environment.get("XDG_CACHE_HOME")
    return (_path(base, environment, home) if base else home / ".cache") / "huggingface"


def _path(text: str, environment: Mapping[str, str], home: Path) -> Path:
    """A path as the hub's client reads it: `~`, `$NAME` and `${NAME}` mean what they mean there."""
    if text == "~" or text.startswith("~/"):
        text = f"{home}{text[1:]}"
    for name in sorted(environment, key=len, reverse=True):
        text = text.replace(f"${{{name}}}", environment[name]).replace(
            f"${name}", environment[name]
        )
    return Path(os.path.abspath(text))  # noqa: PTH100  `..` goes, links stay


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or "#" in text:
        return False
    if "@" in parts.path or (port is None and parts.netloc.endswith(":")):
        return False  # the former is most often the rest of a password with a slash in it
    return _is_host(host, bracketed="[" in parts.netloc)


def _is_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            return ip_address(host).version == 6
        except ValueError:
            return False
    if not host.isascii():
        import httpx2  # noqa: PLC0415  slow to load, and names of such hosts are rare

        try:
            host = httpx2.URL(f"https://{host}").raw_host.decode("ascii")
        except (httpx2.InvalidURL, ValueError):
            return False
    labels = host.rstrip(".").split(".")
    return bool(_HOST.fullmatch(host)) and max(map(len, labels)) < 64 and len(host) < 254
