"""The modules of a wheel as syntax trees, and what the annotations of its classes mean."""

import ast
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovenproof import errors


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One module: what its names are bound to at run time (not what a type checker sees)."""

    name: str
    functions: Mapping[str, ast.FunctionDef]
    classes: Mapping[str, ast.ClassDef]
    aliases: Mapping[str, ast.expr]
    imports: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class and the module that its names are to be read in."""

    module: Module
    node: ast.ClassDef

    @property
    def methods(self) -> dict[str, ast.FunctionDef]:
        return {part.name: part for part in self.node.body if isinstance(part, ast.FunctionDef)}

    @property
    def is_dataclass(self) -> bool:
        """vLLM's `@config` makes a dataclass too."""
        return any(_word(part) in ("config", "dataclass") for part in self.node.decorator_list)


class Source:
    """The package `vllm` in an open wheel. Modules are parsed when they are asked for."""

    def __init__(self, wheel: Path, archive: zipfile.ZipFile) -> None:
        self.wheel = wheel
        self._archive = archive
        self._names = frozenset(archive.namelist())
        self._modules: dict[str, Module | None] = {}

    def modules(self) -> Iterator[str]:
        """The names of all modules, sorted."""
        for name in sorted(self._names):
            if name.startswith("vllm/") and name.endswith(".py"):
                yield name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def module(self, name: str) -> Module | None:
        """One module, or None where the wheel has none of that name."""
        if name not in self._modules:
            self._modules[name] = self._parse(name)
        return self._modules[name]

    def _parse(self, name: str) -> Module | None:
        base = name.replace(".", "/")
        for path, is_package in ((f"{base}.py", False), (f"{base}/__init__.py", True)):
            if path in self._names:
                package = name if is_package else name.rpartition(".")[0]
                try:
                    tree = ast.parse(self._archive.read(path))
                except (SyntaxError, ValueError, zipfile.BadZipFile) as fault:
                    raise errors.WrongBytes(
                        "a module of a wheel cannot be read", subject=path, where=self.wheel
                    ) from fault
                return _module(name, package, tree)
        return None

    def find_class(self, module: Module, name: str) -> Class | None:
        """The class that a name of a module means, through imports within the package."""
        found = self._find(module, name)
        return found if isinstance(found, Class) else None

    def _find(self, module: Module, name: str) -> "Class | tuple[Module, ast.expr] | None":
        for _ in range(20):  # imports that run in a circle end here
            if name in module.classes:
                return Class(module, module.classes[name])
            if name in module.aliases:
                return module, module.aliases[name]
            place, name = module.imports.get(name, ("", name))
            found = self.module(place) if place.split(".")[0] == "vllm" else None
            if found is None:
                return None
            module = found
        return None

    def lineage(self, of: Class) -> tuple[Class, ...]:
        """A class and those above it: enough for configuration classes, which inherit singly."""
        above = (
            base
            for node in of.node.bases
            if isinstance(node, ast.Name) and (base := self.find_class(of.module, node.id))
        )
        return (of, *(found for base in above for found in self.lineage(base)))

    def kinds(self, module: Module, node: ast.expr) -> frozenset[str]:
        """The alternatives of an annotation: names of builtin types, `Literal`, `dataclass`, …"""
        match node:
            case ast.Constant(value=None):
                return frozenset({"None"})
            case ast.Constant(value=str() as text):
                return self.kinds(module, ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.kinds(module, left) | self.kinds(module, right)
            case ast.Subscript(value=base, slice=inner):
                return self._subscript(module, _word(base), inner)
            case ast.Name(id=name):
                return self._name(module, name)
        return frozenset({"other"})

    def _subscript(self, module: Module, base: str, inner: ast.expr) -> frozenset[str]:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        match base:
            case "Optional":
                return self.kinds(module, inner) | {"None"}
            case "Union":
                return frozenset().union(*(self.kinds(module, part) for part in parts))
            case "Annotated" | "SkipValidation":
                return self.kinds(module, parts[0])
        return frozenset({base.lower() if base in ("List", "Tuple", "Set", "Dict") else base})

    def _name(self, module: Module, name: str) -> frozenset[str]:
        match self._find(module, name):
            case Class() as found:
                return frozenset({"dataclass" if found.is_dataclass else "other"})
            case (Module() as where, node):
                return self.kinds(where, node)
        return frozenset({name})


@contextmanager
def open_source(wheel: Path) -> Iterator[Source]:
    """A wheel, opened to be read. Raises WrongBytes for a file that is no wheel."""
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as fault:
        raise errors.WrongBytes("not a wheel", subject=wheel.name, got=fault) from fault
    with archive:
        yield Source(wheel, archive)


def field_takes(source: Source, of: Class) -> dict[str, str]:
    """For each field of a dataclass what its option takes: switch, one, some, maybe."""
    fields: dict[str, str] = {}
    for owner in reversed(source.lineage(of)):
        for part in owner.node.body:
            match part:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    kinds = source.kinds(owner.module, annotation)
                    if not kinds & {"ClassVar", "InitVar"}:
                        fields[name] = _takes(kinds)
    return fields


def _takes(kinds: frozenset[str]) -> str:
    """vLLM's own order of cases, in `engine/arg_utils.py`."""
    if "dataclass" in kinds:
        return "one"
    if kinds == {"bool", "str", "None"}:
        return "maybe"
    if "bool" in kinds:
        return "switch"
    if "Literal" in kinds:
        return "one"
    return "some" if kinds & {"tuple", "list", "set"} else "one"


def _word(node: ast.expr) -> str:
    """The last word of `a.b.c`, `c` or `c(…)`."""
    match node:
        case ast.Call(func=inner):
            return _word(inner)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _module(name: str, package: str, tree: ast.Module) -> Module:
    functions: dict[str, ast.FunctionDef] = {}
    classes: dict[str, ast.ClassDef] = {}
    aliases: dict[str, ast.expr] = {}
    imports: dict[str, tuple[str, str]] = {}
    for part in _at_import(tree.body):
        match part:
            case ast.FunctionDef():
                functions[part.name] = part
            case ast.ClassDef():
                classes[part.name] = part
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                aliases[target] = value
            case ast.AnnAssign(target=ast.Name(id=target), value=value) if value is not None:
                aliases[target] = value
            case ast.ImportFrom(module=place, names=names, level=level):
                where = place or ""
                if level:
                    parents = package.split(".")[: len(package.split(".")) - level + 1]
                    where = ".".join([*parents, *([place] if place else [])])
                imports |= {item.asname or item.name: (where, item.name) for item in names}
    return Module(name, functions, classes, aliases, imports)


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import: of `if TYPE_CHECKING` the other branch."""
    for part in body:
        match part:
            case ast.If(test=test, body=then, orelse=orelse):
                if _word(test) != "TYPE_CHECKING":
                    yield from _at_import(then)
                yield from _at_import(orelse)
            case ast.Try(body=then, handlers=handlers):
                yield from _at_import(then)
                for handler in handlers:
                    yield from _at_import(handler.body)
            case _:
                yield part
