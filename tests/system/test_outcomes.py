"""Outcomes at real servers: nginx with DAV as a Bazel cache, and a real registry."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.events import Event, Noted, silent
from ovenproof.registry.bazel import BazelCache, wrapped
from ovenproof.registry.client import Registries
from ovenproof.registry.hearsay import Hearsay
from ovenproof.registry.outcomes import OutcomesRepository, tag
from ovenproof.registry.reference import parse_repository

KEY = Digest.of(b"action")
OUTCOME = Outcome({"layer": Content.of(b"layer")})
SETTINGS = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/files;
    location /cache/ {{
      dav_methods PUT;
      create_full_put_path on;
      client_max_body_size 1m;
      limit_except GET {{ auth_basic cache; auth_basic_user_file {folder}/accounts; }}
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A cache that everybody reads and one account writes."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cache"

    @property
    def writable(self) -> str:
        return f"http://baker:secret@127.0.0.1:{self.port}/cache"

    def path(self, key: Digest) -> Path:
        return self.folder / "files/cache/ac" / key.hex


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    settings = SETTINGS.format(folder=tmp_path, port=port, user=user)
    (tmp_path / "nginx.conf").write_text(settings)
    (tmp_path / "accounts").write_text("baker:{PLAIN}secret\n")
    (tmp_path / "files").mkdir()
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert program is not None, "nginx is not installed"
    command = [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    process = subprocess.Popen(command)
    try:
        while not _answers(port):
            assert process.poll() is None, "nginx did not start"
            time.sleep(0.05)
        yield Nginx(tmp_path, port)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def at(address: str, home: Path, heard: list[Event] | None = None) -> Hearsay:
    return Hearsay(
        connect=lambda: BazelCache(address, environment={}, home=home),
        name="nginx",
        writes=True,
        listener=silent if heard is None else heard.append,
    )


def test_nginx_keeps_outcomes_for_everybody(nginx: Nginx, tmp_path: Path) -> None:
    assert at(nginx.url, tmp_path).recall(KEY) is None
    at(nginx.writable, tmp_path).remember(KEY, OUTCOME)
    assert at(nginx.url, tmp_path).recall(KEY) == OUTCOME
    assert nginx.path(KEY).stat().st_size < 400


def test_nginx_gets_another_record_in_the_place_of_a_damaged_one(
    nginx: Nginx, tmp_path: Path
) -> None:
    nginx.path(KEY).parent.mkdir(parents=True)
    nginx.path(KEY).write_bytes(wrapped(b"{}"))
    writer = at(nginx.writable, tmp_path)
    assert writer.recall(KEY) is None
    writer.remember(KEY, OUTCOME)
    assert at(nginx.url, tmp_path).recall(KEY) == OUTCOME


def test_who_may_only_read_is_told_so_once(nginx: Nginx, tmp_path: Path) -> None:
    heard: list[Event] = []
    reader = at(nginx.url, tmp_path, heard)
    reader.remember(KEY, OUTCOME)
    reader.remember(Digest.of(b"other"), OUTCOME)
    (said,) = [event.text for event in heard if isinstance(event, Noted)]
    assert "does not take what was proven here: a cache refuses (HTTP status 401)" in said
    assert not nginx.path(KEY).exists()


def test_nginx_knows_an_account_from_the_home_folder(nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login baker password secret\n")
    at(nginx.url, tmp_path).remember(KEY, OUTCOME)
    assert nginx.path(KEY).exists()


def test_a_registry_keeps_outcomes_for_everybody(registry: str, tmp_path: Path) -> None:
    repository = parse_repository(f"{registry}/bakery/outcomes")
    with Registries(environment={}, home=tmp_path, waits_s=()) as registries:
        remote = registries.at(repository)
        heard: list[Event] = []
        one = Hearsay(
            connect=lambda: OutcomesRepository(remote),
            name="registry",
            writes=True,
            listener=heard.append,
        )
        assert one.recall(KEY) is None
        one.remember(KEY, OUTCOME)
        assert one.recall(KEY) == OUTCOME
        assert heard == []
        assert remote.head(tag(KEY)) is not None


def test_skopeo_reads_a_record_as_an_artifact(registry: str, tmp_path: Path) -> None:
    repository = parse_repository(f"{registry}/bakery/outcomes")
    with Registries(environment={}, home=tmp_path, waits_s=()) as registries:
        remote = registries.at(repository)
        Hearsay(connect=lambda: OutcomesRepository(remote), name="registry", writes=True).remember(
            KEY, OUTCOME
        )
    done = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{repository}:{tag(KEY)}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "application/vnd.ovenproof.outcome.v1+json" in done.stdout
