"""Who refers to a manifest, where a registry does not keep count itself.

Then the specification's fallback holds the list: an index under the tag `sha256-<hex>` of the
subject, which everybody reads, changes and writes back.
"""

from collections.abc import Mapping

from ovenproof.core.digest import Digest, Json, canonical_json
from ovenproof.core.manifest import INDEX_TYPE, Descriptor, Manifest
from ovenproof.core.reader import Reader


def fallback_tag(subject: Digest) -> str:
    """The tag under which the list lies."""
    return f"sha256-{subject.hex}"


def listed(index: Manifest, artifact_type: str = "") -> tuple[Descriptor, ...]:
    """What an index lists, of one type or of all: not every registry filters."""
    return tuple(item for item in index.manifests if artifact_type in ("", item.artifact_type))


def with_entry(index: Manifest | None, referrer: Manifest) -> bytes:
    """The index with one more entry, in order. What is in it is kept as it was written."""
    entries: list[dict[str, Json]] = []
    annotations: Json = None
    if index is not None:
        top = Reader.parse(index.data, name="an index of referrers")
        entries = [dict(item.value) for item in top.items("manifests")]
        annotations = top.json("annotations") if top.has("annotations") else None
    own = _entry(referrer)
    kept = [item for item in entries if item.get("digest") != own["digest"]]
    document: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [*sorted([*kept, own], key=lambda item: str(item.get("digest")))],
    }
    if annotations is not None:
        document["annotations"] = annotations
    return canonical_json(document)


def _entry(referrer: Manifest) -> dict[str, Json]:
    config = referrer.config.media_type if referrer.config else ""
    artifact_type = referrer.artifact_type or config
    entry: dict[str, Json] = {
        "mediaType": referrer.media_type,
        "digest": str(referrer.digest.digest),
        "size": referrer.digest.size,
    }
    if artifact_type:
        entry["artifactType"] = artifact_type
    if referrer.annotations:
        entry["annotations"] = _as_json(referrer.annotations)
    return entry


def _as_json(annotations: Mapping[str, str]) -> dict[str, Json]:
    return dict(annotations)
