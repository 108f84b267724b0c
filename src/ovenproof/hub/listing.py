"""The files of a repository at a commit, as the hub lists them: in pages, each naming the next.

The next page is asked of the hub that was asked for the first. A mirror may give out the pages of
the hub itself, which name that one: then its own page of the same name is meant. Any other place is
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import httpx2

from ovenproof.core.digest import Digest
from ovenproof.hub.files import HubFile
from ovenproof.hub.place import ENDPOINT, Place
from ovenproof.hub.refusal import astray, origin

MOST_PAGES = 200
"""Of a thousand files each, unless a mirror has smaller ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A piece of a listing: somebody else's words."""

    entries: object
    next: str | None
    """Where the next one is said to be."""


def list_files(
    place: Place, model: str, commit: str, ask: Callable[[httpx2.URL], Page]
) -> tuple[HubFile, ...]:
    """All files, by path. Raises NoAccess where we are led astray, ValueError for what is no list.

    So it does for one that does not end, and what `ask` raises.
    """
    tree = f"{place.endpoint}/api/models/{quote(model)}/tree/{commit}"
    url = httpx2.URL(tree, params={"recursive": "true", "expand": "false"})
    found: list[HubFile] = []
    for _number in range(MOST_PAGES):
        page = ask(url)
        found += _files(page.entries)
        if page.next is None:
            return tuple(sorted(found, key=lambda file: file.path))
        url = _next(place, model, url, page.next)
    raise ValueError(f"a listing of more than {MOST_PAGES} pages")


def _next(place: Place, model: str, before: httpx2.URL, said: str) -> httpx2.URL:
    try:
        url = before.join(said)
    except (httpx2.InvalidURL, ValueError):
        raise astray(place, model, before, "a next page at an address that is none") from None
    if origin(url) == origin(httpx2.URL(ENDPOINT)):
        return httpx2.URL(place.endpoint + url.raw_path.decode("ascii"))
    if origin(url) != origin(before):
        raise astray(place, model, url, "a next page at another place")
    return before.copy_with(raw_path=url.raw_path)  # which keeps a mirror's user and password


def _files(entries: object) -> list[HubFile]:
    if not isinstance(entries, list):
        raise ValueError(f"a {type(entries).__name__} as a list of files")
    return [_file(entry) for entry in entries if entry["type"] == "file"]


def _file(entry: dict[str, object]) -> HubFile:
    """Its size is looked at later, with all others at once."""
    path, size, blob_id, lfs = (entry.get(key) for key in ("path", "size", "oid", "lfs"))
    if not isinstance(path, str) or not isinstance(blob_id, str):
        raise ValueError("a file without a name")
    sha256 = lfs["oid"] if isinstance(lfs, dict) else None
    return HubFile(
        path=path,
        size=size,  # type: ignore[arg-type]
        blob_id=blob_id,
        sha256=None if sha256 is None else Digest(sha256),
    )
