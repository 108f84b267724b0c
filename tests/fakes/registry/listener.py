"""Speaks HTTP/1.1 on a free port of loopback, and knows nothing of registries."""

import socket
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.registry.messages import Answer, Asked, Body, Dropped, Request


class Listener(ThreadingHTTPServer):
    """Hands each request to `answer`, and remembers it before the answer is sent."""

    request_queue_size = 128
    daemon_threads = False  # `stop` waits for them: no thread of one test lives on in the next

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.faults: list[Exception] = []
        """What went wrong in the fake itself, or in a test's own hook."""
        self._connections: set[socket.socket] = set()
        self._guard = Lock()
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        self.shutdown()
        self._thread.join()
        with self._guard:
            for connection in self._connections:
                with suppress(OSError):  # its other end has gone
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def remember(self, request: Request) -> None:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            received=request.body.received,
        )
        with self._guard:
            self.asked.append(asked)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news here."""


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20  # whoever waits for ever makes a test fail, not hang

    def _handle(self) -> None:
        request = self._request()
        try:
            answer = self.server.answer(request)
            request.body.drain()
        except Dropped:
            self.close_connection = True
            self.server.remember(request)
            return
        except Exception as fault:  # raised again where the test can see it
            self.server.faults.append(fault)
            answer = Answer(500, {"Connection": "close"}, repr(fault).encode())
        self.server.remember(request)
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

    def _request(self) -> Request:
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(
            method=self.command,
            path=address.path,
            query={name: " ".join(values) for name, values in query.items()},
            headers=headers,
            body=Body(self.rfile, headers),
        )

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        sized = {} if answer.status == 204 else {"Content-Length": str(len(answer.body))}
        for name, value in {**sized, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut_after])
        if answer.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
