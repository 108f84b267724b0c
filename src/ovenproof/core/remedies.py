"""The exit codes, written for people: a table made from the classes of errors.

A test says that docs/errors.md holds it as it is returned here.
"""

from ovenproof import errors
from ovenproof.errors import OvenproofError, Several


def remedies() -> tuple[type[OvenproofError], ...]:
    """Every class that has an exit code of its own, by that code."""
    found = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, OvenproofError) and kind is not Several
    }
    return tuple(sorted(found, key=lambda kind: kind.exit_code))


def table() -> str:
    """The codes as Markdown, one row per class, in its own words."""
    rows = ["| code | class | meaning |\n|---|---|---|\n"]
    rows += [f"| {kind.exit_code} | `{kind.__name__}` | {_first(kind)} |\n" for kind in remedies()]
    return "".join(rows)


def _first(kind: type[OvenproofError]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]
