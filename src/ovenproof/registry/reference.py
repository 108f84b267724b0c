"""What a person calls an image: `[HOST/]NAME[:TAG][@DIGEST]`, read as Docker reads it."""

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from ovenproof.core.address import shown, without_login
from ovenproof.core.digest import Digest
from ovenproof.errors import BadCall

DOCKER_HUB = "docker.io"
HUB_SERVER = "registry-1.docker.io"
HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", HUB_SERVER})
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::([0-9]{{1,5}}))?")
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_SCHEME = re.compile(r"[a-z+-]+://|registry:", re.IGNORECASE)
_FOLDER = re.compile(r"\.{0,2}/|~|file:|(oci|oci-archive|dir|layout):(?!//)", re.IGNORECASE)
"""What other programs, and ours elsewhere, write before a name, or before a folder."""
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A name at a registry. Docker Hub's is always `docker.io/library/NAME` or `docker.io/A/B`."""

    host: str
    """With its port, as a person writes it."""
    name: str

    @property
    def server(self) -> str:
        """The host, and port, that answers for it."""
        return HUB_SERVER if self.host == DOCKER_HUB else self.host

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, and which image of it."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def at(self, digest: Digest) -> "Reference":
        """The same, by digest and without a tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def parse(text: str, *, host: str | None = DOCKER_HUB) -> Reference:
    """Read a reference. Raises BadCall.

    `host` is meant where the text names none; with None the text must name one.
    """
    rest, at, digest = text.partition("@")
    first, slash, tail = rest.partition("/")
    named = bool(slash) and (first == "localhost" or any(letter in first for letter in ".:["))
    if named:
        registry, rest = first, tail
    elif host is None:
        raise _fault(text, "HOST/NAME:TAG, such as ghcr.io/you/models:tag", "no registry's host")
    else:
        registry = host
    name, colon, tag = rest.partition(":")
    registry = DOCKER_HUB if registry in HUB_NAMES else registry
    if registry == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    if not _is_host(registry):
        raise _fault(text, "a host, or HOST:PORT", registry)
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        raise _fault(text, "a name of small letters, digits, `.`, `_`, `-` and `/`", name)
    if colon and not is_tag(tag):
        raise _fault(text, "a tag of at most 128 letters, digits, `.`, `_` and `-`", tag)
    try:
        found = Digest.parse(digest) if at else None
    except ValueError:
        raise _fault(text, "sha256:<64 hex digits> after the `@`", digest) from None
    return Reference(Repository(registry, name), tag or None, found)


def parse_repository(text: str, *, host: str | None = None) -> Repository:
    """Read a repository: a reference without tag or digest. Raises BadCall."""
    found = parse(text, host=host)
    if found.tag or found.digest:
        raise _fault(text, "a repository, without a tag", found.target)
    return found.repository


def is_tag(text: str) -> bool:
    """Whether a registry can have a tag of this name; a layout's own may be any text."""
    return _TAG.fullmatch(text) is not None


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if not match or not 0 < int(match[2] or "1") < 1 << 16:
        return False
    try:
        if match[1].startswith("["):
            IPv6Address(match[1][1:-1])
        elif _FOUR_NUMBERS.fullmatch(match[1]):
            IPv4Address(match[1])
    except ValueError:
        return False
    return True


def _fault(text: str, expected: str, got: str) -> BadCall:
    hidden = without_login(text)
    if hidden != text:
        got = "an `@` that no digest follows"
    return BadCall(
        "this is no name of an image",
        subject=shown(hidden),
        expected=expected,
        got=shown(got),
        hint=_hint(text),
    )


def _hint(text: str) -> str | None:
    if _FOLDER.match(text):
        return "a folder is written `layout:DIR`, as `copy` and `build --output` take it"
    found = _SCHEME.match(text)
    return f"leave out `{found[0]}`" if found else None
