"""Ways to send one HTTP request to a server in a container: through a port, or from inside."""

import base64
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    content_type: str
    body: bytes


Send: TypeAlias = Callable[[str, str, bytes | None], Answer]
"""(method, path, JSON body) -> answer. Raises OSError or HTTPException where none came."""
Execute: TypeAlias = Callable[[list[str]], tuple[int | None, bytes]]
"""Runs a program in a container: (exit code, what it printed)."""


def through_port(*addresses: tuple[str, int], timeout_s: float = 120) -> Send:
    """Over the network, a new connection each time, to the first address where one is accepted.

    No proxy is asked.
    """

    def connect() -> http.client.HTTPConnection:
        for host, port in addresses[:-1]:
            connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
            try:
                connection.connect()
            except OSError:
                continue
            return connection
        return http.client.HTTPConnection(*addresses[-1], timeout=timeout_s)

    def send(method: str, path: str, body: bytes | None) -> Answer:
        connection = connect()
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content_type = response.headers.get("Content-Type", "")
            return Answer(response.status, content_type, response.read())
        finally:
            connection.close()

    return send


_ASK = """
import base64, http.client, json, sys
port, method, path, body = json.loads(sys.argv[1])
c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
body = None if body is None else base64.b64decode(body)
c.request(method, path, body=body, headers={"Content-Type": "application/json"} if body else {})
r = c.getresponse()
data = base64.b64encode(r.read()).decode()
print(json.dumps({"status": r.status, "type": r.headers.get("Content-Type", ""), "body": data}))
"""


def from_inside(execute: Execute, port: int, *, python: str) -> Send:
    """By the container's own Python: the only way into one that has no network."""

    def send(method: str, path: str, body: bytes | None) -> Answer:
        text = None if body is None else base64.b64encode(body).decode()
        request = json.dumps([port, method, path, text])
        code, output = execute([python, "-IS", "-c", _ASK, request])
        if code != 0:
            raise ConnectionError(output.decode(errors="replace").strip().rpartition("\n")[2])
        return _answer(json.loads(output))

    return send


def _answer(found: Mapping[str, object]) -> Answer:
    body = base64.b64decode(str(found["body"]))
    return Answer(int(str(found["status"])), str(found["type"]), body)
