import json

import pytest

from ovenproof.errors import BadFile
from ovenproof.inside import launch
from ovenproof.inside.environment import ENTRYPOINT, HOME, image_environment
from ovenproof.inside.serve_file import serve_json
from ovenproof.wheels.vllm_options import Option

OPTIONS = (
    Option(names=("--model",), takes="one"),
    Option(names=("--port",), takes="one"),
    Option(names=("--api-key",), takes="some"),
)


def test_the_file_is_canonical() -> None:
    data = serve_json(
        arguments=("--model", "/model", "--port", "8000"), options=OPTIONS, program=("p",)
    )
    assert json.loads(data) == {
        "program": ["p"],
        "arguments": ["--model", "/model", "--port", "8000"],
        "options": [
            ["one", False, ["--model"]],
            ["one", False, ["--port"]],
            ["some", False, ["--api-key"]],
        ],
        "model_path": "/model",
        "needs_gpu": False,
        "shm_bytes": 167772160,
    }
    assert b" " not in data
    assert data == serve_json(
        arguments=["--model", "/model", "--port", "8000"], options=list(OPTIONS), program=["p"]
    )


@pytest.mark.parametrize("arguments", [("--prot", "1"), ("--port",), ("--port", "1", "2")])
def test_arguments_that_every_container_would_refuse_are_not_baked(
    arguments: tuple[str, ...],
) -> None:
    with pytest.raises(BadFile, match="would not take"):
        serve_json(arguments=arguments, options=OPTIONS)


def test_a_secret_is_not_baked_and_not_shown() -> None:
    with pytest.raises(BadFile, match="secret") as caught:
        serve_json(arguments=("--api-key", "hush"), options=OPTIONS)
    assert "hush" not in str(caught.value)


def test_the_launchers_own_option_is_not_one_of_vllms() -> None:
    taken = Option(names=(launch.PRINT,), takes="nothing")
    with pytest.raises(ValueError, match="another name"):
        serve_json(arguments=(), options=(*OPTIONS, taken))


def test_the_environment_names_no_unknown_vllm_variable_and_no_secret() -> None:
    variables = image_environment()
    assert {name for name in variables if name.startswith("VLLM_")} == {"VLLM_NO_USAGE_STATS"}
    assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"
    assert variables["HOME"] == HOME
    assert "NVIDIA_VISIBLE_DEVICES" in image_environment(gpu=True)


def test_the_entrypoint_is_isolated_from_the_users_python_variables() -> None:
    assert ENTRYPOINT[1:] == ("-IS", "/opt/ovenproof/launch.py")
