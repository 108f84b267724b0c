"""A GGUF, turned into what vLLM serves: bfloat16 safetensors, config, tokenizer, chat template.

The bytes are a function of the GGUF and of `VERSION`: not of the machine, the locale or the Python.
What else decides bits is how the `gguf` package undoes a quantization, with numpy. Should a version
of them compute otherwise, the files are not those that are locked, and that is found and refused.
"""

import json
from pathlib import Path

from ovenproof.sources.gguf_file import Gguf, read_gguf
from ovenproof.sources.gguf_model import config, generation_config, read_model
from ovenproof.sources.gguf_tensors import Conversion, bfloat16_pieces, plan_tensors
from ovenproof.sources.gguf_tokenizer import read_tokenizer, tokenizer_config, tokenizer_document
from ovenproof.sources.safetensors_file import Bfloat16Tensor, safetensors_head
from ovenproof.store.disk import writing_to

VERSION: int = 1
"""Whatever changes one byte of what is written is another version."""


def convert(gguf: Path, out: Path) -> None:
    """Write the model into `out`, an empty folder.

    Everything that can be refused is refused before the first byte is written. Not atomic: on an
    error the folder holds a part. Memory stays at some dozens of MB, whatever the model's size.
    """
    if any(out.iterdir()):
        raise ValueError(f"not an empty folder: {out}")
    source = read_gguf(gguf)
    model = read_model(source)
    tokenizer = read_tokenizer(source, model.vocabulary)
    conversions = plan_tensors(source, model)
    documents = {
        "config.json": _readable(config(model, tokenizer)),
        "generation_config.json": _readable(generation_config(tokenizer)),
        "tokenizer.json": _compact(tokenizer_document(tokenizer)),
        "tokenizer_config.json": _readable(tokenizer_config(tokenizer, model.context)),
    }
    if tokenizer.chat_template is not None:
        documents["chat_template.jinja"] = tokenizer.chat_template.encode()
    size = sum(_target(conversion).size for conversion in conversions)
    with writing_to(out, hint=f"free {size} bytes for the imported weights"):
        for name, data in documents.items():
            (out / name).write_bytes(data)
        _write_weights(source, conversions, out / "model.safetensors")


def _write_weights(source: Gguf, conversions: tuple[Conversion, ...], path: Path) -> None:
    with source.path.open("rb") as stream, path.open("wb") as weights:
        weights.write(safetensors_head(_target(conversion) for conversion in conversions))
        for conversion in conversions:
            for piece in bfloat16_pieces(stream, conversion):
                weights.write(piece)


def _target(conversion: Conversion) -> Bfloat16Tensor:
    return Bfloat16Tensor(conversion.name, conversion.stored.shape)


def _readable(document: dict[str, object]) -> bytes:
    """JSON for people too. Its few floats are safe: they are written as Python's fixed `repr`."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _compact(document: dict[str, object]) -> bytes:
    """JSON of a vocabulary, in the order of its ids: sorted, it would be no easier to read."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
