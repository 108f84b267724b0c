"""`invoke clean`: give disk space back."""

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from invoke import Context

from ovenproof.errors import NoAccess
from ovenproof.tasks.shell import answer, cache_folder, is_dry, say, verb

if TYPE_CHECKING:
    from ovenproof.store.store import Store

FOLDERS = ("actions", "blobs", "locks", "seen", "tmp")
"""What a store is made of. Nothing else is removed, wherever OVENPROOF_CACHE points."""


@verb(
    name="clean",
    help={"all": "the whole store, instead of what killed runs left", "json": "for machines"},
)
def clean(context: Context, all: bool = False, json: bool = False) -> None:  # noqa: A002
    """Remove what killed runs left in the store; with --all, the whole store."""
    from ovenproof.store.seen import Seen
    from ovenproof.store.store import Store
    from ovenproof.tasks.screen import size

    store = Store(cache_folder())
    before = store.size()
    if all and not is_dry(context):
        _empty(store)
    elif not is_dry(context):
        store.sweep()
        Seen(store.root).sweep()
    freed = before - store.size()
    if json:
        answer({"store": str(store.root), "bytes": before, "freed": freed})
    elif is_dry(context):
        say(f"{store.root} has {size(before)}; nothing was removed")
    else:
        say(f"{store.root}: {size(freed)} freed, {size(before - freed)} kept")


def _empty(store: "Store") -> None:
    for name in FOLDERS:
        shutil.rmtree(store.root / name, ignore_errors=True)
    if left := [name for name in FOLDERS if (store.root / name).exists()]:
        raise NoAccess(
            "the store could not be emptied",
            subject=store.root,
            got=f"left: {', '.join(left)}",
            hint="make the folder writable, or wait until no build uses it",
        )
    with suppress(OSError):
        store.root.rmdir()
