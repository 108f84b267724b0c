"""`invoke matrix`: what can be released, as the jobs of a workflow; or only what has changed."""

import json as jsons
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context

from ovenproof.errors import BadCall, OvenproofError
from ovenproof.tasks.entries import only_locked
from ovenproof.tasks.outcomes import OUTCOMES
from ovenproof.tasks.shell import answer, chosen, say, verb
from ovenproof.tasks.surroundings import machine, packaged_images, project

if TYPE_CHECKING:
    from ovenproof.build import Bake
    from ovenproof.project import Project
    from ovenproof.registry.reference import Repository

MOST_JOBS = 256
"""What GitHub takes in one matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a caller says of a release, beside the entries themselves."""

    repository: "Repository | None"
    release: str
    labels: Mapping[bool, tuple[str, ...]]
    """Whether a GPU is needed -> the labels of the runners that an image is tested on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One entry of the matrix: what a workflow has to know of an image."""

    name: str
    flavour: str
    needs_gpu: bool
    runner: tuple[str, ...]
    reference: str
    tags: str
    """Separated by commas, as `invoke tag` takes them."""
    digest: str | None
    """The image's, where the locks know every layer."""
    plan: str
    """The digest of all that decides the image: two that are equal give the same image."""

    def same_image(self, other: Mapping[str, Any]) -> bool:
        """Whether another time's job, as JSON, is for the same image."""
        if self.digest and other.get("digest"):
            return bool(self.digest == other["digest"])
        return bool(self.plan == other.get("plan"))


@verb(
    name="matrix",
    dry=True,
    iterable=["model"],
    help={
        "model": "NAME of an entry; may be given several times; without it every locked entry",
        "changed-since": "REF: only entries whose image is not the one that the files at this"
        " commit, branch or tag give",
        "to": "HOST/NAME of the repository, instead of the catalogue's; written small",
        "release": "its name: images get the tag ENTRY-RELEASE too",
        "runner": "labels of the runners, separated by commas (ubuntu-latest)",
        "gpu-runner": "the same for images that need a GPU (self-hosted,gpu)",
        "github": "hand `matrix` and `count` to the next steps of a workflow",
        "json": "for machines",
    },
)
def matrix(  # noqa: PLR0913, PLR0917  the words of a command line
    _context: Context,
    model: list[str],
    changed_since: str = "",
    to: str | None = None,
    release: str = "",
    runner: str = "ubuntu-latest",
    gpu_runner: str = "self-hosted,gpu",
    github: bool = False,
    json: bool = False,
) -> None:
    """Show what a release has to do: one job per entry that is locked. Needs no weights."""
    from ovenproof.tasks.github import hand_over

    here = project(saves=False)
    terms = _terms(to, release, {False: runner, True: gpu_runner})
    models = [name for name in model if name.strip()]
    jobs = list(_jobs(here, terms, chosen(here, models, not models), named=bool(models)))
    if changed_since:
        before = _before(here, terms, changed_since)
        jobs = [job for job in jobs if not job.same_image(before.get(job.name, {}))]
    if len(jobs) > MOST_JOBS:
        raise BadCall(
            "these are more jobs than GitHub takes in one matrix",
            expected=f"at most {MOST_JOBS}",
            got=str(len(jobs)),
            hint="release them in parts: --model NAME,NAME or --changed-since REF",
        )
    include = {"include": [asdict(job) for job in jobs]}
    if github:
        line = jsons.dumps(include, sort_keys=True, separators=(",", ":"))
        hand_over({"matrix": line, "count": str(len(jobs))})
    if json:
        answer(include)
    else:
        say(_as_text(jobs))


def _terms(to: str | None, release: str, labels: Mapping[bool, str]) -> Terms:
    from ovenproof.registry.reference import parse_repository

    found = {gpu: tuple(word.strip() for word in text.split(",")) for gpu, text in labels.items()}
    if not all(word for words in found.values() for word in words):
        raise BadCall("a runner has no label", subject="--runner", expected="LABEL,LABEL")
    # Accounts may have capital letters, repositories of images may not.
    repository = None if to is None else parse_repository(to.lower())
    return Terms(repository=repository, release=release, labels=found)


def _jobs(here: "Project", terms: Terms, names: Sequence[str], *, named: bool) -> Iterator[Job]:
    """The jobs of the entries that are locked; one that somebody named has to be."""
    from ovenproof.build import prepare

    # What others say they found decides nothing about what is released.
    gives = replace(machine(), remote=None)
    for name in names if named else only_locked(here, names):
        yield _job(prepare(here, gives, name, may_lock=False), terms)


def _job(bake: "Bake", terms: Terms) -> Job:
    from ovenproof.core.digest import Digest, canonical_json
    from ovenproof.registry.reference import parse

    name, made = bake.entry.name, bake.plan()
    reference = f"{terms.repository}:{name}" if terms.repository else bake.reference
    tags = [name, *([f"{name}-{terms.release}"] if terms.release else [])]
    for tag in tags:
        parse(f"{terms.repository or 'localhost/images'}:{tag}")
    decides = {
        "layers": [str(planned.step.action.key) for planned in made.steps],
        "settings": jsons.loads(jsons.dumps(asdict(bake.settings))),
    }
    needs_gpu = bake.files.flavour.needs_gpu
    return Job(
        name=name,
        flavour=bake.entry.flavour,
        needs_gpu=needs_gpu,
        runner=terms.labels[needs_gpu],
        reference=reference,
        tags=",".join(tags),
        digest=str(made.image.digest.digest) if made.image else None,
        plan=str(Digest.of(canonical_json(decides))),
    )


def _before(here: "Project", terms: Terms, ref: str) -> Mapping[str, Mapping[str, Any]]:
    """The jobs that the files at `ref` give, by name. What cannot be told is not among them."""
    from ovenproof.project import CATALOGUE, Project
    from ovenproof.tasks.history import files_at

    with files_at(ref, here.root) as folder:
        if (folder / "src" / "ovenproof").is_dir():
            return _told_by(folder, ref)
        if not (folder / CATALOGUE).is_file():
            return {}
        old = Project(folder, packaged=packaged_images(), saves=False)
        found = {}
        try:
            names = [entry.name for entry in old.catalogue().entries]
        except OvenproofError:
            return {}
        for name in names:
            try:
                found.update(
                    {job.name: asdict(job) for job in _jobs(old, terms, [name], named=True)}
                )
            except OvenproofError:  # it gave no image then, so this one is new
                continue
        return found


def _told_by(folder: Path, ref: str) -> Mapping[str, Mapping[str, Any]]:
    """The same, by the program that lies beside them: the launcher, say, is part of an image."""
    program = "from ovenproof.tasks import main; main()"
    environment = {name: text for name, text in os.environ.items() if name != OUTCOMES}
    done = subprocess.run(
        [sys.executable, "-c", program, "matrix", "--json"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    found = None if done.returncode else _read(done.stdout)
    if found is None:
        note = f"note: the program of {ref} cannot tell its images, so every image counts as new"
        print(note, file=sys.stderr)  # noqa: T201
    return found or {}


def _read(answered: bytes) -> Mapping[str, Mapping[str, Any]] | None:
    """A matrix that another time's program printed, by name; None where it is none."""
    try:
        jobs = jsons.loads(answered)["include"]
        return {job["name"]: {**job} for job in jobs}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _as_text(jobs: Sequence[Job]) -> str:
    from ovenproof.tasks.screen import table

    rows: list[tuple[str, ...]] = [("NAME", "FLAVOUR", "RUNNER", "IMAGE", "DIGEST")]
    for job in jobs:
        known = job.digest.removeprefix("sha256:")[:12] if job.digest else "not proven yet"
        rows.append((job.name, job.flavour, ",".join(job.runner), job.reference, known))
    return table(rows) if jobs else "nothing to release"
