"""One repository of a registry: blobs and manifests, each checked byte for byte.

A registry is believed nothing that can be checked: a size, a digest, what a tag names after it was
moved.
"""

import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx2

from ovenproof.core.digest import Content, Digest
from ovenproof.core.manifest import INDEX_TYPE, INDEX_TYPES, TYPES, Descriptor, Manifest, read
from ovenproof.errors import BadCall, TryAgain, WrongBytes
from ovenproof.registry import fetching
from ovenproof.registry.asking import Asking
from ovenproof.registry.blob import Blob, Stream, Uploaded
from ovenproof.registry.limits import Limits, limits
from ovenproof.registry.reference import Repository, is_tag
from ovenproof.registry.referrers import Listing, listed
from ovenproof.registry.refusal import where
from ovenproof.registry.sending import Sending
from ovenproof.registry.transport import Transport
from ovenproof.registry.wire import Call

_ACCEPT = ", ".join(TYPES)
_NO_API = frozenset({400, 404, 405, 406, 501})
"""What is answered by who does not keep count of referrers. Anything else is a fault."""


class Remote:
    """One repository of one registry. May be used by many threads at once."""

    def __init__(
        self, transport: Transport, repository: Repository, *, writes: bool = False
    ) -> None:
        """`writes`: it is asked with the rights that a push needs, whatever it is asked."""
        self.repository = repository
        self.limits: Limits = limits(repository.host)
        self._transport = transport
        self._asking = Asking(transport, repository, "pull,push" if writes else "pull")
        self._one_writer = threading.Lock()

    def has(self, content: Content) -> bool:
        """Whether the repository has the blob. Another size there raises WrongBytes."""
        response = self._asking.ask("HEAD", f"blobs/{content.digest}")
        if response.status_code == 404:
            return False
        what = f"the registry does not tell of blob {content.digest.short}"
        self._asking.expect(response, 200, what)
        size = response.headers.get("Content-Length", "")
        named = _digest(response)
        if (size.isdecimal() and int(size) != content.size) or named not in (None, content.digest):
            raise WrongBytes(
                "the registry has another blob under this digest",
                subject=self.repository,
                where=where(response.url),
                expected=f"{content.digest}, {content.size} bytes",
                got=f"{named or content.digest}, {size} bytes",
            )
        return True

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        """The blob's bytes from an offset on; from 0, proven before the last of them is given.

        From another offset they are not proven. Nobody is asked before the first is taken.
        """
        return fetching.read(self._transport, self.repository, content, offset)

    def head(self, target: str) -> Digest | None:
        """What a tag or a digest names now; None where it names nothing."""
        response = self._asking.ask("HEAD", _named(target), {"Accept": _ACCEPT})
        if response.status_code == 404:
            return None
        if response.status_code == 200:
            found = _digest(response)
            if found is not None:
                self._same(target, found, response)
                return found
        elif response.status_code not in (405, 501):
            self._asking.expect(response, 200, f"the registry does not tell of {target}")
        whole = self.manifest(target)
        return whole.digest.digest if whole else None

    def manifest(self, target: str) -> Manifest | None:
        """A manifest or an index, byte for byte; None where the target names nothing.

        Its bytes must be what the digest says: ours, or the one that the registry names with it.
        """
        response = self._asking.ask("GET", _named(target), {"Accept": _ACCEPT})
        if response.status_code == 404:
            return None
        self._asking.expect(response, 200, f"the registry does not give {target}")
        found = Digest.of(response.content)
        self._same(target, found, response)
        named = _digest(response)
        if named not in (None, found):
            raise self._lie("a manifest is not what the registry says of it", named, found)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        media_type = media_type if media_type in TYPES else ""
        return read(response.content, media_type, name=f"{self.repository}, {target}")

    def put_manifest(self, manifest: Manifest, target: str) -> None:
        """Put a manifest under a tag or its digest; afterwards the target must name it."""
        self._put(manifest, target)
        self._see(manifest, target)

    def upload(
        self,
        blob: Blob | Stream,
        *,
        resume: str | None = None,
        began: Callable[[str], None] = lambda _session: None,
        heard: Callable[[int], None] = lambda _size: None,
    ) -> Uploaded:
        """Mount the blob, or send its bytes. The digest of a stream is asked for at its end.

        `began` is told each address at which the upload goes on: with it as `resume` another
        process can go on with what this one has sent. An upload that is gone begins anew. `heard`
        is told how many bytes go out.
        """
        sending = Sending(self._transport, self.repository, blob, began=began, heard=heard)
        return sending.run(self.limits, resume)

    def cancel(self, session: str) -> None:
        """Let an upload go; one that is gone is no fault."""
        call = Call(method="DELETE", url=session, repository=self.repository, actions="pull,push")
        response = self._transport.ask(call)
        if response.status_code not in (200, 202, 204, 400, 404, 405, 410):
            raise self._asking.refused(response, "an upload could not be cancelled")

    def referrers(self, subject: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What has `subject` as its subject: by the API, else by the fallback tag."""
        query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
        found: list[Descriptor] = []
        for number, response in enumerate(self._asking.pages(f"referrers/{subject}{query}")):
            status = response.status_code
            if number == 0 and (status in _NO_API or (status == 200 and not _is_index(response))):
                index = self._listing(subject).read()
                return listed(index, artifact_type) if index else ()
            what = f"the registry does not tell who refers to {subject.short}"
            self._asking.expect(response, 200, what)
            name = f"{self.repository}, referrers of {subject.short}"
            found += listed(read(response.content, INDEX_TYPE, name=name), artifact_type)
        return tuple(found)

    def refer(self, manifest: Manifest) -> None:
        """Put a manifest that has a subject, so that `referrers` finds it."""
        if manifest.subject is None:
            raise ValueError("it refers to nothing")
        subject = manifest.subject.content.digest
        target = str(manifest.digest.digest)
        response = self._put(manifest, target)
        self._see(manifest, target)
        if response.headers.get("OCI-Subject", "").strip() != str(subject):
            with self._one_writer:
                self._listing(subject).enter(manifest)

    def _listing(self, subject: Digest) -> Listing:
        return Listing(
            repository=self.repository, subject=subject, get=self.manifest, put=self._put
        )

    def _put(self, manifest: Manifest, target: str) -> httpx2.Response:
        digest = manifest.digest.digest
        if ":" in target and target != str(digest):
            raise ValueError(f"not the manifest's digest: {target}")
        call = Call(
            method="PUT",
            url=self._asking.url(_named(target)),
            repository=self.repository,
            actions="pull,push",
            headers={"Content-Type": manifest.media_type},
            body=lambda: iter((manifest.data,)),
            size=len(manifest.data),
        )
        response = self._transport.ask(call)
        if response.status_code not in (200, 201, 202):
            what = f"the registry does not take the manifest {target}"
            raise self._asking.refused(response, what)
        named = _digest(response)
        if named not in (None, digest):
            raise self._lie("the registry took another manifest than was sent", digest, named)
        return response

    def _see(self, manifest: Manifest, target: str) -> None:
        """Raise TryAgain unless the target names the manifest that was just put there."""
        digest = manifest.digest.digest
        now = self.head(target)
        if now != digest:
            raise TryAgain(
                f"the registry took a manifest, but {target} does not name it",
                subject=self.repository,
                expected=digest,
                got=now or "nothing",
                hint="try again; somebody else may push to the same name",
            )

    def _same(self, target: str, found: Digest, response: httpx2.Response) -> None:
        if ":" in target and target != str(found):
            raise self._lie("the registry gives another manifest than was asked for", target, found)

    def _lie(self, what: str, expected: object, got: object) -> WrongBytes:
        return WrongBytes(
            what,
            subject=self.repository,
            expected=expected,
            got=got,
            hint="try again; if it stays, the registry, or something before it, is broken",
        )


def _named(target: str) -> str:
    """The path of what a tag or a digest names; anything else may lead out of the repository."""
    if not is_tag(target):
        try:
            Digest.parse(target)
        except ValueError:
            raise BadCall(
                "this is neither a tag nor a digest",
                subject=target,
                expected="a tag of at most 128 letters, digits, `.`, `_` and `-`; or sha256:…",
            ) from None
    return f"manifests/{target}"


def _digest(response: httpx2.Response) -> Digest | None:
    """What the registry calls it; None where it says nothing that we understand."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", "").strip())
    except ValueError:
        return None


def _is_index(response: httpx2.Response) -> bool:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return response.status_code == 200 and media_type in INDEX_TYPES
