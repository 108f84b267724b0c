"""A base in a registry: whom to ask for it, and its layers as they stream by.

Nothing of a base is kept here. Its layers are known by digest from the lock on, and an output
that has them, or can mount them, never asks for their bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ovenproof.core.action import Action
from ovenproof.core.address import without_login
from ovenproof.core.base import LockedBase
from ovenproof.core.digest import Content
from ovenproof.core.image import MAX_LAYERS
from ovenproof.core.manifest import Manifest
from ovenproof.core.plan import Step
from ovenproof.core.reader import RESTORE
from ovenproof.errors import BadCall, BadFile
from ovenproof.registry.reference import Repository, parse_repository
from ovenproof.store.chunks import stream_of

KIND = "base"
BESIDE = 3
"""Layers that an image has besides its base, at least: weights, small files, launcher."""


class Remote(Protocol):
    """What a base's repository is asked for."""

    def manifest(self, target: str) -> Manifest | None:
        """By tag or digest; None where there is no such thing."""

    def open(self, content: Content, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `offset` on."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A shelf whose contents lie in a registry."""

    remote: Remote

    def open(self, content: Content, offset: int = 0) -> BinaryIO:
        return stream_of(self.remote.open(content, offset))


def asked(repository: str, mirror: str | None) -> Repository:
    """The repository to ask for a base: its own, or the one below a mirror. Raises BadCall.

    A mirror is `HOST[/PREFIX]`, which stands where the base's own host does.
    """
    own = parse_repository(repository)
    if not mirror:
        return own
    place = mirror.removeprefix("https://").rstrip("/")
    try:
        return parse_repository(f"{place}/{own.name}")
    except BadCall as fault:
        raise BadCall(
            "the mirror of bases is not named as one",
            subject=f"OVENPROOF_BASE_URL={without_login(place)}",
            expected="HOST[/PREFIX], such as mirror.example.com/hub",
            got=fault.got,
        ) from fault


def check(base: LockedBase, where: str) -> None:
    """Raise BadFile where a lock, which is `where`, names a base that no registry can have."""
    try:
        parse_repository(base.repository)
    except BadCall as fault:
        raise BadFile(
            "a value is not what it should be",
            subject="base.repository",
            where=where,
            expected=fault.expected,
            got=repr(without_login(base.repository)),
            hint=RESTORE,
        ) from fault


def steps(base: LockedBase, mirror: str | None) -> tuple[Step, ...]:
    """A base's layers as they are, lowest first. Raises BadFile where they leave no room."""
    count, most = len(base.layers), MAX_LAYERS - BESIDE
    if count > most:
        raise BadFile(
            "the base has more layers than an image can build on",
            subject=base.name,
            expected=f"{most} at most: an image has {MAX_LAYERS},"
            " and weights, small files and launcher take theirs",
            got=f"{count} layers",
            hint="choose another base in `image` of the flavour's image.yaml",
        )
    own, mirrored = base.repository, str(asked(base.repository, mirror))
    return tuple(
        Step(
            title=f"base layer {number} of {count}",
            action=Action(
                kind=KIND,
                version=1,
                inputs={"layer": layer.content.digest, "unpacked": layer.diff_id},
                parameters={"media type": layer.media_type},
            ),
            base=layer,
            homes=tuple(dict.fromkeys((own, mirrored))),
        )
        for number, layer in enumerate(base.layers, 1)
    )
