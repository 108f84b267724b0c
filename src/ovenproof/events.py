"""What happens, as values: the code that moves bytes tells a listener."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A piece of work began. `name` is unique among the running ones and is what a person reads."""

    name: str
    total: int | None = None
    """Bytes that will move, where known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """More bytes of a started piece of work went by."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A started piece of work has ended."""

    name: str
    note: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """All pieces of work that begin from now on move so many bytes together."""

    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that a person may want to know, once."""

    text: str


Event: TypeAlias = Expected | Started | Advanced | Finished | Noted
Listener: TypeAlias = Callable[[Event], None]


def silent(_event: Event) -> None:
    """The listener that hears nothing."""
