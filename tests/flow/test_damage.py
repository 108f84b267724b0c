"""A store that has rotted, and no network: what is damaged is found, named, and never used."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import Project

Spoil = Callable[[Path], None]
WHEEL, DEB = "crumb-2.0-py3-none-any.whl", "base"


@pytest.fixture
def mirror(project: Project) -> Iterator[str]:
    """A Debian mirror that has both packages."""
    folder = project.home / "mirror"
    pool = folder / "debian/pool/main"
    pool.mkdir(parents=True)
    for name in ("base", "python"):
        shutil.copy(project.blob(name), pool / f"{name}_1.0_all.deb")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def links(project: Project) -> dict[str, str]:
    """pip's settings for a folder that has the wheel, and for nothing else."""
    folder = project.home / "wheels"
    folder.mkdir()
    shutil.copy(project.blob("crumb"), folder / WHEEL)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def truncate(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def test_with_everything_in_the_store_no_network_is_needed(project: Project) -> None:
    assert project.build("--output", "none").code == 0


@pytest.mark.parametrize("how", ["a flipped bit", "truncated", "gone"])
def test_a_damaged_wheel_is_named_and_fetched_again(
    project: Project, spoil: Spoil, links: dict[str, str], how: str
) -> None:
    {"a flipped bit": spoil, "truncated": truncate, "gone": Path.unlink}[how](project.blob("crumb"))
    done = project.build()
    assert done.code == 6
    assert f"and this is not in the store: `{WHEEL}`" in done.err
    assert "hint: " in done.err
    assert not (project.root / "dist/index.json").exists()
    mended = project.build("--output", "none", **links)
    project.check_store()
    project.forget()
    assert project.build("--output", "none").digest() == mended.digest()


@pytest.mark.parametrize("how", ["a flipped bit", "truncated"])
def test_a_damaged_debian_package_is_named_and_fetched_again(
    project: Project, spoil: Spoil, mirror: str, how: str
) -> None:
    {"a flipped bit": spoil, "truncated": truncate}[how](project.blob(DEB))
    done = project.build("--output", "none")
    assert done.code == 6
    assert "base was damaged in the store and is fetched again" in done.err
    assert "Debian packages are missing here, and no mirror answers: `base 1.0`" in done.err
    mended = project.build("--output", "none", OVENPROOF_DEBIAN_MIRROR=mirror)
    assert mended.code == 0
    project.check_store()


def test_a_mirror_that_gives_other_bytes_is_not_believed(
    project: Project, spoil: Spoil, mirror: str
) -> None:
    project.blob(DEB).unlink()
    spoil(project.home / "mirror/debian/pool/main/base_1.0_all.deb")
    done = project.build("--output", "none", OVENPROOF_DEBIAN_MIRROR=mirror)
    assert done.code == 8
    assert "no mirror gives the right bytes of base" in done.err
    assert not project.blob(DEB).exists()


def test_a_folder_of_wheels_that_gives_other_bytes_is_not_believed(
    project: Project, spoil: Spoil, links: dict[str, str]
) -> None:
    project.blob("crumb").unlink()
    spoil(Path(links["PIP_FIND_LINKS"]) / WHEEL)
    done = project.build("--output", "none", **links)
    assert done.code == 8
    assert WHEEL in done.err
    assert not project.blob("crumb").exists()


def test_wheels_and_packages_that_are_missing_are_told_together(project: Project) -> None:
    project.blob("crumb").unlink()
    project.blob(DEB).unlink()
    done = project.build("--output", "none")
    assert done.code == 6
    assert WHEEL in done.err
    assert "`base 1.0`" in done.err
    assert done.err.count("error: ") == 2


def test_a_proven_layer_needs_no_package_until_its_bytes_are_asked_for(project: Project) -> None:
    digest = project.build("--output", "none").digest()
    shutil.rmtree(project.cache)
    assert project.build("--output", "none", "--locked").digest() == digest
    (plan,) = project.run("plan", "--model", "tiny", "--json").json()
    assert plan["digest"] == digest
    assert plan["fetch"]["files"] == 4
    done = project.build()
    assert done.code == 6
    assert "base 1.0, python 1.0" in done.err
    assert WHEEL in done.err


@pytest.mark.parametrize("kind", ["actions", "seen", "blobs/sha256"])
@pytest.mark.parametrize("how", ["a flipped bit", "truncated"])
def test_damaged_records_and_unpacked_archives_are_made_again(
    project: Project, spoil: Spoil, kind: str, how: str
) -> None:
    digest = project.build("--output", "none").digest()
    packed = {project.blob(name) for name in ("crumb", "vllm", "base", "python")}
    records = [path for path in (project.cache / kind).iterdir() if path not in packed]
    assert records
    project.forget(actions=False)
    for path in records:
        {"a flipped bit": spoil, "truncated": truncate}[how](path)
    assert project.build().digest() == digest
    project.dist.check()
    project.check_store()
