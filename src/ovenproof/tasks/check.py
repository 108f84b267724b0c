"""`invoke check`: the whole suite. What could not run is named, with the reason."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from invoke import Context
from invoke.exceptions import Exit

from ovenproof.errors import BadCall, OvenproofError
from ovenproof.tasks.shell import say, verb

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One part of the suite: a command of this Python."""

    name: str
    command: tuple[str, ...]
    needs_system: bool = False
    needs_node: bool = False


SUITES = (
    Suite(name="lint", command=("-m", "ruff", "check", ".")),
    Suite(name="format", command=("-m", "ruff", "format", "--check", ".")),
    Suite(name="types", command=("-m", "mypy")),
    Suite(name="workflows", command=(*PYTEST, "tests/workflows"), needs_node=True),
    Suite(name="architecture", command=(*PYTEST, "tests/test_architecture.py")),
    Suite(name="unit", command=(*PYTEST, "tests/unit")),
    Suite(name="contracts", command=(*PYTEST, "tests/contracts")),
    Suite(name="properties", command=(*PYTEST, "tests/properties")),
    Suite(name="golden", command=(*PYTEST, "tests/golden")),
    Suite(name="flow", command=(*PYTEST, "tests/flow")),
    Suite(name="system", command=(*PYTEST, "tests/system"), needs_system=True),
)


@verb(
    name="check",
    iterable=["only"],
    help={
        "with-system": "also the system suite: installs what is missing through apt, and starts"
        " a Docker engine for it where none is running",
        "only": "run this suite alone; may be given several times",
    },
)
def check(_context: Context, only: list[str], with_system: bool = False) -> None:
    """Run lint, types and all tests of this repository."""
    root = _repository()
    chosen = _chosen(only)
    results: dict[str, str] = {}
    with ExitStack() as stack:
        environment, reasons = _prepare(chosen, root, stack, with_system=with_system)
        for suite in chosen:
            if suite.name in reasons:
                results[suite.name] = f"did not run: {reasons[suite.name]}"
                continue
            say(f"--- {suite.name}")
            began = time.monotonic()
            code = subprocess.call([sys.executable, *suite.command], cwd=root, env=environment)
            took = f"{time.monotonic() - began:.0f} s"
            results[suite.name] = f"passed in {took}" if code == 0 else f"FAILED ({code}) in {took}"
    say("---")
    for name, result in results.items():
        say(f"{name:<13} {result}")
    failed = [name for name, result in results.items() if result.startswith("FAILED")]
    missing = [name for name, result in results.items() if result.startswith("did not run")]
    if failed or (missing and (with_system or only)):
        raise Exit(code=1)


def _prepare(
    chosen: tuple[Suite, ...], root: Path, stack: ExitStack, *, with_system: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """The environment for the suites, and the reasons of those that cannot run."""
    from ovenproof.tasks import system, workflows

    environment, reasons = dict(os.environ), {}
    for suite in chosen:
        try:
            if suite.needs_node:
                if with_system:
                    system.install(workflows.PROGRAMS)
                workflows.actionlint(root)
            if suite.needs_system and with_system:
                environment |= stack.enter_context(system.ready())
            elif suite.needs_system:
                reasons[suite.name] = "ask for it with --with-system"
        except OvenproofError as error:
            say(error.text())
            reasons[suite.name] = error.what
    return environment, reasons


def _chosen(only: list[str]) -> tuple[Suite, ...]:
    names = [suite.name for suite in SUITES]
    for name in only:
        if name not in names:
            raise BadCall("there is no such suite", subject=name, expected=", ".join(names))
    return tuple(suite for suite in SUITES if not only or suite.name in only)


def _repository() -> Path:
    root = Path(__file__).resolve().parents[3]
    if not (root / "tests" / "system").is_dir():
        raise BadCall(
            "the suite belongs to ovenproof's own repository",
            hint="clone it and run ./inv check there; `invoke test --model NAME` tests an image",
        )
    return root
