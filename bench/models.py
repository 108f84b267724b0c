"""Models of any size for the benchmarks: valid safetensors, filled with noise or sparse."""

import json
import os
from pathlib import Path


def write_model(folder: Path, *, shards: int, shard_bytes: int, sparse: bool) -> None:
    """A model's folder with an index and that many shards of that size."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 8192})
    )
    (folder / "tokenizer.json").write_text("{}")
    names = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    weight_map = {f"layer.{n}": name for n, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for number, name in enumerate(names):
        _write_shard(folder / name, f"layer.{number}", shard_bytes, sparse)


def _write_shard(path: Path, tensor: str, size: int, sparse: bool) -> None:
    header = json.dumps(
        {tensor: {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    ).encode()
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        if sparse:
            stream.truncate(8 + len(header) + size)
            return
        block = os.urandom(1 << 20)
        for start in range(0, size, len(block)):
            piece = start.to_bytes(8, "little") + block[8:]
            stream.write(piece[: size - start])
