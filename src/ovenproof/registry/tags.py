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

    tag: str
    """As a person writes it, with its place."""
    seen: Digest | None
    """What it named when we began; None: there was no such tag."""
    was: Was = None
    force: bool = False

    def check(self, found: Digest | None, wanted: Digest | None) -> None:
        """Raise LockAgain unless the tag names what was expected, or already what is wanted.

        `wanted` is None as long as nobody knows it.
        """
        expected = self.seen if self.was is None else None if self.was == "none" else self.was
        if self.force or found == expected or (wanted is not None and found == wanted):
            return
        said = "when this began" if self.was is None else "--was"
        raise LockAgain(
            "the tag names another image than it did, and was not moved",
            subject=self.tag,
            expected=f"{expected or 'no such tag'} ({said})",
            got=found or "no such tag",
            hint="look at what it names now; --force moves it nevertheless",
        )


def look(remote: "Remote", tag: str, wanted: Digest | None, *, was: Was, force: bool) -> Guard:
    """See what a tag names before anything moves. Raises LockAgain where it must not be moved."""
    guard = Guard(tag=f"{remote.repository}:{tag}", seen=remote.head(tag), was=was, force=force)
    guard.check(guard.seen, wanted)
    return guard


def move_tag(remote: "Remote", manifest: "Manifest", tag: str, guard: Guard) -> bool:
    """Let a tag name a manifest that the repository has. False where it does already."""
    wanted = manifest.digest.digest
    found = remote.head(tag)
    guard.check(found, wanted)
    if found == wanted:
        return False
    remote.put_manifest(manifest, tag)
    return True


def parse_was(text: str, *, force: bool) -> Was:
    """Read `--was`: a digest, `none`, or nothing. Raises BadCall, also where it meets `--force`."""
    if text and force:
        raise BadCall("`--force` and `--was` cannot go together", hint="keep one of them")
    if text == "none":
        return "none"
    try:
        return Digest.parse(text) if text else None
    except ValueError:
        raise BadCall(
            "this is no digest", subject=f"--was {text}", expected="sha256:<64 hex digits>, or none"
        ) from None
