"""The machine that wheels are chosen for: not the one that this runs on."""

from dataclasses import dataclass

_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """CPython on Linux with glibc."""

    python: str = "3.11"
    glibc: tuple[int, int] = (2, 36)
    """Of the root file system that the wheels will lie on; Debian bookworm has 2.36."""
    machine: str = "x86_64"

    def __post_init__(self) -> None:
        if self.machine not in _OLDEST_GLIBC:
            raise ValueError(f"not a machine that wheels are locked for: {self.machine!r}")

    def __str__(self) -> str:
        return f"Python {self.python} on {self.machine} with glibc {self.glibc[0]}.{self.glibc[1]}"

    @property
    def interpreter(self) -> str:
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> tuple[str, ...]:
        """Every platform tag that it can load, the best one first."""
        major, newest = self.glibc
        found: list[str] = []
        for minor in range(newest, _OLDEST_GLIBC[self.machine] - 1, -1):
            found.append(f"manylinux_{major}_{minor}_{self.machine}")
            if name := _LEGACY.get((major, minor)):
                found.append(f"{name}_{self.machine}")
        return (*found, f"linux_{self.machine}")

    @property
    def uv_platform(self) -> str:
        """How uv calls it."""
        return f"{self.machine}-manylinux_{self.glibc[0]}_{self.glibc[1]}"
