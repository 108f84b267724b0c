"""An entry: one model of the catalogue, after defaults and variants are applied."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from ovenproof.core.digest import Json

ADAPTERS = "/adapters"
"""The folder of the image that holds a folder for each adapter."""
HUB_MODEL = r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
ADAPTER_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes as `--max-lora-rank`."""
_LORA_RANK = 16
"""What it takes as the largest rank where nobody says one."""

Order: TypeAlias = Literal["auto", "weights-first", "base-first"]
Importer: TypeAlias = Literal["gguf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """Weights on the Hugging Face hub. Without a revision it is the repository's `main`."""

    model: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFolder:
    """Weights in a folder of this machine; a relative path starts at the catalogue's own folder."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """Weights that a Python package carries, and how they become a model folder."""

    package: str
    version: str
    importer: Importer


@dataclass(frozen=True, slots=True, kw_only=True)
class OciModel:
    """Weights in a registry: an image or an artifact, HOST/NAME:TAG or HOST/NAME@sha256:…"""

    reference: str


Source: TypeAlias = HubModel | LocalFolder | PackagedModel | OciModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter on the hub. Clients call it by its name, as they call the model by its own."""

    name: str
    model: str
    revision: str | None = None

    @property
    def source(self) -> HubModel:
        return HubModel(model=self.model, revision=self.revision)

    @property
    def path(self) -> str:
        """Its folder in the image."""
        return f"{ADAPTERS}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A question of the image test, asked at temperature 0, and what its answer must be."""

    prompt: str
    equals: str | None = None
    contains: str | None = None

    def accepts(self, answer: str) -> bool:
        """Whether an answer will do. White space around it does not count."""
        if self.equals is not None:
            return answer.strip() == self.equals.strip()
        return self.contains is not None and self.contains in answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model and how it is served. `catalogue.parse` makes them; nothing in it is unchecked."""

    name: str
    source: Source
    include: tuple[str, ...] = ()
    """Globs over the paths of a hub model's files: more than the automatic choice."""
    exclude: tuple[str, ...] = ()
    """Globs over the paths that nothing may choose; they go first."""
    allow_pickle: bool = False
    largest_file: int | None = None
    """Larger weights files are cut when they are locked. None: what the registry takes."""
    adapters: tuple[Adapter, ...] = ()
    """In the order of the text: vLLM lists them so."""
    flavour: str = "cuda"
    quantization: str | None = None
    dtype: str = "auto"
    port: int = 8000
    served_names: tuple[str, ...]
    max_model_len: int | None = None
    gpu_memory_utilization: str | None = None
    """The decimal text that was written: no float comes near a digest."""
    tensor_parallel: int = 1
    trust_remote_code: bool = False
    args: tuple[tuple[str, str | bool], ...] = ()
    """More vLLM options, sorted, without the dashes. True is a flag, False its `no-` form."""
    env: tuple[tuple[str, str], ...] = ()
    model_path: str = "/model"
    description: str = ""
    license: str | None = None
    expect: tuple[Expectation, ...] = ()
    order: Order = "auto"

    def vllm_arguments(self, lora_rank: int | None = None) -> tuple[str, ...]:
        """What vLLM's server is started with, one order for one entry.

        `--quantization` is not among it: vLLM reads the method from the checkpoint, and the lock
        asserts that it is the one that the entry names. `lora_rank` is the largest rank of the
        adapters; only their locks know it.
        """
        words = ["--model", self.model_path]
        words += ["--served-model-name", *self.served_names]
        words += ["--host", "0.0.0.0", "--port", str(self.port)]  # noqa: S104
        words += ["--dtype", self.dtype]
        if self.max_model_len is not None:
            words += ["--max-model-len", str(self.max_model_len)]
        if self.gpu_memory_utilization is not None:
            words += ["--gpu-memory-utilization", self.gpu_memory_utilization]
        if self.tensor_parallel > 1:
            words += ["--tensor-parallel-size", str(self.tensor_parallel)]
        if self.trust_remote_code:
            words.append("--trust-remote-code")
        if self.quantization == "bitsandbytes":
            words += ["--load-format", "bitsandbytes"]
        if self.adapters:
            words += self._lora_arguments(lora_rank)
        for _, option in self.options():
            words += option
        return tuple(words)

    def options(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each of `args`, and the words that it becomes on vLLM's command line."""
        return tuple((option, tuple(_option(option, value))) for option, value in self.args)

    def source_fingerprint(self) -> dict[str, Json]:
        """Everything that decides which weights are locked. Another one, and the lock is stale.

        Adapters are not in it: each has a lock and a fingerprint of its own, so that one more of
        them leaves the weights alone. What came to the catalogue later is in it where it is set,
        so that older locks stay as they are.
        """
        found: dict[str, Json] = {
            "source": _described(self.source),
            "model_path": self.model_path,
            "quantization": self.quantization,
            "trust_remote_code": self.trust_remote_code,
        }
        if self.include:
            found["include"] = [*sorted(self.include)]
        if self.exclude:
            found["exclude"] = [*sorted(self.exclude)]
        if self.allow_pickle and not isinstance(self.source, PackagedModel):  # it has no pickles
            found["allow_pickle"] = True
        if self.largest_file is not None and isinstance(self.source, HubModel):  # others stay whole
            found["largest_file"] = self.largest_file
        return found

    def adapter_fingerprint(self, adapter: Adapter) -> dict[str, Json]:
        """Everything that decides which files of an adapter are locked, and where they lie."""
        found: dict[str, Json] = {"source": _described(adapter.source), "path": adapter.path}
        if self.allow_pickle:
            found["allow_pickle"] = True
        return found

    def _lora_arguments(self, rank: int | None) -> list[str]:
        words = ["--enable-lora", "--lora-modules"]
        words += [f"{adapter.name}={adapter.path}" for adapter in self.adapters]
        if rank is not None and rank > _LORA_RANK and "max-lora-rank" not in dict(self.args):
            words += ["--max-lora-rank", str(vllm_rank(rank))]
        return words


def vllm_rank(rank: int) -> int:
    """The smallest rank that vLLM can be told and that is no smaller; the rank itself above all."""
    return next((known for known in LORA_RANKS if known >= rank), rank)


def _option(option: str, value: str | bool) -> list[str]:
    match value:
        case True:
            return [f"--{option}"]
        case False:
            return [f"--no-{option}"]
        case str() if value.startswith("-"):
            return [f"--{option}={value}"]  # apart, argparse would take it for an option
        case str():
            return [f"--{option}", value]


def _described(source: Source) -> dict[str, Json]:
    match source:
        case HubModel(model=model, revision=revision):
            return {"kind": "hub", "model": model, "revision": revision}
        case LocalFolder(path=path):
            return {"kind": "folder", "path": path}
        case PackagedModel(package=package, version=version, importer=importer):
            return {"kind": "package", "package": package, "version": version, "import": importer}
        case OciModel(reference=reference):
            return {"kind": "oci", "reference": reference}
        case _:
            assert_never(source)
