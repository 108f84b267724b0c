"""What a registry says with a 401: how it wants to be asked (RFC 9110, section 11.6.1).

A header may hold several challenges, and a comma stands between challenges as between their
parameters: a word that an `=` follows is a parameter, any other begins the next challenge.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  a word of the grammar
_GAP = re.compile(r"[\s,]*")
_SCHEME = re.compile(rf"({_TOKEN})(?=[\s,]|$)\s*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """User and password with every request."""

    realm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A token, that the realm gives for a scope."""

    realm: str
    service: str = ""
    scope: str = ""
    """What the request needed, as `TYPE:NAME:ACTIONS`, with spaces between."""


Challenge: TypeAlias = Basic | Bearer


def parse(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all WWW-Authenticate headers that can be met, in their order.

    Other schemes are left out, and whatever stands behind a fault of a header.
    """
    return tuple(found for header in headers for found in _challenges(header))


def chosen(challenges: Sequence[Challenge], before: Challenge | None) -> Challenge | None:
    """The challenge to meet: a token rather than a password. What was met before stays its kind,
    so that nobody can send us to and fro."""
    fit = [item for item in challenges if before is None or type(item) is type(before)]
    return next((item for item in fit if isinstance(item, Bearer)), fit[0] if fit else None)


def foreign_scopes(scope: str, own: Sequence[str]) -> tuple[str, ...]:
    """Scopes of a challenge that are about other things than ours."""
    ours = {item.rpartition(":")[0] for item in own}
    words = dict.fromkeys(scope.split())
    return tuple(word for word in words if word.rpartition(":")[0] not in ours)


def _challenges(header: str) -> Iterator[Challenge]:
    at = _end(_GAP, header, 0)
    while match := _SCHEME.match(header, at):
        at = match.end()
        parameters: dict[str, str] = {}
        if found := _TOKEN68.match(header, at):
            at = found.end()
        while found := _PARAMETER.match(header, _end(_GAP, header, at)):
            at = found.end()
            name, quoted, plain = found.groups()
            value = plain if quoted is None else _ESCAPE.sub(r"\1", quoted)
            parameters.setdefault(name.lower(), value)
        at = _end(_GAP, header, at)
        realm = parameters.get("realm", "")
        scheme = match[1].lower()
        if scheme == "basic":
            yield Basic(realm=realm)
        elif scheme == "bearer" and realm:
            yield Bearer(
                realm=realm,
                service=parameters.get("service", ""),
                scope=parameters.get("scope", ""),
            )


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
