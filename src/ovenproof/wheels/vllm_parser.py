"""Follows the functions that fill vLLM's argument parser, from `make_arg_parser` on.

It knows as much of Python as those functions use: assignments, branches (both are taken), the loop
over a table of fields, and calls from one class to another. What decides about an option and cannot
be understood is an error; nothing is skipped in silence.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ovenproof import errors
from ovenproof.wheels.vllm_source import Class, Module, Source, field_takes

Keywords: TypeAlias = dict[str, object]
"""What is known of the keyword arguments of one `add_argument`."""
Scope: TypeAlias = dict[str, object]
SWITCH = "BooleanOptionalAction"
"""argparse's action that adds `--no-…` to every `--…`."""


@dataclass(frozen=True, slots=True)
class Added:
    """One call of `add_argument`: the option's names and what is known of its keywords."""

    names: tuple[str, ...]
    keywords: Keywords


def added(source: Source) -> list[Added]:
    """The options that vLLM's server adds to its parser, in its order."""
    return _Follower(source).follow(_start(source))


def _start(source: Source) -> Module:
    """The module that defines `make_arg_parser`: its folder differs between versions."""
    places = (
        name
        for name in source.modules()
        if name.startswith("vllm.entrypoints.") and name.endswith(".cli_args")
    )
    for place in places:
        module = source.module(place)
        if module is not None and "make_arg_parser" in module.functions:
            return module
    raise outgrown(
        source.wheel.name, "no cli_args.py below vllm/entrypoints defines make_arg_parser"
    )


class _Follower:
    """Walks the functions that fill the parser, and keeps the options they add."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: list[Added] = []

    def follow(self, module: Module) -> list[Added]:
        self._run(module.functions["make_arg_parser"].body, _Frame(module, None, {}))
        return self._found

    def _run(self, body: Iterable[ast.stmt], frame: "_Frame") -> object:
        result: object = None
        for statement in body:
            match statement:
                case ast.Assign(targets=[target], value=value):
                    self._assign(target, self._value(value, frame), frame)
                case ast.AnnAssign(target=target, value=value) if value is not None:
                    self._assign(target, self._value(value, frame), frame)
                case ast.Delete(targets=targets):
                    for target in targets:
                        self._delete(target, frame)
                case ast.Expr(value=value):
                    self._value(value, frame)
                case ast.For():
                    self._loop(statement, frame)
                case ast.If(body=then) | ast.With(body=then) | ast.Try(body=then):
                    self._run(then, frame)
                    self._run(getattr(statement, "orelse", ()), frame)
                case ast.Return(value=value) if value is not None:
                    result = self._value(value, frame)
        return result

    def _assign(self, target: ast.expr, value: object, frame: "_Frame") -> None:
        match target:
            case ast.Name(id=name):
                frame.scope[name] = value
            case ast.Subscript(value=holder, slice=ast.Constant(value=str() as key)):
                keywords = self._value(holder, frame)
                if isinstance(keywords, dict):
                    keywords[key] = value

    def _delete(self, target: ast.expr, frame: "_Frame") -> None:
        match target:
            case ast.Subscript(value=holder, slice=ast.Constant(value=str() as key)):
                keywords = self._value(holder, frame)
                if isinstance(keywords, dict):
                    keywords.pop(key, None)

    def _loop(self, loop: ast.For, frame: "_Frame") -> None:
        """`for key, value in kwargs.items()`: once for each field."""
        match loop:
            case ast.For(
                target=ast.Tuple(elts=[ast.Name(id=key), ast.Name(id=value)]),
                iter=ast.Call(func=ast.Attribute(value=holder, attr="items")),
            ):
                table = self._value(holder, frame)
                if isinstance(table, dict):
                    for name, keywords in table.items():
                        frame.scope.update({key: name, value: keywords})
                        self._run(loop.body, frame)
                    return
        if any(isinstance(n, ast.Attribute) and n.attr == "add_argument" for n in ast.walk(loop)):
            raise self._lost("a loop over something unknown adds options", frame, loop)

    def _value(self, node: ast.expr, frame: "_Frame") -> object:  # noqa: PLR0911  one case each
        """What an expression is, as far as options depend on it; None where it is unknown."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return frame.scope.get(name)
            case ast.Attribute(attr=name) if name == SWITCH:
                return name
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return tuple(self._value(item, frame) for item in items)
            case ast.Subscript(value=holder, slice=ast.Constant(value=str() as key)):
                table = self._value(holder, frame)
                return table.get(key) if isinstance(table, dict) else None
            case ast.Dict():
                return self._dict(node, frame)
            case ast.JoinedStr(values=parts):
                texts = [self._value(part, frame) for part in parts]
                return "".join(map(str, texts)) if None not in texts else None
            case ast.FormattedValue(value=value):
                return self._value(value, frame)
            case ast.Call():
                return self._invoke(node, frame)
        return None

    def _dict(self, node: ast.Dict, frame: "_Frame") -> object:
        result: Keywords = {}
        for key, value in zip(node.keys, node.values, strict=True):
            found = self._value(value, frame)
            if key is None:
                if not isinstance(found, dict):
                    return None
                result.update(found)
            elif isinstance(key, ast.Constant):
                result[str(key.value)] = found
        return result

    def _invoke(self, call: ast.Call, frame: "_Frame") -> object:
        match call:
            case ast.Call(func=ast.Attribute(attr="add_argument")):
                self._add(call, frame)
            case ast.Call(func=ast.Name(id="get_kwargs"), args=[ast.Name(id=name)]):
                return self._fields(name, frame)
            case ast.Call(func=ast.Attribute(value=holder, attr="replace"), args=[old, new]):
                text, old_, new_ = (self._value(part, frame) for part in (holder, old, new))
                if isinstance(text, str) and isinstance(old_, str) and isinstance(new_, str):
                    return text.replace(old_, new_)
            case ast.Call(
                func=ast.Attribute(value=holder, attr="pop"), args=[ast.Constant(value=key), *_]
            ):
                keywords = self._value(holder, frame)
                return keywords.pop(key, ()) if isinstance(keywords, dict) else None
            case ast.Call(func=ast.Attribute(value=holder, attr=method), args=[argument]):
                return self._method(holder, method, argument, frame)
        return None

    def _method(self, holder: ast.expr, method: str, argument: ast.expr, frame: "_Frame") -> object:
        """Follow `Class.add_cli_args(…)`, `cls.…` or `super().…` into the class that has it."""
        match holder:
            case ast.Name(id="cls"):
                start, found = frame.owner, frame.owner
            case ast.Name(id=name):
                start = found = self._source.find_class(frame.module, name)
            case ast.Call(func=ast.Name(id="super")):
                start, found = frame.owner, frame.above(self._source)
            case _:
                return None
        for owner in self._source.lineage(found) if found else ():
            function = owner.methods.get(method)
            if function is not None:
                parameters = [a.arg for a in function.args.args if a.arg not in ("cls", "self")]
                scope = {parameters[0]: self._value(argument, frame)} if parameters else {}
                inner = _Frame(owner.module, start, scope, owner)
                return self._run(function.body, inner)
        if method == "add_cli_args":
            raise self._lost("add_cli_args of an unknown class is called", frame, holder)
        return None

    def _fields(self, name: str, frame: "_Frame") -> object:
        found = frame.owner if name == "cls" else self._source.find_class(frame.module, name)
        if found is None:
            raise outgrown(self._source.wheel.name, f"{frame.module.name} has no class {name}")
        return {key: _keywords(takes) for key, takes in field_takes(self._source, found).items()}

    def _add(self, call: ast.Call, frame: "_Frame") -> None:
        names: list[object] = []
        for argument in call.args:
            if isinstance(argument, ast.Starred):
                flags = self._value(argument.value, frame)
                names += flags if isinstance(flags, tuple) else [None]
            else:
                names.append(self._value(argument, frame))
        keywords: Keywords = {}
        for keyword in call.keywords:
            value = self._value(keyword.value, frame)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict):
                keywords.update(value)
            else:
                names.append(None)
        texts = tuple(name for name in names if isinstance(name, str))
        if len(texts) < len(names) or not texts:
            raise self._lost("an option is not spelled out", frame, call)
        if texts[0].startswith("-"):
            self._found.append(Added(texts, keywords))

    def _lost(self, what: str, frame: "_Frame", node: ast.expr | ast.stmt) -> errors.LockAgain:
        return outgrown(
            self._source.wheel.name, f"{what} ({frame.module.name}, line {node.lineno})"
        )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Inside which function the walk is: what `cls` is there, and what its names hold."""

    module: Module
    owner: Class | None
    scope: Scope
    definer: Class | None = None

    def above(self, source: Source) -> Class | None:
        """The class that `super()` begins at."""
        above = source.lineage(self.definer)[1:] if self.definer else ()
        return above[0] if above else None


def _keywords(takes: str) -> Keywords:
    match takes:
        case "switch":
            return {"action": SWITCH}
        case "maybe":
            return {"nargs": "?"}
        case "some":
            return {"nargs": "+"}
    return {}


def outgrown(wheel: str, what: str) -> errors.LockAgain:
    """The error for a vLLM that is written in a way this reader does not know."""
    return errors.LockAgain(
        "the options of this vLLM cannot be read",
        subject=wheel,
        got=what,
        hint="lock a version of vLLM that this Ovenproof knows, or update Ovenproof",
    )
