"""Asking a `docker-credential-NAME` program: other people's keepers of logins."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping

from ovenproof.core.address import shown
from ovenproof.errors import BadFile, MissingTool, NoAccess

_TIMEOUT_S = 120
"""A program may have to ask a person to unlock something."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found"
_SAID_LIMIT = 200


def ask(
    name: str, server: str, *, environment: Mapping[str, str], path: str
) -> tuple[str, str] | None:
    """The user and the secret that the program keeps for a server; None where it keeps none.

    `path` is the file that names the program. Raises MissingTool, and NoAccess where the program
    fails. What it writes is shown only where it says that it failed: else it is the secret.
    """
    if not _NAME.fullmatch(name):
        raise BadFile(
            "a credential helper's name is not one",
            subject=path,
            expected="NAME of a program docker-credential-NAME",
            hint=f"correct `credHelpers` and `credsStore` in {path}",
        )
    program = shutil.which(f"docker-credential-{name}", path=environment.get("PATH", ""))
    if program is None:
        raise MissingTool(
            "a login is kept by a program that is not here",
            subject=f"docker-credential-{name}",
            where=path,
            hint=f"put it on PATH, or remove it from {path} and run `docker login {server}`",
        )
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            env=dict(environment),
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(program, server, path, f"no answer after {_TIMEOUT_S} s") from None
    except OSError as error:
        raise _failed(program, server, path, str(error)) from None
    if done.returncode != 0:
        said = _said(done.stdout) or _said(done.stderr)
        if _NOT_FOUND in said.lower():
            return None
        raise _failed(program, server, path, said or f"exit status {done.returncode}")
    try:
        return _read(done.stdout)
    except (ValueError, RecursionError):
        raise _failed(program, server, path, "an answer without Username and Secret") from None


def _read(answer: bytes) -> tuple[str, str] | None:
    found = json.loads(answer)
    if not isinstance(found, dict):
        raise ValueError
    username, secret = found.get("Username"), found.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ValueError
    return (username, secret) if secret else None


def _said(output: bytes) -> str:
    """The first line, if it is not the start of an answer."""
    text = output.decode(errors="replace").strip()
    if text.startswith(("{", "[", '"')):
        return ""
    line = "".join(letter for letter in text.partition("\n")[0] if letter.isprintable())
    return shown(line[:_SAID_LIMIT])


def _failed(program: str, server: str, path: str, got: str) -> NoAccess:
    return NoAccess(
        "a credential helper does not give the login",
        subject=f"{program} get",
        where=path,
        expected=f"the login for {server}",
        got=got,
        hint=f"try `echo {server} | {program} get`, or run `docker login {server}`",
    )
