"""Moving a tag: last of all, and only from where it was seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ovenproof.core.digest import Digest
from ovenproof.errors import BadCall, LockAgain

if TYPE_CHECKING:
    from ovenproof.core.manifest import Manifest
    from ovenproof.registry.client import Remote

Was: TypeAlias = "Digest | Literal['none'] | None"
"""What a tag must name before it is moved; None: what it named when we began, whatever that was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a tag must still name when it is moved: somebody else may have moved it meanwhile.

    Neither a registry nor a folder of ours has put-if-unchanged. So the tag is looked at when the
    work begins, and again right before it moves.
    """

    expected: Digest | None
    """None: there was no such tag."""
    force: bool = False

    @classmethod
    def of(cls, now: Digest | None, was: Was, *, force: bool) -> "Guard":
        """What was asked for; else what the tag names now."""
        expected = now if was is None else None if was == "none" else was
        return cls(expected=expected, force=force)

    def check(self, tag: str, found: Digest | None, wanted: Digest) -> None:
        """Raise LockAgain unless the tag names what was expected, or already what is wanted."""
        if self.force or found in (self.expected, wanted):
            return
        raise LockAgain(
            "the tag names another image than it did, and was not moved",
            subject=tag,
            expected=self.expected or "no such tag",
            got=found or "no such tag",
            hint="look at what it names now; --force moves it nevertheless",
        )


def move_tag(remote: "Remote", manifest: "Manifest", tag: str, guard: Guard) -> bool:
    """Let a tag name a manifest that the repository has. False where it does already."""
    wanted = manifest.digest.digest
    found = remote.head(tag)
    guard.check(f"{remote.repository}:{tag}", found, wanted)
    if found == wanted:
        return False
    remote.put_manifest(manifest, tag)
    return True


def parse_was(text: str) -> Was:
    """Read `--was`: a digest, `none`, or nothing. Raises BadCall."""
    if text == "none":
        return "none"
    try:
        return Digest.parse(text) if text else None
    except ValueError:
        raise BadCall(
            "this is no digest", subject=f"--was {text}", expected="sha256:<64 hex digits>, or none"
        ) from None
