"""The folder of an OCI layout: the one reader and writer of its `index.json` and its blobs."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ovenproof.core import manifest as manifests
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.manifest import INDEX_TYPE, Descriptor, Manifest
from ovenproof.errors import BadCall, BadFile, WrongBytes
from ovenproof.store.disk import alone, sweep, write_file
from ovenproof.store.stream import CHUNK, checked

LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
_LARGEST = 32 << 20
"""A file above this is no manifest, whoever says so: it would be read into memory."""


class LayoutFolder:
    """`oci-layout`, `index.json` and `blobs/`, in which many images may share what they have.

    A blob that lies here in its full size is believed to be there: it was proven when it was
    written. Whoever reads it proves it again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would."""
        return self._blobs / digest.hex

    def has(self, content: Content) -> bool:
        try:
            return self.path(content.digest).stat().st_size == content.size
        except OSError:
            return False

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes; all of them are proven before the last is given. Raises WrongBytes."""
        chunks = self._read(content, offset)
        if offset:
            return chunks
        path = self.path(content.digest)
        hint = f"delete {path}, and write the image into the layout once more"
        return checked(chunks, content, f"the layout's blob {path}", hint=hint)

    def manifest(self, target: str) -> Manifest | None:
        """What a digest or a tag names, byte for byte and checked; None where nothing does."""
        try:
            digest = Digest.parse(target)
        except ValueError:
            found = self.tagged(target)
            return None if found is None else self.manifest(str(found))
        try:
            size = self.path(digest).stat().st_size
        except FileNotFoundError:
            return None
        if size > _LARGEST:
            raise WrongBytes("this is a blob, and too large for a manifest", subject=target)
        data = b"".join(self.open(Content(digest, size)))
        return manifests.read(data, name=str(self.path(digest)))

    def referrers(self, subject: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What the index lists, and says `subject` of a manifest."""
        found = []
        for item in self.images():
            own = self.manifest(str(item.content.digest)) if item.is_manifest else None
            about = own.subject if own else None
            if about and about.content.digest == subject:
                found.append(item)
        return tuple(item for item in found if artifact_type in ("", item.artifact_type))

    def images(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists, as it stands there. Raises BadFile or WrongBytes."""
        path = self.root / "index.json"
        if not path.is_file():
            raise BadCall("this folder is no OCI layout: it has no index.json", subject=self.root)
        self.entries()
        return manifests.read(path.read_bytes(), INDEX_TYPE, name=str(path)).manifests

    def tagged(self, tag: str) -> Digest | None:
        """What a tag names. Raises BadCall where it names several."""
        listed = self.images() if (self.root / "index.json").exists() else ()
        found = {item.content for item in listed if tag_of(item) == tag}
        if len(found) > 1:
            raise BadCall(
                "a tag of this layout names several images",
                subject=f"{self.root}:{tag}",
                got=", ".join(sorted(str(item.digest) for item in found)),
                hint="name one by its digest: layout:DIR@sha256:…",
            )
        return found.pop().digest if found else None

    def only(self) -> Descriptor:
        """The one image that is here; what refers to another does not count. Raises BadCall."""
        listed = [item for item in self.images() if not self._refers(item)]
        tags = sorted({tag for item in listed if (tag := tag_of(item))})
        digests = sorted({str(item.content.digest) for item in listed})
        if len(digests) == 1 and len(tags) < 2:
            return max(listed, key=lambda item: tag_of(item) or "")
        names = tags or digests
        raise BadCall(
            "several images lie here, and none is named" if listed else "no image lies here",
            subject=f"layout:{self.root}",
            expected=f"layout:{self.root}" + ("@DIGEST" if digests and not tags else ":TAG"),
            hint=f"it has {', '.join(names)}" if names else None,
        )

    def sweep(self) -> None:
        """Remove the drafts of killed writers."""
        sweep(self.root)
        sweep(self._blobs)

    def put(self, content: Content, chunks: Iterable[bytes]) -> None:
        """Write a blob, all or nothing. The chunks are proven by whoever makes them."""
        write_file(self.path(content.digest), chunks)

    def enlist(
        self,
        items: Sequence[Json],
        tag: str | None = None,
        *,
        allow: Callable[[Digest | None], object] | None = None,
    ) -> None:
        """List images in the index, and let no other one have the tag. All or nothing.

        `allow` hears what the tag names at that moment, and may raise.
        """
        write_file(self.root / "oci-layout", (LAYOUT,))
        with alone(self.root):
            if allow is not None and tag is not None:
                allow(self.tagged(tag))
            document = self._document()
            kept = [item for item in _entries(document) if item not in items]
            if tag is not None:
                kept = [item for item in kept if not _is_tagged(item, tag)]
            write_file(self.root / "index.json", (index([*kept, *items], document),))

    def entries(self) -> list[Json]:
        """The index's own entries, whatever is in them; none where there is no layout yet."""
        return _entries(self._document())

    def _document(self) -> dict[str, Json]:
        """The index as it lies here, nothing where there is no layout yet. Raises BadFile."""
        path = self.root / "index.json"
        if self.root.exists() and not self.root.is_dir():
            raise BadFile("the output is not a folder", subject=self.root)
        try:
            found = json.loads(path.read_bytes())
            canonical_json(found)  # it must be possible to write it again
            if not isinstance(found["manifests"], list):
                raise TypeError(f"manifests: {found['manifests']!r}")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadFile(
                "the layout's index cannot be read",
                subject=path,
                got=repr(error),
                hint="delete the folder, or choose another one with --output layout:DIR",
            ) from error
        return dict(found)

    @property
    def _blobs(self) -> Path:
        return self.root / "blobs" / "sha256"

    def _refers(self, item: Descriptor) -> bool:
        own = self.manifest(str(item.content.digest)) if item.is_manifest else None
        return own is not None and own.subject is not None and tag_of(item) is None

    def _read(self, content: Content, offset: int) -> Iterator[bytes]:
        path = self.path(content.digest)
        try:
            stream = path.open("rb")
        except FileNotFoundError as error:
            raise WrongBytes(
                "the layout lacks a blob that its image names", subject=path
            ) from error
        with stream:
            stream.seek(offset)
            while chunk := stream.read(CHUNK):
                yield chunk


def index(items: Iterable[Json], others: Mapping[str, Json] | None = None) -> bytes:
    """The `index.json` of a layout. Of `others` is kept what an index may say of itself."""
    own: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": list(items),
    }
    return canonical_json({**(others or {}), **own})


def entry(
    content: Content, media_type: str, *, tag: str | None = None, full_name: str | None = None
) -> Json:
    """How an index lists an image.

    `full_name` is for containerd, which otherwise takes the tag for the whole name.
    """
    names = {FULL_NAME: full_name, REF_NAME: tag}
    annotations: dict[str, Json] = {key: name for key, name in names.items() if name is not None}
    found: dict[str, Json] = {
        "mediaType": media_type,
        "digest": str(content.digest),
        "size": content.size,
    }
    return {**found, "annotations": annotations} if annotations else found


def tag_of(item: Descriptor) -> str | None:
    """The tag under which an index lists an image."""
    return item.annotations.get(REF_NAME)


def _entries(document: Mapping[str, Json]) -> list[Json]:
    found = document.get("manifests")
    return [*found] if isinstance(found, list) else []


def _is_tagged(item: Json, tag: str) -> bool:
    annotations = item.get("annotations") if isinstance(item, dict) else None
    return isinstance(annotations, dict) and annotations.get(REF_NAME) == tag
