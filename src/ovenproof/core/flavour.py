"""A flavour: how the runtime under the weights is made. `images/<flavour>/image.yaml`, read."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ovenproof.core.address import without_login
from ovenproof.core.digest import Digest, Json
from ovenproof.core.document import Document, find, plain, read
from ovenproof.core.lock import fingerprint
from ovenproof.errors import BadFile, raise_all

_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_image(text: str) -> str:
    """Refuse a base that nothing pins. The rest of its name is for who asks the registry."""
    if without_login(text) != text:
        raise ValueError("not a sha256 digest after `@`; for a login there is `docker login`")
    name, at, digest = text.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    if at:
        Digest.parse(digest)
    elif not colon:
        raise ValueError("a base is named with its tag or digest: NAME:TAG")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError("a tag has at most 128 letters, digits, `.`, `_` and `-`")
    return text


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


class Base(_Strict):
    """An image in a registry that has Python and vLLM already."""

    image: Annotated[str, AfterValidator(_check_image)]
    """What is followed when the flavour is locked: `[HOST/]NAME:TAG`, or by digest."""
    python: str = Field(default="/usr/bin/python3", pattern=r"^/")
    """The interpreter that runs the launcher."""
    options: str = Field(pattern=r"^[A-Za-z0-9._-]+==[^\s=]+$")
    """The distribution that is vLLM in it: `NAME==VERSION`; its wheel says which options it has."""

    @property
    def vllm(self) -> tuple[str, str]:
        """The distribution that is vLLM, and its version."""
        name, _, version = self.options.partition("==")
        return name, version


class _Words(_Strict):
    """What every flavour says."""

    description: str
    architecture: Literal["amd64", "arm64"] = "amd64"
    program: tuple[str, ...] = Field(min_length=1)
    """What the launcher replaces itself with; vLLM's arguments follow."""
    needs_gpu: bool
    shm_bytes: int = Field(ge=0)
    """What /dev/shm must have."""
    environment: dict[str, str] = Field(default_factory=dict)


class Built(_Words):
    """A flavour whose runtime is made here, from packages."""

    debian: Debian
    python: Python

    @property
    def interpreter(self) -> str:
        """The Python that runs the launcher."""
        return self.python.interpreter

    def fingerprint(self, requirements: Sequence[str] = ()) -> Digest:
        """Of everything that its lock was made from; the rest may change without a new one."""
        words: Json = self.model_dump(mode="json", include={"architecture", "debian", "python"})
        return fingerprint({"flavour": words, "requirements": list(requirements)})


class Based(_Words):
    """A flavour whose runtime is an image in a registry."""

    base: Base

    @property
    def interpreter(self) -> str:
        """The Python that runs the launcher."""
        return self.base.python

    def fingerprint(self, requirements: Sequence[str] = ()) -> Digest:
        """Of everything that its lock was made from; where Python lies is not part of that."""
        words: Json = self.model_dump(
            mode="json", include={"architecture": True, "base": {"image", "options"}}
        )
        return fingerprint({"flavour": words, "requirements": list(requirements)})


Flavour: TypeAlias = Built | Based
"""One folder of `images/`."""


def parse(text: str, *, name: str) -> Flavour:
    """Read an `image.yaml`. Raises BadFile, all faults at once, each with its place."""
    document = read(text, name)
    faults = list(document.faults)
    words = plain(document.root)
    kind = Based if isinstance(words, dict) and "base" in words else Built
    try:
        flavour = kind.model_validate(words)
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
        subject = ".".join(str(step) for step in place)
        if unknown and subject in Built.model_fields:
            what = "a flavour has packages of its own, or `base`; not both"
        elif subject in ("debian", "python") and detail["type"] == "missing":
            what = "a flavour needs `debian` and `python`, or else `base`"
        else:
            what = "a field that no flavour has" if unknown else "a value is not what it should be"
        yield document.page.fault(
            what, mark, subject=subject, expected=None if unknown else detail["msg"]
        )
