"""A Hugging Face hub on loopback that its own client accepts, and that fails on purpose."""

from tests.fakes.hub.content import Sparse
from tests.fakes.hub.fake import FakeHub
from tests.fakes.hub.messages import Asked
from tests.fakes.hub.repository import Entry, Repository

__all__ = ["Asked", "Entry", "FakeHub", "Repository", "Sparse"]
