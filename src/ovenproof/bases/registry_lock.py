"""Locking a base: what its name means in a registry now, pinned by digest, layer by layer."""

from collections.abc import Callable, Iterator

from ovenproof.bases.registry_base import Remote, asked
from ovenproof.core.base import TYPES, BaseLayer, LockedBase
from ovenproof.core.digest import Digest, Json
from ovenproof.core.image import LAYER_TYPE
from ovenproof.core.manifest import Descriptor, Manifest, Platform
from ovenproof.core.reader import Reader
from ovenproof.errors import BadCall, BadFile, OvenproofError, WrongBytes, raise_all
from ovenproof.registry.reference import Reference, Repository, parse
from ovenproof.store.stream import checked

_CONFIG_LIMIT = 16 << 20
"""A config is read whole; real ones have a few thousand bytes."""


def resolve(
    image: str,
    *,
    architecture: str,
    at: Callable[[Repository], Remote],
    mirror: str | None,
    where: str,
) -> LockedBase:
    """Ask what a base is now. `where` is the file that names it.

    Raises BadFile for one that nothing can be built on; all faults of its layers at once.
    """
    wanted = _reference(image, where)
    remote = at(asked(str(wanted.repository), mirror))
    platform = Platform("linux", architecture)
    top = _manifest(remote, wanted, where)
    manifest = top
    if top.is_index:
        chosen = _chosen(top, platform, wanted, where)
        manifest = _manifest(remote, wanted.at(chosen.content.digest), where)
    config = _config(remote, manifest, wanted)
    found = Platform(config.text("os"), config.text("architecture"))
    if found != platform:
        raise BadFile(
            "the base is for another platform",
            subject=wanted,
            where=where,
            expected=platform,
            got=f"{found} (its config)",
            hint="name an index, or an image for this platform",
        )
    return LockedBase(
        repository=str(wanted.repository),
        tag=wanted.tag,
        digest=manifest.digest.digest,
        index=top.digest.digest if top.is_index else None,
        environment=_environment(config),
        layers=_layers(manifest, config, wanted, where),
    )


def _reference(image: str, where: str) -> Reference:
    try:
        return parse(image)
    except BadCall as fault:
        raise BadFile(
            fault.what,
            subject=fault.subject,
            where=f"{where}, base.image",
            expected=fault.expected,
            got=fault.got,
        ) from fault


def _manifest(remote: Remote, wanted: Reference, where: str) -> Manifest:
    found = remote.manifest(wanted.target)
    if found is None:
        raise BadFile(
            "the base is not there",
            subject=wanted,
            where=where,
            hint="correct `image`; a registry may say the same of what one may not see: log in",
        )
    return found


def _chosen(index: Manifest, platform: Platform, wanted: Reference, where: str) -> Descriptor:
    try:
        return index.for_platform(platform)
    except BadCall as fault:
        raise BadFile(
            f"the base's index has no single image for {platform}",
            subject=wanted,
            where=where,
            got=fault.expected,
            hint="correct `architecture` or `image`, or name an image by its digest",
        ) from fault


def _config(remote: Remote, manifest: Manifest, wanted: Reference) -> Reader:
    """The base's config, proven by its digest."""
    descriptor = manifest.config
    if descriptor is None or descriptor.content.size > _CONFIG_LIMIT:
        raise WrongBytes(
            "the base's manifest names no config that an image can have",
            subject=wanted,
            got="an index in an index" if descriptor is None else descriptor.content.size,
        )
    what = f"the config of {wanted}"
    data = b"".join(checked(remote.open(descriptor.content), descriptor.content, what))
    try:
        config = Reader.parse(data, name=what)
        for key in ("os", "architecture"):
            config.text(key)
        config.mapping("rootfs")
    except BadFile as fault:
        raise WrongBytes(
            "the base's config cannot be read",
            subject=wanted,
            expected="an image's config; other artifacts cannot be built on",
            got=fault.got,
        ) from fault
    return config


def _environment(config: Reader) -> dict[str, str]:
    own = config.json("config") if config.has("config") else None
    lines = own.get("Env") if isinstance(own, dict) else None
    pairs = (str(line).partition("=") for line in (lines if isinstance(lines, list) else ()))
    return {name: value for name, _, value in pairs}


def _layers(
    manifest: Manifest, config: Reader, wanted: Reference, where: str
) -> tuple[BaseLayer, ...]:
    """The layers, lowest first, each with what it unpacks to."""
    diff_ids = config.mapping("rootfs").get("diff_ids")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(manifest.layers):
        raise WrongBytes(
            "the base's config and manifest do not name the same layers",
            subject=wanted,
            expected=f"{len(manifest.layers)} (manifest)",
            got=f"{len(diff_ids)} (config)" if isinstance(diff_ids, list) else repr(diff_ids),
        )
    raise_all(_faults(manifest.layers, wanted, where))
    pairs = zip(manifest.layers, diff_ids, strict=True)
    return tuple(_layer(descriptor, diff_id, wanted) for descriptor, diff_id in pairs)


def _faults(
    layers: tuple[Descriptor, ...], wanted: Reference, where: str
) -> Iterator[OvenproofError]:
    for descriptor in layers:
        if descriptor.is_foreign:
            yield BadFile(
                "the base has a layer that only its owner may hand on",
                subject=descriptor.content.digest,
                where=f"{wanted}, {where}",
                got=descriptor.media_type,
                hint="choose another base",
            )
        elif descriptor.media_type not in TYPES:
            yield BadFile(
                "the base has a layer of a kind that is not known",
                subject=descriptor.content.digest,
                where=f"{wanted}, {where}",
                expected="tar, tar+gzip or tar+zstd",
                got=descriptor.media_type,
                hint="choose another base",
            )


def _layer(descriptor: Descriptor, diff_id: Json, wanted: Reference) -> BaseLayer:
    own = descriptor.content.digest
    media_type = TYPES[descriptor.media_type]
    try:
        unpacked = Digest.parse(str(diff_id))
    except ValueError as error:
        raise WrongBytes("the base's config cannot be read", subject=wanted, got=error) from error
    if media_type == LAYER_TYPE and unpacked != own:
        raise WrongBytes(
            "the base says that a layer which is not compressed unpacks to another",
            subject=wanted,
            expected=own,
            got=unpacked,
        )
    return BaseLayer(content=descriptor.content, media_type=media_type, diff_id=unpacked)
