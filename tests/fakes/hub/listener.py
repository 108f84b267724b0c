"""Speaks HTTP/1.1 on a port of loopback, and knows nothing of hubs."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.hub.messages import Answer, Asked, Dropped, Request


class Listener:
    """Hands each request to `answer`. It can stop and start again at the same address."""

    def __init__(self, answer: Callable[[Request], Answer], port: int = 0) -> None:
        self.answer = answer
        self.bytes_per_s: Callable[[], int | None] = lambda: None
        self.asked: list[Asked] = []
        self.faults: list[Exception] = []
        """What went wrong in the fake itself, or in a test's own hook."""
        self.guard = Lock()
        self._server: _Server | None = _Server(self, port)
        self.port = self._server.server_port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer. What came to the port since it was taken is answered too."""
        if self._server is None:
            self._server = _Server(self, self.port)
        self._server.thread.start()

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        if self._server is not None:
            self._server.stop()
            self._server = None


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # `stop` waits for them: no thread of one test lives on in the next

    def __init__(self, listener: Listener, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.listener = listener
        self.thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._connections: set[socket.socket] = set()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.shutdown()
            self.thread.join()
        with self.listener.guard:
            for connection in self._connections:
                with suppress(OSError):  # its other end has gone
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.listener.guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.listener.guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20  # whoever waits for ever makes a test fail, not hang

    def _handle(self) -> None:
        listener, request = self.server.listener, self._request()
        try:
            answer = listener.answer(request)
        except Dropped:
            self.close_connection = True
            self._remember(request, 0)
            return
        except Exception as fault:  # raised again where the test can see it
            listener.faults.append(fault)
            told = repr(fault).encode()
            answer = Answer(500, {"Connection": "close"}, (told,), len(told))
        self._send(answer, self._remember(request, answer.status))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _request(self) -> Request:
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(
            method=self.command,
            path=address.path,
            query={name: " ".join(values) for name, values in query.items()},
            headers=headers,
            body=self.rfile.read(int(headers.get("content-length", 0))),
        )

    def _remember(self, request: Request, status: int) -> Asked:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=request.body,
            status=status,
        )
        with self.server.listener.guard:
            self.server.listener.asked.append(asked)
        return asked

    def _send(self, answer: Answer, asked: Asked) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(answer.size), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.cut_after is not None:
            self.close_connection = True
        if self.command == "HEAD":
            return
        left = answer.size if answer.cut_after is None else answer.cut_after
        for piece in answer.body:
            if left <= 0:
                break
            self._write(piece[:left])
            left -= len(piece)
            asked.sent += len(piece) + min(left, 0)

    def _write(self, data: bytes) -> None:
        speed = self.server.listener.bytes_per_s()
        if speed is None:
            self.wfile.write(data)
            return
        step = max(speed // 50, 1)
        for at in range(0, len(data), step):
            self.wfile.write(data[at : at + step])
            time.sleep(step / speed)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
