"""An entry: one model of the catalogue, after defaults and variants are applied."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from ovenproof.core.digest import Json

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


Source: TypeAlias = HubModel | LocalFolder | PackagedModel


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

    def vllm_arguments(self) -> tuple[str, ...]:
        """What vLLM's server is started with, one order for one entry.

        `--quantization` is not among it: vLLM reads the method from the checkpoint, and the lock
        asserts that it is the one that the entry names.
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
        for _, option in self.options():
            words += option
        return tuple(words)

    def options(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each of `args`, and the words that it becomes on vLLM's command line."""
        return tuple((option, tuple(_option(option, value))) for option, value in self.args)

    def source_fingerprint(self) -> dict[str, Json]:
        """Everything that decides which weights are locked. Another one, and the lock is stale."""
        return {
            "source": _described(self.source),
            "model_path": self.model_path,
            "quantization": self.quantization,
            "trust_remote_code": self.trust_remote_code,
        }


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
        case _:
            assert_never(source)
