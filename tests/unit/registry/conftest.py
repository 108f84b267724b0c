"""A service that gives tokens, as registries name them; it remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    login: str | None
    fields: dict[str, list[str]]
    """Of the query, or of the form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said next, in place of a token."""

    code: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


class TokenServer:
    """Gives `token-1`, `token-2` … to whoever asks, unless there are other answers to give."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        """Given first, one for each request."""
        self.posts = True
        """Does it know OAuth2's POST?"""
        self.lasts_s: object = 300
        self.before: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._given = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.answer(self, urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                service.answer(self, self.rfile.read(length).decode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.realm = f"http://{self.host}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, fields: str) -> None:
        with self._lock:
            self.asked.append(
                Asked(
                    method=request.command,
                    path=urlsplit(request.path).path,
                    login=request.headers.get("Authorization"),
                    fields=parse_qs(fields),
                )
            )
            answer = self.answers.pop(0) if self.answers else self._next(request.command)
        self.before()
        request.send_response(answer.code)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer.body)))
        request.end_headers()
        request.wfile.write(answer.body)

    def _next(self, method: str) -> Answer:
        if method == "POST" and not self.posts:
            return Answer(code=404, body=b"page not found")
        self._given += 1
        body = {"token": f"token-{self._given}", "expires_in": self.lasts_s}
        return Answer(body=json.dumps(body).encode())


NewTokenServer: TypeAlias = Callable[[], TokenServer]


@pytest.fixture
def new_token_server() -> Iterator[NewTokenServer]:
    with ExitStack() as stack:

        def start() -> TokenServer:
            server = TokenServer()
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def token_server(new_token_server: NewTokenServer) -> TokenServer:
    return new_token_server()


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=5.0, follow_redirects=True) as client:
        yield client
