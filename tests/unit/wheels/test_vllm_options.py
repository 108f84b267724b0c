"""A small vLLM, written in the manner of the real one, read without running it."""

import argparse
import zipfile
from pathlib import Path

import pytest

from ovenproof.errors import LockAgain, WrongBytes
from ovenproof.wheels.vllm_options import HELP, Option, options

CLI = """
raise RuntimeError("nobody may run this")
from vllm.config import FrontConfig as Front
from vllm.engine.arg_utils import Args, get_kwargs
from .names import Level

class Base:
    verbose: bool = False
    middleware: list[str] | None = None
    origins: list[str] = []
    level: Level = 0
    hidden: ClassVar[int] = 1

    @classmethod
    def customize(cls, kwargs):
        kwargs["middleware"]["action"] = "append"
        del kwargs["middleware"]["nargs"]
        return kwargs

    @classmethod
    def add_cli_args(cls, parser):
        kwargs = get_kwargs(cls)
        kwargs = cls.customize(kwargs)
        group = parser.add_argument_group(title="front")
        for key, value in kwargs.items():
            flags = value.pop("flags", [])
            group.add_argument(*flags, f"--{key.replace('_', '-')}", **value)
        return parser

class FrontArgs(Base):
    api_key: list[str] | None = None

    @classmethod
    def customize(cls, kwargs):
        kwargs = super().customize(kwargs)
        del kwargs["origins"]["nargs"]
        kwargs["level"]["flags"] = ["-l"]
        return kwargs

def make_arg_parser(parser):
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--headless", action="store_true", default=False)
    parser = FrontArgs.add_cli_args(parser)
    parser = Args.add_cli_args(parser)
    return parser
"""
ARGS = '''
from typing import TYPE_CHECKING, Literal
from vllm.config import Config, Inner
if TYPE_CHECKING:
    from vllm.nowhere import Loose
else:
    Loose = str

class Args:
    @staticmethod
    def add_cli_args(parser):
        """Options of the engine."""
        kwargs = get_kwargs(Config)
        if not sys.argv:
            parser.add_argument("--size", "-s", "-sz", **kwargs["size"])
        parser.add_argument("--flag", "-f", **{**kwargs["flag"], "default": None})
        parser.add_argument("--tags", **kwargs["tags"])
        parser.add_argument("--pair", **kwargs["pair"])
        parser.add_argument("--token", **kwargs["token"])
        parser.add_argument("--inner", **kwargs["inner"])
        parser.add_argument("--inner-or-flag", **kwargs["inner_or_flag"])
        parser.add_argument("--words", **kwargs["words"])
        late: dict = get_kwargs(Config)["quoted"]
        late["type"] = str
        parser.add_argument("--quoted", **late)
        parser.add_argument("--lit", type=str, choices=["a"], dest="lit")
        parser.add_argument("--on", action=argparse.BooleanOptionalAction, default=None)
        return parser
'''
CONFIG = """
from .types import Tags, config
from vllm.engine.arg_utils import Loose

@config
class Inner:
    a: int = 1

class Parent:
    size: int | None = None

@config(frozen=True)
class Config(Parent):
    flag: bool | None = None
    tags: Tags | None = None
    pair: tuple[int, int] = (1, 2)
    token: bool | str | None = None
    inner: Inner | None = None
    inner_or_flag: Inner | bool = True
    words: Literal["a", "b"] | list[str] = "a"
    quoted: "Loose | None" = None
"""
MODULES = {
    "vllm/entrypoints/launchers/cli_args.py": CLI,
    "vllm/entrypoints/launchers/names.py": "Level = Literal[1, 2]",
    "vllm/engine/arg_utils.py": ARGS,
    "vllm/config/__init__.py": CONFIG + "\nclass FrontConfig: pass\n",
    "vllm/config/types.py": "Tags = set[str]\n",
}
EXPECTED = {
    Option(names=("--headless",), takes="nothing"),
    Option(names=("--verbose", "--no-verbose"), takes="nothing"),
    Option(names=("--middleware",), takes="one", repeats=True),
    Option(names=("--origins",), takes="one"),
    Option(names=("-l", "--level"), takes="one"),
    Option(names=("--api-key",), takes="some"),
    Option(names=("--size", "-s", "-sz"), takes="one"),
    Option(names=("--flag", "-f", "--no-flag"), takes="nothing"),
    Option(names=("--tags",), takes="some"),
    Option(names=("--pair",), takes="some"),
    Option(names=("--token",), takes="maybe"),
    Option(names=("--inner",), takes="one"),
    Option(names=("--inner-or-flag",), takes="one"),
    Option(names=("--words",), takes="one"),
    Option(names=("--quoted",), takes="one"),
    Option(names=("--lit",), takes="one"),
    Option(names=("--on", "--no-on"), takes="nothing"),
    HELP,
}


def wheel(folder: Path, **changes: tuple[str, str]) -> Path:
    """The small vLLM as a wheel; `cli=(old, new)` changes the text of one module."""
    path = folder / "vllm-1-py3-none-any.whl"
    places = {"cli": "vllm/entrypoints/launchers/cli_args.py", "args": "vllm/engine/arg_utils.py"}
    modules = dict(MODULES)
    for name, (old, new) in changes.items():
        assert old in modules[places[name]]
        modules[places[name]] = modules[places[name]].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in modules.items():
            archive.writestr(name, text)
    return path


def test_every_option_is_found_with_its_spellings_and_what_it_takes(tmp_path: Path) -> None:
    found = options(wheel(tmp_path))
    assert set(found) == EXPECTED
    assert list(found) == sorted(found, key=lambda option: option.names)


def test_a_switch_has_the_negations_that_argparse_gives_it(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    action = parser.add_argument("--flag", "-f", action=argparse.BooleanOptionalAction)
    (found,) = [option for option in options(wheel(tmp_path)) if "--flag" in option.names]
    assert set(found.names) == set(action.option_strings)


def test_the_folder_of_cli_args_may_change(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    moved = tmp_path / "moved.whl"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(moved, "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("/launchers/", "/common/"), old.read(name))
    assert options(moved) == options(path)


@pytest.mark.parametrize(
    ("module", "old", "new", "said"),
    [
        ("cli", "def make_arg_parser", "def other", "defines make_arg_parser"),
        ("cli", "= Args.add_cli_args", "= Elsewhere.add_cli_args", "unknown class"),
        ("cli", "get_kwargs(cls)", "surprise(cls)", "loop over something unknown"),
        ("args", '"--tags"', "TAGS", "not spelled out"),
        ("args", '"--tags", **kwargs["tags"]', '"--tags", **other', "not spelled out"),
        ("args", '"--tags"', '"--pair"', "defined twice: --pair"),
        ("args", "get_kwargs(Config)\n", "get_kwargs(Missing)\n", "no class Missing"),
    ],
)
def test_a_vllm_that_is_written_otherwise_is_an_error_and_never_fewer_options(
    tmp_path: Path, module: str, old: str, new: str, said: str
) -> None:
    path = wheel(tmp_path, **{module: (old, new)})
    with pytest.raises(LockAgain) as caught:
        options(path)
    assert said in str(caught.value)
    assert path.name in str(caught.value)


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vllm.whl"
    path.write_bytes(b"<html>")
    with pytest.raises(WrongBytes, match="not a wheel"):
        options(path)


def test_a_module_that_is_no_python_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path, args=("class Args:", "class Args"))
    with pytest.raises(WrongBytes, match="arg_utils"):
        options(path)
