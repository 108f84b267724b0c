"""What a single field of models.yaml may hold: types, in pydantic's words.

`scalars` and `options` read and judge the values; here they get a schema for editors.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from ovenproof.core import options, scalars
from ovenproof.core.entry import ADAPTER_NAME, HUB_MODEL
from ovenproof.core.quantization import DTYPES, METHODS, OTHER_DTYPES

NAME = r"[a-z0-9_][a-z0-9_.-]{0,127}"
_REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_./+-]*"
_PINNED = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9][A-Za-z0-9.!+_-]*"
_HOST = r"(([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|localhost)(:[0-9]+)?/|[A-Za-z0-9-]+:[0-9]+/)"
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
_REPOSITORY = f"{_HOST}?{_PATH}"
_TAG, _DIGEST = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "sha256:[0-9a-f]{64}"
_REFERENCE = f"{_HOST}{_PATH}(:{_TAG}(@{_DIGEST})?|@{_DIGEST})"
_LEAST_FILE = 10**6
_WORD: dict[str, Any] = {"type": "string"}
ORDERS = ("auto", "weights-first", "base-first")
IMPORTERS = ("gguf",)


def _hub_model(value: object) -> str:
    expected = "a model of the hub, such as org/name"
    found = scalars.text(value, expected=expected)
    for start in ("https://huggingface.co/", "https://hf.co/"):
        if found.startswith(start):
            raise scalars.wrong(expected, f"write `{found.removeprefix(start).rstrip('/')}`")
    return scalars.matching(HUB_MODEL, expected, most=200)(found)


def _quantization(value: object) -> str:
    if value == "gguf":
        hint = "vLLM reads it no longer; `weights: {package: ..., import: gguf}` turns it into bf16"
        raise scalars.wrong("a method that vLLM reads", hint)
    return _read_method(value)


def _one_or_several(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _reference(value: object) -> str:
    expected = "an image or artifact of a registry: HOST/NAME:TAG or HOST/NAME@sha256:..."
    found = scalars.text(value, expected=expected)
    for start in ("https://", "http://", "oci://", "docker://"):
        if found.startswith(start):
            raise scalars.wrong(expected, f"remove `{start}`")
    return scalars.matching(_REFERENCE, expected, most=500)(found)


def _text_like(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


_read_name = scalars.matching(
    NAME, "a valid image tag: lower-case letters, digits and `_.-`, at most 128", most=128
)
_read_revision = scalars.matching(_REVISION, "a branch, a tag or a commit")
_read_package = scalars.matching(_PINNED, "a package with its exact version: name==1.2.3")
_read_repository = scalars.matching(_REPOSITORY, "an image repository without a tag")
_read_flavour = scalars.matching("[a-z0-9][a-z0-9_-]*", "the name of a folder of images/", most=64)
_read_method = scalars.one_of(METHODS)
_read_adapter = scalars.matching(ADAPTER_NAME, "a name of letters, digits and `._-`", most=64)
_read_served = scalars.matching(r"[^\s-]\S*", "a name without blanks")

Name: TypeAlias = Annotated[str, PlainValidator(_read_name), _text_like(NAME)]
Text: TypeAlias = Annotated[str, BeforeValidator(scalars.text)]
Filled: TypeAlias = Annotated[str, Field(min_length=1), BeforeValidator(scalars.filled)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(scalars.flag)]
Port: TypeAlias = Annotated[
    int, Field(ge=1024, le=65535), BeforeValidator(scalars.whole(1024, 65535))
]
Count: TypeAlias = Annotated[int, Field(ge=1), BeforeValidator(scalars.whole(1))]
Fraction: TypeAlias = Annotated[
    str,
    PlainValidator(scalars.fraction),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]
Dtype: TypeAlias = Annotated[
    str,
    PlainValidator(scalars.one_of(DTYPES, OTHER_DTYPES)),
    WithJsonSchema({"type": "string", "enum": list(DTYPES)}),
]
Method: TypeAlias = Annotated[
    str,
    PlainValidator(_quantization),
    WithJsonSchema({"type": "string", "enum": list(METHODS)}),
]
_Served: TypeAlias = Annotated[str, PlainValidator(_read_served)]
ServedNames: TypeAlias = Annotated[
    tuple[_Served, ...],
    BeforeValidator(_one_or_several),
    AfterValidator(scalars.unique("name")),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Globs: TypeAlias = Annotated[
    tuple[Annotated[str, PlainValidator(scalars.glob), WithJsonSchema(_WORD)], ...],
    Field(json_schema_extra={"minItems": 1}),
    AfterValidator(scalars.unique("pattern")),
]
Size: TypeAlias = Annotated[
    int,
    PlainValidator(scalars.size(_LEAST_FILE)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": _LEAST_FILE},
                {"type": "string", "pattern": "^[1-9][0-9]*([MGT]i?B)?$"},
            ]
        }
    ),
]
HubName: TypeAlias = Annotated[str, PlainValidator(_hub_model), _text_like(HUB_MODEL)]
Revision: TypeAlias = Annotated[str, PlainValidator(_read_revision), WithJsonSchema(_WORD)]
AdapterName: TypeAlias = Annotated[str, PlainValidator(_read_adapter), _text_like(ADAPTER_NAME)]
Pinned: TypeAlias = Annotated[str, PlainValidator(_read_package), _text_like(_PINNED)]
Importer: TypeAlias = Annotated[
    str,
    PlainValidator(scalars.one_of(IMPORTERS)),
    WithJsonSchema({"type": "string", "enum": list(IMPORTERS)}),
]
Reference: TypeAlias = Annotated[str, PlainValidator(_reference), _text_like(_REFERENCE)]
Repository: TypeAlias = Annotated[str, PlainValidator(_read_repository), _text_like(_REPOSITORY)]
Flavour: TypeAlias = Annotated[str, BeforeValidator(_read_flavour)]
ModelPath: TypeAlias = Annotated[
    str, PlainValidator(scalars.model_path), _text_like(r"(/[A-Za-z0-9_.+-]+)+")
]
Order: TypeAlias = Annotated[
    str,
    PlainValidator(scalars.one_of(ORDERS)),
    WithJsonSchema({"type": "string", "enum": list(ORDERS)}),
]
Args: TypeAlias = dict[
    Annotated[str, PlainValidator(options.option_name)],
    Annotated[Any, PlainValidator(options.option_value)],
]
Env: TypeAlias = dict[
    Annotated[str, PlainValidator(options.env_name)],
    Annotated[
        str | None,
        PlainValidator(options.env_value),
        WithJsonSchema({"type": ["string", "number", "null"]}),
    ],
]
