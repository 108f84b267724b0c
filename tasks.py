"""The tasks of this repository; `invoke --list` shows them."""

from ovenproof.tasks import namespace

__all__ = ["namespace"]
