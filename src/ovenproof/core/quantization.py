"""What vLLM can do with a checkpoint: data types and the oldest GPU, by method of quantization.

Some architectures refuse a data type too, quantized or not.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

DTYPES = ("auto", "bfloat16", "float16", "float32")
"""What an entry may say. vLLM's other names for them are `OTHER_DTYPES`."""
OTHER_DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "half": "float16",
        "fp16": "float16",
        "float": "float32",
        "fp32": "float32",
        "bf16": "bfloat16",
    }
)

_NO_HALF = re.compile(r"(Gemma2|Gemma3(Text)?|Glm4|Plamo2)(For[A-Z]\w*|Model)")
"""Architectures whose numbers leave the range of float16. Gemma 3n and GLM-4 MoE are others."""
_HALVES = ("float16", "bfloat16")
_ALL = ("float32", "float16", "bfloat16")
_SCHEMES = "up to 9.0, depending on the scheme; on a CPU int8 W8A8 only"
_PLUGIN = "the image needs `vllm-bnb-plugin`; `--load-format bitsandbytes` is passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to quantize a checkpoint."""

    name: str
    checkpoint: tuple[str, ...]
    """What a checkpoint's `config.json` may call it, in `quantization_config.quant_method`."""
    dtypes: tuple[str, ...]
    capability: str
    """The lowest compute capability of a GPU."""
    cpu: bool = False
    note: str = ""


_AWQ = ("awq",)
_GPTQ = ("gptq",)
_MODELOPT = ("modelopt", "modelopt_fp4", "modelopt_mxfp8")
_ROWS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, bool, str], ...] = (
    ("awq", _AWQ, _HALVES, "7.5", True, ""),
    ("auto_awq", _AWQ, _HALVES, "7.5", True, ""),
    ("awq_marlin", _AWQ, _HALVES, "7.5", False, ""),
    ("gptq", _GPTQ, _HALVES, "6.0", True, "on x86 CPUs"),
    ("auto_gptq", _GPTQ, _HALVES, "6.0", True, "on x86 CPUs"),
    ("gptq_marlin", _GPTQ, _HALVES, "6.0", False, ""),
    ("compressed-tensors", ("compressed-tensors",), _ALL, "7.0", True, _SCHEMES),
    ("fp8", ("fp8",), _HALVES, "7.5", False, "native from 8.9"),
    ("mxfp4", ("mxfp4",), ("bfloat16",), "8.0", False, ""),
    ("gpt_oss_mxfp4", ("mxfp4", "gpt_oss_mxfp4"), ("bfloat16",), "8.0", False, ""),
    ("modelopt", _MODELOPT[:1], _HALVES, "8.0", False, ""),
    ("modelopt_fp4", _MODELOPT, _HALVES, "7.5", False, ""),
    ("modelopt_mxfp8", _MODELOPT, ("bfloat16",), "8.0", False, ""),
    ("torchao", ("torchao",), _ALL, "7.5", False, ""),
    ("experts_int8", ("experts_int8",), _HALVES, "8.0", False, ""),
    ("moe_wna16", ("moe_wna16", "awq", "gptq"), _HALVES, "7.0", False, ""),
    ("quark", ("quark",), _HALVES, "7.0", False, ""),
    ("inc", ("inc", "auto-round"), _HALVES, "6.0", False, ""),
    ("bitsandbytes", ("bitsandbytes",), _ALL, "7.0", False, _PLUGIN),
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        name: Method(
            name=name, checkpoint=checkpoint, dtypes=dtypes, capability=least, cpu=cpu, note=note
        )
        for name, checkpoint, dtypes, least, cpu, note in _ROWS
    }
)
"""Every method by name, in the order of the documentation."""


def refuses_dtype(architectures: Iterable[str], dtype: str) -> str | None:
    """The architecture among these that vLLM does not compute in this dtype, if there is one.

    `auto` is never refused: vLLM then takes another type by itself.
    """
    if dtype != "float16":
        return None
    return next((name for name in architectures if _NO_HALF.fullmatch(name)), None)
