"""Finding a Docker engine, against small servers that answer as one, badly, or not at all."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ovenproof.engine import connect, version_of
from ovenproof.errors import BadCall, MissingTool, TryAgain
from ovenproof.smoke import Conditions, Subject
from ovenproof.smoke.container import started


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine without images, which remembers what it was asked."""

    daemon_threads = True

    def __init__(self, place: Path) -> None:
        super().__init__(str(place), Handler)
        self.asked: list[str] = []
        self.version: object = {"Version": "20.10", "ApiVersion": "1.41"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        path = self.path.partition("/v1.41")[2] or self.path
        server.asked.append(path)
        known = {"/_ping": "OK", "/version": server.version}
        body = json.dumps(known.get(path, {"message": "No such image"})).encode()
        self.send_response(200 if path in known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving(place: Path) -> Iterator[Server]:
    with Server(place) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "docker.sock") as server:
        yield server


def host(place: Path) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{place}"}


def test_an_engine_that_answered_once_may_then_take_its_time(
    engine: Server, tmp_path: Path
) -> None:
    client = connect(host(tmp_path / "docker.sock"))
    assert "/_ping" in engine.asked
    assert client.api.timeout is None
    assert version_of(client) == "20.10"
    client.close()


def test_a_host_that_takes_the_call_and_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        address = f"tcp://127.0.0.1:{dead.getsockname()[1]}"
        with pytest.raises(MissingTool, match="timed out") as caught:
            connect({"DOCKER_HOST": address}, patience_s=0.05)
    assert caught.value.subject == address


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "smoke://signals", "tcp://x:y"])
def test_an_address_where_no_engine_is_or_can_be_names_itself(address: str) -> None:
    with pytest.raises(MissingTool, match="no Docker engine answers") as caught:
        connect({"DOCKER_HOST": address})
    assert caught.value.subject == address


def test_an_engine_that_does_not_say_its_version_is_no_crash(
    engine: Server, tmp_path: Path
) -> None:
    client = connect(host(tmp_path / "docker.sock"))
    engine.version = ["20.10"]
    with pytest.raises(TryAgain, match="version"):
        version_of(client)
    engine.shutdown()
    engine.server_close()
    (tmp_path / "docker.sock").unlink()
    client.api.close()
    with pytest.raises(TryAgain, match="version"):
        version_of(client)


def test_a_smoke_test_asks_the_engine_that_it_is_told_of_and_no_other(
    engine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(served_names=("m",), port=8000, interpreter="/usr/bin/python3")
    with serving(tmp_path / "other.sock") as other:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/other.sock")
        with (
            pytest.raises(BadCall, match="no such image"),
            started("kitchen:m", subject, Conditions(), host(tmp_path / "docker.sock")),
        ):
            pass
    assert "/images/kitchen:m/json" in engine.asked
    assert other.asked == []
