"""The head of the safetensors file that an importer writes: every tensor in bfloat16."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from ovenproof.core.safetensors import Tensor, write


@dataclass(frozen=True, slots=True)
class Bfloat16Tensor:
    """A tensor of two bytes per number."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return 2 * prod(self.shape)


def safetensors_head(tensors: Iterable[Bfloat16Tensor]) -> bytes:
    """What stands before the tensors' bytes, which follow in the same order with nothing between.

    The bytes are those of the `safetensors` library for tensors in the order of their names.
    """
    placed, end = [], 0
    for tensor in tensors:
        start, end = end, end + tensor.size
        placed.append(
            Tensor(name=tensor.name, dtype="BF16", shape=tensor.shape, start=start, stop=end)
        )
    return write(placed, {"format": "pt"})
