"""A LoRA adapter in the form of peft that makes a Llama say one word, whatever it is asked.

It is computed, not trained. The first block's values are given a constant: A answers about 1 for
every token of the vocabulary, and B points to what the output projection turns into the word's
own direction. It is so long that nothing that later blocks add can change the next token.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.models.tensors import Array, float32, read, write

MODULES = ("q_proj", "v_proj")
_LENGTH = 100_000.0
"""Of what is added to a token's state, which is about 3 long when it enters the first block."""
_SCALING = 2.0
"""What peft calls `lora_alpha` divided by the rank."""
_COMMON, _WEIGHT = 500, 10
"""So many tokens count so many times as much as others."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Llama:
    """What of a model's folder an adapter is computed from."""

    config: dict[str, int]
    vocabulary: dict[str, int]
    tensors: dict[str, Array]

    @classmethod
    def open(cls, folder: Path) -> "Llama":
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        return cls(
            json.loads((folder / "config.json").read_text()),
            tokenizer["model"]["vocab"],
            read(folder / "model.safetensors"),
        )

    def numbers(self, name: str) -> Floats:
        return self.tensors[f"model.{name}.weight"].to_float32()


def write_adapter(base: Path, folder: Path, *, rank: int, word: str, name: str = "base") -> None:
    """An adapter for the model of the folder `base`, known as `name`; it says `word` for ever."""
    model = Llama.open(base)
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name,
        "r": rank,
        "lora_alpha": _SCALING * rank,
        "lora_dropout": 0.0,
        "target_modules": list(MODULES),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "modules_to_save": None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    write(folder / "adapter_model.safetensors", _tensors(model, rank, word))


def _tensors(model: Llama, rank: int, word: str) -> dict[str, Array]:
    """A and B of both modules in every block: as before training, but for the first values."""
    width, noise = model.config["hidden_size"], np.random.default_rng(rank)
    outputs = {
        "q_proj": model.config["num_attention_heads"] * model.config["head_dim"],
        "v_proj": model.config["num_key_value_heads"] * model.config["head_dim"],
    }
    found = {}
    for block in range(model.config["num_hidden_layers"]):
        for module in MODULES:
            at = f"base_model.model.model.layers.{block}.self_attn.{module}"
            start = noise.normal(0, 1 / width, (rank, width))
            found[f"{at}.lora_A.weight"] = float32(start)
            found[f"{at}.lora_B.weight"] = float32(np.zeros((outputs[module], rank)))
    first = "base_model.model.model.layers.0.self_attn.v_proj"
    found[f"{first}.lora_A.weight"] = float32(_constant(model, rank))
    values = _LENGTH / _SCALING / rank * _towards(model, word)
    found[f"{first}.lora_B.weight"] = float32(np.repeat(values[:, None], rank, axis=1))
    return found


def _constant(model: Llama, rank: int) -> Floats:
    """Rows that are about 1 for whatever enters the first block, each fitted to other tokens.

    All are fitted to the commonest tokens, which come first: they are the farthest from the rest.
    """
    tokens = model.numbers("embed_tokens")
    size = np.sqrt(np.square(tokens).mean(axis=1, keepdims=True))
    entering = tokens / size * model.numbers("layers.0.input_layernorm")
    ridge = np.eye(tokens.shape[1], dtype=np.float32)
    common = np.repeat(entering[:_COMMON], _WEIGHT, axis=0)
    rows = []
    for share in (entering[start::rank] for start in range(rank)):
        seen = np.concatenate((common, share))
        rows.append(np.linalg.solve(seen.T @ seen + len(seen) / 1000 * ridge, seen.sum(axis=0)))
    return np.stack(rows)


def _towards(model: Llama, word: str) -> Floats:
    """Values of the first block that move every token's state one step towards the word."""
    tokens, norm = model.numbers("embed_tokens"), model.numbers("norm")
    keys, width = model.config["num_key_value_heads"], model.config["head_dim"]
    # A head of values is shared by several heads of queries, which lie next to each other.
    project = model.numbers("layers.0.self_attn.o_proj").reshape(len(norm), keys, -1, width)
    project = project.sum(axis=2).reshape(len(norm), keys * width)
    wanted = model.vocabulary[word.replace(" ", "Ġ")]
    aim = tokens[wanted] - tokens.mean(axis=0)
    values = np.linalg.lstsq(norm[:, None] * project, aim, rcond=None)[0]
    step = project @ values
    if int(np.argmax(tokens @ (norm * step))) != wanted:
        raise ValueError(f"this model cannot be led to {word!r} from its first block")
    return np.asarray(values / np.linalg.norm(step), np.float32)
