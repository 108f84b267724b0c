"""Small checkpoints that no server needs to load: of any size, in two formats, broken or evil.

The same arguments give the same bytes everywhere, so a test may compare digests.
"""

import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from tests.models.tensors import head

INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
_CONFIG: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "max_position_embeddings": 8192,
}
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


def shard(number: int, of: int) -> str:
    """The name of a shard, counted from 1."""
    return f"model-{number:05}-of-{of:05}.safetensors"


def write_sharded(
    folder: Path, *, shards: int, shard_bytes: int, tensors: int = 1, sparse: bool = False,
    seed: int = 0,
) -> None:  # fmt: skip
    """A model with an index, and in each shard so many equal tensors of so many bytes together.

    They are noise, different in every shard and for every seed; or zeros that take no room.
    """
    _write_texts(folder)
    names = [shard(number, shards) for number in range(1, shards + 1)]
    places: dict[str, str] = {}
    for number, name in enumerate(names):
        held = [f"model.layers.{number}.{each}.weight" for each in range(tensors)]
        write_noise(folder / name, held, shard_bytes // tensors, None if sparse else (seed, number))
        places |= dict.fromkeys(held, name)
    _write_index(folder, places, shards * (shard_bytes // tensors) * tensors)


def write_noise(
    path: Path, tensors: Sequence[str], size: int, seed: tuple[int, ...] | None
) -> None:
    """A safetensors file of bfloat16 tensors of that many bytes each. Sparse without a seed."""
    if size % 2:
        raise ValueError(f"{size} bytes are not whole numbers of two bytes")
    first = head(dict.fromkeys(tensors, ("BF16", (size // 2,))))
    left = len(tensors) * size
    with path.open("wb") as stream:
        stream.write(first)
        if seed is None:
            stream.truncate(len(first) + left)
            return
        noise = np.random.default_rng(seed)
        for start in range(0, left, _BLOCK):
            stream.write(noise.bytes(min(_BLOCK, left - start)))


def write_both_formats(folder: Path, *, size: int = 1000) -> None:
    """The same model in Hugging Face's format and, beside it, in Mistral's."""
    write_sharded(folder, shards=2, shard_bytes=size)
    write_noise(folder / "consolidated.safetensors", ["output.weight"], 2 * size, (1,))
    _write_json(folder / "params.json", {"dim": 8, "n_layers": 2, "vocab_size": 100})
    _write_json(folder / "tekken.json", {"vocab": []})


def write_incomplete(folder: Path, *, shards: int = 3, size: int = 1000) -> str:
    """A model whose index names a shard that nobody has: gives its name."""
    write_sharded(folder, shards=shards, shard_bytes=size)
    missing = shard(shards, shards)
    (folder / missing).unlink()
    return missing


def write_pickled(folder: Path, *, calls: str | None = None) -> None:
    """A model as torch.save writes it. With `calls` it runs that command when it is loaded."""
    _write_texts(folder)
    numbers = np.random.default_rng(0).random(12, np.float32)
    write_torch(folder / PICKLE, {"lm_head.weight": (3, 4)}, numbers.tobytes(), calls=calls)


def write_torch(
    path: Path, shapes: Mapping[str, tuple[int, ...]], data: bytes, *, calls: str | None = None
) -> None:
    """A zip of a pickle and of the float32 numbers that all its tensors share, one after another.

    By hand, because torch is not here, and because no honest writer would put `calls` into it.
    """
    root = path.stem
    members = {
        "data.pkl": _state(shapes, len(data) // 4, calls),
        "byteorder": b"little",
        "data/0": data,
        "version": b"3\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}", _EPOCH), content)


def write_remote_code(folder: Path, *, repository: str | None = None) -> None:
    """A model with classes of its own; with `repository` they are in that one, and not here."""
    write_sharded(folder, shards=1, shard_bytes=1000)
    classes = {"AutoConfig": "configuration_oven", "AutoModelForCausalLM": "modeling_oven"}
    prefix = f"{repository}--" if repository else ""
    config = {
        **_CONFIG,
        "architectures": ["OvenForCausalLM"],
        "model_type": "oven",
        "auto_map": {kind: f"{prefix}{module}.Oven{kind[4:]}" for kind, module in classes.items()},
    }
    _write_json(folder / "config.json", config)
    for kind, module in classes.items() if not repository else ():
        (folder / f"{module}.py").write_text(f"class Oven{kind[4:]}:\n    pass\n")


def _write_texts(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _CONFIG)
    _write_json(folder / "tokenizer.json", {})


def _write_index(folder: Path, places: Mapping[str, str], total: int) -> None:
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2))


# The operations of pickle's protocol 2 that torch's files consist of.


def _state(shapes: Mapping[str, tuple[int, ...]], numbers: int, calls: str | None) -> bytes:
    """The pickle of a dictionary of tensors that lie one after another in storage 0."""
    items, start = b"", 0
    for name, shape in shapes.items():
        items += _text(name) + _tensor(shape, numbers, start)
        start += prod(shape)
    if calls is not None:
        items += _text("extra") + _call("os", "system", _text(calls))
    return b"\x80\x02}(" + items + b"u."


def _tensor(shape: tuple[int, ...], numbers: int, start: int) -> bytes:
    storage = _tuple(
        _text("storage"), _global("torch", "FloatStorage"), _text("0"), _text("cpu"), _int(numbers)
    )
    strides = [prod(shape[after:]) for after in range(1, len(shape) + 1)]
    return _call(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage + b"Q",  # what is found under a name outside of the pickle
        _int(start),
        _tuple(*map(_int, shape)),
        _tuple(*map(_int, strides)),
        b"\x89",  # False: no gradient
        _call("collections", "OrderedDict"),
    )


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    return _global(module, name) + _tuple(*arguments) + b"R"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)
