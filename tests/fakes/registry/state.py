"""What a fake registry holds, and every way in which it can be told to behave."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Literal, TypeAlias

Failure: TypeAlias = tuple[str, str, int, Mapping[str, str]]
"""Regex of the whole method, regex within the path, status, headers."""


def digest_of(data: bytes) -> str:
    """Digests are plain text here: the fake shares no code with what it tests."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it came."""

    data: bytes
    media_type: str


@dataclass(slots=True, eq=False)
class Upload:
    """An upload that is under way."""

    repository: str
    keeps: bool
    """False: the bytes are hashed and counted only."""
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    states: set[str] = field(default_factory=set)
    """Every `_state` that a Location of this upload ever had."""
    patches: int = 0
    lock: Lock = field(default_factory=Lock)
    """Held while bytes come: who asks for the offset hears it after the last of them."""

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"

    def append(self, piece: bytes) -> None:
        self.hash.update(piece)
        self.size += len(piece)
        if self.keeps:
            self.data += piece

    def mark(self) -> "tuple[int, hashlib._Hash]":
        """Where the upload is, for `rewind`."""
        return self.size, self.hash.copy()

    def rewind(self, mark: "tuple[int, hashlib._Hash]") -> None:
        self.size, self.hash = mark
        del self.data[self.size :]


@dataclass(slots=True)
class Token:
    """A token that was given out, and what it is good for."""

    scopes: frozenset[str]
    """Such as `repository:a/b:pull`: one action each."""
    uses: int = 0


@dataclass(kw_only=True, eq=False)
class State:
    """Plain attributes, to be read and set at any time. Everything is off by default."""

    lock: RLock = field(default_factory=RLock, init=False)
    address: str = field(default="", init=False)
    other_address: str = field(default="", init=False)
    """Another origin of the same registry: no request to it may bring an Authorization."""

    # What it holds.
    blobs: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """Repository -> digest -> bytes."""
    manifests: dict[str, dict[str, Stored]] = field(default_factory=lambda: defaultdict(dict))
    """Repository -> digest -> manifest."""
    tags: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Repository -> tag -> digest."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    """Those under way, by their name in the Location."""
    pretend: dict[str, int] = field(default_factory=dict)
    """Digest -> size of blobs that every repository says it has. They cannot be read."""
    discard: bool = False
    """Uploads are checked, and then only their size is kept, in `discarded`."""
    discarded: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    # Who may do what.
    auth: Literal["none", "basic", "bearer"] = "none"
    users: dict[str, str] = field(default_factory=dict)
    """Name -> password."""
    identity_tokens: dict[str, str] = field(default_factory=dict)
    """What POST /token takes in place of a password -> the user's name."""
    anonymous_pull: bool = False
    """Who does not log in may pull."""
    pull_tokens_only: bool = False
    """Tokens never let push, whatever was asked for."""
    secret_repositories: set[str] = field(default_factory=set)
    """Who asks for a token for one of these gets none at all: 403."""
    push_denied: bool = False
    """Nobody may write: 403 DENIED."""
    realm: str = ""
    """Where tokens are given out, if not at this registry's own /token."""
    tokens: dict[str, Token] = field(default_factory=dict)
    """Those given out that still hold."""
    token_uses: int | None = None
    """After so many requests a token is refused."""
    expires_in: int = 300
    """What is said of a token's life in seconds; nothing here watches a clock."""
    scopes: list[str] = field(default_factory=list)
    """Every scope that was asked for at /token, in order."""

    # Faults that happen once for each item, in order.
    cut_after: list[int] = field(default_factory=list)
    """The first upload whose body gets to so many bytes loses its connection there."""
    cut_download_after: list[int] = field(default_factory=list)
    """The first GET of a blob that gives at least so many bytes loses its connection there."""
    fail: list[Failure] = field(default_factory=list)
    """The first item that fits a request is its answer. Status 0: the connection is dropped."""
    spoil_after: list[int] = field(default_factory=list)
    """The first upload whose body gets to so many bytes is kept with another byte there."""
    lose_session_after: list[int] = field(default_factory=list)
    """The first upload with so many PATCHes behind it is forgotten when the next one comes."""

    # Peculiarities that last.
    location: Literal["relative", "absolute", "other-host"] = "relative"
    """How a Location of an upload is written."""
    redirect_blobs: bool = False
    """GET of a blob is sent on to the other address: 307."""
    forgets_cut: bool = False
    """Of a body that was cut nothing is kept."""
    range_stands_still: bool = False
    """Whatever a PATCH brought, its answer says that nothing is there."""
    wrong_range: int | None = None
    """Asked for the offset of an upload, it says this one."""
    max_chunk: int | None = None
    """A body of an upload over this size is refused: 413."""
    max_blob: int | None = None
    """A blob over this size is refused: 413."""
    patch_unsupported: bool = False
    """PATCH is answered 405 UNSUPPORTED."""
    requires_content_range: bool = False
    """PATCH must say which bytes it brings: else 416."""
    no_mount: bool = False
    """A mount is answered 202, as any other upload."""
    no_referrers: bool = False
    """There is no referrers API: 404, and no OCI-Subject."""
    ignores_ranges: bool = False
    """GET of a blob with a Range is answered 200 and all of it."""
    page_size: int | None = None
    """A list of tags or referrers gives no more than this at a time, whatever `n` says."""
    accepts_missing: bool = False
    """A manifest may name blobs and manifests that are not there."""

    # Lies.
    ignores_digest: bool = False
    """An upload is believed to be what its digest says."""
    wrong_digest_for: set[str] = field(default_factory=set)
    """To these methods Docker-Content-Digest names another digest."""
    no_digest_for: set[str] = field(default_factory=set)
    """To these methods there is no Docker-Content-Digest."""
    serves_instead: dict[str, bytes] = field(default_factory=dict)
    """Digest -> the bytes that GET gives for it, of a blob or a manifest."""

    before: Callable[[str, str], None] | None = None
    """Called with method and path before each request is looked at."""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def size_of(self, repository: str, digest: str) -> int | None:
        """The size of a blob that is there, or is said to be there."""
        with self.lock:
            data = self.blobs.get(repository, {}).get(digest)
            if data is not None:
                return len(data)
            return self.discarded.get(repository, {}).get(digest, self.pretend.get(digest))

    def knows(self, repository: str) -> bool:
        """Whether anything was ever put there."""
        held = (self.blobs, self.discarded, self.manifests)
        return any(repository in place for place in held)

    def digest_header(self, method: str, digest: str) -> dict[str, str]:
        if method in self.no_digest_for:
            return {}
        told = digest_of(b"a lie") if method in self.wrong_digest_for else digest
        return {"Docker-Content-Digest": told}
