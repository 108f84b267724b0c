"""Wheels made by hand, good and bad."""

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

Contents: TypeAlias = Mapping[str, bytes]
BakeWheel: TypeAlias = Callable[..., Path]


def record_row(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(data)}\n"


@pytest.fixture
def bake_wheel(tmp_path: Path) -> BakeWheel:
    """A function that writes a pure wheel into a folder: files, and its RECORD unless given."""

    def bake(
        name: str = "toast",
        version: str = "1.0",
        files: Contents | None = None,
        *,
        folder: Path | None = None,
        record: str | None = None,
        requires: tuple[str, ...] = (),
        executable: tuple[str, ...] = (),
        tag: str = "py3-none-any",
        wheel_version: str = "1.0",
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
        contents = {
            **({f"{name}/__init__.py": b"slices = 2\n"} if files is None else files),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
            f"Version: {version}\n{needs}".encode(),
            f"{info}/WHEEL": f"Wheel-Version: {wheel_version}\nGenerator: hand\n"
            f"Root-Is-Purelib: true\nTag: {tag}\n".encode(),
        }
        if record is None:
            record = "".join(record_row(path, data) for path, data in contents.items())
            record += f"{info}/RECORD,,\n"
        folder = folder or tmp_path / "wheels"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in {**contents, f"{info}/RECORD": record.encode()}.items():
                info_ = zipfile.ZipInfo(member)
                info_.compress_type = zipfile.ZIP_DEFLATED
                mode = 0o100755 if member in executable else 0o100644
                info_.external_attr = mode << 16
                archive.writestr(info_, data)
        return path

    return bake
