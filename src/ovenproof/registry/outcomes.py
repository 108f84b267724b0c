"""A repository of a registry, as a place for records: each is a small artifact with a tag.

The tag is `ovenproof-` and the key in hex. The record stands in an annotation of the manifest, so
that one request reads it; the artifact has no content besides.
"""

from ovenproof.core import manifest
from ovenproof.core.digest import Content, Digest, Json, canonical_json
from ovenproof.core.image import MANIFEST_TYPE
from ovenproof.errors import WrongBytes
from ovenproof.registry.client import Blob, Remote

ARTIFACT_TYPE = "application/vnd.ovenproof.outcome.v1+json"
ANNOTATION = "org.ovenproof.outcome"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
"""What the OCI image specification puts where an artifact has nothing."""


class OutcomesRepository:
    """Records in a repository. Threads may share it."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def get(self, key: Digest) -> bytes | None:
        """The record's bytes, whoever wrote them. Raises WrongBytes where there can be none."""
        found = self._remote.manifest(tag(key))
        if found is None:
            return None
        if found.artifact_type != ARTIFACT_TYPE or ANNOTATION not in found.annotations:
            raise WrongBytes(
                "this is no record",
                subject=key.short,
                where=f"{self._remote.repository}:{tag(key)}",
                expected=ARTIFACT_TYPE,
                got=found.artifact_type or found.media_type,
            )
        return found.annotations[ANNOTATION].encode(errors="surrogatepass")

    def put(self, key: Digest, text: bytes) -> None:
        """Keep a record, whatever was there before."""
        empty = Content.of(EMPTY)
        if not self._remote.has(empty):
            blob = Blob(content=empty, title="{}", open=lambda offset: iter((EMPTY[offset:],)))
            self._remote.upload(blob)
        data = artifact(text)
        made = manifest.read(data, MANIFEST_TYPE, name=tag(key))
        self._remote.put_manifest(made, tag(key))


def tag(key: Digest) -> str:
    """What a record is filed under."""
    return f"ovenproof-{key.hex}"


def artifact(text: bytes) -> bytes:
    """The manifest that carries a record."""
    empty = Content.of(EMPTY)
    descriptor: dict[str, Json] = {
        "mediaType": EMPTY_TYPE,
        "digest": str(empty.digest),
        "size": empty.size,
    }
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor,
            "layers": [descriptor],
            "annotations": {ANNOTATION: text.decode()},
        }
    )
