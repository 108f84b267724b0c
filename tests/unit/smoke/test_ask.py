"""The client against a hand-written server that keeps vLLM's contract, or breaks it on purpose."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from ovenproof.core.entry import Expectation
from ovenproof.smoke.ask import Disagreed, ask, events
from ovenproof.smoke.http import from_inside, through_port
from ovenproof.smoke.report import Subject

ANSWER = "The capital of France is Paris."
SUBJECT = Subject(
    interpreter=sys.executable,
    served_names=("first", "second"),
    adapters=("tiny",),
    port=8000,
    expectations=(
        Expectation(prompt="What is the capital of France?", equals=ANSWER),
        Expectation(prompt="Where is the Louvre?", contains="Paris"),
    ),
)
ALL = (
    "models",
    "chat",
    "chat streamed",
    "chat as second",
    "chat as tiny",
    "wrong model",
    "malformed request",
    "metrics",
    "answer to 'What is the capital of France?'",
    "answer to 'Where is the Louvre?'",
)


class FakeServer(ThreadingHTTPServer):
    """Answers as vLLM does, but for one fault that it was told to have."""

    daemon_threads = True

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault = fault
        self.models = ["first", "second", "tiny"]


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        fault = self.server.fault
        if self.path == "/v1/models":
            names = ["first"] if fault == "one name" else self.server.models
            self.reply(200, {"object": "list", "data": [{"id": name} for name in names]})
        elif self.path == "/metrics":
            metric = "vllm:requests" if fault == "no metric" else "vllm:num_requests_running"
            label = "other" if fault == "other label" else "first"
            text = f'# TYPE {metric} gauge\n{metric}{{engine="0",model_name="{label}"}} 0.0\n'
            self.send(200, "text/plain; version=0.0.4", text.encode())
        else:
            self.reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        fault = self.server.fault
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if fault == "dead":
            return
        try:
            request = json.loads(body)
        except ValueError:
            request = {"messages": None}
        if not isinstance(request["messages"], list):
            code = 500 if fault == "500 for nonsense" else 400
            self.reply(code, {"error": {"message": "Bad Request", "code": code}})
        elif request["model"] not in self.server.models and fault != "200 for wrong model":
            param = "messages" if fault == "wrong param" else "model"
            self.reply(404, {"error": {"type": "NotFoundError", "param": param, "code": 404}})
        elif request.get("stream"):
            self.stream()
        else:
            self.chat(request)

    def chat(self, request: dict[str, Any]) -> None:
        fault = self.server.fault
        answer = "Lyon." if fault == "wrong answer" else "" if fault == "no answer" else ANSWER
        message: dict[str, object] = {"role": "assistant", "content": answer}
        if fault == "content is no text":
            message["content"] = 7
        asked = request["model"]
        itself = asked == "tiny" and fault != "no adapter"
        name = asked if itself or fault == "echoes the name" else "first"
        document: dict[str, Any] = {
            "object": "chat.completion",
            "model": name,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"completion_tokens": 8},
        }
        if fault == "no choices":
            document["choices"] = []
        if fault == "not json":
            self.send(200, "application/json", b"<html>")
        else:
            self.reply(200, document)

    def stream(self) -> None:
        fault = self.server.fault
        words = ("Lyon.",) if fault == "wrong answer" else ANSWER.partition(" of ")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in words]
        if fault == "streams something else":
            deltas[-1] = {"content": "Lyon."}
        choices: list[dict[str, Any]]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        if fault != "no reason":
            choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        kind = "chat.completion" if fault == "wrong kind" else "chat.completion.chunk"
        chunks = [json.dumps({"object": kind, "choices": [choice]}) for choice in choices]
        if fault == "broken chunk":
            chunks[1] = chunks[1][:-3]
        text = ": keep alive\n\n" + "".join(f"data: {chunk}\n\n" for chunk in chunks)
        text += "" if fault == "no done" else "data: [DONE]\n\n"
        text = text[:-1] if fault == "breaks off" else text
        content_type = "text/plain" if fault == "wrong type" else "text/event-stream; charset=utf-8"
        self.send(200, content_type, text.encode())

    def reply(self, status: int, document: object) -> None:
        self.send(status, "application/json", json.dumps(document).encode())

    def send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(fault: str = "") -> Iterator[int]:
    server = FakeServer(fault)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def failed(fault: str) -> dict[str, str]:
    """The checks that fail, with what they say."""
    with serving(fault) as port:
        checks = list(ask(SUBJECT, through_port(("127.0.0.1", port), timeout_s=10)))
    assert tuple(check.name for check in checks) == ALL, "every check is made, whatever fails"
    return {check.name: check.detail for check in checks if not check.passed}


def test_a_server_that_keeps_the_contract_passes_every_check() -> None:
    assert failed("") == {}


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        ("one name", ["models"]),
        ("wrong answer", list(ALL[-2:])),
        ("no answer", ["chat", "chat streamed", "chat as second", "chat as tiny", *ALL[-2:]]),
        (
            "content is no text",
            ["chat", "chat streamed", "chat as second", "chat as tiny", *ALL[-2:]],
        ),
        ("no choices", ["chat", "chat streamed", "chat as second", "chat as tiny", *ALL[-2:]]),
        ("not json", ["chat", "chat streamed", "chat as second", "chat as tiny", *ALL[-2:]]),
        ("echoes the name", ["chat as second"]),
        ("no adapter", ["chat as tiny"]),
        ("streams something else", ["chat streamed"]),
        ("no reason", ["chat streamed"]),
        ("wrong kind", ["chat streamed"]),
        ("broken chunk", ["chat streamed"]),
        ("no done", ["chat streamed"]),
        ("breaks off", ["chat streamed"]),
        ("wrong type", ["chat streamed"]),
        ("200 for wrong model", ["wrong model"]),
        ("wrong param", ["wrong model"]),
        ("500 for nonsense", ["malformed request"]),
        ("no metric", ["metrics"]),
        ("other label", ["metrics"]),
        ("dead", [name for name in ALL if name not in ("models", "metrics")]),
    ],
)
def test_each_misbehaviour_is_caught_by_its_check(fault: str, caught_by: list[str]) -> None:
    found = failed(fault)
    assert list(found) == caught_by
    assert all(found.values()), "a failed check says what it saw"


def test_a_failed_check_says_what_came_instead() -> None:
    assert "'Lyon.'" in failed("wrong answer")[ALL[-1]]
    assert "answers 200, not 404" in failed("200 for wrong model")["wrong model"]
    assert "Connection" in failed("dead")["chat"] or "closed" in failed("dead")["chat"]


def test_a_container_without_a_network_is_asked_from_inside() -> None:
    def execute(words: list[str]) -> tuple[int | None, bytes]:
        done = subprocess.run(words, capture_output=True, check=False)
        return done.returncode, done.stdout + done.stderr

    with serving() as port:
        checks = list(ask(SUBJECT, from_inside(execute, port, python=sys.executable)))
    assert [check for check in checks if not check.passed] == []
    with pytest.raises(ConnectionError, match="refused"):
        from_inside(execute, port, python=sys.executable)("GET", "/health", None)


def test_the_first_address_that_accepts_is_asked() -> None:
    with serving() as gone:
        pass
    with serving() as port:
        send = through_port(("127.0.0.1", gone), ("127.0.0.1", port), timeout_s=10)
        assert send("GET", "/v1/models", None).status == 200
        send = through_port(("127.0.0.1", port), ("127.0.0.1", gone), timeout_s=10)
        assert send("GET", "/v1/models", None).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: 1",
        b"data: 1\n",
        b"event: x\ndata: 1\n\n",
        b"data:1\n\n",
        b"data: 1\n\n\n\n",
        b"data: \xff\n\n",
        b": only a comment\n\n",
    ],
)
def test_events_that_are_not_single_lines_of_data_are_refused(body: bytes) -> None:
    with pytest.raises(Disagreed):
        events(body)


def test_events_are_read_in_order_without_comments() -> None:
    assert events(b"data: 1\n\n: still here\n\ndata: [DONE]\n\n") == ["1", "[DONE]"]
