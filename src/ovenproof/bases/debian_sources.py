"""Where this machine gets Debian packages from: its own apt configuration, or a setting.

Mirrors, keys and credentials are whatever apt is told; nothing of that is ours, and nothing of it
goes into a lock.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ovenproof.core.address import shown
from ovenproof.errors import BadCall, NoAccess

SETTING = "OVENPROOF_DEBIAN_MIRROR"
"""Named in hints; it is read where settings are read."""
MAIN, SECURITY = "debian", "debian-security"

_CODENAMES = frozenset({"bullseye", "bookworm", "trixie", "forky", "duke", "sid"})
_RELEASES = _CODENAMES | {"oldoldstable", "oldstable", "stable", "testing", "unstable"}
_POCKET = re.compile(r"(-security|-updates|-proposed-updates|-backports(-sloppy)?|/updates)$")
_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>\S.*)"
)
_FIELD = re.compile(r"(?P<name>[A-Za-z-]+):\s*(?P<value>.*)")


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class AptSource:
    """One mirror of one Debian archive."""

    archive: str
    """`debian` or `debian-security`."""
    url: str
    """The archive's root, without a slash at its end."""
    keyring: str | None = None
    """The file of keys that apt checks it with; None: those that apt trusts anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stanza:
    """What one entry of apt's configuration says, of the fields that matter."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str | None


def machine_sources(apt: Path = Path("/etc/apt")) -> tuple[AptSource, ...]:
    """The Debian mirrors of a folder of apt's configuration, in its order. None is an empty tuple.

    Other people's repositories are told from Debian's own by suite, component and keyring.
    """
    found: dict[AptSource, None] = {}
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if path.suffix == ".list":
            stanzas = _one_line(_text(path))
        elif path.suffix == ".sources":
            stanzas = _deb822(_text(path))
        else:
            continue
        for stanza in stanzas:
            found.update(dict.fromkeys(_debian(stanza)))
    return tuple(found)


def from_setting(mirror: str) -> tuple[AptSource, ...]:
    """The mirrors below one address; `{archive}` in it stands for the archive's name."""
    parts = urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadCall(
            "this is not the address of a Debian mirror",
            subject=shown(mirror),
            where=SETTING,
            expected="https://HOST/PATH, below which `debian` and `debian-security` lie",
            hint=f"set {SETTING} to such an address; `{{archive}}` may stand for the two names",
        )
    pattern = mirror.rstrip("/")
    if "{archive}" not in pattern:
        pattern += "/{archive}"
    return tuple(
        AptSource(archive=archive, url=pattern.replace("{archive}", archive))
        for archive in (MAIN, SECURITY)
    )


def mirrors(sources: Iterable[AptSource]) -> Mapping[str, Sequence[str]]:
    """Archive -> the addresses of its mirrors, each once, in their order."""
    table: dict[str, dict[str, None]] = {}
    for source in sources:
        table.setdefault(source.archive, {})[source.url] = None
    return {archive: tuple(urls) for archive, urls in table.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NoAccess(
            "apt's configuration cannot be read", subject=path, got=error.strerror
        ) from error


def _one_line(text: str) -> Iterator[_Stanza]:
    """`sources.list(5)`, ONE-LINE-STYLE FORMAT."""
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
        yield _Stanza(
            uris=(match["uri"],),
            suites=(match["suite"],),
            components=tuple(match["components"].split()),
            keyring=options.get("signed-by"),
        )


def _deb822(text: str) -> Iterator[_Stanza]:
    """`sources.list(5)`, DEB822-STYLE FORMAT."""
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    for paragraph in "\n".join(lines).split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in paragraph.splitlines():
            if line[:1].isspace():
                fields[last] = f"{fields.get(last, '')} {line.strip()}"
            elif match := _FIELD.fullmatch(line):
                last = match["name"].lower()
                fields[last] = match["value"]
        enabled = fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off")
        if enabled and "deb" in fields.get("types", "").split():
            yield _Stanza(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                keyring=fields.get("signed-by", "").strip() or None,
            )


def _debian(stanza: _Stanza) -> Iterator[AptSource]:
    """The mirrors of Debian's own archives in a stanza."""
    keyring = stanza.keyring
    if keyring is not None and not Path(keyring).name.startswith("debian-archive-"):
        return
    if "main" not in stanza.components:
        return
    for suite in stanza.suites:
        if _POCKET.sub("", suite) not in _RELEASES:
            continue
        archive = SECURITY if suite.endswith(("-security", "/updates")) else MAIN
        for uri in stanza.uris:
            for url in _addresses(uri):
                yield AptSource(archive=archive, url=url.rstrip("/"), keyring=keyring)


def _addresses(uri: str) -> tuple[str, ...]:
    """What a URI stands for: itself, or the addresses that a list of mirrors holds."""
    if uri.startswith("mirror+file:"):
        listed = _text(Path(uri.removeprefix("mirror+file:")))
        lines = (line.partition("#")[0].split() for line in listed.splitlines())
        return tuple(words[0] for words in lines if words and _is_web(words[0]))
    return (uri,) if _is_web(uri) else ()


def _is_web(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")
