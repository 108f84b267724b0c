"""A flavour: how the runtime under the weights is made. `images/<flavour>/image.yaml`, read."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ovenproof.core.digest import Digest, Json
from ovenproof.core.document import Document, find, plain, read
from ovenproof.core.lock import fingerprint
from ovenproof.errors import BadFile, raise_all


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Debian(_Strict):
    """The root file system, from Debian packages."""

    suite: str = Field(pattern=r"^[a-z]+$")
    packages: tuple[str, ...] = Field(min_length=1)
    without: tuple[str, ...] = ()
    """Packages that others depend on and that the image can do without."""


class Python(_Strict):
    """The Python packages on top of it."""

    version: str = Field(pattern=r"^3\.\d+$")
    requirements: str
    """Name of the pair `requirements/<name>.in` and `.txt`."""
    glibc: str = Field(pattern=r"^2\.\d+$")
    """The root's C library: wheels for a newer one do not run on it."""
    without: tuple[str, ...] = ()
    """Distributions that others require and that the image can do without."""
    top: tuple[str, ...] = ()
    """Distributions that change most often: their layers lie above the others."""
    vllm: str
    """The distribution that is vLLM."""
    indexes: dict[str, str] = Field(default_factory=dict)
    """Distribution -> a further index, asked for it alone."""

    @property
    def interpreter(self) -> str:
        return f"/usr/bin/python{self.version}"

    @property
    def site(self) -> str:
        """Where Debian's Python looks for packages that are not Debian's."""
        return f"usr/local/lib/python{self.version}/dist-packages"


class Flavour(_Strict):
    """One folder of `images/`."""

    description: str
    architecture: Literal["amd64", "arm64"] = "amd64"
    debian: Debian
    python: Python
    program: tuple[str, ...] = Field(min_length=1)
    """What the launcher replaces itself with; vLLM's arguments follow."""
    needs_gpu: bool
    shm_bytes: int = Field(ge=0)
    """What /dev/shm must have."""
    environment: dict[str, str] = Field(default_factory=dict)

    def words(self) -> dict[str, Json]:
        """What decides which packages are locked; the rest may change without a new lock."""
        words: dict[str, Json] = self.model_dump(
            mode="json", include={"architecture", "debian", "python"}
        )
        return words

    def fingerprint(self, requirements: Sequence[str]) -> Digest:
        """Of everything that its lock was made from."""
        return fingerprint({"flavour": self.words(), "requirements": list(requirements)})


def parse(text: str, *, name: str) -> Flavour:
    """Read an `image.yaml`. Raises BadFile, all faults at once, each with its place."""
    document = read(text, name)
    faults = list(document.faults)
    try:
        flavour = Flavour.model_validate(plain(document.root))
    except ValidationError as error:
        faults += _faults(error, document)
        raise_all(faults)
        raise
    raise_all(faults)
    return flavour


def _faults(error: ValidationError, document: Document) -> Iterator[BadFile]:
    for detail in error.errors():
        place: tuple[Any, ...] = detail["loc"]
        key, node = find(document.root, place)
        unknown = detail["type"] == "extra_forbidden"
        mark = key.mark if unknown and key is not None else node.mark
        yield document.page.fault(
            "a field that no flavour has" if unknown else "a value is not what it should be",
            mark,
            subject=".".join(str(step) for step in place),
            expected=None if unknown else detail["msg"],
        )
