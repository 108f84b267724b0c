"""What goes over the wire: a request, the answer to it, and what is remembered of both."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class Dropped(Exception):
    """The connection ends here, without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    """As it came: percent-encoded, without the query."""
    query: Mapping[str, str]
    """What is given more than once is joined by spaces."""
    headers: Mapping[str, str]
    """Their names are in lower case."""
    body: bytes


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request as it is remembered; it is here before the answer is sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    status: int
    """What it was answered; 0 where the connection was dropped."""
    sent: int = 0
    """Bytes of the answer's body that have gone out so far."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. To HEAD the body is not sent, only its size."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    size: int = 0
    """Bytes that the body has, unless it is cut."""
    cut_after: int | None = None
    """Drop the connection after so many bytes of the body."""


def answer_json(value: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value).encode()
    told = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Answer(200, told, (body,), len(body))


class Refused(Exception):
    """An answer that says no, as the hub says it: a code and a message in headers and body."""

    def __init__(
        self,
        status: int,
        code: str = "",
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        body = json.dumps({"error": message or f"status {status}"}).encode()
        said = {"X-Error-Code": code, "X-Error-Message": message}
        told = {name: value for name, value in said.items() if value}
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self.answer = Answer(status, {**kind, **told, **(headers or {})}, (body,), len(body))
