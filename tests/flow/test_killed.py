"""Runs that are cut short, and runs that meet: the next one succeeds, with the same digest."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.flow.conftest import MakeProject, Project

WARM = """\
import encodings.cp437, importlib, os, pathlib, pkgutil, signal, sys
import ovenproof
for found in pkgutil.walk_packages(ovenproof.__path__, "ovenproof."):
    importlib.import_module(found.name)
from ovenproof.tasks import main
sys.argv[0] = "ovenproof"
"""
CUT_SHORT = """
WRITES = {"fcntl.flock", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
left = 0

def count(event, arguments):
    global left
    if event in WRITES:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def until_it_ends():
    global left
    for moment in range(1, 1000):
        child = os.fork()
        if child == 0:
            left = moment
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.addaudithook(count)
            main()
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            print("killed", moment - 1, "times")
            return

until_it_ends()
for name in ("models.lock", "out/image.tar", "dist/oci-layout", "dist/index.json"):
    pathlib.Path(name).unlink(missing_ok=True)
until_it_ends()
"""
"""Runs a command again and again, and kills it at its first write, its second, its third, …

What one run has finished the next does not do again, so it comes to its end before every write was
the last one. The second time, only what is written last is still to be done.
"""
AT_ONCE = """
start, go = os.pipe()
children = []
for number in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        os.close(go)
        os.read(start, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.argv += ["--model", f"m{number}"]
        main()
        os._exit(0)
os.close(go)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""
"""Builds m0 to m7, all in the same moment."""


@pytest.mark.parametrize(
    "words",
    [("lock",), ("build",), ("build", "--output", "archive:out/image.tar")],
    ids=" ".join,
)
def test_killed_at_each_of_its_writes_it_goes_on_every_time(
    make_project: MakeProject, words: tuple[str, ...]
) -> None:
    calm, project = make_project("calm"), make_project("killed")
    program = [sys.executable, "-c", WARM + CUT_SHORT]
    done = project.run_cold(*words, "--model", "tiny", program=program)
    assert done.code == 0, done
    times = [int(line.split()[1]) for line in done.out.splitlines() if line.startswith("killed")]
    assert len(times) == 2
    assert min(times) > 3
    digest = calm.build("--output", "archive:out/image.tar").digest()
    assert project.build("--output", "none").digest() == digest
    assert (project.root / "models.lock").read_bytes() == (calm.root / "models.lock").read_bytes()
    if words == ("build",):
        assert project.dist.check().images() == {"tiny": digest}
    if "archive:out/image.tar" in words:
        archives = [(one.root / "out/image.tar").read_bytes() for one in (project, calm)]
        assert archives[0] == archives[1]
    project.check_store()
    assert not project.leftovers()


def kill_at(process: subprocess.Popen[str], line: str, number: int) -> None:
    """Send a signal as soon as the process has told of that."""
    assert process.stderr is not None
    while line not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)


def test_killed_while_it_reads_or_writes_a_layer_nothing_of_it_is_believed(
    project: Project,
) -> None:
    process = project.start("build", "--model", "tiny")
    kill_at(process, "model-00001", signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert project.run("lock", "--model", "tiny").code == 0
    for line in ("model-00001", "vllm-tiny", "launcher"):
        process = project.start("build", "--model", "tiny")
        kill_at(process, line, signal.SIGKILL)
        process.communicate()
    done = project.build()
    assert project.dist.check().images() == {"tiny": done.digest()}
    project.check_store()
    assert not project.leftovers()
    project.forget()
    shutil.rmtree(project.cache / "seen")
    assert project.build("--output", "none").digest() == done.digest()


def test_ctrl_c_is_one_sentence_and_does_not_wait_for_the_file(project: Project) -> None:
    huge = project.root / "tiny/model-00001-of-00002.safetensors"
    header = huge.open("rb").read(8)
    size = 64 << 30
    text = f'{{"big":{{"dtype":"BF16","shape":[{size // 2}],"data_offsets":[0,{size}]}}}}'
    with huge.open("wb") as stream:
        stream.write(len(text).to_bytes(len(header), "little") + text.encode())
        stream.truncate(8 + len(text) + size)
    process = project.start("lock", "--model", "tiny")
    kill_at(process, huge.name, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    (sentence,) = [line for line in err.splitlines() if "interrupted" in line]
    assert "the same command goes on from here" in sentence
    assert "Traceback" not in err
    assert not (project.root / "models.lock").exists()


def test_ctrl_c_while_a_layout_is_written_leaves_no_draft(project: Project) -> None:
    project.build("--output", "none")
    process = project.start("build", "--model", "tiny")
    kill_at(process, "model-00001", signal.SIGINT)
    _out, err = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in err
    assert not project.leftovers()
    assert project.build().code == 0
    project.dist.check()


def test_builds_at_once_lose_nothing_of_each_other(project: Project) -> None:
    names = [f"m{number}" for number in range(8)]
    project.catalogue(
        "".join(
            f"  {name}:\n    weights: {{folder: ./tiny}}\n    port: {9000 + number}\n"
            for number, name in enumerate(names)
        )
    )
    cold = [project.start("build", "--model", name) for name in ("m0", "m0", "m1")]
    for process in cold:
        _out, err = process.communicate()
        assert process.returncode == 0, err
    assert project.dist.check().images().keys() == {"m0", "m1"}
    (project.root / "models.lock").unlink()
    done = project.run_cold("build", program=[sys.executable, "-c", WARM + AT_ONCE])
    assert done.code == 0, done
    assert project.dist.check().images().keys() == {*names}
    assert project.lock()["models"].keys() == {*names}
    project.check_store()
    assert not project.leftovers()
    again = project.run("build", "--all", "--json").json()
    assert {item["name"]: item["digest"] for item in again} == project.dist.images()
    assert {item["moved"] for item in again} == {0}
