"""Real registries on loopback: plain, with logins, and over TLS with an authority of their own."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "cook", "canary-of-the-suite"


@dataclass(frozen=True, slots=True)
class Authority:
    """A private certificate authority, and the certificate of 127.0.0.1 that it signed."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        folder.mkdir()
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        ca = ("-keyout", "ca.pem", "-out", "ca.crt", "-subj", "/CN=kitchen", "-days", "2")
        _run(folder, "openssl", "req", "-x509", *key, *ca)
        own = ("-keyout", "own.pem", "-out", "own.csr", "-subj", "/CN=127.0.0.1")
        _run(folder, "openssl", "req", *key, *own)
        signed = ("-CA", "ca.crt", "-CAkey", "ca.pem", "-CAcreateserial", "-days", "2")
        names = ("-in", "own.csr", "-out", "own.txt", "-extfile", "san")
        _run(folder, "openssl", "x509", "-req", *signed, *names)
        return cls(folder)


@contextmanager
def served(
    folder: Path, *, logins: bool = False, authority: Authority | None = None
) -> Iterator[str]:
    """A registry that keeps what it has in a folder, until the block ends: `127.0.0.1:PORT`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    http: dict[str, object] = {"addr": address}
    settings: dict[str, object] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "log": {"level": "error"},
        "http": http,
    }
    if logins:
        passwords = folder.with_suffix(".htpasswd")
        passwords.write_text(_run(folder.parent, "htpasswd", "-nbB", USER, PASSWORD))
        settings["auth"] = {"htpasswd": {"realm": "kitchen", "path": str(passwords)}}
    if authority is not None:
        place = authority.folder
        http["tls"] = {"certificate": f"{place}/own.txt", "key": f"{place}/own.pem"}
    path = folder.with_suffix(".yml")
    path.write_text(json.dumps(settings))  # which is YAML too
    process = subprocess.Popen(["docker-registry", "serve", str(path)])
    try:
        while not _answers(address):
            assert process.poll() is None, "the registry did not start"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def log_in(home: Path, address: str) -> None:
    """What `docker login` writes."""
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (home / ".docker").mkdir(parents=True, exist_ok=True)
    config = {"auths": {address: {"auth": secret}}}
    (home / ".docker" / "config.json").write_text(json.dumps(config))


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _answers(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
