"""`invoke clean`: give disk space back."""

from invoke import Context

from ovenproof.tasks.shell import answer, is_dry, say, verb
from ovenproof.tasks.surroundings import cache_folder


@verb(
    name="clean",
    dry=True,
    help={"all": "the whole store, instead of what killed runs left", "json": "for machines"},
)
def clean(context: Context, all: bool = False, json: bool = False) -> None:  # noqa: A002
    """Remove what killed runs left in the store; with --all, the whole store."""
    from ovenproof.store.notes import Notes
    from ovenproof.store.partial import Partials
    from ovenproof.store.seen import Seen
    from ovenproof.store.store import Store
    from ovenproof.tasks.screen import size

    store = Store(cache_folder())
    before = store.size()
    if all and not is_dry(context):
        store.empty()
    elif not is_dry(context):
        store.sweep()
        Partials(store.root).sweep(idle_s=0)
        Seen(store.root).sweep()
        Notes(store.root).sweep()
    freed = before - store.size()
    if json:
        answer({"store": str(store.root), "bytes": before, "freed": freed})
    elif is_dry(context):
        say(f"{store.root} has {size(before)}; nothing was removed")
    else:
        say(f"{store.root}: {size(freed)} freed, {size(before - freed)} kept")
