"""Logins to registries, found where podman and Docker keep them.

podman's files are asked before Docker's, and the first that has a login wins. Within a file a
program that keeps logins is asked before what stands in the file, as both of them do it.

A program that fails is no reason to stop while another place has the login. Where none has, its
fault is raised: "no login" would send the reader to look in the wrong place. Whoever can go on
without a login (see `auth`) keeps that fault until somebody says no.
"""

import base64
import binascii
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ovenproof.core.address import shown
from ovenproof.errors import BadFile, MissingTool, NoAccess, OvenproofError
from ovenproof.registry.credential_program import ask
from ovenproof.registry.reference import DOCKER_HUB, HUB_NAMES, Repository

_HUB_ADDRESS = "https://index.docker.io/v1/"
"""What Docker calls its hub, in its files and to its programs."""
_IDENTITY = "<token>"
"""The user's name of a login that is an identity token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a registry is told about who asks. Its repr shows where it is from, and no more."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    """What the token service takes instead of a password."""
    registry_token: str | None = field(default=None, repr=False)
    """A token for the registry itself: nobody needs to be asked for one."""
    origin: str = ""
    """The file or the program that it is from, for errors."""

    def __bool__(self) -> bool:
        return bool((self.username and self.password) or self.identity_token or self.registry_token)


class Finder(Protocol):
    """Whoever knows logins."""

    def find(self, repository: Repository) -> Login | None:
        """The login for a repository. Raises BadFile; NoAccess or MissingTool of a program."""


class Credentials:
    """The logins of a person on this machine. Each is looked up once; threads may ask at once."""

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        self._environment = environment
        self._paths = tuple(_paths(environment, home))
        self._files: tuple[_File, ...] | None = None
        self._found: dict[Repository, Login | OvenproofError | None] = {}
        self._asked: dict[tuple[str, str], Login | OvenproofError | None] = {}
        self._lock = threading.Lock()

    def find(self, repository: Repository) -> Login | None:
        """The login for a repository, of the place that is asked first."""
        with self._lock:
            if repository not in self._found:
                try:
                    self._found[repository] = self._look(repository)
                except OvenproofError as fault:
                    self._found[repository] = fault
            found = self._found[repository]
        if isinstance(found, OvenproofError):
            raise found
        return found

    def _look(self, repository: Repository) -> Login | None:
        if self._files is None:
            read = (_read(path, docker=docker) for path, docker in self._paths)
            self._files = tuple(file for file in read if file is not None)
        faults: list[OvenproofError] = []
        for file in self._files:
            kept = self._ask(file, repository.host)
            if isinstance(kept, OvenproofError):
                faults.append(kept)
                kept = None
            if login := kept or file.login(repository):
                return login
        if faults:
            raise faults[0]
        return None

    def _ask(self, file: "_File", host: str) -> Login | OvenproofError | None:
        """What the program says that the file names for a host. It is started once."""
        program, server = file.program(host), file.server(host)
        if not program:
            return None
        if (program, server) not in self._asked:
            try:
                answer = ask(program, server, environment=self._environment, path=str(file.path))
                self._asked[program, server] = answer and _kept(*answer, program, file.path)
            except (MissingTool, NoAccess) as fault:
                self._asked[program, server] = fault
        return self._asked[program, server]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What one file says."""

    path: Path
    docker: bool
    """Docker's own: it calls the hub by its old address."""
    logins: Mapping[str, Login]
    """By what each is for, as the file writes it."""
    programs: Mapping[str, str]
    store: str

    def server(self, host: str) -> str:
        """What a host is called in this file, and to its programs."""
        return _HUB_ADDRESS if self.docker and host == DOCKER_HUB else host

    def program(self, host: str) -> str:
        """The program that keeps the logins of a host, if one does."""
        for key in sorted(self.programs, key=lambda key: (key != self.server(host), key)):
            if _scope(key) == _scope(host):
                return self.programs[key]
        return self.store

    def login(self, repository: Repository) -> Login | None:
        """The login whose key says most of the repository's name."""
        name = _scope(str(repository))
        server = self.server(repository.host)
        keys = [key for key in self.logins if f"{name}/".startswith(f"{_scope(key)}/")]
        keys.sort(key=lambda key: (-len(_scope(key)), key != server, key))
        return next((self.logins[key] for key in keys if self.logins[key]), None)


def _paths(environment: Mapping[str, str], home: Path) -> Iterator[tuple[Path, bool]]:
    """Files that may hold logins, the first to be asked first; and whether each is Docker's."""
    if own := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(own), False
    else:
        if runtime := environment.get("XDG_RUNTIME_DIR"):
            yield Path(runtime, "containers", "auth.json"), False
        settings = environment.get("XDG_CONFIG_HOME") or home / ".config"
        yield Path(settings, "containers", "auth.json"), False
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker", "config.json"), True


def _scope(key: str) -> str:
    """A key as HOST or HOST/PATH: what it is written for. An address is for its whole host."""
    bare = key.removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    host = host.lower()
    if host in HUB_NAMES:
        host = DOCKER_HUB
    path = "" if bare != key or path in ("v1/", "v2/") else path.strip("/")
    return f"{host}/{path}" if path else host


def _kept(username: str, secret: str, program: str, path: Path) -> Login:
    origin = f"docker-credential-{program} ({path})"
    if username == _IDENTITY:
        return Login(identity_token=secret, origin=origin)
    return Login(username=username, password=secret, origin=origin)


def _read(path: Path, *, docker: bool) -> _File | None:
    """Read a file of logins, if it is there. No fault shows what is in it."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NoAccess(
            "a file of logins cannot be read",
            subject=path,
            got=error.strerror,
            hint=f"make it readable: chmod u+r {path}",
        ) from error
    try:
        value = json.loads(data)
    except json.JSONDecodeError as error:
        raise _bad(path, "JSON", f"{error.msg}, line {error.lineno}") from None
    except (ValueError, RecursionError):
        raise _bad(path, "JSON in UTF-8", "something else") from None
    top = _object(value, path, "the file")
    programs = _object(top.get("credHelpers"), path, "credHelpers")
    return _File(
        path=path,
        docker=docker,
        logins={
            key: _login(entry, path, f"auths.{shown(key)}")
            for key, entry in _object(top.get("auths"), path, "auths").items()
        },
        programs={key: _text(programs, key, path, "credHelpers") for key in programs},
        store=_text(top, "credsStore", path, "the file"),
    )


def _login(value: object, path: Path, at: str) -> Login:
    """One entry of `auths`; an empty one only says that a program keeps the login."""
    entry = _object(value, path, at)
    username, password = _text(entry, "username", path, at), _text(entry, "password", path, at)
    if encoded := _text(entry, "auth", path, at):
        try:
            decoded = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            raise _bad(path, f"base64 of USER:PASSWORD as `auth` of {at}", "something else")
        password = password.rstrip("\0")
    return Login(
        username=username,
        password=password,
        identity_token=_text(entry, "identitytoken", path, at) or None,
        registry_token=_text(entry, "registrytoken", path, at) or None,
        origin=str(path),
    )


def _object(value: object, path: Path, at: str) -> Mapping[str, object]:
    if not isinstance(value, dict | None):
        raise _bad(path, f"an object as {at}", type(value).__name__)
    return value or {}


def _text(entry: Mapping[str, object], key: str, path: Path, at: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(path, f"text as `{shown(key)}` of {at}", type(value).__name__)
    if not value.isascii() and key.endswith("token"):
        raise _bad(path, f"ASCII as `{key}` of {at}", "other letters")
    return value


def _bad(path: Path, expected: str, got: str) -> BadFile:
    return BadFile(
        "a file of logins cannot be understood",
        subject=path,
        expected=expected,
        got=got,
        hint="mend the file, or move it away and log in again",
    )
