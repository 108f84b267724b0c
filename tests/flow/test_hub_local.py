"""Weights for this machine: fetched into the store, or read where the hub's client put them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import snapshot_download

from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.hub_models import (
    BIG,
    ENTRY,
    FIRST,
    MODEL,
    SECOND,
    files,
    given,
    kept,
    push,
    serve,
    use,
)
from tests.unit.sources.repositories import big_tensors

if TYPE_CHECKING:
    from tests.flow.conftest import MakeProject, Project

SIZE = 34_603_092
"""What the big shard has."""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def test_a_layout_is_written_from_the_store_and_a_second_one_moves_nothing(
    project: Project, hub: FakeHub
) -> None:
    serve(hub, project)
    before = project.run("plan", "--model", "tiny", "--output", "layout:dist").out
    assert "fetch  34.6 MB in 1 file\n" in before
    assert "stream" not in before
    done = project.build()
    assert project.dist.check().images() == {"tiny": done.digest()}
    project.check_store()
    assert kept(project) > BIG
    asked = len(hub.requests), len(hub.cdn_requests)
    again = project.build()
    assert again.digest() == done.digest()
    assert "(0 B moved)" in again.out
    assert "fetch  0 B in 0 files\n" in project.run("plan", "--model", "tiny").out
    assert (len(hub.requests), len(hub.cdn_requests)) == asked
    hub.go_away()
    (project.root / "dist/index.json").unlink()
    assert project.build("--output", "archive:image.tar").digest() == done.digest()


def test_a_fetch_that_was_killed_goes_on_with_the_rest(project: Project, hub: FakeHub) -> None:
    serve(hub, project)
    hub.repositories[MODEL].commit({SECOND: big_tensors(5, small=32 << 20)})
    assert project.run("lock", "--model", "tiny").code == 0
    process = project.start("build", "--model", "tiny", OVENPROOF_JOBS="1")
    assert process.stderr is not None
    while not ("done" not in (line := process.stderr.readline()) and SECOND in line):
        assert process.poll() is None, line
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (project.root / "dist/index.json").exists()
    first, second = given(hub, FIRST), given(hub, SECOND)
    done = project.build()
    assert given(hub, FIRST) == first, "that one had arrived"
    assert given(hub, SECOND) > second
    assert project.dist.check().images() == {"tiny": done.digest()}
    project.check_store()
    assert not project.leftovers()


def test_wrong_bytes_are_never_kept_and_no_image_is_written(project: Project, hub: FakeHub) -> None:
    serve(hub, project)
    hub.wrong_bytes = {FIRST: 1 << 20}
    done = project.build()
    assert done.code == 8, done
    assert FIRST in done.err
    assert "Traceback" not in done.err
    assert not (project.root / "dist/index.json").exists()
    assert kept(project) < 200_000
    project.check_store()
    hub.wrong_bytes = {}
    assert project.build().code == 0
    project.dist.check()


@pytest.fixture
def cached(project: Project, hub: FakeHub) -> Path:
    """A model in the hub's cache, put there by its own client; HF_HOME says where."""
    serve(hub, project)
    home = project.home / "shared"
    snapshot_download(MODEL, endpoint=hub.endpoint, cache_dir=home / "hub", token=False)
    project.environment["HF_HOME"] = str(home)
    return home


def blob(home: Path) -> Path:
    (found,) = (home / "hub").rglob(f"snapshots/*/{FIRST}")
    return found.resolve()


def state(home: Path) -> dict[str, tuple[int, int]]:
    places = (path for path in home.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in places}


def test_what_the_hubs_client_has_here_is_read_in_place(
    make_project: MakeProject, project: Project, hub: FakeHub, cached: Path
) -> None:
    before, there = given(hub, FIRST), state(cached)
    done = project.build()
    assert project.dist.check().images() == {"tiny": done.digest()}
    assert given(hub, FIRST) == before
    assert kept(project) < 200_000, "and not copied into the store"
    assert state(cached) == there
    other = make_project("other")
    use(hub, other)
    assert other.build("--output", "none").digest() == done.digest()
    assert project.run("lock", "--model", "tiny").code == 0
    hub.go_away()
    with FakeRegistry() as registry:
        assert push(project, registry)["digest"] == done.digest()


@pytest.mark.parametrize("locked", [False, True])
def test_a_damaged_file_there_is_told_and_the_hub_is_asked(
    project: Project, hub: FakeHub, cached: Path, spoil: Callable[[Path], None], locked: bool
) -> None:
    if locked:
        assert project.run("lock", "--model", "tiny").code == 0
    spoil(blob(cached))
    before = given(hub, FIRST)
    done = project.build()
    assert done.code == 0, done
    assert f"{blob(cached)} in the hub's cache is damaged, and not used\n" in done.err, done.err
    assert given(hub, FIRST) - before >= SIZE
    project.dist.check()
    project.check_store()


def test_offline_everything_that_is_here_is_enough(
    project: Project, hub: FakeHub, cached: Path
) -> None:
    assert project.run("lock", "--model", "tiny").code == 0
    hub.go_away()
    done = project.run_cold("build", "--model", "tiny", HF_HUB_OFFLINE="1")
    assert done.code == 0, done
    project.dist.check()


def test_of_two_entries_with_the_same_files_each_is_fetched_once(
    project: Project, hub: FakeHub
) -> None:
    serve(hub, project, f"{ENTRY}  other:\n    model: {MODEL}\n    port: 9000\n")
    hub.repository("org/tuned").commit({**files(), "config.json": b'{"architectures": ["X"]}'})
    use(
        hub,
        project,
        f"{ENTRY}  other:\n    model: {MODEL}\n    port: 9000\n  tuned:\n    model: org/tuned\n",
    )
    done = project.run("build", "--all", "--output", "layout:dist", "--json")
    assert done.code == 0, done
    assert {*project.dist.check().images()} == {"other", "tiny", "tuned"}
    assert given(hub, FIRST) < SIZE + (4 << 20)
