"""What one machine has proven another one hears, and whatever it hears, the image is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovenproof.core import record
from ovenproof.core.action import Outcome
from ovenproof.core.digest import Content, Digest
from ovenproof.registry.bazel import unwrapped, wrapped
from tests.fakes.cache import PAGE, FakeCache
from tests.fakes.registry import FakeRegistry

if TYPE_CHECKING:
    from tests.flow.conftest import Done, MakeProject, Project

LAYERS = 5
"""The default project's, without the launcher: one of Debian, two of wheels, two of weights."""
Poison = Callable[[FakeCache], None]


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    with FakeCache() as made:
        yield made


@pytest.fixture
def first(make_project: MakeProject, cache: FakeCache) -> str:
    """The digest that the first machine found, and told the cache."""
    done = reading(make_project("first"), cache, "--output", "none", OVENPROOF_OUTCOMES_WRITE="1")
    assert done.code == 0, done
    assert cache.puts > 0
    cache.asked.clear()
    return done.digest()


@pytest.fixture
def second(make_project: MakeProject, first: str, cache: FakeCache) -> Project:
    """Another machine: inputs are locked, nothing is proven, and nothing is in its store."""
    project = make_project("second")
    project.run("lock", "--model", "tiny")
    unprove(project)
    shutil.rmtree(project.cache / "actions")
    return project


def reading(project: Project, cache: FakeCache, *words: str, **environment: str) -> Done:
    return project.build(*words, OVENPROOF_OUTCOMES=cache.url, **environment)


def unprove(project: Project) -> None:
    """Take the proofs out of both locks, and leave the inputs."""
    for path in (project.root / "models.lock", project.root / "images/tiny/image.lock"):
        lock = json.loads(path.read_text())
        for part in (lock, *lock.get("models", {}).values()):
            if "layers" in part:
                part["layers"] = {}
        path.write_text(json.dumps(lock))


def proofs(project: Project) -> dict[str, Any]:
    """Every proof in both locks."""
    image = json.loads((project.root / "images/tiny/image.lock").read_text())
    return {**image["layers"], **project.lock()["models"]["tiny"]["layers"]}


def key_of(path: str) -> Digest:
    return Digest(path.rpartition("/")[2])


def told(path: str, value: bytes) -> Content:
    return record.read(key_of(path), unwrapped(value)).outputs["layer"]


def lie(cache: FakeCache, about: Callable[[Content], Content]) -> None:
    """Every record becomes a whole one that says something else."""
    for path, value in cache.values.items():
        outcome = Outcome({"layer": about(told(path, value))})
        cache.values[path] = wrapped(record.write(key_of(path), outcome))


def other_digest(layer: Content) -> Content:
    return Content(Digest.of(layer.digest.hex.encode()), layer.size)


def other_size(layer: Content) -> Content:
    return Content(layer.digest, layer.size + 512)


def forget_all(cache: FakeCache) -> None:
    cache.values.clear()


def truncate(cache: FakeCache) -> None:
    cache.values = {path: value[:-7] for path, value in cache.values.items()}


def cut_record(cache: FakeCache) -> None:
    cache.values = {path: wrapped(unwrapped(text)[:-7]) for path, text in cache.values.items()}


def cut_connection(cache: FakeCache) -> None:
    cache.cut = True


def swap_keys(cache: FakeCache) -> None:
    paths = sorted(cache.values)
    values = [cache.values[path] for path in (*paths[1:], paths[0])]
    cache.values = dict(zip(paths, values, strict=True))


def swap_layers(cache: FakeCache) -> None:
    """Each key gets a well-made record that names the layer of another."""
    paths = sorted(cache.values)
    layers = [told(path, cache.values[path]) for path in (*paths[1:], paths[0])]
    for path, layer in zip(paths, layers, strict=True):
        cache.values[path] = wrapped(record.write(key_of(path), Outcome({"layer": layer})))


def no_layer(cache: FakeCache) -> None:
    for path in cache.values:
        cache.values[path] = wrapped(record.write(key_of(path), Outcome({})))


def page(cache: FakeCache) -> None:
    cache.page = PAGE


def refuse_writing(cache: FakeCache) -> None:
    cache.put_status = 403


def status(number: int) -> Poison:
    def change(cache: FakeCache) -> None:
        cache.status = number

    return change


def wrong_digests(cache: FakeCache) -> None:
    lie(cache, other_digest)


def wrong_sizes(cache: FakeCache) -> None:
    lie(cache, other_size)


POISONS = [
    forget_all, truncate, cut_record, cut_connection, swap_keys, swap_layers, no_layer, page,
    wrong_digests, wrong_sizes, status(500), status(503), status(401), status(403), status(302),
]  # fmt: skip


# Learning


def test_a_second_machine_learns_the_image_and_hashes_nothing(
    second: Project, first: str, cache: FakeCache
) -> None:
    shutil.rmtree(second.root / "tiny")
    shutil.rmtree(second.cache / "blobs")
    done = reading(second, cache, "--locked", "--output", "none")
    assert done.digest() == first
    assert not list(second.cache.glob("actions/*"))  # nothing was proven, so nothing is remembered
    assert cache.puts == 0


def test_a_plan_knows_what_others_have_proven(
    second: Project, first: str, cache: FakeCache
) -> None:
    words = ("plan", "--model", "tiny", "--output", "none", "--json")
    (alone,) = second.run(*words).json()
    (plan,) = second.run(*words, OVENPROOF_OUTCOMES=cache.url).json()
    assert alone["digest"] is None
    assert plan["digest"] == first


def test_what_locks_and_store_know_is_asked_of_nobody(
    make_project: MakeProject, cache: FakeCache
) -> None:
    project = make_project()
    project.build("--output", "none")
    assert reading(project, cache, "--output", "none").code == 0
    shutil.rmtree(project.cache / "actions")
    assert reading(project, cache, "--locked", "--output", "none").code == 0
    assert reading(project, cache).code == 0
    assert cache.asked == []


def test_each_unknown_layer_is_asked_for_once(second: Project, cache: FakeCache) -> None:
    reading(second, cache, "--locked", "--output", "none")
    assert cache.gets == len({path for _method, path in cache.asked}) <= LAYERS


def test_without_the_setting_nothing_is_told(project: Project, cache: FakeCache) -> None:
    assert reading(project, cache, "--output", "none").code == 0
    assert cache.puts == 0
    project.forget()
    done = reading(project, cache, "--output", "none", OVENPROOF_OUTCOMES_WRITE="0")
    assert done.code == 0
    assert cache.puts == 0


# Proofs


def test_what_is_only_told_enters_no_lock_before_it_is_proven(
    second: Project, first: str, cache: FakeCache
) -> None:
    wrong_digests(cache)
    lies = {str(told(path, value).digest) for path, value in cache.values.items()}
    done = reading(second, cache, "--output", "none")
    assert done.digest() == first
    assert done.err.count("the remote store was wrong about") > 0
    assert len(proofs(second)) > 0
    assert not lies & {item["digest"] for item in proofs(second).values()}


def test_locks_are_the_same_with_and_without_a_remote_store(
    second: Project, make_project: MakeProject, cache: FakeCache
) -> None:
    alone = make_project("alone")
    alone.build("--output", "none")
    reading(second, cache, "--output", "none")
    assert proofs(second) == proofs(alone)


def test_a_locked_build_leaves_the_locks_alone(second: Project, cache: FakeCache) -> None:
    assert reading(second, cache, "--locked", "--output", "none").code == 0
    assert proofs(second) == {}


# Bad luck, and bad company


@pytest.mark.parametrize("poison", POISONS)
def test_whatever_the_remote_store_says_the_image_is_right(
    second: Project, first: str, cache: FakeCache, poison: Poison
) -> None:
    poison(cache)
    done = reading(second, cache, "--locked", "--output", "layout:dist")
    assert done.digest() == first, done
    assert second.dist.check().images() == {"tiny": first}
    assert done.err.count("the remote store http") <= 1


@pytest.mark.parametrize("poison", [wrong_digests, wrong_sizes, swap_layers])
def test_a_lie_is_found_by_an_archive_too(
    second: Project, first: str, cache: FakeCache, poison: Poison
) -> None:
    poison(cache)
    done = reading(second, cache, "--locked", "--output", "archive:image.tar")
    assert done.digest() == first, done
    assert "the remote store was wrong about" in done.err


def test_a_wrong_size_of_weights_is_seen_without_their_bytes(
    second: Project, cache: FakeCache
) -> None:
    wrong_sizes(cache)
    done = second.run("plan", "--model", "tiny", OVENPROOF_OUTCOMES=cache.url)
    assert "tells of model files cannot be; it is ignored" in done.err


@pytest.mark.parametrize("poison", [wrong_digests, cut_record, page, no_layer])
def test_who_may_write_mends_what_is_wrong(
    second: Project, first: str, cache: FakeCache, poison: Poison
) -> None:
    right = dict(cache.values)
    poison(cache)
    done = reading(second, cache, OVENPROOF_OUTCOMES_WRITE="1")
    assert done.digest() == first
    assert cache.values == right


def test_who_may_write_does_not_repeat_what_is_right(second: Project, cache: FakeCache) -> None:
    assert reading(second, cache, "--output", "none", OVENPROOF_OUTCOMES_WRITE="1").code == 0
    assert cache.puts == 0


def test_a_cache_that_takes_nothing_is_told_of_once(project: Project, cache: FakeCache) -> None:
    cache.put_status = 403
    done = reading(project, cache, "--output", "none", OVENPROOF_OUTCOMES_WRITE="1")
    assert done.code == 0
    assert done.err.count("does not take what was proven here") == 1
    assert cache.puts < LAYERS


def test_a_host_that_is_not_there_is_told_of_once(second: Project, first: str) -> None:
    address = "http://user:secret@127.0.0.1:9/cache"
    done = second.build("--output", "none", OVENPROOF_OUTCOMES=address)
    assert done.digest() == first
    assert done.err.count("http://127.0.0.1:9/cache is left alone for the rest of this run") == 1
    assert "secret" not in done.err + done.out


def test_layers_that_an_output_has_are_not_made_again_to_find_lies(
    second: Project, first: str, cache: FakeCache
) -> None:
    assert reading(second, cache, "--locked").digest() == first
    shutil.rmtree(second.root / "tiny")
    assert reading(second, cache, "--locked").digest() == first


def test_a_registry_tells_what_it_was_told(make_project: MakeProject) -> None:
    with FakeRegistry() as registry:
        settings = {"OVENPROOF_OUTCOMES": f"registry:{registry.address}/bakery/outcomes"}
        one, other = make_project("one"), make_project("other")
        done = one.build("--output", "none", OVENPROOF_OUTCOMES_WRITE="1", **settings)
        assert done.code == 0
        assert "remote store" not in done.err
        other.run("lock", "--model", "tiny")
        unprove(other)
        shutil.rmtree(other.cache)
        asked = len(registry.requests)
        assert other.build("--locked", "--output", "none", **settings).digest() == done.digest()
        later = registry.requests[asked:]
        assert {item.method for item in later} <= {"GET"}
        assert len(later) <= 2 * LAYERS  # a token may be asked for


def test_a_registry_that_is_not_there_is_told_of_once(second: Project, first: str) -> None:
    settings = {
        "OVENPROOF_OUTCOMES": "registry:127.0.0.1:9/bakery",
        "OVENPROOF_OUTCOMES_WRITE": "1",
    }
    done = second.build("--output", "none", **settings)
    assert done.digest() == first
    assert done.err.count("registry:127.0.0.1:9/bakery is left alone for the rest of this run") == 1


# Settings


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "ftp://cache.test/x",
        "https://",
        "https://u:se/cret@cache.test",
        "https://u/x:secret@cache.test",
        "https://u:secret@cache.test:port/x",
        "https://cache.test/?secret=1",
        "registry:no-host",
        "http://u:secret@cache.test/x",
    ],
)
def test_a_setting_that_makes_no_sense_is_told_at_once_and_shows_no_secret(
    project: Project, address: str
) -> None:
    done = project.build(OVENPROOF_OUTCOMES=address)
    assert done.code == 2, done
    assert "cret" not in done.err


def test_plain_http_is_only_for_hosts_that_are_named(project: Project) -> None:
    settings = {"OVENPROOF_OUTCOMES": "http://cache.test:8080/x"}
    done = project.build("--dry", **settings)
    assert "or add cache.test:8080 to OVENPROOF_INSECURE_REGISTRIES" in done.err
    settings["OVENPROOF_INSECURE_REGISTRIES"] = "other, cache.test:8080"
    project.run("lock", "--model", "tiny")
    assert project.build("--locked", "--output", "none", **settings).code == 0


def test_writing_is_said_with_a_one(project: Project, cache: FakeCache) -> None:
    done = reading(project, cache, OVENPROOF_OUTCOMES_WRITE="yes")
    assert done.code == 2
    assert "OVENPROOF_OUTCOMES_WRITE" in done.err


@pytest.mark.parametrize(
    ("poison", "said"),
    [
        (forget_all, "answers, but has no probe to prove that it reads"),
        (status(403), "set, but HTTP status 403"),
        (page, "answers, but does not speak a Bazel cache's protocol: not an ActionResult"),
    ],
)
def test_the_doctor_believes_no_remote_store_that_only_answers(
    project: Project, cache: FakeCache, poison: Poison, said: str
) -> None:
    poison(cache)
    found = remote_outcomes(project, OVENPROOF_OUTCOMES=cache.url)
    assert not found["fine"]
    assert said in found["detail"]
    assert found["hint"]
    assert cache.puts == 0


@pytest.mark.parametrize(
    ("poison", "said"),
    [
        (status(404), "protocol: what it takes it does not give back"),
        (page, "protocol: not an ActionResult"),
        (refuse_writing, "answers, but refuses to be written: HTTP status 403"),
    ],
)
def test_the_doctor_believes_no_place_that_only_takes(
    project: Project, cache: FakeCache, poison: Poison, said: str
) -> None:
    poison(cache)
    found = remote_outcomes(project, OVENPROOF_OUTCOMES=cache.url, OVENPROOF_OUTCOMES_WRITE="1")
    assert not found["fine"]
    assert said in found["detail"]
    assert found["hint"]


def test_the_doctor_writes_a_probe_where_it_may_and_reads_it_elsewhere(
    project: Project, cache: FakeCache
) -> None:
    here = {"OVENPROOF_OUTCOMES": cache.url}
    dry = remote_outcomes(project, "--dry", OVENPROOF_OUTCOMES_WRITE="1", **here)
    assert not dry["fine"]
    assert cache.puts == 0
    for _again in range(2):
        found = remote_outcomes(project, OVENPROOF_OUTCOMES_WRITE="1", **here)
        assert found["fine"]
        assert found["detail"] == f"{cache.url} reads and writes"
    assert len(cache.values) == 1
    assert remote_outcomes(project, **here)["detail"] == f"{cache.url} reads"
    refuse_writing(cache)
    found = remote_outcomes(project, OVENPROOF_OUTCOMES_WRITE="1", **here)
    assert "reads, but refuses to be written: HTTP status 403" in found["detail"]


def test_the_doctor_proves_a_registry_too(project: Project) -> None:
    with FakeRegistry() as registry:
        here = {"OVENPROOF_OUTCOMES": f"registry:{registry.address}/bakery/outcomes"}
        assert not remote_outcomes(project, **here)["fine"]
        found = remote_outcomes(project, OVENPROOF_OUTCOMES_WRITE="1", **here)
        assert found["detail"].endswith("/bakery/outcomes reads and writes")
        assert remote_outcomes(project, **here)["fine"]


def remote_outcomes(project: Project, *words: str, **environment: Any) -> Any:
    """What the doctor found of the remote store."""
    found = project.run("doctor", "--json", *words, **environment).json()
    return next(item for item in found if item["name"] == "remote outcomes")


def test_accounts_come_from_the_address_or_from_the_home_folder(
    project: Project, cache: FakeCache
) -> None:
    (Path(project.home) / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    project.run("doctor", OVENPROOF_OUTCOMES=cache.url)
    project.run("doctor", OVENPROOF_OUTCOMES=cache.url.replace("//", "//you:other@"))
    assert cache.logins == ["Basic bWU6c2VjcmV0", "Basic eW91Om90aGVy"]
