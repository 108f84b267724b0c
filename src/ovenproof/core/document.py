"""YAML text -> nodes that know where they stand, and plain values made of them.

Read as YAML 1.2 means it, not as 1.1 did: only `true` and `false` are booleans, and a number keeps
the text it was written with, so that `1.10` is never 1.1 and a commit of digits stays a commit.
Merge keys, tags and several documents in one file are refused; anchors work, within bounds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Never, TypeAlias

import yaml

from ovenproof.core.page import LOGIN, TOKEN, Mark, Page
from ovenproof.errors import BadFile

MAX_NODES = 20_000
"""Aliases can make a file of one line mean a billion values."""
MAX_DEPTH = 32

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False}
_BOOLEANS["FALSE"] = False
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)

_BARE = re.compile(r"(?:^|(?<=[\s\[{,]))[*@%`!][^\s,\]}]*")
"""A word without quotes that cannot be a text, because of how it begins."""


class Number(str):
    """A number that was written without quotes: its exact text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Scalar:
    """A word or a text. `plain` says that it was written without quotes."""

    text: str
    plain: bool
    mark: Mark


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    nodes: tuple["Node", ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, its pairs in the order of the text, no key twice."""

    pairs: tuple[tuple[Scalar, "Node"], ...]
    mark: Mark


Node: TypeAlias = Scalar | Items | Mapping
Plain: TypeAlias = "None | bool | str | list[Plain] | dict[str, Plain]"
"""What a node means. Numbers are `Number`, which is text."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was read, with the faults that did not stop the reading."""

    page: Page
    root: Mapping
    faults: tuple[BadFile, ...]


def read(text: str, name: str) -> Document:
    """Read a mapping. Raises BadFile where there is none; lesser faults stay in the document."""
    text = text.removeprefix("\ufeff")
    page = Page(name, tuple(_LINE_END.split(text)))
    if found := _FORBIDDEN.search(text):
        before = _LINE_END.split(text[: found.start()])
        character = f"U+{ord(found[0]):04X}"
        mark = Mark(len(before), len(before[-1]) + 1)
        raise page.fault("a character that YAML does not allow", mark, subject=character)
    builder = _Builder(page, text)
    root = builder.document()
    if not isinstance(root, Mapping):
        raise page.fault(
            "the file is not a mapping",
            Mark(1, 1) if root is None else root.mark,
            expected="`key: value` pairs, one of them `models:`",
            got="nothing" if root is None else describe(plain(root)),
        )
    return Document(page, root, tuple(builder.faults))


def plain(node: Node) -> Plain:
    """The value that a node means."""
    match node:
        case Scalar(text, True) if text in _NULLS:
            return None
        case Scalar(text, True) if text in _BOOLEANS:
            return _BOOLEANS[text]
        case Scalar(text, True) if _NUMBER.fullmatch(text):
            return Number(text)
        case Scalar(text):
            return text
        case Items(nodes):
            return [plain(item) for item in nodes]
        case Mapping(pairs):
            return {key.text: plain(value) for key, value in pairs}


def describe(value: Plain) -> str:
    """A value as an error says it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean `{str(value).lower()}`"
        case Number():
            return f"the number `{value}`"
        case str():
            shown = TOKEN.sub("***", LOGIN.sub("***", value))
            return f"the text `{shown}`" if len(shown) <= 60 else f"the text `{shown[:57]}…`"
        case list():
            return "a list"
        case dict():
            return "a mapping"


def find(node: Node, path: Sequence[str | int]) -> tuple[Scalar | None, Node]:
    """The key and the value at a path; where the path leaves the tree, the last that exist."""
    key: Scalar | None = None
    for step in path:
        match node:
            case Mapping(pairs) if pair := next((p for p in pairs if p[0].text == step), None):
                key, node = pair
            case Items(nodes) if isinstance(step, int) and step < len(nodes):
                node = nodes[step]
            case _:
                break
    return key, node


class _Builder:
    """Events of the YAML parser -> nodes; counts what aliases multiply."""

    def __init__(self, page: Page, text: str) -> None:
        self.page = page
        self.faults: list[BadFile] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def document(self) -> Node | None:
        """The only document of the text; None where there is none."""
        try:
            next(self._events)  # the stream's start
            if isinstance(next(self._events), yaml.StreamEndEvent):
                return None
            event = next(self._events)
            empty = isinstance(event, yaml.ScalarEvent) and event.value == "" and not event.style
            root = None if empty else self._node(event, 0)
            next(self._events)  # the document's end
            after = next(self._events)
        except yaml.MarkedYAMLError as error:
            self._not_yaml(error)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse("a second document in one file", after, hint="remove the line `---`")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        self._count += 1
        if depth > MAX_DEPTH:
            raise self._fault("nested too deeply", event, expected=f"at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            own = str(event.tag).startswith("!")
            hint = _quotes("!") if own else 'remove it; quotes make a text: "1.10"'
            self._refuse("a YAML tag", event, subject=str(event.tag), hint=hint)
        before = self._count
        node: Node
        match event:
            case yaml.MappingStartEvent():
                node = Mapping(tuple(self._pairs(depth)), self._mark(event))
            case yaml.SequenceStartEvent():
                node = Items(tuple(self._items(depth)), self._mark(event))
            case _:
                if _SURROGATE.search(event.value):  # libyaml refuses the escape by itself
                    raise self._fault("not readable as YAML: half a character", event)
                node = Scalar(event.value, not event.style, self._mark(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            what = "an alias of nothing that stands before it"
            raise self._fault(what, event, hint=_quotes("*"))
        node, size = self._anchors[event.anchor]
        self._count += size
        if self._count > MAX_NODES:
            raise self._fault(
                "the aliases multiply beyond reason",
                event,
                expected=f"at most {MAX_NODES} values in a file",
                hint="write the values out, or put them under `defaults:`",
            )
        return node

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[Scalar, Node]]:
        seen: dict[str, Scalar] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                self.faults.append(self.page.fault("a key that is not a word", key.mark))
            elif key.plain and key.text == "<<":
                hint = "put what entries share under `defaults:`, or use `variants:`"
                self.faults.append(self.page.fault("a merge key", key.mark, hint=hint))
            elif key.text in seen:
                first = self.page.place(seen[key.text].mark)
                self.faults.append(
                    self.page.fault(
                        "a key stands twice in one mapping",
                        key.mark,
                        subject=key.text,
                        got=f"a second one; the first is at {first}",
                        hint="keep one of them",
                    )
                )
            else:
                seen[key.text] = key
                yield key, value

    def _mark(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        if end.line == start.line:
            length = end.column - start.column
        else:
            length = len(self.page.lines[start.line]) - start.column
        return Mark(start.line + 1, start.column + 1, max(1, length))

    def _fault(self, what: str, event: Any, **more: str) -> BadFile:
        return self.page.fault(what, self._mark(event), **more)

    def _refuse(self, what: str, event: Any, **more: str) -> None:
        self.faults.append(self._fault(what, event, **more))

    def _not_yaml(self, error: yaml.MarkedYAMLError) -> Never:
        place = error.problem_mark or error.context_mark
        mark = Mark(place.line + 1, place.column + 1) if place else Mark(1, 1)
        line = self.page.lines[mark.line - 1] if mark.line <= len(self.page.lines) else ""
        column = mark.column - 1  # libyaml points into the word or just behind it
        bare = [word for word in _BARE.finditer(line) if word.start() <= column <= word.end()]
        hint = "indent with spaces, never with tabs" if "\t" in line else None
        hint = _quotes(bare[0][0][0]) if bare else hint
        problem = error.problem or error.context or "no reason given"
        raise self.page.fault(f"not readable as YAML: {problem}", mark, hint=hint) from None


def _quotes(letter: str) -> str:
    """What helps a text that begins with a letter to which YAML gives another meaning."""
    return f"put quotes around it: without them no text can begin with {letter}"
