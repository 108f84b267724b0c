"""A server that speaks Bazel's HTTP cache, as a place for records: GET and PUT of `URL/ac/KEY`.

What lies below `/ac/` is an ActionResult, a protobuf message, and some servers refuse anything
else there. So a record travels as the `stdout_raw` of an otherwise empty one. Servers may add
fields of their own, such as who wrote it; they are passed over.
"""

import base64
import netrc
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx2

from ovenproof.core.address import shown
from ovenproof.core.digest import Digest
from ovenproof.errors import NoAccess, TryAgain, WrongBytes
from ovenproof.net.client import client
from ovenproof.registry.trust import machine_trust

STDOUT_RAW = 5
"""The number of this field in `build.bazel.remote.execution.v2.ActionResult`."""
LIMIT = 1 << 20
"""Nobody writes an ActionResult of a record that is larger, whatever a server adds to it."""
_TIMEOUT = httpx2.Timeout(3.0, connect=2.0)
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types; those of a fixed size, with it."""


class BazelCache:
    """A Bazel HTTP cache. Threads may share it.

    The account comes from the address, as `https://USER:PASSWORD@…`, or from `~/.netrc`.
    """

    def __init__(
        self,
        address: str,
        *,
        environment: Mapping[str, str],
        home: Path,
    ) -> None:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        login = _own(parts.username, parts.password) or _from_netrc(home, parts.hostname or "")
        headers = {"Accept-Encoding": "identity", **({"Authorization": login} if login else {})}
        self._http = client(
            timeout=_TIMEOUT,
            headers=headers,
            follow_redirects=False,
            verify=machine_trust(environment),
        )

    def get(self, key: Digest) -> bytes | None:
        """The record's bytes, whoever wrote them. Raises WrongBytes where there can be none."""
        status, body = self._ask("GET", key)
        if status in (404, 410):
            return None
        if status != 200:
            raise self._refusal(status, key)
        try:
            return unwrapped(body)
        except ValueError as error:
            raise WrongBytes(
                "this is no record", subject=key.short, where=shown(self._url), got=error
            ) from error

    def put(self, key: Digest, text: bytes) -> None:
        """Keep a record, whatever was there before."""
        status, _body = self._ask("PUT", key, wrapped(text))
        if not 200 <= status < 300:
            raise self._refusal(status, key)

    def _ask(self, method: str, key: Digest, content: bytes | None = None) -> tuple[int, bytes]:
        """(status, body) of a request. Raises TryAgain where nobody answers."""
        url = f"{self._url}/ac/{key.hex}"
        body = bytearray()
        try:
            with self._http.stream(method, url, content=content) as response:
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > LIMIT:
                        raise TryAgain("a cache answers too much", where=shown(url))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            got = shown(str(error)) or type(error).__name__
            raise TryAgain("a cache does not answer", where=shown(url), got=got) from error
        return response.status_code, bytes(body)

    def _refusal(self, status: int, key: Digest) -> NoAccess | TryAgain:
        kind = NoAccess if status in (401, 403, 405, 407) else TryAgain
        return kind(
            "a cache refuses",
            subject=key.short,
            where=shown(self._url),
            got=f"HTTP status {status}",
        )


def wrapped(text: bytes) -> bytes:
    """An ActionResult whose `stdout_raw` is this text."""
    return _varint(STDOUT_RAW << 3 | _BYTES) + _varint(len(text)) + text


def unwrapped(message: bytes) -> bytes:
    """The `stdout_raw` of an ActionResult, the last where there are several. Raises ValueError."""
    found = None
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        field, kind = tag >> 3, tag & 7
        end = at
        if kind == _VARINT:
            _value, end = _read_varint(message, at)
        elif kind == _BYTES:
            size, at = _read_varint(message, at)
            end = at + size
        elif kind in _FIXED:
            end = at + _FIXED[kind]
        if field == 0 or kind not in (_VARINT, _BYTES, *_FIXED):
            raise ValueError("not an ActionResult")
        if end > len(message):
            raise ValueError("an ActionResult that ends too early")
        if field == STDOUT_RAW and kind == _BYTES:
            found = message[at:end]
        at = end
    if found is None:
        raise ValueError("an ActionResult without a record")
    return found


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """(number, where the next byte is)."""
    number = 0
    for place in range(10):  # 64 bits, seven at a time
        if at + place >= len(message):
            break
        byte = message[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("not an ActionResult")


def _own(user: str | None, password: str | None) -> str | None:
    return _basic(unquote(user), unquote(password or "")) if user else None


def _from_netrc(home: Path, host: str) -> str | None:
    """The account that `~/.netrc` has for a host; a `default` one is not given away."""
    try:
        known = netrc.netrc(str(home / ".netrc")).hosts
    except OSError:
        return None
    except (netrc.NetrcParseError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
        raise NoAccess(
            "the file of accounts cannot be read",
            got=f"something else than accounts in {home / '.netrc'}{line}",
            hint="mend it, or write the account into the address: https://USER:PASSWORD@HOST",
        ) from None
    found = known.get(host)
    return _basic(found[0], found[2] or "") if found else None


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
