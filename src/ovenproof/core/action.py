"""An action: work named by everything that its result depends on.

The key is a digest over the kind, the version of the code that does it, the inputs by digest and
the parameters. The host, the clock and the place of the cache are not in it; so an outcome that
one machine remembers is true on every other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ovenproof.core.digest import Content, Digest, Json, canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """(kind, version, inputs by digest, parameters) -> key."""

    kind: str
    version: int
    inputs: Mapping[str, Digest] = field(default_factory=dict)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    key: Digest = field(init=False, repr=False, compare=False)
    """What the outcome is remembered under. It is the four others' digest: a plan of many entries
    asks for it thousands of times."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "key", self._key())

    def _key(self) -> Digest:
        return Digest.of(
            canonical_json(
                {
                    "kind": self.kind,
                    "version": self.version,
                    "inputs": {name: str(digest) for name, digest in self.inputs.items()},
                    "parameters": dict(self.parameters),
                }
            )
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action made: content by name. A layer's action names its one output `layer`."""

    outputs: Mapping[str, Content]

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))
