"""vLLM's command-line options, read from its wheel; no code of the wheel is run.

No list of them exists: most come from the fields of configuration classes. So the functions that
fill vLLM's parser are followed through their syntax trees, and a field's annotation says how many
words its option takes, by vLLM's own rules.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ovenproof.wheels.vllm_parser import SWITCH, Added, added, outgrown
from ovenproof.wheels.vllm_source import open_source

Takes: TypeAlias = Literal["nothing", "one", "some", "maybe"]
"""How many words follow an option: none, one, at least one, or one at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, with every spelling of it: aliases, and `--no-…` for a switch."""

    names: tuple[str, ...]
    takes: Takes
    repeats: bool = False
    """Every use adds a value; elsewhere the last use wins."""


HELP = Option(names=("--help", "-h"), takes="nothing")


def options(wheel: Path) -> tuple[Option, ...]:
    """Every option of vLLM's server, sorted by name.

    Raises LockAgain where vLLM has outgrown this reader: rather no options than some.
    """
    with open_source(wheel) as source:
        found = [HELP, *map(_option, added(source))]
    names = [name for option in found for name in option.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise outgrown(wheel.name, f"defined twice: {', '.join(twice)}")
    return tuple(sorted(found, key=lambda option: option.names))


_NO_WORDS = {"store_true", "store_false", "store_const", "append_const", "count", "help", "version"}


def _option(of: Added) -> Option:
    """What argparse would make of these keywords."""
    action, nargs = of.keywords.get("action"), of.keywords.get("nargs")
    if action == SWITCH:
        negations = tuple(f"--no-{name[2:]}" for name in of.names if name.startswith("--"))
        return Option(names=of.names + negations, takes="nothing")
    takes: Takes = "one"
    if action in _NO_WORDS:
        takes = "nothing"
    elif nargs == "?":
        takes = "maybe"
    elif nargs not in (None, 1):
        takes = "some"
    return Option(names=of.names, takes=takes, repeats=action in ("append", "extend"))
