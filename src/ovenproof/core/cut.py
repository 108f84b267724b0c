"""Cutting a safetensors file that is too large for a registry, along its tensors.

A part is a head of its own and then one range of the original, so nothing is written in order to
cut. Which tensors a part holds follows from the range alone: those whose bytes begin in it. (One
without bytes goes with what begins at its place; at the end of the file, with the last part.)
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, zip_longest

from ovenproof.core.digest import Json, canonical_json
from ovenproof.core.safetensors import Head, Tensor, parse, to_text, write
from ovenproof.errors import BadFile, WrongBytes

_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file that holds some of an original's tensors: a head, then a range of the original."""

    path: str
    head: bytes
    start: int
    stop: int
    """Counted from the end of the original's head."""
    size: int
    """Of the whole file."""


def cut(path: str, head: Head, most: int, taken: Collection[str] = ()) -> tuple[Part, ...]:
    """As few parts of at most `most` bytes as can be, about as large as each other.

    In the order of their bytes; none is called like one of the `taken` paths. A file without bytes
    behind its head has no parts. Raises BadFile where a tensor alone is too large, with its name.
    """
    if not head.data:
        return ()
    units = _units(head.tensors)
    bare = len(to_text((), head.metadata)) if head.metadata else 1
    largest = max(units, key=lambda unit: unit.size(bare))
    if largest.size(bare) > most:
        raise _too_large(path, largest, largest.size(bare), most)
    number = len(_shares(units, bare, most))
    # The smallest limit that needs no more parts than that: so no tiny one is left at the end.
    limits = range(largest.size(bare), most)
    least = bisect_left(limits, True, key=lambda limit: len(_shares(units, bare, limit)) <= number)
    shares = _shares(units, bare, limits.start + least)
    names = _names(path, number, taken)
    return tuple(
        part(name, head, share[0].start, share[-1].stop)
        for name, share in zip(names, shares, strict=True)
    )


def part(path: str, head: Head, start: int, stop: int) -> Part:
    """The part that holds this range of the original. ValueError where a tensor crosses its end."""
    held = [
        replace(tensor, start=tensor.start - start, stop=tensor.stop - start)
        for tensor in head.tensors
        if start <= tensor.start < stop or tensor.start == stop == head.data
    ]
    if sum(tensor.stop - tensor.start for tensor in held) != stop - start:
        raise ValueError(f"not a range of whole tensors: {start} to {stop}")
    own = write(held, head.metadata)
    return Part(path=path, head=own, start=start, stop=stop, size=len(own) + stop - start)


def prove(head: Head, parts: Sequence[Part]) -> None:
    """Recompute from the bytes of the parts' heads alone that each tensor is there, once.

    Its name, its dtype and its shape are the same, and so is the place of its bytes in the
    original. Raises WrongBytes.
    """
    found: list[Tensor] = []
    end = 0
    for one in parts:
        own = parse(one.head, one.size, one.path)
        if (one.start, one.stop - one.start, len(one.head)) != (end, own.data, own.size):
            raise _unproven(one.path, f"bytes from {end} on", f"{one.start} to {one.stop}")
        if own.metadata != head.metadata:
            raise _unproven(one.path, head.metadata, own.metadata)
        found += (
            replace(tensor, start=tensor.start + end, stop=tensor.stop + end)
            for tensor in own.tensors
        )
        end = one.stop
    for ours, theirs in zip_longest(_by_name(found), _by_name(head.tensors)):
        if ours != theirs:
            raise _unproven("their tensors", theirs, ours)


def index(
    parts: Mapping[str, Sequence[Part]],
    heads: Mapping[str, Head],
    *,
    original: bytes | None,
    name: str,
) -> bytes:
    """The index of the weights after the cut: which file holds which tensor.

    `parts` are those of each file that is cut, and `heads` the heads of these; where there is no
    `original` index, those of all other weights too. What the original says of other files, and of
    the whole, stays. Raises BadFile for an original that does not fit the files.
    """
    document = _read(original, name) if original is not None else {}
    places = _places(document, name) if original is not None else {}
    for path, head in sorted(heads.items()):
        for tensor in head.tensors if path in parts or original is None else ():
            said = places.setdefault(tensor.name, path)
            if said != path:
                raise _bad_index(name, tensor.name, f"`{path}`, which holds it", f"`{said}`")
    for path, ones in parts.items():
        named = {tensor_name for tensor_name, said in places.items() if said == path}
        for one in ones:
            held = {tensor.name for tensor in parse(one.head, one.size, one.path).tensors}
            places.update(dict.fromkeys(held, one.path))
            named -= held
        if named:
            raise _bad_index(name, min(named), "a file that holds it", f"`{path}`, which does not")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    if original is None:
        metadata["total_size"] = sum(head.data for head in heads.values())
    weight_map: dict[str, Json] = {**places}
    return canonical_json({**document, "metadata": metadata, "weight_map": weight_map})


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is never cut: a tensor with bytes, and those without that stand at its place."""

    tensors: tuple[Tensor, ...]
    room: int
    """What they take in a head, but for their offsets."""

    @property
    def start(self) -> int:
        return self.tensors[0].start

    @property
    def stop(self) -> int:
        return self.tensors[-1].stop

    def text_size(self, start: int) -> int:
        """What they take in the head of a part that begins there."""
        return self.room + sum(
            len(str(tensor.start - start)) + len(str(tensor.stop - start))
            for tensor in self.tensors
        )

    def size(self, bare: int) -> int:
        """Of a part that holds nothing else."""
        return _part_size(bare + self.text_size(self.start), self.stop - self.start)


def _units(tensors: Sequence[Tensor]) -> tuple[_Unit, ...]:
    runs: list[list[Tensor]] = []
    for tensor in tensors:
        if not runs or runs[-1][-1].stop > runs[-1][-1].start:
            runs.append([])
        runs[-1].append(tensor)
    if len(runs) > 1 and runs[-1][-1].stop == runs[-1][-1].start:
        last = runs.pop()
        runs[-1] += last
    return tuple(_Unit(tuple(run), sum(map(_room, run))) for run in runs)


def _shares(units: Sequence[_Unit], bare: int, most: int) -> list[list[_Unit]]:
    """Neighbours together, as many as fit; each fits alone."""
    shares: list[list[_Unit]] = []
    text = 0
    for unit in units:
        if shares:
            start = shares[-1][0].start
            text += unit.text_size(start)
            if _part_size(text, unit.stop - start) <= most:
                shares[-1].append(unit)
                continue
        shares.append([unit])
        text = bare + unit.text_size(unit.start)
    return shares


def _part_size(text: int, data: int) -> int:
    return 8 + text + -text % 8 + data


def _room(tensor: Tensor) -> int:
    """Its entry and a comma, without the braces around it and without its two offsets."""
    return len(to_text((replace(tensor, start=0, stop=0),), {})) - 3


def _names(path: str, number: int, taken: Collection[str]) -> list[str]:
    """Names that sort as the parts do, and that every loader's `*.safetensors` finds."""
    stem = path.removesuffix(_SUFFIX)
    width = max(2, len(str(number)))
    ones = range(1, number + 1)
    words = chain(["part"], (f"part{attempt}" for attempt in count(2)))
    attempts = (
        [f"{stem}.{word}-{one:0{width}}-of-{number:0{width}}{_SUFFIX}" for one in ones]
        for word in words
    )
    return next(names for names in attempts if not {*names} & {*taken})


def _by_name(tensors: Sequence[Tensor]) -> list[Tensor]:
    return sorted(tensors, key=lambda tensor: tensor.name)


def _read(original: bytes, name: str) -> dict[str, Json]:
    try:
        found = json.loads(original, parse_float=_whole, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise _no_index(name, str(error)) from error
    if not isinstance(found, dict):
        raise _no_index(name, type(found).__name__)
    return found


def _whole(text: str) -> int | str:
    """Some tools wrote a size as `1.6e10`; what canonical JSON cannot say stays as its text."""
    value = float(text)
    return int(value) if value.is_integer() else text


def _places(document: Mapping[str, Json], name: str) -> dict[str, str]:
    said = document.get("weight_map")
    if not isinstance(said, dict):
        raise _no_index(name, "no weight_map")
    places = {key: path for key, path in said.items() if isinstance(path, str)}
    if len(places) != len(said):
        raise _no_index(name, "a weight_map that names no files")
    return places


def _no_index(name: str, got: str) -> BadFile:
    return BadFile("the index of the weights cannot be read", subject=name, got=got)


def _bad_index(name: str, tensor: str, expected: str, got: str) -> BadFile:
    return BadFile(
        "a tensor of a file that must be cut is not where the index says",
        subject=name,
        where=f"tensor {tensor!a:.200}",
        expected=expected,
        got=got,
        hint="raise the limit so that the file need not be cut, or have the repository mended",
    )


def _too_large(path: str, unit: _Unit, size: int, most: int) -> BadFile:
    named = max(unit.tensors, key=lambda tensor: tensor.stop - tensor.start)
    return BadFile(
        "a tensor is too large for a file of its own, and a tensor is never cut",
        subject=path,
        where=f"tensor {named.name!a:.200}",
        expected=f"{most} bytes at most, with a head",
        got=f"{size} bytes",
        hint="raise `largest_file` of the entry, if the registry takes larger layers",
    )


def _unproven(subject: str, expected: object, got: object) -> WrongBytes:
    return WrongBytes(
        "the parts of a file are not the file",
        subject=subject,
        expected=expected,
        got=got,
    )
