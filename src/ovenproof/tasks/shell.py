"""What every verb is made with: how it is called, how it speaks, and how it ends.

A verb is a function that raises or returns. Here errors become text and exit codes, and Ctrl-C one
sentence.
"""

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context, Task
from invoke.exceptions import Exit

from ovenproof.errors import BadCall, NoAccess, NoSpace, OvenproofError, Several, visible
from ovenproof.events import Event, Listener

if TYPE_CHECKING:
    from ovenproof.project import Project

INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143
"""As a shell calls the end by SIGINT, SIGPIPE and SIGTERM."""

_ends: ContextVar[ExitStack | None] = ContextVar("ends", default=None)
"""What is closed when the verb that runs has ended, however it ends."""


class Terminated(KeyboardInterrupt):
    """Somebody asked us to end, by SIGTERM: as Ctrl-C does, but with another exit code."""


def verb(*, dry: bool = False, **options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """A task whose errors are told and whose exit code says what helps.

    `dry` says that it knows what `--dry` means; the others refuse it rather than do the work.
    """

    def wrap(body: Callable[..., None]) -> Task[Any]:
        @wraps(body)
        def told(context: Context, *args: Any, **kwargs: Any) -> None:
            # invoke turns it off, and most of us is imported from here on: it would be compiled
            # again in every call.
            sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
            try:
                if is_dry(context) and not dry:
                    raise BadCall("this task has no --dry", hint="`plan` shows what a build does")
                with ExitStack() as ends:
                    _ends.set(ends)
                    body(context, *args, **kwargs)
            except OvenproofError as error:
                print(as_called(error.text()), file=sys.stderr)  # noqa: T201
                raise Exit(code=exit_code(error)) from error
            except KeyboardInterrupt as error:
                print(  # noqa: T201
                    "interrupted: what was finished is kept, nothing is half-written;"
                    " the same command goes on from here",
                    file=sys.stderr,
                )
                ended = isinstance(error, Terminated)
                raise Exit(code=TERMINATED if ended else INTERRUPTED) from error
            except BrokenPipeError as error:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Exit(code=BROKEN_PIPE) from error
            except OSError as error:
                fault = refused(error)
                print(fault.text(), file=sys.stderr)  # noqa: T201
                raise Exit(code=fault.exit_code) from error

        return Task(told, auto_shortflags=False, **options)

    return wrap


def at_end(call: Callable[[], None]) -> None:
    """Have something done when the verb that runs has ended, however it ends."""
    if ends := _ends.get():
        ends.callback(call)


def as_called(text: str) -> str:
    """Hints name the program that the reader called: `invoke`, `./inv` or `ovenproof`."""
    own = Path(sys.argv[0]).name == "ovenproof"
    return text.replace("`invoke ", "`ovenproof ") if own else text


def refused(error: OSError) -> OvenproofError:
    """What the operating system would not do, where nobody said it better."""
    kinds = {errno.ENOSPC: NoSpace, errno.EDQUOT: NoSpace, errno.EACCES: NoAccess}
    kind = kinds.get(error.errno or 0, OvenproofError)
    return kind("the operating system refuses", subject=error.filename, got=error.strerror or error)


def exit_code(error: OvenproofError) -> int:
    """The exit code of the error; of several, that of the first to mend."""
    return error.worst if isinstance(error, Several) else error.exit_code


def say(text: str) -> None:
    """A result, for a person; what the terminal does not know, or would obey, is spelt out."""
    encoding = sys.stdout.encoding or "utf-8"
    print(visible(text).encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201


def answer(value: object) -> None:
    """A result, for a machine: ASCII, whatever its terminal thinks of other letters."""
    print(json.dumps(value, indent=2, sort_keys=True))  # noqa: T201


def interruptible(listener: Listener) -> Listener:
    """The same listener; after Ctrl-C or SIGTERM it stops whoever speaks to it, in any thread.

    Otherwise a thread that hashes 60 GB would first come to its end.
    """
    stop = threading.Event()

    def interrupt(number: int, _frame: object) -> None:
        stop.set()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def hear(event: Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        listener(event)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    return hear


def chosen(project: "Project", models: list[str], everything: bool) -> list[str]:
    """The names of the entries that a call is about. Raises BadCall where it names none."""
    catalogue = project.catalogue()
    names = [entry.name for entry in catalogue.entries]
    if everything and models:
        raise BadCall("`--all` and `--model` cannot go together", hint="keep one of them")
    if everything:
        return names
    wanted = [name.strip() for item in models for name in str(item).split(",")]
    if not wanted or not all(wanted):
        raise BadCall(
            "no model is named",
            expected="--model NAME, once or several times, or --all",
            got="--model without a name" if models else "neither",
            hint=f"the names are: {', '.join(names)}",
        )
    return [catalogue.entry(name).name for name in dict.fromkeys(wanted)]


def number(option: str, text: str, least: int) -> int:
    """A whole number that a person typed. Raises BadCall."""
    try:
        found = int(text)
    except ValueError:
        found = least - 1
    if found < least:
        raise BadCall(
            "this is not a number that makes sense here",
            subject=f"{option} {text}",
            expected=f"a whole number from {least} on",
        )
    return found


def is_dry(context: Context) -> bool:
    """Invoke eats `--dry` as an option of its own, wherever it stands; ours means: plan only."""
    return bool(context.config.run.dry)
