"""The workflows, read by two programs that know what goes wrong in them; each can be wrong itself.

So each is shown faults first that it has to find.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ovenproof.errors import OvenproofError
from ovenproof.tasks import workflows

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
FILES = sorted((GITHUB / "workflows").glob("*.yml"))
BODY = """\
name: bad
on: {{issues: {{}}}}
permissions: {{}}
jobs:
  one:
    runs-on: ubuntu-latest
    {key}: 5
    steps:
      - uses: actions/checkout@{version}
        with:
          persist-credentials: false
      - run: {run}
"""
SHA = "de0fac2e4500dabe0009e67214ff5f5447ce83dd"
FINE = {"key": "timeout-minutes", "version": f"{SHA} # v6.0.2", "run": "true"}


def zizmor(*places: Path) -> "subprocess.CompletedProcess[str]":
    """Offline, with everything that it can find, whether it is sure or not."""
    program = Path(sys.executable).with_name("zizmor")
    options = ("--offline", "--persona", "auditor", "--strict-collection", "--no-progress")
    return _run(program, *options, "--no-config", *places)


def actionlint(*places: Path) -> "subprocess.CompletedProcess[str]":
    try:
        folder = workflows.actionlint(ROOT)
    except OvenproofError as error:
        pytest.skip(error.what)
    return _run("node", Path(__file__).with_name("actionlint.mjs"), folder, *places)


def _run(*command: object) -> "subprocess.CompletedProcess[str]":
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    return folder / "bad.yml"


def test_zizmor_finds_nothing_in_our_workflows() -> None:
    done = zizmor(GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing_in_our_workflows() -> None:
    done = actionlint(*FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ({"version": "v6"}, "unpinned-uses"),
        ({"run": "echo ${{ github.event.issue.title }}"}, "template-injection"),
    ],
    ids=["an action by its tag", "words of a stranger in a shell"],
)
def test_zizmor_refuses_a_planted_fault(bad: Path, fault: dict[str, str], found: str) -> None:
    bad.write_text(BODY.format(**FINE))
    assert found not in zizmor(bad).stdout
    bad.write_text(BODY.format(**FINE | fault))
    done = zizmor(bad)
    assert done.returncode != 0
    assert found in done.stdout


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ({"key": "timeout-minuts"}, 'unexpected key "timeout-minuts"'),
        ({"run": "echo ${{ steps.nobody.outputs.x }}"}, 'property "nobody" is not defined'),
    ],
    ids=["a key that there is not", "a step that there is not"],
)
def test_actionlint_refuses_a_planted_fault(bad: Path, fault: dict[str, str], found: str) -> None:
    bad.write_text(BODY.format(**FINE))
    assert actionlint(bad).returncode == 0
    bad.write_text(BODY.format(**FINE | fault))
    done = actionlint(bad)
    assert done.returncode == 1
    assert found in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_expression_stands_in_a_shell(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert runs
    assert not [run for run in runs if "${{" in run]


def test_a_pull_request_sees_no_secret_and_may_change_nothing() -> None:
    text = (GITHUB / "workflows" / "ci.yml").read_text()
    ci = yaml.load(text, yaml.BaseLoader)  # `on` is true to others
    assert "pull_request" in ci["on"]
    assert "pull_request_target" not in ci["on"]
    assert "secrets" not in re.sub(r"(?m)#.*$", "", text)
    assert ci["permissions"] == {}
    assert [job["permissions"] for job in ci["jobs"].values()] == [{"contents": "read"}]


def test_only_the_jobs_that_publish_may_write() -> None:
    release = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())
    assert release["permissions"] == {}
    may = {name: job["permissions"] for name, job in release["jobs"].items()}
    assert may == {
        "plan": {"contents": "read"},
        "image": {"contents": "read", "packages": "write"},
        "note": {"contents": "write"},
    }


def test_the_lock_of_the_npm_package_names_no_registry() -> None:
    text = Path(__file__).with_name("package-lock.json").read_text()
    assert "integrity" in text
    assert "resolved" not in text
    assert "://" not in text
