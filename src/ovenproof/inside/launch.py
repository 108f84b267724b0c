"""The entrypoint of an image: makes vLLM's command line, checks the obvious, becomes vLLM.

    docker run IMAGE [VLLM OPTION]...        serve; an option given here replaces the baked one
    docker run IMAGE --print-command [...]   print the command that would run, and end
    docker run IMAGE PROGRAM [WORD]...       run a program of the image instead (bash, python3, ...)
    docker run IMAGE --help                  this; vLLM's own help is --help=all

A first word without a dash is a program. Option names are compared exactly: argparse, left alone,
takes `--max-mod` for `--max-model-len` and lets other slips of the pen pass. Options that vLLM
itself adds up (`--middleware`) are added to the baked ones. `--compilation-config.mode 3` changes
one key of a baked `--compilation-config '{...}'` and leaves the rest.

Ends with 2 for a bad command line, 78 (EX_CONFIG) for a container that cannot work; each fault is
one sentence on stderr, and no secret is in it. vLLM then takes this process's place, so signals
reach it. As process 1 it does not hear SIGTERM in its first seconds, while it imports: the kernel
spares a process 1 without a handler. With `docker run --init` it always does.

What is specific to an image is in `serve.json` beside this file. One file, standard library only
and little of that: it runs before every start, and nothing has to be found before it does.
"""

# Imports where they are needed, and `os.path` for `pathlib`: it starts in half the time.
# ruff: noqa: PLC0415, PTH100, PTH103, PTH112, PTH113, PTH118, PTH120, PTH123, PTH208
# The paths are a container's own, and to start another program is what this is for.
# ruff: noqa: S108, S606, RET503

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

BAD_CALL, BAD_CONTAINER = 2, 78
PRINT, HELP, MODEL, CONFIG = "--print-command", "--help", "--model", "--config"
SECRETS = ("--api-key", "--hf-token")
PLACES = (
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "VLLM_CACHE_ROOT",
    "VLLM_CONFIG_ROOT",
    "TRITON_CACHE_DIR",
    "FLASHINFER_WORKSPACE_BASE",
    "CUDA_CACHE_PATH",
)
"""What vLLM writes to. Those that are not set lie below HOME."""
BYTECODE = {"PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"}
"""Whoever sets one of these decides alone where bytecode goes."""
BYTECODE_BYTES = 1 << 30
"""It takes 120 MB; on a small tmpfs that room is better left to vLLM."""


class Refused(Exception):
    """The command line is wrong; the text is the sentence to show."""


class Serve:
    """What `serve.json` says."""

    def __init__(
        self,
        *,
        program: list[str],
        arguments: list[str],
        options: list[tuple[str, bool, list[str]]],
        model_path: str,
        needs_gpu: bool,
        shm_bytes: int,
    ) -> None:
        self.program = program
        self.arguments = arguments
        self.model_path = model_path
        self.needs_gpu = needs_gpu
        self.shm_bytes = shm_bytes
        self.options = Options(options)


class Options:
    """The options that vLLM knows. Of an option's names the first is its main one."""

    def __init__(self, known: Sequence[tuple[str, bool, Sequence[str]]]) -> None:
        self._main = {PRINT: PRINT}
        self.takes = {PRINT: "nothing"}
        self.repeats: set[str] = set()
        for takes, repeats, names in known:
            self._main.update(dict.fromkeys(names, names[0]))
            self.takes[names[0]] = takes
            if repeats:
                self.repeats.add(names[0])

    def main(self, name: str) -> str:
        """The main name of an option. Raises Refused, with the nearest names."""
        if name not in self._main:
            import difflib

            near = difflib.get_close_matches(name, sorted(self._main), n=3, cutoff=0.6)
            hint = "; did you mean " + " or ".join(f"`{word}`" for word in near) if near else ""
            raise Refused(f"vLLM has no option `{name}`{hint}")
        return self._main[name]


class Use:
    """One use of an option; `path` is the dotted keys behind its name."""

    def __init__(self, name: str, spelled: str, path: list[str], values: list[str]) -> None:
        self.name = name
        self.spelled = spelled
        self.path = path
        self.values = values

    def words(self) -> list[str]:
        """As vLLM wants it: a value that begins with a dash would be an option, if not glued."""
        spelled = ".".join((self.spelled, *self.path))
        if len(self.values) == 1 and (self.values[0].startswith("-") or self.name == HELP):
            return [f"{spelled}={self.values[0]}"]
        return [spelled, *self.values]


def read(words: Sequence[str], options: Options) -> list[Use]:
    """Words -> uses. Raises Refused for what vLLM does not know or would misunderstand."""
    uses: list[Use] = []
    left = spell_out(words)
    while left:
        word = left.pop(0)
        if not is_option(word):
            after = f"after `{uses[-1].spelled}` " if uses else ""
            raise Refused(f"{after}comes a word that belongs to no option")
        dotted, glued, value = word.partition("=")
        name, *path = dotted.split(".")
        name = name.replace("_", "-")
        main = options.main(name)
        takes = "one" if path else options.takes[main]
        values = [value] if glued else []
        if glued and takes == "nothing" and main != HELP:
            raise Refused(f"`{name}` takes no value")
        room = {"nothing": 0, "one": 1, "maybe": 1, "some": len(left)}[takes]
        # After a dotted name vLLM takes the next word as its value, whatever it looks like.
        while left and not glued and len(values) < room and (path or not is_option(left[0])):
            values.append(left.pop(0))
        if not values and takes in ("one", "some"):
            raise Refused(f"`{dotted}` needs a value")
        uses.append(Use(main, main if path else name, path, values))
    return uses


def spell_out(words: Sequence[str]) -> list[str]:
    """`-O3`, `-O=3` and `-O 3` are vLLM's short ways to say `--optimization-level 3`."""
    found: list[str] = []
    for word in words:
        if word.startswith("-O"):
            level = word[2:].removeprefix("=")
            found += ["--optimization-level", level] if level else ["--optimization-level"]
        else:
            found.append(word)
    return found


def is_option(word: str) -> bool:
    """As argparse sees it: a dash alone, a negative number and a text with spaces are values."""
    if not word.startswith("-") or word == "-" or " " in word.partition("=")[0]:
        return False
    return not word[1:].replace(".", "", 1).isdigit()


def merge(baked: Sequence[Use], given: Sequence[Use], options: Options) -> list[Use]:
    """The baked uses that the given ones do not replace, then the given ones."""
    whole = {use.name for use in given if not use.path} - options.repeats
    split = {use.name for use in given if use.path}
    keys = [(use.name, use.path) for use in given if use.path and not use.path[-1].endswith("+")]
    kept = []
    for use in baked:
        if use.name not in whole:
            for leaf in leaves(use) if use.name in split else [use]:
                if not any(leaf.name == n and leaf.path[: len(p)] == p for n, p in keys):
                    kept.append(leaf)
    return [*kept, *given]


def leaves(use: Use) -> list[Use]:
    """`--x '{"a": {"b": 1}}'` as `--x.a.b 1`: vLLM would forget the whole for a part of it."""
    try:
        value = json.loads(use.values[0])
    except ValueError:
        value = None
    if isinstance(value, dict) and all(key and not set(key) & set(".=+ ") for key in value):
        parts = (
            Use(use.name, use.name, [*use.path, key], [json.dumps(inner)])
            for key, inner in value.items()
            if inner != {}
        )
        return [leaf for part in parts for leaf in leaves(part)]
    if not use.path:
        raise Refused(f"the baked `{use.name}` cannot be changed in part: give all of it as JSON")
    return [use]


def faults(serve: Serve, uses: Sequence[Use], environment: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with this container, one sentence each."""
    models = [use.values[0] for use in uses if use.name == MODEL]
    model = models[-1] if models else serve.model_path
    if os.path.isdir(model):
        files = (os.path.join(model, name) for name in ("config.json", "params.json"))
        if not any(os.access(file, os.R_OK) for file in files):
            yield f"the model directory `{model}` has no config.json that can be read"
    elif model.startswith("/"):
        yield f"there is no model directory `{model}` in this container"
    elif environment.get("HF_HUB_OFFLINE") == "1":
        yield f"`{model}` is no directory of this container, and HF_HUB_OFFLINE=1 forbids the hub"
    free = free_bytes("/dev/shm")
    if free <= serve.shm_bytes:
        yield (
            f"/dev/shm has {free >> 20} MiB free and vLLM needs more than "
            f"{serve.shm_bytes >> 20} MiB: add `--shm-size 1g` or `--ipc host` to docker run"
        )
    if serve.needs_gpu:
        if not any(is_gpu(name) for name in os.listdir("/dev")):
            yield "this image needs an NVIDIA GPU and sees none: add `--gpus all` to docker run"
        place = environment.get("TRITON_CACHE_DIR", environment["HOME"])
        if os.path.isdir(place) and os.statvfs(place).f_flag & os.ST_NOEXEC:
            yield f"code compiled into `{place}` could not be run: mount it as `--tmpfs /tmp:exec`"


def free_bytes(place: str) -> int:
    try:
        found = os.statvfs(place)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def is_gpu(name: str) -> bool:
    """A device node of an NVIDIA GPU; `dxg` is what a Windows host gives instead."""
    return name == "dxg" or (name.startswith("nvidia") and name[6:].isdigit())


def prepare(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Make the places that vLLM writes to, or others instead: (environment, notes).

    Works for a uid that /etc/passwd does not know, and for a read-only root file system with a
    tmpfs on /tmp. Raises OSError where nothing is writable.
    """
    made, notes = dict(environment), []
    given = made.get("TMPDIR")
    scratch = next((place for place in (given, "/tmp", "/var/tmp") if usable(place)), None)
    if scratch is None:
        raise OSError("nothing is writable: add `--tmpfs /tmp:exec` to docker run")
    if given not in (None, scratch):
        made["TMPDIR"] = scratch
        notes.append(f"TMPDIR `{given}` is not writable, `{scratch}` is used")
    own = os.path.join(scratch, f"ovenproof-{os.getuid()}")
    for variable in PLACES:
        wanted = made.get(variable)
        if usable(wanted) or (wanted is None and variable != "HOME"):
            continue
        made[variable] = os.path.join(own, variable.lower())
        if not usable(made[variable]):
            raise OSError(f"`{own}` belongs to somebody else: remove it, or set TMPDIR")
        if wanted is not None:
            notes.append(f"{variable} `{wanted}` is not writable, `{made[variable]}` is used")
    # vLLM is three processes or more, which all import the same: the first compiles for the others.
    if BYTECODE.isdisjoint(made) and free_bytes(made["HOME"]) >= BYTECODE_BYTES:
        made["PYTHONPYCACHEPREFIX"] = os.path.join(made["HOME"], "pycache")
    for variable in ("USER", "LOGNAME"):  # PyTorch asks for these before it asks /etc/passwd
        made.setdefault(variable, f"uid{os.getuid()}")
    if "://" in made.get("VLLM_PORT", ""):
        del made["VLLM_PORT"]
        notes.append("VLLM_PORT comes from a Kubernetes Service called `vllm` and is not used")
    return made, notes


def usable(place: str | None) -> bool:
    """A directory that can be written to; it is made where it is missing."""
    if not place:
        return False
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK | os.X_OK)


def find_program(name: str, path: str) -> str | None:
    """Where a program lies, or None."""
    for place in [""] if "/" in name else path.split(":"):
        found = os.path.join(place, name)
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


def say(*sentences: str) -> None:
    for sentence in sentences:
        sys.stderr.write(f"ovenproof: {sentence}\n")
    sys.stderr.flush()


def shell_line(program: Sequence[str], uses: Sequence[Use]) -> str:
    """A command for a person to read: secrets are left out."""
    import shlex

    words = list(program)
    for use in uses:
        words += [use.spelled, "***"] if use.name in SECRETS else use.words()
    return shlex.join(words)


def run(words: Sequence[str]) -> int:
    """Run a program of the image; returns only where there is none."""
    try:
        environment, _ = prepare(os.environ)
    except OSError:  # a shell is what one wants then
        environment = dict(os.environ)
    program = find_program(words[0], environment.get("PATH", os.defpath))
    if program is None:
        say(f"`{words[0]}` is neither an option of vLLM nor a program of this image")
        return BAD_CALL
    os.execve(program, [*words], environment)


def start(serve: Serve, words: Sequence[str]) -> int:
    """Become vLLM; returns the exit code where that is not to be."""
    try:
        baked = read(serve.arguments, serve.options)
        given = read(words, serve.options)
        uses = merge(baked, [use for use in given if use.name != PRINT], serve.options)
    except Refused as refusal:
        say(str(refusal))
        return BAD_CALL
    if any(use.name == HELP and not use.values for use in given):
        usage = (__doc__ or "").split("\n\n")[1]
        print(f"{usage}\n\nBaked in:\n    {shell_line(serve.program, baked)}")  # noqa: T201
        return 0
    if any(use.name == PRINT for use in given):
        print(shell_line(serve.program, uses))  # noqa: T201
        return 0
    try:
        environment, notes = prepare(os.environ)
    except OSError as fault:
        say(str(fault))
        return BAD_CONTAINER
    found = [] if any(use.name == HELP for use in uses) else [*faults(serve, uses, environment)]
    say(*(found or notes))
    if found:
        return BAD_CONTAINER
    if any(use.name == CONFIG for use in uses):
        say("what is baked into this image wins over the file of `--config`")
    command = [*serve.program, *(word for use in uses for word in use.words())]
    try:
        os.execve(command[0], command, environment)
    except OSError as fault:
        say(f"`{command[0]}` cannot be started: {fault.strerror}")
        return BAD_CONTAINER


def main(words: Sequence[str]) -> int:
    if words and not words[0].startswith("-"):
        return run(words)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "serve.json"), encoding="utf-8") as file:
        return start(Serve(**json.load(file)), words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
