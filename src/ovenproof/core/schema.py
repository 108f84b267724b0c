"""What the fields of models.yaml are, written for editors (JSON Schema) and for people (Markdown).

Both come from `fields`, and a test says that the files in docs/ are what these functions return.
"""

import json
from typing import Any

from ovenproof.core import fields
from ovenproof.core.quantization import METHODS

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

EXAMPLE = """\
repository: ghcr.io/acme/models

defaults:
  flavour: cuda
  args:
    max-num-seqs: 64

models:
  llama-3.1-8b:
    license: LicenseRef-llama3.1
    max_model_len: 8192
    served_name: [llama-3.1-8b, llama]
    variants:
      bf16:
        model: meta-llama/Llama-3.1-8B-Instruct
        dtype: bfloat16
      awq:
        model: hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4
        quantization: awq
        dtype: float16
        args:
          enforce-eager: true
"""
"""The worked example of the reference: two images, `llama-3.1-8b-bf16` and `llama-3.1-8b-awq`."""

_HEAD = """\
# models.yaml

`models.yaml` says what is baked: one image per entry, named `<repository>:<entry>`. Every field
may be left out unless it is said otherwise. This page and `models.schema.json` beside it are made
from the code; an editor with a YAML language server uses the schema where the file begins with

```yaml
# yaml-language-server: $schema=docs/models.schema.json
```

## A worked example

```yaml
"""
_AFTER_EXAMPLE = """\
```

This makes two images. `ghcr.io/acme/models:llama-3.1-8b-awq` holds the AWQ weights; vLLM in it is
started with

```
"""
_READING = """\
```

## How the file is read

**Sections lie over each other.** What an entry does not say comes from `defaults`, and what a
variant does not say comes from its entry. `args` and `env` are merged key by key; every other field
is replaced as a whole. `null` takes back what a section above has set. An entry with `variants` is
no image itself.

**One place for the weights.** `model` (with its `revision`) and `weights` are one choice. A section
that gives one of them replaces the other, and a section that gives a new `model` does not keep the
`revision`, `include` and `exclude` of the old one. `adapters` stay until a section gives others or
takes them back with `null`: the AWQ variant of a model takes the same ones.

**YAML 1.2, strictly.** Only `true` and `false` are booleans; `yes`, `no`, `on` and `off` are words,
and where a boolean is wanted they are refused. A number keeps the text that it was written with:
`revision: 1.10` is the text 1.10, and a commit that looks like a number stays a commit. Whole
numbers are plain decimal digits (`0777`, `0x1F` and `1_000` are refused). A key that stands twice,
a merge key (`<<`), a tag (`!!str`) and a second document are refused; anchors and aliases work, up
to 20000 values in a file.

**All faults at once.** Each says file, line and column and shows the line:

```
error: unknown field: `prot` (models.yaml:4:5)
    4 |     prot: 9999
      |     ^^^^
hint: did you mean `port`?
```

**Nothing secret.** What is in the file is in the image, for everyone who can pull it. Variables
and options that carry keys or tokens are refused; give them to `docker run -e`.

**Options with a field of their own** (`port`, `dtype`, `max-model-len`, ...) are refused under
`args`. `args: {quantization: fp8}` without the field `quantization` is allowed: it asks vLLM to
quantize a plain checkpoint while it is loaded.
"""
_ADAPTERS = """\
vLLM is started with `--enable-lora` and `--lora-modules`, which are therefore refused under `args`,
and with `--max-lora-rank` where an adapter needs more than vLLM's own 16; `max-lora-rank`,
`max-loras` and the other options of LoRA may stand there. Each adapter is locked by itself: one
more of them leaves the model's lock and layers as they are.
"""
_QUANTIZATION = """\
## Quantization methods

The field names what the checkpoint is. A `dtype` that the method does not compute in is refused;
`auto` always fits. bfloat16 itself needs a GPU of compute capability 8.0. `gguf` is not among the
methods: `weights: {package: ..., import: gguf}` turns such a file into bf16.

| method | dtypes | compute capability | CPU | note |
|---|---|---|---|---|
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of models.yaml."""
    schema = fields.File.model_json_schema(by_alias=True)
    found: dict[str, Any] = _tidied(schema)
    return {"$schema": _DRAFT, "title": "Ovenproof's models.yaml", **found}


def json_text() -> str:
    """The schema as docs/models.schema.json holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def markdown(arguments: tuple[str, ...]) -> str:
    """The reference. `arguments` are vLLM's for the example's AWQ entry, as the catalogue says."""
    schema = json_schema()
    parts: dict[str, Any] = schema["$defs"]
    shared, own = parts["Settings"]["properties"], parts["Variant"]["properties"]
    only_own = {name: field for name, field in own.items() if name not in shared}
    only_own |= {"variants": parts["Model"]["properties"]["variants"]}
    text = _HEAD + EXAMPLE + _AFTER_EXAMPLE + _wrapped(arguments) + _READING
    text += "\n## The file\n\n" + _table(schema["properties"])
    text += "\n## An entry: what it is\n\nA variant has the same fields, but no `variants`.\n\n"
    text += _table(only_own)
    text += "\n## An entry: how it is served\n\n`defaults` and variants have these fields too.\n\n"
    text += _table(shared)
    text += f"\n### `weights`\n\n{parts['Weights']['description']}\n\n"
    text += _table(parts["Weights"]["properties"])
    text += f"\n### `adapters`\n\n{parts['Adapter']['description']}\n\n"
    text += _table(parts["Adapter"]["properties"]) + "\n" + _ADAPTERS
    text += f"\n### `expect`\n\n{parts['Expect']['description']}\n\n"
    text += _table(parts["Expect"]["properties"])
    return text + "\n" + _QUANTIZATION + "".join(_method_rows())


def _tidied(value: Any) -> Any:
    """Without pydantic's titles; and no name but those that the pattern allows."""
    match value:
        case dict():
            closed = {"additionalProperties": False} if "patternProperties" in value else {}
            return closed | {
                key: _tidied(item)
                for key, item in value.items()
                if not (key == "title" and isinstance(item, str))
            }
        case list():
            return [_tidied(item) for item in value]
        case _:
            return value


def _wrapped(words: tuple[str, ...]) -> str:
    """One option with its values per line."""
    lines: list[str] = []
    for word in words:
        if word.startswith("--"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines) + "\n"


def _table(properties: dict[str, Any]) -> str:
    rows = ["| field | value | default | meaning | example |\n|---|---|---|---|---|\n"]
    for name, field in properties.items():
        default = field.get("default")
        shown = "" if default in (None, "", [], {}) else f"`{json.dumps(default).strip(chr(34))}`"
        meaning = field["description"].replace("|", "\\|")
        example = f"`{_flow(field['examples'][0])}`"
        rows.append(f"| `{name}` | {_kind(field)} | {shown} | {meaning} | {example} |\n")
    return "".join(rows)


def _kind(field: dict[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "anyOf" in field:
        return " or ".join(
            dict.fromkeys(_kind(one) for one in field["anyOf"] if one.get("type") != "null")
        )
    if "$ref" in field or field.get("type") == "object":
        return "mapping"
    if "enum" in field:
        words = field["enum"]
        return ", ".join(f"`{word}`" for word in words) if len(words) < 6 else "a method, see below"
    if field.get("type") == "integer":
        low, high = field["minimum"], field.get("maximum")
        return f"{low} to {high}" if high else f"whole number from {low}"
    kinds = {"string": "text", "boolean": "`true`, `false`", "array": "list", "number": "number"}
    return kinds[field["type"]]


def _flow(value: Any) -> str:
    """A value in YAML's flow style, as one would write it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(item) for item in value) + "]"
        case bool():
            return str(value).lower()
        case str() if value.startswith("*"):
            return f'"{value}"'  # without quotes it would be an alias
        case _:
            return str(value)


def _method_rows() -> list[str]:
    return [
        f"| `{name}` | {', '.join(method.dtypes)} | {method.capability} "
        f"| {'yes' if method.cpu else ''} | {method.note} |\n"
        for name, method in METHODS.items()
    ]
