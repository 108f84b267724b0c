"""Small repositories, as bytes: safetensors files, configs, indexes, pickles."""

import io
import json
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from ovenproof.core import weights
from ovenproof.core.digest import Digest
from ovenproof.core.model_lock import LockedFile, ModelLock
from ovenproof.errors import OvenproofError, Several
from ovenproof.events import Event, Noted
from ovenproof.sources.interface import Resolved
from tests.fakes.hub import Sparse

TOKEN = "hf_canaryCANARYcanary"
BIG = weights.ALONE_FROM
CONFIG = json.dumps(
    {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048, "dtype": "bfloat16"}
).encode()
INDEX = "model.safetensors.index.json"


def head(sizes: Mapping[str, int]) -> bytes:
    """The head of a safetensors file of bytes: how many, by each tensor's name."""
    said, end = {}, 0
    for name, size in sizes.items():
        said[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(said).encode()
    return struct.pack("<Q", len(text)) + text


def tensors(**sizes: int) -> bytes:
    """A safetensors file whose bytes are all different enough."""
    data = b"".join(bytes((number * 7 + len(name)) % 251 for number in range(size))
                    for name, size in sizes.items())  # fmt: skip
    return head(sizes) + data


def big_tensors(seed: int = 0, **sizes: int) -> Sparse:
    """The same, too large to be kept in memory."""
    first = head(sizes)
    return Sparse(len(first) + sum(sizes.values()), seed, first)


def index_of(**places: str) -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": places}).encode()


def torch_file(pickled: bytes, storage: int = 1000, packed: int = zipfile.ZIP_STORED) -> bytes:
    """What torch.save writes: a zip of a pickle and of the tensors' bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packed) as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", bytes(storage))
        archive.writestr("model/version", "3\n")
    return made.getvalue()


def locked(found: Resolved) -> ModelLock:
    """A lock as a resolver writes it."""
    return ModelLock(
        fingerprint=Digest.of(b""), origin=found.origin, files=found.files, facts=found.facts
    )


def file(found: Resolved | ModelLock, path: str) -> LockedFile:
    (one,) = (file for file in found.files if file.path == path)
    return one


def paths(found: Resolved) -> list[str]:
    return [file.path for file in found.files]


def notes(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Noted)]


def every(fault: OvenproofError) -> list[OvenproofError]:
    return list(fault.faults) if isinstance(fault, Several) else [fault]


def described(**said: Any) -> bytes:
    return json.dumps({"architectures": ["X"], **said}).encode()
