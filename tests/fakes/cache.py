"""A Bazel HTTP cache in memory, on a free port of loopback. It can be spoilt in many ways."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

PAGE = b"<html><body>Please log in</body></html>"


@dataclass
class FakeCache:
    """Behaviours are plain attributes; what was asked is remembered."""

    values: dict[str, bytes] = field(default_factory=dict)
    """Path -> bytes."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(method, path), in order."""
    logins: list[str | None] = field(default_factory=list)
    status: int | None = None
    """Given instead of any answer to a GET."""
    page: bytes | None = None
    """Given, with 200, instead of any answer to a GET."""
    put_status: int = 201
    cut: bool = False
    """The connection ends before an answer does."""
    location: str = ""

    def __enter__(self) -> Self:
        cache = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cache.asked.append(("GET", self.path))
                cache.logins.append(self.headers.get("Authorization"))
                found = cache.values.get(self.path)
                status, body = (404, b"") if found is None else (200, found)
                if cache.page is not None:
                    status, body = 200, cache.page
                self.answer(cache.status or status, body)

            def do_PUT(self) -> None:
                cache.asked.append(("PUT", self.path))
                cache.logins.append(self.headers.get("Authorization"))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if cache.put_status < 300:
                    cache.values[self.path] = body
                self.answer(cache.put_status, b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) + (5 if cache.cut else 0)))
                if cache.location:
                    self.send_header("Location", cache.location)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/cache"

    @property
    def gets(self) -> int:
        return sum(method == "GET" for method, _path in self.asked)

    @property
    def puts(self) -> int:
        return sum(method == "PUT" for method, _path in self.asked)
