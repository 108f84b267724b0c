"""A batch of wheels, fetched by pip into a folder, and what it means when pip fails."""

import os
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ovenproof.core.image_lock import LockedWheel
from ovenproof.errors import (
    BadFile,
    LockAgain,
    MissingTool,
    NoAccess,
    NoSpace,
    OvenproofError,
    TryAgain,
    WrongBytes,
)
from ovenproof.store.disk import writing_to
from ovenproof.wheels.pip import Pip, is_full, tail
from ovenproof.wheels.requirements import Pin
from ovenproof.wheels.target import Target

_WATCH_S = 0.25
_ROOM = "free space, run `invoke clean`, or set OVENPROOF_CACHE to a folder with room"


class Stopped(Exception):
    """The work was called off while pip ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A wheel that the store lacks: its pin and, where it was locked before, its file."""

    pin: Pin
    locked: LockedWheel | None = None
    index: str | None = None
    """An index of its own, asked after the configured ones."""

    def __str__(self) -> str:
        return self.locked.filename if self.locked else f"{self.pin.name}=={self.pin.version}"

    @classmethod
    def of(cls, wheel: LockedWheel, index: str | None) -> "Wanted":
        try:
            name, version, _build, _tags = parse_wheel_filename(wheel.filename)
        except InvalidWheelFilename as error:
            raise BadFile(
                "a lock names a wheel that is none",
                subject=wheel.filename,
                got=error,
                hint="restore the lock, or lock again",
            ) from error
        pin = Pin(name, str(version), (wheel.content.digest,))
        return cls(pin=pin, locked=wheel, index=index)


def download(
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    target: Target,
    pip: Pip,
    indexes: Sequence[str],
    stop: threading.Event,
    heard: Callable[[int], None],
) -> dict[Wanted, Path]:
    """Where in `folder` pip put each of them; not verified yet. Raises what the reader can do.

    All of them or none: pip gives up at the first that fails.
    """
    requirements = folder / "wanted.txt"
    scratch, arrived = folder / "scratch", folder / "arrived"
    with writing_to(folder.parent, hint=_ROOM):
        requirements.write_text("".join(f"{item.pin}\n" for item in wanted), encoding="utf-8")
        scratch.mkdir(exist_ok=True)
        arrived.mkdir(exist_ok=True)
    arguments = [
        "download", "--quiet", "--progress-bar", "off", "--no-input", "--no-cache-dir",
        "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--implementation", "cp", "--abi", target.interpreter,
        "--python-version", target.python, "--dest", str(arrived),
        "--requirement", str(requirements),
    ]  # fmt: skip
    if all(item.pin.digests for item in wanted):
        arguments.append("--require-hashes")
    arguments += [f"--platform={platform}" for platform in target.platforms]
    for index in indexes:
        arguments += ["--extra-index-url", index]
    log = folder / "log"
    # an index that cannot be reached is told in the log alone
    arguments += ["--log", str(log)]
    process = subprocess.Popen(
        [*pip.command(*arguments), *pip.arguments],
        env={**pip.environment, "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # on a full disk a file would hold nothing
        stderr=subprocess.STDOUT,
    )
    said = _watch(process, (scratch, arrived), stop, heard).decode("utf-8", "replace")
    if process.returncode:
        logged = log.read_text("utf-8", "replace") if log.exists() else ""
        raise fault(said, logged, wanted=wanted)
    return {item: _place(item, arrived) for item in wanted}


def fault(said: str, log: str = "", *, wanted: Sequence[Wanted]) -> OvenproofError:
    """What pip's complaint means for the reader."""
    names = ", ".join(str(item) for item in wanted)
    if is_full(said) or is_full(log):  # whatever else it led to
        return NoSpace(
            "there is no room for wheels",
            subject=names,
            got="No space left on device, as pip says",
            hint=_ROOM,
        )
    for pattern, kind, what, hint in _MEANINGS:
        if re.search(pattern, said) or re.search(pattern, log):
            return kind(what, subject=names, got=tail(said), hint=hint)
    return TryAgain(
        "pip could not fetch", subject=names, got=tail(said), hint="look at what pip says"
    )


_SEE_PIP = "`python -m pip config list` shows which indexes are asked; a mirror can be set there"
_MEANINGS: tuple[tuple[str, type[OvenproofError], str, str], ...] = (
    (
        r"DO NOT MATCH THE HASHES",
        WrongBytes,
        "an index gives other bytes than those that are locked",
        "use an index that has the original files, or lock again",
    ),
    (
        r"\b(401|403) (Client )?Error|status code 40[13]",
        NoAccess,
        "an index does not let us in",
        "put credentials into pip's configuration, a keyring or ~/.netrc",
    ),
    (
        r"is not a trusted or secure host",
        NoAccess,
        "pip refuses to ask an index without encryption",
        "use https, or set `trusted-host` in pip's configuration",
    ),
    (
        r"Retrying \(Retry\(|Max retries exceeded|ConnectionError|connection error:|"
        r"NameResolutionError|timed out|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED|"
        r"\b5\d\d Server Error",
        TryAgain,
        "the package indexes did not answer, and this is not in the store",
        f"try again; {_SEE_PIP}",
    ),
    (
        r"No matching distribution found|Could not find a version|\b404 Client Error",
        LockAgain,
        "no index that pip knows has this any more",
        f"lock again, or use an index that has it: {_SEE_PIP}",
    ),
    (
        r"No module named pip",
        MissingTool,
        "pip is not here",
        "install pip into the environment that runs ovenproof",
    ),
)
"""In this order: pip also says "no matching distribution" when nobody answered."""


def _watch(
    process: subprocess.Popen[bytes],
    folders: Sequence[Path],
    stop: threading.Event,
    heard: Callable[[int], None],
) -> bytes:
    """What the program said until it ended; meanwhile tell how many bytes have come so far."""
    most = 0
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=_WATCH_S)[0]
            if stop.is_set():
                raise Stopped
            # pip copies each wheel from the first folder into the second
            size = max(wheel_bytes(folder) for folder in folders)
            if size > most:
                heard(size - most)
                most = size
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def wheel_bytes(folder: Path) -> int:
    """Bytes of the wheels below a folder in which pip makes and removes folders meanwhile."""
    total = 0
    for place, _folders, files in os.walk(folder):
        for file in files:
            if file.endswith(".whl"):
                with suppress(OSError):
                    total += (Path(place) / file).stat().st_size
    return total


def _place(item: Wanted, folder: Path) -> Path:
    for path in sorted(folder.glob("*.whl")):
        with suppress(InvalidWheelFilename):
            name, version, _build, _tags = parse_wheel_filename(path.name)
            if name == item.pin.name and str(version) == _normal(item.pin.version):
                return path
    raise LockAgain("pip brought something else", subject=item, hint="lock again")


def _normal(version: str) -> str:
    return str(parse_wheel_filename(f"x-{version}-py3-none-any.whl")[1])
