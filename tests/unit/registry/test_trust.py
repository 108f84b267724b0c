"""Certificates: what is believed, and what is said where nothing is."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ovenproof.core.digest import Content
from ovenproof.errors import BadFile, NoAccess
from ovenproof.registry.client import Registries
from ovenproof.registry.reference import Repository
from ovenproof.registry.trust import folders, machine_trust

CONTENT = Content.of(b"x")


class _NotThere(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who does not trust us breaks off."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody knows, and its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "ca.crt"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry"
    )
    name = ("-addext", "subjectAltName=IP:127.0.0.1")
    places = ("-keyout", folder / "key", "-out", made)
    subprocess.run(["openssl", *words.split(), *name, *places], check=True, capture_output=True)
    return made


@pytest.fixture
def server(certificate: Path) -> Iterator[str]:
    """Speaks https only, and has no blob."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key"))
    web = _Quiet(("127.0.0.1", 0), _NotThere)
    web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


def has(home: Path, host: str, **environment: str) -> bool:
    with Registries(environment=environment, home=home, waits_s=()) as registries:
        return registries.at(Repository(host, "a")).has(CONTENT)


def test_a_certificate_that_nobody_knows_is_not_believed(server: str, tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match=f"certs.d/{server}/ca.crt"):
        has(tmp_path, server)


@pytest.mark.parametrize("place", [".config/containers/certs.d", ".docker/certs.d"])
def test_the_ca_of_a_host_is_believed(
    server: str, certificate: Path, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / place / server
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate.read_bytes())

    assert not has(tmp_path, server)


def test_certificates_without_a_port_are_for_the_port_of_https_only(
    server: str, certificate: Path, tmp_path: Path
) -> None:
    for host in ("127.0.0.1", "127.0.0.1:443"):
        folder = tmp_path / ".docker" / "certs.d" / host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate.read_bytes())

    with pytest.raises(NoAccess, match="trusted"):
        has(tmp_path, server)


def test_the_file_that_the_environment_names_is_believed(
    server: str, certificate: Path, tmp_path: Path
) -> None:
    """Loopback is spoken to in plain first; https is found by itself."""
    assert not has(tmp_path, server, SSL_CERT_FILE=str(certificate))


def test_a_broken_certificate_is_named_and_only_where_it_is_needed(
    server: str, certificate: Path, tmp_path: Path
) -> None:
    for host, text in ((server, certificate.read_text()), ("other.example", "rot")):
        folder = tmp_path / ".docker" / "certs.d" / host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_text(text)

    assert not has(tmp_path, server)
    with pytest.raises(BadFile, match=r"certs.d/other\.example"):
        has(tmp_path, "other.example")


def test_a_client_certificate_without_its_key_is_named(server: str, tmp_path: Path) -> None:
    folder = tmp_path / ".docker" / "certs.d" / server
    folder.mkdir(parents=True)
    (folder / "me.cert").write_text("x")

    with pytest.raises(BadFile, match=r"certs\.d"):
        has(tmp_path, server)


def test_a_file_of_the_environment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"nothing\.pem"):
        machine_trust({"SSL_CERT_FILE": str(tmp_path / "nothing.pem")})


def test_a_place_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.example").mkdir()
    assert folders((tmp_path, tmp_path / "none")) == {}
