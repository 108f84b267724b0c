"""The launcher as a container starts it: a process of its own, with a file beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovenproof.inside import launcher
from ovenproof.inside.serve_file import serve_json
from ovenproof.wheels.vllm_options import HELP, Option

OPTIONS = (
    HELP,
    Option(names=("--model",), takes="one"),
    Option(names=("--config",), takes="one"),
    Option(names=("--port",), takes="one"),
    Option(names=("--seed",), takes="one"),
    Option(names=("--max-model-len",), takes="one"),
    Option(names=("--tensor-parallel-size", "-tp"), takes="one"),
    Option(names=("--optimization-level",), takes="one"),
    Option(names=("--compilation-config", "-cc"), takes="one"),
    Option(names=("--enforce-eager", "--no-enforce-eager"), takes="nothing"),
    Option(names=("--served-model-name",), takes="some"),
    Option(names=("--api-key",), takes="some"),
    Option(names=("--hf-token",), takes="maybe"),
    Option(names=("--middleware",), takes="one", repeats=True),
)
FAKE = """
import json, os, sys
print(json.dumps({"words": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}))
"""


@dataclass(frozen=True)
class Image:
    """A folder that stands for /opt/ovenproof, with a model beside it."""

    root: Path
    home: Path

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-IS", str(self.root / "launch.py"), *words],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def words(self, *words: str, **environment: str) -> list[str]:
        """What the program was started with, without the model."""
        found = self.run(*words, **environment)
        assert found.returncode == 0, found.stderr
        said: list[str] = json.loads(found.stdout)["words"]
        assert said[:2] == ["--model", str(self.root / "model")]
        return said[2:]

    def environment(self, *words: str, **environment: str) -> dict[str, str]:
        found = self.run(*words, **environment)
        assert found.returncode == 0, found.stderr
        said: dict[str, str] = json.loads(found.stdout)["environment"]
        return said

    def refusal(self, code: int, *words: str, **environment: str) -> str:
        """The one sentence of a start that was refused."""
        found = self.run(*words, **environment)
        assert (found.returncode, found.stdout) == (code, "")
        assert found.stderr.count("\n") == 1
        assert found.stderr.startswith("ovenproof: ")
        return found.stderr.removeprefix("ovenproof: ").strip()


def bake(
    folder: Path,
    *arguments: str,
    shm_bytes: int = 0,
    needs_gpu: bool = False,
    program: Sequence[str] = (),
) -> Image:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "fake.py").write_text(FAKE)
    (folder / "launch.py").write_bytes(launcher())
    (folder / "serve.json").write_bytes(
        serve_json(
            arguments=("--model", str(folder / "model"), *arguments),
            options=OPTIONS,
            program=program or (sys.executable, str(folder / "fake.py")),
            model_path=str(folder / "model"),
            needs_gpu=needs_gpu,
            shm_bytes=shm_bytes,
        )
    )
    return Image(folder, folder / "home")


def test_what_is_baked_reaches_vllm_unchanged(tmp_path: Path) -> None:
    image = bake(tmp_path, "--port", "8000", "--enforce-eager", "--served-model-name", "a", "b")
    assert image.words() == [
        *("--port", "8000", "--enforce-eager"),
        *("--served-model-name", "a", "b"),
    ]


def test_the_program_takes_the_place_of_the_launcher(tmp_path: Path) -> None:
    image = bake(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-IS", str(tmp_path / "launch.py")],
        env={"HOME": str(image.home)},
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate()
    assert json.loads(output)["pid"] == process.pid


@pytest.mark.parametrize(
    ("baked", "given", "result"),
    [
        ("--port 1 --seed 3", "--port 2", "--seed 3 --port 2"),
        ("--port 1", "--port=2", "--port 2"),
        ("--tensor-parallel-size 1", "-tp 2", "-tp 2"),
        ("-tp 1", "--tensor-parallel-size=2", "--tensor-parallel-size 2"),
        ("-tp 1", "-tp=2", "-tp 2"),
        ("--max-model-len 9", "--max_model_len 8", "--max-model-len 8"),
        ("--enforce-eager", "--no-enforce-eager", "--no-enforce-eager"),
        ("--served-model-name a b", "--served-model-name c", "--served-model-name c"),
        ("--served-model-name a", "--served-model-name b c", "--served-model-name b c"),
        ("--optimization-level 0", "-O3", "--optimization-level 3"),
        ("--optimization-level 0", "-O=2", "--optimization-level 2"),
        ("--optimization-level 0", "-O 1", "--optimization-level 1"),
        ("--middleware a", "--middleware b", "--middleware a --middleware b"),
        ("--seed 1", "--seed -1", "--seed=-1"),
        ("--port 1", "--hf-token --seed 2", "--port 1 --hf-token --seed 2"),
        ("--port 1", "--config=f.yaml", "--port 1 --config f.yaml"),
    ],
)
def test_an_option_of_the_user_replaces_the_baked_one(
    tmp_path: Path, baked: str, given: str, result: str
) -> None:
    assert bake(tmp_path, *baked.split()).words(*given.split()) == result.split()


@pytest.mark.parametrize(
    ("baked", "given", "result"),
    [
        ('{"a": 1, "b": {"c": 2}}', ["-cc.a=5"], {"b.c": "2", "a": "5"}),
        ('{"a": 1, "b": {"c": 2}}', ["--compilation-config.b.c", "5"], {"a": "1", "b.c": "5"}),
        ('{"a": "x", "b": {"c": 2}}', ["-cc.b", "5"], {"a": '"x"', "b": "5"}),
        ('{"a": [1]}', ["-cc.a+", "2"], {"a": "[1]", "a+": "2"}),
        ('{"a": {"no.key": 1}}', ["-cc.b", "2"], {"a": '{"no.key": 1}', "b": "2"}),
    ],
)
def test_a_dotted_option_changes_one_key_of_baked_json(
    tmp_path: Path, baked: str, given: list[str], result: dict[str, str]
) -> None:
    words = bake(tmp_path, "--compilation-config", baked).words(*given)
    spelled = [word for key, value in result.items() for word in (key, value)]
    found = [word.removeprefix("--compilation-config.") for word in words]
    assert [part for word in found for part in word.split("=", 1)] == spelled


def test_whole_json_replaces_whole_json(tmp_path: Path) -> None:
    words = bake(tmp_path, "-cc", '{"a": 1}').words("-cc", '{"b": 2}')
    assert words == ["-cc", '{"b": 2}']


def test_json_that_cannot_be_taken_apart_is_not_forgotten_in_silence(tmp_path: Path) -> None:
    image = bake(tmp_path, "-cc", '{"a": 80m}')
    assert "`--compilation-config` cannot be changed in part" in image.refusal(2, "-cc.b", "1")


def test_an_unknown_option_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    sentence = bake(tmp_path).refusal(2, "--max-modl-len", "1024")
    assert sentence.startswith(
        "vLLM has no option `--max-modl-len`; did you mean `--max-model-len`"
    )


@pytest.mark.parametrize("prefix", ["--max-model", "--p", "--enforce", "--served-model-nam", "-t"])
def test_the_beginning_of_an_option_is_no_option(tmp_path: Path, prefix: str) -> None:
    assert f"no option `{prefix}`" in bake(tmp_path).refusal(2, prefix, "1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--port"], "`--port` needs a value"),
        (["--port", "--seed", "1"], "`--port` needs a value"),
        (["--served-model-name"], "`--served-model-name` needs a value"),
        (["--enforce-eager=true"], "`--enforce-eager` takes no value"),
        (["--enforce-eager", "true"], "after `--enforce-eager` comes a word"),
        (["--port", "1", "2"], "after `--port` comes a word"),
        (["--unknown=1"], "no option `--unknown`"),
        (["--", "--port", "1"], "no option `--`"),
        (["-O"], "`--optimization-level` needs a value"),
    ],
)
def test_what_argparse_would_misread_is_refused(
    tmp_path: Path, given: list[str], sentence: str
) -> None:
    assert sentence in bake(tmp_path).refusal(2, *given)


def test_secrets_reach_vllm_and_are_never_shown(tmp_path: Path) -> None:
    image = bake(tmp_path)
    assert image.words("--api-key", "hush", "--hf-token=whisper") == [
        *("--api-key", "hush"),
        *("--hf-token", "whisper"),
    ]
    shown = image.run("--print-command", "--api-key", "hush", "--hf-token=whisper").stdout
    refused = image.run("--api-key", "hush", "--hf-token", "whisper", "more").stderr
    assert "--api-key" in shown
    assert refused
    assert not any(secret in shown + refused for secret in ("hush", "whisper", "more"))


def test_print_command_prints_a_shell_line_and_starts_nothing(tmp_path: Path) -> None:
    image = bake(tmp_path, "-cc", '{"a": 1}', program=("/does/not/exist",))
    found = image.run("--print-command", "--port", "9", TMPDIR="/does/not/exist")
    assert found.returncode == 0
    assert found.stdout == (
        f"""/does/not/exist --model {tmp_path}/model -cc '{{"a": 1}}' --port 9\n"""
    )


def test_help_is_the_launchers_and_help_with_a_word_is_vllms(tmp_path: Path) -> None:
    image = bake(tmp_path, "--port", "8000", shm_bytes=1 << 60)
    assert "docker run IMAGE --help" in image.run("--help").stdout
    assert "--port 8000" in image.run("-h").stdout
    assert image.words("--help=all") == ["--port", "8000", "--help=all"]


def test_a_first_word_without_a_dash_is_a_program(tmp_path: Path) -> None:
    found = bake(tmp_path).run("sh", "-c", "echo $0-$1", "one", "two")
    assert (found.returncode, found.stdout) == (0, "one-two\n")


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "`serve` is neither an option" in bake(tmp_path).refusal(2, "serve")


def test_a_missing_model_directory_is_named(tmp_path: Path) -> None:
    image = bake(tmp_path)
    sentence = image.refusal(78, "--model", "/nowhere")
    assert sentence == "there is no model directory `/nowhere` in this container"


def test_a_model_directory_without_config_is_named(tmp_path: Path) -> None:
    image = bake(tmp_path)
    (tmp_path / "model" / "config.json").unlink()
    assert f"`{tmp_path}/model` has no config.json" in image.refusal(78)
    (tmp_path / "model" / "params.json").touch()
    assert image.words() == []


def test_a_model_of_the_hub_is_refused_while_the_hub_is_forbidden(tmp_path: Path) -> None:
    image = bake(tmp_path)
    assert "HF_HUB_OFFLINE=1" in image.refusal(78, "--model", "org/name", HF_HUB_OFFLINE="1")
    assert image.run("--model", "org/name").returncode == 0


def test_little_shared_memory_is_a_sentence_that_says_what_to_add(tmp_path: Path) -> None:
    sentence = bake(tmp_path, shm_bytes=1 << 60).refusal(78)
    assert sentence.startswith("/dev/shm has ")
    assert sentence.endswith("add `--shm-size 1g` or `--ipc host` to docker run")


@pytest.mark.skipif(
    any(name.startswith(("nvidia", "dxg")) for name in os.listdir("/dev")),  # noqa: PTH208
    reason="this machine has a GPU",
)
def test_a_missing_gpu_is_a_sentence_that_says_what_to_add(tmp_path: Path) -> None:
    sentence = bake(tmp_path, needs_gpu=True).refusal(78)
    assert "`--gpus all`" in sentence


def test_all_faults_of_a_container_are_told_at_once(tmp_path: Path) -> None:
    image = bake(tmp_path, shm_bytes=1 << 60)
    found = image.run("--model", "/nowhere")
    assert found.returncode == 78
    assert len(found.stderr.splitlines()) == 2


def test_a_home_that_is_missing_is_made(tmp_path: Path) -> None:
    image = bake(tmp_path)
    assert image.environment()["HOME"] == str(image.home)
    assert image.home.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_written_is_replaced_and_told(tmp_path: Path) -> None:
    image = bake(tmp_path)
    blocked = str(tmp_path / "fake.py" / "below-a-file")
    given = {"HOME": blocked, "VLLM_CACHE_ROOT": blocked, "TMPDIR": str(tmp_path)}
    found = image.run(**given)
    environment = json.loads(found.stdout)["environment"]
    for variable in ("HOME", "VLLM_CACHE_ROOT"):
        assert environment[variable].startswith(f"{tmp_path}/ovenproof-")
        assert Path(environment[variable]).is_dir()
        assert f"{variable} `{blocked}` is not writable" in found.stderr


def test_places_that_nobody_set_stay_below_home(tmp_path: Path) -> None:
    environment = bake(tmp_path).environment()
    assert not {"VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"} & set(
        environment
    )


def test_user_and_logname_are_there_for_any_uid(tmp_path: Path) -> None:
    image = bake(tmp_path)
    assert image.environment()["USER"] == f"uid{os.getuid()}"
    assert image.environment(LOGNAME="somebody")["LOGNAME"] == "somebody"


def test_a_port_that_kubernetes_injects_does_not_reach_vllm(tmp_path: Path) -> None:
    image = bake(tmp_path)
    assert "VLLM_PORT" not in image.environment(VLLM_PORT="tcp://10.0.0.1:8000")
    assert image.environment(VLLM_PORT="5000")["VLLM_PORT"] == "5000"


def test_python_variables_reach_vllm_but_not_the_launcher(tmp_path: Path) -> None:
    image = bake(tmp_path)
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "difflib.py").write_text("raise SystemExit('this is the difflib of PYTHONPATH')")
    assert "`--port`" in image.refusal(2, "--prot", PYTHONPATH=str(poison))
    assert image.environment(PYTHONPATH=str(poison))["PYTHONPATH"] == str(poison)


def test_a_program_that_cannot_be_started_is_a_sentence(tmp_path: Path) -> None:
    image = bake(tmp_path, program=("/does/not/exist",))
    assert image.refusal(78) == "`/does/not/exist` cannot be started: No such file or directory"


def test_the_users_config_file_is_told_that_it_comes_second(tmp_path: Path) -> None:
    found = bake(tmp_path).run("--config", "f.yaml")
    assert found.stderr == (
        "ovenproof: what is baked into this image wins over the file of `--config`\n"
    )
