"""An OCI registry in memory, which keeps the distribution specification or breaks it on purpose."""

from tests.fakes.registry.fake import FakeRegistry
from tests.fakes.registry.messages import Asked
from tests.fakes.registry.state import Stored, digest_of

__all__ = ["Asked", "FakeRegistry", "Stored", "digest_of"]
