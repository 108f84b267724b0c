"""The rules between the fields of an entry, and the entry that is made when they hold."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ovenproof.core import fields
from ovenproof.core.document import Document, Mapping, Node, Scalar, find
from ovenproof.core.entry import (
    ADAPTERS,
    Adapter,
    Entry,
    Expectation,
    HubModel,
    LocalFolder,
    OciModel,
    PackagedModel,
    Source,
)
from ovenproof.core.merge import Merged, Path
from ovenproof.core.quantization import METHODS
from ovenproof.core.scalars import listed
from ovenproof.core.values import NAME
from ovenproof.errors import BadFile

Fault = Callable[..., BadFile]
_RENAME = "rename the adapter"
_SHOWN_BY_VALUE = ("dtype", "quantization", "revision")
Rule = Callable[[Merged, Fault], Iterator[BadFile]]


def find_written(document: Document, place: Path) -> tuple[Scalar | None, Node]:
    """The key and the value at a place. An option of `args` is found in either spelling."""
    section = find(document.root, place[:-1])[1]
    if place[-2:-1] == ("args",) and isinstance(section, Mapping):
        for key, value in section.pairs:
            head, dot, rest = key.text.partition(".")
            if head.replace("_", "-") + dot + rest == place[-1]:
                return key, value
    return find(document.root, place)


def broken_rules(document: Document, merged: Merged) -> Iterator[BadFile]:
    """Every rule that the entry breaks. What is wrong in itself is judged by no rule."""

    def fault(what: str, place: Path, **more: str | None) -> BadFile:
        key, node = find_written(document, place)
        at_value = isinstance(node, Scalar) and place[-1] in _SHOWN_BY_VALUE and "args" not in place
        mark = node.mark if at_value or key is None else key.mark
        return document.page.fault(what, mark, **more)

    for reads, rule in _RULES:
        if merged.broken.isdisjoint(reads):
            yield from rule(merged, fault)


def _name(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    if not re.fullmatch(NAME, merged.name):
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


def _of_a_model(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    if "weights" not in merged.values or merged.clash is not None:
        return
    for name in ("revision", "include", "exclude"):
        if name in merged.values:
            yield fault(
                f"`{name}` belongs to a model of the hub",
                merged.places[name],
                subject=merged.name,
                got="`weights`, which have none",
                hint="remove it",
            )


def _adapter_names(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    served = merged.values.get("served_name", (merged.name,))
    others: set[str] = set()
    for number, adapter in enumerate(merged.values.get("adapters", ())):
        place = (*merged.places["adapters"], number, "name")
        if adapter.name in others:
            yield fault("two adapters with one name", place, subject=adapter.name, hint=_RENAME)
        elif adapter.name in served:
            yield fault(
                "an adapter has a name of the model itself",
                place,
                subject=adapter.name,
                expected=f"another name than {listed(served)}",
                got=f"`{adapter.name}`, for `{merged.name}`",
                hint=_RENAME,
            )
        others.add(adapter.name)


def _adapter_folder(merged: Merged, fault: Fault) -> Iterator[BadFile]:
    path = merged.values.get("model_path", "/model")
    if "adapters" in merged.values and f"{path}/".startswith(f"{ADAPTERS}/"):
        yield fault(
            "the model lies where its adapters lie",
            merged.places["model_path"],
            subject=path,
            expected=f"a path outside {ADAPTERS}",
            got=f"`{path}`, for `{merged.name}`",
            hint="write `model_path: /model`",
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
    implied: dict[str, str] = {}
    if method := merged.values.get("quantization"):
        implied["quantization"] = f"quantization: {method}"
        if method == "bitsandbytes":
            implied["load-format"] = implied["quantization"]
    if "adapters" in merged.values:
        implied |= dict.fromkeys(("enable-lora", "lora-modules"), "adapters:")
    for option in merged.values.get("args", {}):
        if besides := implied.get(option):
            yield fault(
                "an option is given both as a field and in `args`",
                merged.places[f"args.{option}"],
                subject=option,
                got=f"`{besides}` besides, for `{merged.name}`",
                hint="remove it from `args`",
            )


_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset(), _name),
    (frozenset(("model", "weights")), _one_source),
    (frozenset(("weights",)), _of_a_model),
    (frozenset(("quantization", "dtype")), _dtype),
    (frozenset(("quantization", "weights")), _imported),
    (frozenset(("quantization", "args", "adapters")), _said_once),
    (frozenset(("adapters", "served_name")), _adapter_names),
    (frozenset(("adapters", "model_path")), _adapter_folder),
)


def make_entry(merged: Merged) -> Entry:
    """The entry. Only for values that break no rule."""
    values: dict[str, Any] = dict(merged.values)
    source = _source(values)
    expect, adapters = values.pop("expect", ()), values.pop("adapters", ())
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
        adapters=tuple(
            Adapter(name=one.name, model=one.model, revision=one.revision) for one in adapters
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
    if weights.oci is not None:
        return OciModel(reference=weights.oci)
    package, _, version = str(weights.package).partition("==")
    name = re.sub(r"[-_.]+", "-", package).lower()
    return PackagedModel(package=name, version=version, importer="gguf")
