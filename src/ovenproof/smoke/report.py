"""What a smoke test asks about, and what it found."""

from dataclasses import dataclass, field

from ovenproof.core.entry import Expectation
from ovenproof.errors import ImageFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is known of an image before it is started."""

    served_names: tuple[str, ...]
    port: int
    interpreter: str
    """The image's Python: the way in where there is no network."""
    adapters: tuple[str, ...] = ()
    """Names of adapters, which answer as themselves."""
    expectations: tuple[Expectation, ...] = ()
    shm_bytes: int = 1 << 30
    needs_gpu: bool = False

    def __post_init__(self) -> None:
        if not self.served_names:
            raise ValueError("an image serves its model under one name at least")


@dataclass(frozen=True, slots=True)
class Check:
    """One question and whether the answer was right; `detail` says what came instead."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was asked of one image."""

    reference: str
    checks: tuple[Check, ...] = field(default=())

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def raise_if_failed(self) -> None:
        """Raises ImageFailed with every failed check in it."""
        if self.failed:
            lines = "\n".join(f"  {check.name}: {check.detail}" for check in self.failed)
            raise ImageFailed(
                f"{len(self.failed)} of {len(self.checks)} checks failed",
                subject=self.reference,
                got="\n" + lines,
            )
