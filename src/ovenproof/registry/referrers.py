"""Who refers to a manifest, where a registry does not keep count itself.

Then the specification's fallback holds the list: an index under the tag `sha256-<hex>` of the
subject, which everybody reads, changes and writes back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ovenproof.core.digest import Digest, Json, canonical_json
from ovenproof.core.manifest import INDEX_TYPE, Descriptor, Manifest, read
from ovenproof.core.reader import Reader
from ovenproof.errors import TryAgain, WrongBytes
from ovenproof.registry.reference import Repository

_TRIES = 5
"""To write an entry into a list that others write, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The list of who refers to a subject, as it lies under the fallback tag."""

    repository: Repository
    subject: Digest
    get: Callable[[str], Manifest | None]
    """What a tag names."""
    put: Callable[[Manifest, str], object]
    """Lets a tag name a manifest."""

    def read(self) -> Manifest | None:
        """The list, if there is one. Raises WrongBytes where the tag names anything else."""
        found = self.get(fallback_tag(self.subject))
        if found is None or found.is_index:
            return found
        raise WrongBytes(
            "what the tag for referrers names is no list of them",
            subject=self._place,
            expected=INDEX_TYPE,
            got=found.media_type,
            hint="delete the tag at the registry, if nobody needs what it names",
        )

    def enter(self, referrer: Manifest) -> None:
        """Write one more entry into the list, and see that it stays there.

        Others write the whole list, too, and no registry lets us say which one we have read: so
        it is looked at again, and written again where our entry is gone.
        """
        before = self.read()
        for _try in range(_TRIES):
            after = read(with_entry(before, referrer), INDEX_TYPE, name=self._place)
            if before is not None and before.data == after.data:
                return
            self.put(after, fallback_tag(self.subject))
            before = self.read()
            if before is not None and referrer.digest in {i.content for i in before.manifests}:
                return
        raise TryAgain(
            "the list of referrers does not keep what is written into it",
            subject=self._place,
            got=f"{referrer.digest.digest.short} was lost {_TRIES} times",
            hint="try again when nobody else signs the same image",
        )

    @property
    def _place(self) -> str:
        return f"{self.repository}:{fallback_tag(self.subject)}"


def fallback_tag(subject: Digest) -> str:
    """The tag under which the list lies."""
    return f"sha256-{subject.hex}"


def listed(index: Manifest, artifact_type: str = "") -> tuple[Descriptor, ...]:
    """What an index lists, of one type or of all: not every registry filters."""
    return tuple(item for item in index.manifests if artifact_type in ("", item.artifact_type))


def with_entry(index: Manifest | None, referrer: Manifest) -> bytes:
    """The index with one more entry, in order. What is in it is kept as it was written."""
    entries: list[dict[str, Json]] = []
    others: dict[str, Json] = {}
    if index is not None:
        top = Reader.parse(index.data, name="an index of referrers")
        others = dict(top.value)
        if others.get("manifests") is not None:
            entries = [dict(item.value) for item in top.items("manifests")]
    own = _entry(referrer)
    kept = [item for item in entries if item.get("digest") != own["digest"]]
    document: dict[str, Json] = {
        **others,
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [*sorted([*kept, own], key=lambda item: str(item.get("digest")))],
    }
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
