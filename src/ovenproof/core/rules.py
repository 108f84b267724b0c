"""The rules between the fields of an entry, and the entry that is made when they hold."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ovenproof.core import fields
from ovenproof.core.document import Document, Scalar, find
from ovenproof.core.entry import Entry, Expectation, HubModel, LocalFolder, PackagedModel, Source
from ovenproof.core.merge import Merged, Path
from ovenproof.core.quantization import METHODS
from ovenproof.core.scalars import listed
from ovenproof.errors import BadFile

Fault = Callable[..., BadFile]
_SHOWN_BY_VALUE = ("dtype", "quantization", "revision")
Rule = Callable[[Merged, Fault], Iterator[BadFile]]


def broken_rules(document: Document, merged: Merged) -> Iterator[BadFile]:
    """Every rule that the entry breaks. What is wrong in itself is judged by no rule."""

    def fault(what: str, place: Path, **more: str | None) -> BadFile:
        key, node = find(document.root, place)
        at_value = isinstance(node, Scalar) and place[-1] in _SHOWN_BY_VALUE and "args" not in place
        mark = node.mark if at_value or key is None else key.mark
        return document.page.fault(what, mark, **more)

    for reads, rule in _RULES:
        if merged.broken.isdisjoint(reads):
            yield from rule(merged, fault)


def _name(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    if not re.fullmatch(fields.NAME, merged.name):
        yield fault(
            "no valid image tag",
            merged.path,
            subject=merged.name,
            expected="at most 128 characters, the variant's name included",
            got=f"{len(merged.name)} characters",
        )


def _one_source(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    if merged.clash is not None:
        yield fault(
            "the weights come from two places",
            merged.clash,
            subject=merged.name,
            expected="either `model` or `weights`",
            got="both",
        )
    elif "model" not in merged.values and "weights" not in merged.values:
        yield fault(
            "nothing says where the weights come from",
            merged.path,
            subject=merged.name,
            expected="either `model: org/name` or `weights:`",
            got="neither",
        )


def _revision(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    if "revision" in merged.values and "weights" in merged.values and merged.clash is None:
        yield fault(
            "a revision belongs to a model of the hub",
            merged.places["revision"],
            subject=merged.name,
            got="`weights`, which have none",
            hint="remove it",
        )


def _dtype(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    name, dtype = merged.values.get("quantization"), merged.values.get("dtype", "auto")
    if name is None or dtype == "auto" or dtype in METHODS[name].dtypes:
        return
    yield fault(
        f"`{name}` does not compute in this dtype",
        merged.places["dtype"],
        subject=dtype,
        expected=f"one of {listed((*METHODS[name].dtypes, 'auto'))}",
        got=f"`{dtype}`, for `{merged.name}`",
        hint=f"write `dtype: {METHODS[name].dtypes[-1]}`",
    )


def _imported(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    weights = merged.values.get("weights")
    if weights is not None and weights.importer and "quantization" in merged.values:
        yield fault(
            "an imported model is not quantized",
            merged.places["quantization"],
            subject=merged.values["quantization"],
            expected="no quantization: `import` turns the weights into bf16",
            got=f"a method, for `{merged.name}`",
            hint="write `quantization: null`, or remove it",
        )


def _said_once(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    method = merged.values.get("quantization")
    implied = {"quantization": method is not None, "load-format": method == "bitsandbytes"}
    for option in merged.values.get("args", {}):
        if implied.get(option):
            yield fault(
                "an option is given both as a field and in `args`",
                merged.places[f"args.{option}"],
                subject=option,
                got=f"`quantization: {method}` besides, for `{merged.name}`",
                hint="remove it from `args`",
            )


_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset(), _name),
    (frozenset(("model", "weights")), _one_source),
    (frozenset(("revision", "weights")), _revision),
    (frozenset(("quantization", "dtype")), _dtype),
    (frozenset(("quantization", "weights")), _imported),
    (frozenset(("quantization", "args")), _said_once),
)


def make_entry(merged: Merged) -> Entry:
    """The entry. Only for values that break no rule."""
    values: dict[str, Any] = dict(merged.values)
    source = _source(values)
    expect = values.pop("expect", ())
    served = values.pop("served_name", (merged.name,))
    args, env = values.pop("args", {}), values.pop("env", {})
    if isinstance(source, PackagedModel):
        values.pop("trust_remote_code", None)  # it brings no code
    return Entry(
        name=merged.name,
        source=source,
        served_names=tuple(served),
        args=tuple(sorted(args.items())),
        env=tuple(sorted(env.items())),
        expect=tuple(
            Expectation(prompt=one.prompt, equals=one.equals, contains=one.contains)
            for one in expect
        ),
        **values,
    )


def _source(values: dict[str, Any]) -> Source:
    """Takes what says where the weights come from out of the values."""
    model, revision = values.pop("model", None), values.pop("revision", None)
    weights: fields.Weights | None = values.pop("weights", None)
    if weights is None:
        return HubModel(model=model, revision=revision)
    if weights.folder is not None:
        return LocalFolder(path=weights.folder)
    package, _, version = str(weights.package).partition("==")
    name = re.sub(r"[-_.]+", "-", package).lower()
    return PackagedModel(package=name, version=version, importer="gguf")
