"""What is wrong with a field of models.yaml, as an error with a place and a way out."""

from ovenproof.core import document, fields
from ovenproof.core.document import Document
from ovenproof.core.merge import Path
from ovenproof.core.scalars import listed, nearest
from ovenproof.errors import BadFile

_CONTAINERS = {"list_type": "a list", "tuple_type": "a list"}


def field_of(path: Path) -> Path:
    """The part of a path that names a field of a section: the smallest thing to leave out."""
    match path:
        case ("models", _, "variants", _, _, *_) if path[4] != "[key]":
            return path[:5]
        case ("models", _, "variants", _, *_):
            return path[:4]
        case ("models", _, _, *_) if path[2] != "[key]":
            return path[:3]
        case ("models", _, *_):
            return path[:2]
        case ("defaults", _, *_):
            return path[:2]
        case _:
            return path[:1]


def field_fault(found: Document, path: Path, kind: str, context: dict[str, object]) -> BadFile:
    """What pydantic found, as an error with a place."""
    is_name = path[-1] == "[key]"
    path = path[:-1] if is_name else path
    if kind == "missing":
        return _missing(found, path)
    key, node = document.find(found.root, path)
    in_list = isinstance(path[-1], int)
    at_key = is_name or kind in ("extra_forbidden", "secret")
    at_key = at_key or not (in_list or isinstance(node, document.Scalar))
    mark = key.mark if key and at_key else node.mark
    subject, hint = _subject(path), context.get("hint")
    expected: str | None = str(context.get("expected", _CONTAINERS.get(kind, "a mapping")))
    got: str | None = document.describe(document.plain(node))
    match kind:
        case "secret":
            what, expected, got = str(context["what"]), None, None
        case "extra_forbidden":
            what, got = "unknown field", None
            known = _known(path[:-1])
            hint = nearest(str(path[-1]), known)
            expected = None if hint else f"one of {listed(known)}"
            if hint is None and "args" in known:
                hint = "options of vLLM that have no field go under `args:`"
        case _ if is_name:
            what, got = "a wrong name", f"`{path[-1]}`"
        case _:
            what = "a wrong value"
    return found.page.fault(
        what,
        mark,
        subject=subject,
        expected=expected,
        got=got,
        hint=None if hint is None else str(hint),
    )


def _missing(found: Document, path: Path) -> BadFile:
    node = document.find(found.root, path[:-1])[1]
    what, expected = "a field is missing", f"`{path[-1]}:`"
    return found.page.fault(what, node.mark, subject=_subject(path), expected=expected)


def _subject(path: Path) -> str:
    """A field as a person names it: without the sections around it, with what it lies in."""
    inner = path[len(field_of(path)) - 1 :]
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in inner)


def _known(section: Path) -> list[str]:
    """The fields that a section may have."""
    match section:
        case ():
            model: type[fields.Strict] = fields.File
        case ("defaults",):
            model = fields.Settings
        case ("models", _):
            model = fields.Model
        case ("models", _, "variants", _):
            model = fields.Variant
        case (*_, "expect", _):
            model = fields.Expect
        case (*_, "adapters", _):
            model = fields.Adapter
        case _:
            model = fields.Weights
    return sorted(info.alias or name for name, info in model.model_fields.items())
