"""What each known registry allows: a table, and nothing that asks anybody.

The plan says beforehand what a registry would refuse; an upload is cut the way its registry takes
it. Nothing here is a promise of theirs: each row says where it comes from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ovenproof.errors import BadFile
from ovenproof.registry.reference import Repository

_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one registry takes."""

    registry: str
    """How people call it."""
    blob: int | None = None
    """The largest blob; None where nobody knows of one."""
    manifest: int = 4 * _MIB
    chunk: int | None = None
    """The largest PATCH that says its range; None where any is taken."""
    patch: bool = True
    """False: a blob travels in one PUT, and a cut one from its beginning again."""
    note: str
    """Where this comes from."""

    @property
    def resumes(self) -> bool:
        """Whether a cut upload goes on inside a blob."""
        return self.patch


_UNKNOWN = Limits(
    registry="a registry of its own",
    note="distribution, Harbor and their like limit nothing themselves; "
    "a proxy in front of them may refuse bodies above 100-500 MB",
)
_ECR = "Amazon ECR's service quotas; a PATCH is answered with a Range that stands still"
_TABLE: tuple[tuple[tuple[str, ...], Limits], ...] = (
    (
        ("ghcr.io",),
        Limits(
            registry="GitHub's registry",
            blob=10 * 1000**3,
            chunk=4 * _MIB,
            note="GitHub's documentation: 10 GB and 10 minutes for each layer; "
            "chunks with a Content-Range end at 4 MiB; no referrers API",
        ),
    ),
    (
        ("public.ecr.aws",),
        Limits(registry="Amazon ECR Public", blob=10_000 * _MIB, patch=False, note=_ECR),
    ),
    (
        ("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn"),
        Limits(registry="Amazon ECR", blob=52_000 * _MIB, patch=False, note=_ECR),
    ),
    (
        ("*.pkg.dev", "gcr.io", "*.gcr.io"),
        Limits(
            registry="Google Artifact Registry",
            patch=False,
            note="Google's documentation: no chunked uploads; a limit is not published",
        ),
    ),
    (
        ("*.azurecr.io",),
        Limits(
            registry="Azure Container Registry",
            blob=200 * _GIB,
            note="Azure's service limits: 200 GiB for a layer, 4 MiB for a manifest",
        ),
    ),
    (
        ("docker.io",),
        Limits(
            registry="Docker Hub",
            note="no limit is published; people report that a blob of 23 GB was never accepted",
        ),
    ),
)


def limits(host: str) -> Limits:
    """What the registry at a host takes, as far as anybody knows."""
    name = host.lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    for patterns, found in _TABLE:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return found
    return replace(_UNKNOWN, registry=host)


def too_large(
    takes: Limits, repository: Repository, layers: Iterable[tuple[str, int]]
) -> tuple[BadFile, ...]:
    """A fault for each layer, by its title and size, that the registry does not take."""
    return tuple(
        BadFile(
            f"the layer `{title}` is larger than {takes.registry} takes",
            subject=repository,
            expected=f"{takes.blob} bytes at most ({takes.note})",
            got=f"{size} bytes",
            hint="give the entry a `largest_file` below that and lock it again, which cuts the"
            " files of a hub's model; or push to another registry with --to",
        )
        for title, size in layers
        if takes.blob is not None and size > takes.blob
    )
