"""Readers of single values: what a word or a number of models.yaml may be, and what an error says.

Each is a function from a plain value to the value that is meant; pydantic calls them. They raise
`wrong(...)` or `secret(...)`, which the catalogue turns into an error with a place.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from ovenproof.core.document import Number
from ovenproof.core.page import SECRET_NAME, TOKEN

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"0\.[0-9]+|1(\.0+)?")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_YAML_1_1 = {
    word: value
    for value, words in (("true", "yes on y"), ("false", "no off n"))
    for base in words.split()
    for word in (base, base.capitalize(), base.upper())
}
_SYSTEM = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "run"}
    | {"sbin", "sys", "tmp", "usr", "var"}
)
_UNSAFE_ENV = {
    "VLLM_SERVER_DEV_MODE": "it opens routes that may stop or reprogram the server",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "it lets a client load files of its choice",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "it lets a message run code",
}
FIELD_OF_OPTION: Mapping[str, str] = {
    "model": "model",
    "served-model-name": "served_name",
    "port": "port",
    "dtype": "dtype",
    "max-model-len": "max_model_len",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "tensor-parallel-size": "tensor_parallel",
    "trust-remote-code": "trust_remote_code",
    "revision": "revision",
}
"""vLLM options that an entry gives by a field, and so never in `args`."""


def wrong(expected: str, hint: str | None = None) -> PydanticCustomError:
    """The value does not fit."""
    return PydanticCustomError("wrong", "wrong value", {"expected": expected, "hint": hint})


def secret(what: str, hint: str) -> PydanticCustomError:
    """The value would be baked into the image, where everybody reads it."""
    return PydanticCustomError("secret", "secret", {"what": what, "hint": hint})


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The hint that names the known word nearest to this one."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean `{found[0]}`?" if found else None


def listed(words: Iterable[str]) -> str:
    """`a`, `b`, `c`."""
    return ", ".join(f"`{word}`" for word in words)


def text(value: object, *, expected: str = "a text") -> str:
    """Any text; an unquoted number is the text that was written."""
    if isinstance(value, bool):
        raise wrong(expected, f'quotes make a text of it: "{str(value).lower()}"')
    if not isinstance(value, str):
        raise wrong(expected)
    if found := _CONTROL.search(value):
        raise wrong(f"{expected} without control characters", f"remove U+{ord(found[0]):04X}")
    return str(value)


def filled(value: object) -> str:
    """A text that is not empty."""
    found = text(value)
    if not found.strip():
        raise wrong("a text that is not empty")
    return found


def matching(pattern: str, expected: str, *, most: int = 255) -> Callable[[object], str]:
    """A text of a certain form."""
    form = re.compile(pattern)

    def read(value: object) -> str:
        found = text(value, expected=expected)
        if not form.fullmatch(found) or len(found) > most:
            lower = found.lower()
            helps = found != lower and form.fullmatch(lower) and len(lower) <= most
            raise wrong(expected, f"in lower case it would do: `{lower}`" if helps else None)
        return found

    return read


def whole(low: int, high: int | None = None) -> Callable[[object], int]:
    """A whole number in plain decimal digits."""
    expected = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def read(value: object) -> int:
        if not isinstance(value, Number):
            quoted = isinstance(value, str) and _WHOLE.fullmatch(value)
            raise wrong(expected, f"remove the quotes: {value}" if quoted else None)
        if not _WHOLE.fullmatch(value):
            raise wrong(expected, "plain decimal digits: no leading zero, no 0o or 0x, no dot")
        if len(value) > 18 or not low <= int(value) <= (high if high is not None else int(value)):
            raise wrong(expected)
        return int(value)

    return read


def fraction(value: object) -> str:
    """A number above 0 and at most 1, kept as the decimal text that was written."""
    expected = "a decimal number above 0 and at most 1"
    if not isinstance(value, Number):
        quoted = isinstance(value, str) and _FRACTION.fullmatch(value)
        raise wrong(expected, f"remove the quotes: {value}" if quoted else None)
    if not _FRACTION.fullmatch(value) or not value.strip("0."):
        raise wrong(expected, "for example 0.9")
    return str(value)


def flag(value: object) -> bool:
    """`true` or `false`, and no other word for them."""
    if isinstance(value, bool):
        return value
    meant = _YAML_1_1.get(value) if isinstance(value, str) else None
    raise wrong("`true` or `false`", f"write `{meant}`" if meant else None)


def one_of(
    known: Iterable[str], others: Mapping[str, str] | None = None
) -> Callable[[object], str]:
    """One of some words. `others` are words that people use elsewhere for the same things."""
    words = tuple(known)
    renamed = others or {}

    def read(value: object) -> str:
        expected = f"one of {listed(words)}"
        found = text(value, expected=expected)
        if found in words:
            return found
        if found in renamed:
            raise wrong(expected, f"write `{renamed[found]}`")
        raise wrong(expected, nearest(found, words))

    return read


def model_path(value: object) -> str:
    """An absolute, normal path inside the image, away from the system's own folders."""
    expected = "an absolute path in the image, such as /model"
    found = text(value, expected=expected)
    parts = found.split("/")
    if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
        raise wrong(expected, "no `.`, no `..`, no double slash, no slash at the end")
    if not re.fullmatch(r"[A-Za-z0-9_.+/-]+", found) or len(found) > 200:
        raise wrong(f"{expected}, of letters, digits and `_.+-`")
    if parts[1] in _SYSTEM:
        raise wrong(expected, f"`/{parts[1]}` belongs to the system: take `/model`")
    return found


def option_name(value: object) -> str:
    """The name of a vLLM option, as it is written after the two dashes."""
    expected = "the name of a vLLM option, without dashes in front"
    found = text(value, expected=expected)
    head, dot, rest = found.partition(".")
    name = head.replace("_", "-") + dot + rest
    if name.startswith("-"):
        raise wrong(expected, f"write `{name.lstrip('-')}`")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9_-]+)*", name):
        raise wrong(expected)
    positive = name.removeprefix("no-")
    if field := FIELD_OF_OPTION.get(positive):
        raise wrong("options that have no field of their own", f"use the field `{field}`")
    if name in ("api-key", "hf-token"):
        variable = {"api-key": "VLLM_API_KEY", "hf-token": "HF_TOKEN"}[name]
        raise secret("a key would be baked into the image", f"give {variable} to `docker run -e`")
    if name == "host":
        raise wrong(
            "an option that may vary", "the server always listens on every address of its container"
        )
    if positive != name:
        raise wrong("the option itself", f"write `{positive}: false`")
    return name


def option_value(value: Any) -> str | bool | None:
    """Booleans are flags, a mapping or list is JSON, a number is its text, null takes away."""
    match value:
        case None | bool():
            return value
        case Number() if not _JSON_NUMBER.fullmatch(value):
            raise wrong("a decimal number", f'quotes make a text of it: "{value}"')
        case str() if value in _YAML_1_1:
            hint = f"write `{_YAML_1_1[value]}`"
            raise wrong("`true` or `false`, or another text", hint)
        case str():
            return _no_token(text(value))
        case _:
            return _no_token(_json(value))


def env_name(value: object) -> str:
    """The name of an environment variable that may be baked into an image."""
    name = matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")(value)
    if SECRET_NAME.search(name):
        raise secret("a secret would be baked into the image", f"give it to `docker run -e {name}`")
    if why := _UNSAFE_ENV.get(name):
        raise wrong("variables that are safe in every container", f"{why}: leave it out")
    return name


def env_value(value: object) -> str | None:
    """The text of a variable; null takes away what a default has set."""
    if value is None:
        return None
    return _no_token(text(value))


def _no_token(found: str) -> str:
    if TOKEN.search(found):
        raise secret("a token would be baked into the image", "give it to `docker run -e`")
    return found


def _json(value: Any) -> str:
    """JSON text with sorted keys, in which numbers stand as they were written."""
    match value:
        case dict():
            pairs = (f"{json.dumps(key)}:{_json(value[key])}" for key in sorted(value))
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(_json(item) for item in value) + "]"
        case Number():
            if not _JSON_NUMBER.fullmatch(value):
                raise wrong("JSON numbers", f'quotes make a text of it: "{value}"')
            return str(value)
        case str():
            return json.dumps(text(value), ensure_ascii=False)
        case _:
            return json.dumps(value)
