"""`invoke clean`: give disk space back."""

import shutil

from invoke import Context

from ovenproof.tasks.shell import answer, cache_folder, is_dry, say, verb


@verb(
    name="clean",
    help={"all": "the whole store, instead of what killed runs left", "json": "for machines"},
)
def clean(context: Context, all: bool = False, json: bool = False) -> None:  # noqa: A002
    """Remove what killed runs left in the store; with --all, the whole store."""
    from ovenproof.store.store import Store
    from ovenproof.tasks.screen import size

    store = Store(cache_folder())
    before = store.size()
    if not is_dry(context):
        if all:
            shutil.rmtree(store.root, ignore_errors=True)
        else:
            store.sweep()
    freed = before - store.size()
    if json:
        answer({"store": str(store.root), "bytes": before, "freed": freed})
    elif is_dry(context):
        say(f"{store.root} has {size(before)}; nothing was removed")
    else:
        say(f"{store.root}: {size(freed)} freed, {size(before - freed)} kept")
