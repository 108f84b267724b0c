"""Calls that cannot be understood, catalogues that are wrong: told exactly, with a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.conftest import Project

NOT_NAMED = "error: no model is named\n"
CALLS = [
    (("build",), 2, NOT_NAMED),
    (("build", "--model"), 2, NOT_NAMED),
    (("build", "--model", ""), 2, NOT_NAMED),
    (("plan", "--model", "--locked"), 2, NOT_NAMED),
    (("build", "--model", "tny"), 2, "hint: did you mean `tiny`?"),
    (("build", "--model", "tiny,nothing-like-it"), 2, "no such model in the catalogue"),
    (("build", "--all", "--model", "tiny"), 2, "`--all` and `--model` cannot go together"),
    (("build", "--all", "--output", "tarball:x"), 2, "docker, registry:HOST/NAME[:TAG], or none"),
    (("build", "--all", "--output", "layout:"), 2, "this is not an output: `--output layout:`"),
    (("build", "--all", "--output", "docker"), 10, "no Docker engine answers"),
    (("build", "--all", "--output", "none", "--push"), 2, "`--push` is an output"),
    (("build", "--all", "--push"), 3, "--to HOST/NAME"),
    (("push",), 2, NOT_NAMED),
    (("push", "--all"), 3, "the catalogue's repository is at no registry"),
    (("push", "--all", "--to", "models"), 2, "such as ghcr.io/you/models"),
    (("push", "--all", "--to", "h:1/a:x y"), 2, "a tag of at most 128 letters"),
    (("push", "--all", "--to", f"h:1/a@sha256:{'0' * 64}"), 2, "leave out `@sha256:000"),
    (("push", "--all", "--to", "h:1/a", "--was", "it"), 2, "sha256:<64 hex digits>, or none"),
    (("push", "--all", "--to", ""), 2, "`--to` names nothing"),
    (("build", "--all", "--to", ""), 2, "`--to` names nothing"),
    (("matrix", "--to", ""), 2, "this is no name of an image"),
    (("push", "--all", "--to", "docker://h:1/a"), 2, "leave out `docker://`"),
    (("push", "--all", "--locked", "--to", "h:1/a"), 4, "no entry is locked"),
    (("note", ".", "--output", "no/note.md"), 2, "the folder to write to is not there"),
    (("push", "--all", "--untagged", "--was", "none"), 2, "`--untagged` moves no tag"),
    (("push", "--all", "--force", "--was", "none"), 2, "keep one of them"),
    (("build", "--all", "--locked"), 4, "hint: run `ovenproof lock --model tiny`"),
    (("lock",), 2, "--model NAME, --all or --flavour NAME"),
    (("lock", "--check", "--upgrade", "--model", "tiny"), 2, "cannot go together"),
    (("lock", "--check", "--flavour", "tiny"), 2, "cannot go together"),
    (("build", "--as", "picture", "--model", "tiny"), 2, "this is no shape"),
    (("build", "--as", "modelpack", "--output", "docker", "--model", "tiny"), 2, "no image"),
    (("lock", "--dry", "--all"), 2, "this task has no --dry"),
    (("test", "--model", "tiny", "--timeout", "soon"), 2, "a whole number from 1 on"),
    (("lock", "--flavour", ""), 2, "--flavour has no name"),
    (("lock", "--flavour", "tny"), 3, "hint: did you mean `tiny`?"),
    (("check", "--only", "everything"), 2, "there is no such suite"),
    (("biuld",), 1, "No idea what 'biuld' is!"),
    (("build", "--modle", "tiny"), 1, "No idea what '--modle' is!"),
]


@pytest.mark.parametrize(("words", "code", "said"), CALLS, ids=lambda item: str(item)[:40])
def test_a_wrong_call_is_told_and_does_nothing(
    project: Project, words: tuple[str, ...], code: int, said: str
) -> None:
    before = sorted(project.root.rglob("*"))
    done = project.run(*words)
    assert done.code == code, done
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert sorted(project.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("push", "--all", "--to", "me:c4n4ry@h:1/a"), ""),
        (("copy", "me:c4n4ry@h:1/a", "h:1/b"), ""),
        (("copy", "h:1/a", "https://me:c4n4ry@h:1/b"), ""),
        (("plan", "--all", "--output", "registry:me:c4n4ry@h:1/a"), ""),
        (("build", "--all", "--output", "none"), "registry:me:c4n4ry@h:1/a"),
    ],
)
def test_a_password_in_a_call_is_not_repeated(
    project: Project, words: tuple[str, ...], setting: str
) -> None:
    done = project.run(*words, OVENPROOF_OUTCOMES=setting)
    assert done.code == 2, done
    assert "c4n4ry" not in done.err


def test_a_setting_that_is_no_number_is_named(project: Project) -> None:
    done = project.build(OVENPROOF_JOBS="many")
    assert done.code == 2
    assert "`OVENPROOF_JOBS many`" in done.err


def test_a_folder_without_a_catalogue_says_what_is_missing(project: Project) -> None:
    done = project.run("list", cwd=project.home)
    assert done.code == 3
    assert "there is no models.yaml here, nor in any folder above" in done.err


def test_all_faults_of_a_catalogue_are_told_at_once(project: Project) -> None:
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n    prot: 1\n    port: 99999\n")
    done = project.build()
    assert done.code == 3
    assert "models.yaml:7:5" in done.err
    assert "hint: did you mean `port`?" in done.err
    assert "models.yaml:8:11" in done.err
    assert done.err.count("error: ") == 2


def test_a_flavour_that_is_not_there_is_named_with_those_that_are(project: Project) -> None:
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n", flavour="tin")
    done = project.build()
    assert done.code == 3
    assert "hint: did you mean `tiny`?" in done.err


def test_an_option_that_vllm_does_not_have_is_found_before_anything_is_built(
    project: Project,
) -> None:
    project.catalogue("  tiny:\n    weights: {folder: ./tiny}\n    args: {max-seqs: 4}\n")
    done = project.build()
    assert done.code == 3
    assert "vLLM has no option `--max-seqs`" in done.err
    assert not project.dist.root.exists()


def test_options_that_the_pinned_vllm_does_not_know_are_told_with_their_lines(
    project: Project,
) -> None:
    project.catalogue(
        "  tiny:\n    weights: {folder: ./tiny}\n"
        "    args:\n      enforce-eagre: true\n      enforce-eager: true\n      nonsense: 1\n"
    )
    done = project.build("--output", "none")
    assert done.code == 3
    assert "`enforce-eagre` (models.yaml:8:7)" in done.err
    assert "did you mean `--enforce-eager`" in done.err
    assert "`nonsense` (models.yaml:10:7)" in done.err
    assert not (project.root / "models.lock").exists()


def test_what_a_verb_imports_is_compiled_once_and_not_in_every_call(
    project: Project, folder: Path
) -> None:
    """invoke turns that off for whatever is imported after it has read its words."""
    place = folder / "compiled"
    done = project.run_cold("list", PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(place))
    assert done.code == 0
    assert [*place.rglob("ovenproof/core/catalogue.*.pyc")]
    place = folder / "nothing"
    done = project.run_cold("list", PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=str(place))
    assert done.code == 0
    assert not place.exists()
