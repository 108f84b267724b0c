"""Options of vLLM and variables of the image: what may be baked, and as which text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from ovenproof.core.document import Number
from ovenproof.core.page import SECRET_NAME, TOKEN
from ovenproof.core.scalars import YAML_1_1, matching, secret, text, wrong

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
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
        case str() if value in YAML_1_1:
            hint = f"write `{YAML_1_1[value]}`"
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
