"""From what people want (`NAME.in`) to what is pinned (`NAME.txt`): names, versions and hashes.

uv resolves, for the target and not for this machine, and tells which wheels fit it. The text that
is kept names no address and no folder: which index has the wheels is each machine's own business.
"""

import functools
import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from ovenproof.core.digest import Digest
from ovenproof.errors import BadFile, MissingTool, NoSpace, OvenproofError, TryAgain
from ovenproof.store.disk import write_file, writing_to
from ovenproof.wheels.pip import Pip, PipIndex, is_full, tail
from ovenproof.wheels.target import Target

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[\w.!+-]+)"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)
_NO_SOLUTION = 1
"""uv's exit status when the indexes answered and have no set of versions that fits."""


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One distribution, and the digests of its wheels that fit the target.

    Without digests any wheel of the version will do: that is how a new one gets locked.
    """

    name: str
    version: str
    digests: tuple[Digest, ...]

    def __str__(self) -> str:
        hashes = "".join(f" --hash={digest}" for digest in self.digests)
        return f"{self.name}=={self.version}{hashes}"


def compile(  # noqa: A001  # uv's own word
    wanted: Path,
    out: Path,
    *,
    target: Target,
    excluded: Sequence[str],
    indexes: Mapping[str, str],
    pip: Pip,
    keep: Sequence[Pin] = (),
) -> tuple[Pin, ...]:
    """Resolve `wanted` into `out`. Nothing that is `excluded` gets in, whoever asks for it.

    The versions of `keep` stay as long as `wanted` allows; where it does not, all are free.

    `indexes` gives a distribution an index of its own. It is asked only where the configured
    indexes have no solution; so a machine whose own index has everything never needs the other.
    """
    asked = read_wanted(wanted)
    project = functools.partial(_project, asked, target)
    overrides = [f"{name}; python_version < '3'" for name in excluded]
    configured = PipIndex.ask(pip)
    kept = [f"{pin.name}=={pin.version}" for pin in keep]
    for constraints, own in ((kept, {}), (kept, indexes), ([], {}), ([], indexes)):
        status, said, pins = _resolve(
            project(own), _Bounds(overrides, constraints), target, configured, pip
        )
        if status != _NO_SOLUTION:
            break
    if status and is_full(said):
        raise NoSpace(
            "there is no room for choosing versions",
            subject=wanted,
            got=tail(said),
            hint="free space where temporary files and uv's cache are",
        )
    if status == _NO_SOLUTION:
        raise BadFile(
            "no versions fit together",
            subject=wanted,
            got=tail(said, 6),
            hint="change the versions in this file, or set pip's index to one that has them",
        )
    if status:
        raise TryAgain(
            "the package indexes did not answer",
            subject=wanted,
            got=tail(said, 6),
            hint="look at `python -m pip config list`; a mirror can be set there",
        )
    _write(out, wanted, target, excluded, pins)
    return pins


def read_wanted(path: Path) -> tuple[Requirement, ...]:
    """The requirements that a person wrote, one per line. Raises BadFile, with the line."""
    found: list[Requirement] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        try:
            found.append(Requirement(text))
        except InvalidRequirement as error:
            raise BadFile(
                "this is not a requirement",
                subject=text,
                where=f"{path}:{number}",
                expected="a name, and a version after ==",
                got=str(error).splitlines()[0],
            ) from None
    return tuple(found)


def read_pins(path: Path) -> tuple[Pin, ...]:
    """The pins of a hash-locked file, sorted. Raises BadFile, with the line."""
    found: dict[str, Pin] = {}
    number = 1
    for line in re.split(r"(?<!\\)\n", _text(path)):
        text = re.sub(r"(^|\s)#.*", "", line.replace("\\\n", " ")).strip()
        if text:
            match = _PIN.fullmatch(text)
            name = canonicalize_name(match["name"]) if match else ""
            if match is None or name in found:
                raise BadFile(
                    "this is no pin, or a second one of its name",
                    subject=text.split()[0],
                    where=f"{path}:{number}",
                    expected="name==version and then its hashes",
                    hint="the file was written by a program: restore it, or lock again",
                )
            digests = (Digest(part[-64:]) for part in match["hashes"].split())
            found[name] = Pin(name, match["version"], tuple(sorted(digests)))
        number += line.count("\n") + 1
    return tuple(sorted(found.values()))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What uv is told besides what is wanted, a requirement a line."""

    overrides: Sequence[str]
    constraints: Sequence[str]


def _resolve(
    wanted: str, bounds: _Bounds, target: Target, configured: PipIndex, pip: Pip
) -> tuple[int, str, tuple[Pin, ...]]:
    """uv's exit status, what it said, and the pins where it found some.

    An override with a marker that is never true leaves a distribution out.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "pyproject.toml")
        project.write_text(wanted, encoding="utf-8")
        override = Path(folder, "overrides.txt")
        override.write_text("\n".join(bounds.overrides), encoding="utf-8")
        constraint = Path(folder, "constraints.txt")
        constraint.write_text("\n".join(bounds.constraints), encoding="utf-8")
        locked = Path(folder, "pylock.toml")
        arguments = [
            "pip", "compile", "--quiet", "--no-header", "--generate-hashes",
            "--only-binary", ":all:", "--python-version", target.python,
            "--python-platform", target.uv_platform, "--index-strategy", "unsafe-best-match",
            "--override", str(override), "--constraint", str(constraint),
            "--format", "pylock.toml", "--output-file", str(locked), str(project),
        ]  # fmt: skip
        answer = subprocess.run(  # noqa: PLW1510  # the caller looks at the status
            [_uv(), *arguments, *configured.arguments_for_uv],
            cwd=folder,
            env={**pip.environment, **configured.for_uv()},
            capture_output=True,
            text=True,
        )
        said = answer.stderr.replace(folder, "")
        if answer.returncode:
            return answer.returncode, said, ()
        return 0, said, _pins(locked)


def _project(asked: Sequence[Requirement], target: Target, indexes: Mapping[str, str]) -> str:
    """A project that asks for this: uv takes an index for one distribution in no other form."""
    lines = [
        "[project]",
        'name = "wanted"',
        'version = "0"',
        f'requires-python = "=={target.python}.*"',
        f"dependencies = {json.dumps([str(item) for item in asked])}",
    ]
    for number, (name, url) in enumerate(sorted(indexes.items())):
        lines += [
            f"[tool.uv.sources.{json.dumps(name)}]",
            f'index = "own-{number}"',
            "[[tool.uv.index]]",
            f'name = "own-{number}"',
            f"url = {json.dumps(url)}",
            "explicit = true",
        ]
    return "\n".join(lines) + "\n"


def _pins(locked: Path) -> tuple[Pin, ...]:
    found: list[Pin] = []
    for package in tomllib.loads(locked.read_text(encoding="utf-8"))["packages"]:
        name = str(package["name"])
        wheels = cast("list[dict[str, dict[str, str]]]", package.get("wheels", []))
        digests = {Digest(wheel["hashes"]["sha256"]) for wheel in wheels}
        if not digests:
            raise OvenproofError(
                "this can only be had without a hash, or is no wheel",
                subject=f"{name}=={package.get('version')}",
                hint="ask for a version that an index has as a wheel",
            )
        found.append(Pin(canonicalize_name(name), str(package["version"]), tuple(sorted(digests))))
    return tuple(sorted(found))


def _write(
    out: Path, wanted: Path, target: Target, excluded: Sequence[str], pins: Sequence[Pin]
) -> None:
    lines = [f"# Locked from {wanted.name} for {target}: names, versions and hashes."]
    if excluded:
        lines.append(f"# Left out: {', '.join(sorted(excluded))}.")
    for pin in pins:
        hashes = [f"    --hash={digest}" for digest in pin.digests]
        lines.append(" \\\n".join([f"{pin.name}=={pin.version}", *hashes]))
    with writing_to(out, hint="make this file and its folder writable"):
        write_file(out, ["\n".join([*lines, ""]).encode()])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("a requirements file cannot be read", subject=path, got=error) from error


def _uv() -> str:
    try:
        return str(find_uv_bin())
    except FileNotFoundError as error:
        raise MissingTool(
            "uv is not here", got=error, hint="install uv into the environment that runs ovenproof"
        ) from error
