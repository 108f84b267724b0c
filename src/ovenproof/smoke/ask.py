"""Asks a server what an image's users will ask, and a few things that it must refuse."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from ovenproof.core.entry import Expectation
from ovenproof.smoke.http import Answer, Send
from ovenproof.smoke.report import Check, Subject

QUESTION = "What is the capital of France?"
TOKENS = 48
Kind = TypeVar("Kind")


class Disagreed(Exception):
    """The server did not do what the contract says; the text says what it did."""


def ask(subject: Subject, send: Send) -> Iterator[Check]:
    """Every check, one after the other; one that fails does not keep the next from being made."""
    model = subject.served_names[0]
    prompt = subject.expectations[0].prompt if subject.expectations else QUESTION
    yield _check("models", partial(models, send, (*subject.served_names, *subject.adapters)))
    yield _check("chat", partial(chat, send, model, prompt))
    yield _check("chat streamed", partial(streamed_as_plain, send, model, prompt))
    for name in subject.served_names[1:]:
        yield _check(f"chat as {name}", partial(chat, send, name, prompt, answers_as=model))
    for name in subject.adapters:
        yield _check(f"chat as {name}", partial(chat, send, name, prompt))
    yield _check("wrong model", partial(wrong_model, send, prompt))
    yield _check("malformed request", partial(malformed, send))
    yield _check("metrics", partial(metrics, send, model))
    for wanted in subject.expectations:
        yield _check(f"answer to {wanted.prompt!r}", partial(meet, send, model, wanted))


def _check(name: str, question: Callable[[], object]) -> Check:
    try:
        question()
    except (Disagreed, OSError, http.client.HTTPException) as fault:
        return Check(name, False, f"{fault}" or type(fault).__name__)
    return Check(name, True)


def models(send: Send, served_names: tuple[str, ...]) -> None:
    """All served names are listed, and nothing else."""
    document = _json(_expect(send("GET", "/v1/models", None), 200))
    listed = _pick(document, list, "data")
    found = [_pick(item, str, "id") for item in listed]
    if sorted(found) != sorted(served_names):
        raise Disagreed(f"lists {found}, not {list(served_names)}")


def chat(send: Send, model: str, prompt: str, *, answers_as: str | None = None) -> str:
    """The text of a plain answer.

    It carries the first served name, whatever it was asked as; an adapter's carries its own.
    """
    document = _json(_expect(_post(send, _request(model, prompt)), 200))
    name, kind = _pick(document, str, "model"), _pick(document, str, "object")
    if (name, kind) != (answers_as or model, "chat.completion"):
        raise Disagreed(f"a {kind} by {name!r}, not a chat.completion by {answers_as or model!r}")
    text = _pick(document, str, "choices", 0, "message", "content")
    reason = _pick(document, str, "choices", 0, "finish_reason")
    if not text or reason not in ("stop", "length"):
        raise Disagreed(f"finished by {reason!r} after {text!r}")
    if _pick(document, int, "usage", "completion_tokens") < 1:
        raise Disagreed("counts no tokens for an answer that has some")
    return text


def streamed_as_plain(send: Send, model: str, prompt: str) -> None:
    """A streamed answer is the plain one, cut in pieces."""
    streamed = stream(send, model, prompt)
    plain = chat(send, model, prompt)
    if streamed != plain:
        raise Disagreed(f"streams {streamed!r}, but says {plain!r} in one piece")


def stream(send: Send, model: str, prompt: str) -> str:
    """The text of a streamed answer, its events read strictly."""
    answer = _expect(_post(send, _request(model, prompt) | {"stream": True}), 200)
    if answer.content_type.partition(";")[0].strip() != "text/event-stream":
        raise Disagreed(f"streams {answer.content_type!r}, not text/event-stream")
    *chunks, last = events(answer.body)
    if last != "[DONE]":
        raise Disagreed(f"the stream ends with {last[:60]!r}, not with [DONE]")
    text, reasons = "", []
    for chunk in chunks:
        document = _load(chunk)
        if _pick(document, str, "object") != "chat.completion.chunk":
            raise Disagreed(f"an event is no chunk: {chunk[:60]!r}")
        for choice in _pick(document, list, "choices"):
            delta = _pick(choice, dict, "delta")
            text += delta.get("content") or ""
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
    if len(reasons) != 1 or reasons[0] not in ("stop", "length"):
        raise Disagreed(f"the stream gives these reasons to finish: {reasons}")
    return text


def events(body: bytes) -> list[str]:
    """The data of each server-sent event; comments are skipped, anything else is refused."""
    text = _decode(body)
    if not text.endswith("\n\n"):
        raise Disagreed(f"the stream breaks off: …{text[-60:]!r}")
    found = []
    for block in text[:-2].split("\n\n"):
        if block.startswith(":") and "\n" not in block:
            continue
        if not block.startswith("data: ") or "\n" in block:
            raise Disagreed(f"not an event of one line of data: {block[:60]!r}")
        found.append(block.removeprefix("data: "))
    if not found:
        raise Disagreed("the stream is empty")
    return found


def wrong_model(send: Send, prompt: str) -> None:
    """A model that is not served is refused, and the refusal says which parameter is wrong."""
    answer = _expect(_post(send, _request("no-such-model", prompt)), 404)
    parameter = _pick(_json(answer), str, "error", "param")
    if parameter != "model":
        raise Disagreed(f"blames the parameter {parameter!r}, not `model`")


def malformed(send: Send) -> None:
    """Broken JSON and a request without messages are the caller's fault."""
    _expect(send("POST", "/v1/chat/completions", b'{"model": '), 400)
    _expect(_post(send, {"messages": "none"}), 400)


def metrics(send: Send, model: str) -> None:
    """Prometheus finds the running requests, labelled with the served name."""
    text = _decode(_expect(send("GET", "/metrics", None), 200).body)
    label = f'model_name="{re.escape(model)}"'
    if not re.search(rf"^vllm:num_requests_running\{{[^}}]*{label}[^}}]*\}} [0-9.]+$", text, re.M):
        raise Disagreed(f"no vllm:num_requests_running with {label}")


def meet(send: Send, model: str, wanted: Expectation) -> None:
    """The model says what it is known to say."""
    text = chat(send, model, wanted.prompt)
    if not wanted.accepts(text):
        how = (
            f"{wanted.equals!r}"
            if wanted.equals is not None
            else f"something with {wanted.contains!r}"
        )
        raise Disagreed(f"says {text!r}, not {how}")


def _request(model: str, prompt: str) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": TOKENS}


def _post(send: Send, document: object) -> Answer:
    return send("POST", "/v1/chat/completions", json.dumps(document).encode())


def _expect(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        said = answer.body[:300].decode(errors="replace")
        raise Disagreed(f"answers {answer.status}, not {status}: {said}")
    return answer


def _json(answer: Answer) -> object:
    return _load(_decode(answer.body))


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise Disagreed(f"not JSON: {text[:60]!r}") from None


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Disagreed(f"not UTF-8: {body[:60]!r}") from None


def _pick(document: object, kind: type[Kind], *path: str | int) -> Kind:
    """What lies at a path of keys and positions, if it is of that kind."""
    found = document
    for step in path:
        try:
            found = found[step]  # type: ignore[index]  # what cannot be indexed raises TypeError
        except (LookupError, TypeError):
            found = None
    if not isinstance(found, kind):
        where = ".".join(map(str, path))
        raise Disagreed(f"`{where}` is {found!r}, not {kind.__name__}: {str(document)[:200]}")
    return found
