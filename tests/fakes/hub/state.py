"""What a fake hub holds, and every way in which it can be told to behave."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock

from tests.fakes.hub.repository import Repository


@dataclass(kw_only=True, eq=False)
class State:
    """Plain attributes, to be read and set at any time.

    By default downloads are redirected, as the real hub does it; all else is off.
    """

    lock: RLock = field(default_factory=RLock, init=False)
    endpoint: str = field(default="", init=False)
    cdn: str = field(default="", init=False)
    """Another origin, where LFS files lie: an Authorization there is refused."""
    signatures: set[str] = field(default_factory=set, init=False)
    """Those that the CDN still takes."""

    # What it holds, and for whom.
    repositories: dict[str, Repository] = field(default_factory=dict)
    lfs_from: int = 10_000_000
    """What repositories that are made from now on take for large."""
    token: str | None = None
    """Opens gated and private repositories."""
    other_tokens: set[str] = field(default_factory=set)
    """Tokens of people whom gated and private repositories do not let in. Where there is neither
    `token` nor one of these, every token is of such a person; else an unknown one is refused."""
    gated_listing: bool = True
    """A gated repository tells everybody what files it has, as the real hub does."""

    # Faults that happen once for each item, in order.
    status_next: list[int] = field(default_factory=list)
    """The next requests are answered with these. 0: the connection is dropped."""
    status_path: str = ""
    """Regex within the path of requests that take from `status_next`; anything, to begin with."""
    retry_after: str | None = None
    """What a 429 or a 5xx says in Retry-After."""
    limit_ends_s: int | None = None
    """What a 429 says in RateLimit, as the real hub does: seconds until asking helps again."""
    cut_after: list[int] = field(default_factory=list)
    """The first download whose body has more than so many bytes loses its connection there."""

    # Peculiarities that last.
    limit_every: int | None = None
    """Each request of that number (the 5th, the 10th, …) is answered 429."""
    page_size: int | None = None
    """A listing gives no more than this at a time, in place of the usual 1000 (expanded: 50)."""
    next_link_to: str | None = None
    """The origin that a listing names for its next page, in place of the hub's own."""
    endless_list: bool = False
    """A listing has always another page, at last an empty one."""
    surplus: int = 0
    """So many bytes come after the range that was asked for, and belong to nothing."""
    redirect_to_cdn: bool = True
    """Downloads of LFS files are sent to the CDN: 302, absolute, with a signature in the query."""
    redirect_to_cache: bool = True
    """Downloads of other files are sent to /api/resolve-cache: 307, relative."""
    location: str | None = None
    """Where every download is redirected to instead, such as to a place that loops."""
    ignore_range: bool = False
    """Who asks for a range is given 200 and all of it."""
    wrong_range: int = 0
    """Who asks for a range is given one that starts so many bytes later, and is told so."""
    wrong_bytes: dict[str, int] = field(default_factory=dict)
    """Path of a file -> the byte of it that is flipped in every download."""
    bytes_per_s: int | None = None
    """How slow every answer's body is."""
    compress: bool = False
    """Files outside of LFS come whole and gzipped to whom says that gzip is accepted."""
    xet: bool = False
    """LFS files say their Xet hash too. Nothing here speaks Xet."""

    before: Callable[[str, str], None] | None = None
    """Called with method and path before each request is looked at."""
