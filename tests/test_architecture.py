"""Dependencies point one way; what is pure stays pure."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ovenproof"
LEVELS = (
    {"errors", "events"},
    {"core"},
    {"store"},
    {"engine", "net"},
    {"registry", "wheels", "hub"},
    {"sources", "bases", "outputs", "inside", "smoke", "prove", "deploy", "report"},
    {"identity", "machine", "project", "stack"},
    {"shape"},
    {"supply"},
    {"runners", "spread"},
    {"oven"},
    {"origins"},
    {"resolve_flavour"},
    {"resolve"},
    {"build"},
    {"tasks"},
)
"""From the ground up: a module imports from lower levels, and from its own package."""
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
PURE_MAY_IMPORT = {
    "__future__", "abc", "ast", "bisect", "collections", "contextlib", "copy", "dataclasses",
    "decimal", "difflib", "enum", "fnmatch", "functools", "hashlib", "itertools", "json", "math",
    "operator", "pathlib", "re", "string", "struct", "textwrap", "types", "typing", "unicodedata",
    "packaging", "pydantic", "pydantic_core", "yaml", "ovenproof",
}  # fmt: skip
EFFECTS = {
    "open", "read_bytes", "read_text", "write_bytes", "write_text", "stat", "exists", "is_file",
    "is_dir", "iterdir", "glob", "rglob", "unlink", "mkdir", "rename", "replace_with", "touch",
    "print", "input", "expanduser", "cwd", "home", "resolve", "absolute",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    """`core` for core/digest.py, `build` for build.py."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def parts_imported(path: Path) -> set[str]:
    """The parts of this package that a file imports."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("ovenproof.")}
    return names & LEVEL.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_from_lower_levels_only(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    assert own in LEVEL, f"{own} has no level yet: give it one in LEVELS"
    for other in parts_imported(path) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{own} may not import {other}"


@pytest.mark.parametrize(
    "path", [p for p in modules() if part(p) == "core"], ids=lambda path: str(path.name)
)
def test_core_is_pure(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert roots <= PURE_MAY_IMPORT
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert name not in EFFECTS, f"{path.name}:{node.lineno} calls {name}()"


@pytest.mark.parametrize(
    "path", [p for p in modules() if part(p) != "tasks"], ids=lambda path: str(path.name)
)
def test_environment_and_clock_belong_to_the_tasks(path: Path) -> None:
    if part(path) == "inside":  # runs in a container, where the environment is its input
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            assert name not in {"os.environ", "os.getenv", "time.time", "sys.exit", "sys.argv"}


def test_no_module_is_named_after_nothing() -> None:
    forbidden = {"utils", "common", "helpers", "manager", "misc"}
    assert not [path for path in modules() if path.stem in forbidden]
