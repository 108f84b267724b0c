"""Locking Debian packages: the host's apt resolves, in a world of its own.

apt is given a private state in which nothing is installed, so that it names everything that the
wanted packages need. What a flavour does without is declared as installed there: apt then asks
neither for it nor for what only it would need. apt checks the archives' signatures, as always.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from ovenproof.bases.debian_sources import MAIN, SECURITY, SETTING, AptSource
from ovenproof.core.address import shown
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import BadFile, MissingTool, OvenproofError, TryAgain
from ovenproof.events import Finished, Listener, Noted, Started, silent

POCKETS: Mapping[str, tuple[str, ...]] = {MAIN: ("", "-updates"), SECURITY: ("-security",)}
"""What is added to a suite's name, by archive."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_LINE = re.compile(r"'(?P<url>\S+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_SNAPSHOT = re.compile(r"/\d{8}T\d{6}Z(/|$)")
_UNKNOWN = re.compile(r"E: Unable to locate package (\S+)|E: Package '(\S+)' has no installation")
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""
_STATUS = """\
Package: {name}
Status: install ok installed
Maintainer: nobody
Architecture: {architecture}
Version: 99999:0
Description: left out

"""


def resolve(
    *,
    suite: str,
    packages: Sequence[str],
    sources: Sequence[AptSource],
    without: Sequence[str] = (),
    architecture: str = "amd64",
    listener: Listener = silent,
    program: str = "apt-get",
) -> tuple[LockedDeb, ...]:
    """The packages and all that they need, less `without`, as the mirrors have them today.

    Raises MissingTool without apt, TryAgain where no mirror answers, BadFile for a package that is
    not there.
    """
    _check_names(packages, without)
    archives = {source.archive for source in sources}
    if MAIN not in archives:
        raise TryAgain(
            "no Debian mirror is known on this machine",
            subject=suite,
            hint=f"set {SETTING} to the address of a mirror",
        )
    if SECURITY not in archives:
        listener(Noted(text="apt knows no mirror of debian-security: locking without its updates"))
    name = f"resolve {len(packages)} Debian packages"
    listener(Started(name=name))
    with TemporaryDirectory(prefix="apt-") as folder:
        root = Path(folder)
        (root / "state" / "lists" / "partial").mkdir(parents=True)
        (root / "cache" / "archives" / "partial").mkdir(parents=True)
        (root / "apt.conf").write_text(configuration(folder, architecture))
        (root / "status").write_text(status(without, architecture))
        (root / "sources.list").write_text(sources_list(suite, sources, architecture))
        command = [program, "--config-file", str(root / "apt.conf"), "-q", "-y"]
        _run([*command, "update"])
        printed = _run([*command, "install", "--print-uris", "--", *packages])
    debs = parse_uris(printed, sources)
    _check_all_there(packages, debs)
    listener(Finished(name=name, note=f"{len(debs)} packages"))
    return debs


def configuration(folder: str, architecture: str) -> str:
    """apt.conf(5): a private state; proxies and credentials stay those of the machine."""
    return _CONFIGURATION.format(folder=folder, architecture=architecture)


def status(without: Iterable[str], architecture: str) -> str:
    """dpkg's status file of a machine that has what the image does without, and nothing else."""
    return "".join(
        _STATUS.format(name=name, architecture=architecture) for name in sorted(set(without))
    )


def sources_list(suite: str, sources: Iterable[AptSource], architecture: str) -> str:
    """sources.list(5) for one suite with its updates, from each mirror."""
    lines: dict[str, None] = {}
    for source in sources:
        keyring = source.keyring or (str(_KEYRING) if _KEYRING.exists() else None)
        options = [f"arch={architecture}"]
        options += [f"signed-by={keyring}"] if keyring else []
        # A snapshot's signature has long run out; that is what a snapshot is.
        options += ["check-valid-until=no"] if _SNAPSHOT.search(source.url) else []
        for pocket in POCKETS[source.archive]:
            lines[f"deb [{' '.join(options)}] {source.url} {suite}{pocket} main\n"] = None
    return "".join(lines)


def parse_uris(text: str, sources: Iterable[AptSource]) -> tuple[LockedDeb, ...]:
    """Read what `apt-get --print-uris` printed: `'URL' FILE SIZE SHA256:HEX` on each line."""
    known = sorted(sources, key=lambda source: len(source.url), reverse=True)
    found: set[LockedDeb] = set()
    for line in text.splitlines():
        if not line.startswith("'"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise _not_understood(shown(line))
        url = match["url"]
        source = next((item for item in known if url.startswith(item.url + "/")), None)
        parts = unquote(match["file"]).removesuffix(".deb").split("_")
        if source is None or len(parts) != 3:
            raise _not_understood(shown(line))
        found.add(
            LockedDeb(
                name=parts[0],
                version=parts[1],
                archive=source.archive,
                path=unquote(url.removeprefix(source.url + "/")),
                content=Content(Digest(match["sha256"]), int(match["size"])),
            )
        )
    return tuple(sorted(found))


def _check_names(packages: Sequence[str], without: Sequence[str]) -> None:
    for name in (*packages, *without):
        if not _NAME.fullmatch(name):
            raise BadFile(
                "this is not the name of a Debian package",
                subject=name,
                expected="small letters, digits, `+`, `.` and `-`",
                hint="correct it in the flavour's image.yaml",
            )
    for name in sorted({*packages} & {*without}):
        raise BadFile(
            "a Debian package is wanted and left out at once",
            subject=name,
            hint="name it in one list of the flavour's image.yaml alone",
        )


def _check_all_there(packages: Sequence[str], debs: Sequence[LockedDeb]) -> None:
    for name in sorted({*packages} - {deb.name for deb in debs}):
        raise BadFile(
            "apt did not name a package that was asked for",
            subject=name,
            expected="a package of its own",
            got="nothing, or another package that provides it",
            hint="name the package that provides it in the flavour's image.yaml",
        )


def _run(command: list[str]) -> str:
    """What apt printed. Its messages are asked for in English: they are read here."""
    try:
        answer = subprocess.run(  # noqa: PLW1510  # what went wrong is told below
            ["env", "LC_ALL=C", *command], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise _no_apt(command[0]) from error
    if answer.returncode == 127:
        raise _no_apt(command[0])
    if answer.returncode:
        raise _refused(answer.stdout, answer.stderr)
    return answer.stdout


def _refused(stdout: str, stderr: str) -> OvenproofError:
    complaints = [line for line in stderr.splitlines() if line.startswith(("E:", "W:"))]
    got = shown("\n           ".join(complaints[:4] or stderr.strip().splitlines()[-2:]))
    if unknown := _UNKNOWN.search(stderr):
        return BadFile(
            "no Debian mirror of this machine has this package",
            subject=unknown[1] or unknown[2],
            hint="correct its name in the flavour's image.yaml",
        )
    if "unmet dependencies" in stdout + stderr:
        wanted = [line.strip() for line in stdout.splitlines() if "Depends:" in line]
        return BadFile(
            "the wanted Debian packages do not go together",
            got="; ".join(wanted[:4]) or got,
            hint="change `packages` or `without` in the flavour's image.yaml",
        )
    if "NO_PUBKEY" in stderr or "is not signed" in stderr:
        return MissingTool(
            "apt has no key to check the Debian archive with",
            got=got,
            hint="install the package `debian-archive-keyring`",
        )
    return TryAgain(
        "apt could not ask the Debian mirrors",
        got=got,
        hint=f"go online and try again, or set {SETTING} to another mirror",
    )


def _no_apt(program: str) -> MissingTool:
    return MissingTool(
        "Debian packages cannot be locked without apt",
        subject=program,
        hint="lock on Debian or Ubuntu, or in a container of them; building needs no apt",
    )


def _not_understood(line: str) -> TryAgain:
    return TryAgain(
        "apt's answer is not understood",
        expected="'URL' FILE SIZE SHA256:HEX",
        got=line,
        hint=f"is its mirror a Debian archive? Set {SETTING} to one that is",
    )
