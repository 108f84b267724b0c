"""Files that were too large, as the parts that they are cut into: surveyed once, made when read.

Where an original's bytes come from is its source's business: here it is a function that opens a
range of it, so nothing of it has to lie on a disk.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ovenproof.core import cut, weights
from ovenproof.core.content import Literal, LocalFile
from ovenproof.core.cut import Part
from ovenproof.core.digest import Content, Digest
from ovenproof.core.lock import Proofs
from ovenproof.core.model_lock import Cut, LockedFile
from ovenproof.core.safetensors import Head, head_size, parse
from ovenproof.errors import LockAgain, WrongBytes
from ovenproof.events import Advanced, Finished, Listener, Started
from ovenproof.sources.ranged import OpenRange
from ovenproof.store.chunks import stream_of
from ovenproof.store.shelf import Chunks
from ovenproof.store.stream import CHUNK

OpenFile: TypeAlias = Callable[[str, int, int], BinaryIO]
"""Opens a range of a repository's file: path, offset, and how many bytes."""

_FIRST_READ = 1 << 18
"""Most heads end within so many bytes, and a second request costs more than the rest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A file that is cut: where it lies in its repository, what it must be, and its head."""

    path: str
    content: Content
    head: bytes


def read_head(path: str, size: int, open_range: OpenRange) -> bytes:
    """The head of a safetensors file, by one ranged read or two. Raises WrongBytes."""
    begin = min(size, _FIRST_READ)
    with closing(open_range(0, begin)) as stream:
        first = b"".join(_read(stream, begin, path))
    own = head_size(first, size, path)
    if own > begin:
        with closing(open_range(begin, own - begin)) as stream:
            first += b"".join(_read(stream, own - begin, path))
    return first[:own]


def survey(
    original: Original,
    parts: Sequence[Part],
    open_range: OpenRange,
    *,
    model_path: str,
    listener: Listener,
) -> tuple[tuple[LockedFile, ...], Proofs]:
    """Read an original once, and have all that is locked of its parts, with their proven layers.

    Raises WrongBytes where the original is not what it must be; then nothing may be locked.
    """
    cut.prove(parse(original.head, original.content.size, original.path), parts)
    whole = hashlib.sha256(original.head)
    layers: dict[Digest, Content] = {}
    files: list[LockedFile] = []
    listener(Started(name=original.path, total=original.content.size))
    listener(Advanced(name=original.path, size=len(original.head)))
    behind = original.content.size - len(original.head)
    with closing(open_range(len(original.head), behind)) as stream:
        for part in parts:
            size = part.stop - part.start
            chunks = _heard(_read(stream, size, original.path), whole, original.path, listener)
            digest, layer = _measure(part, chunks, model_path)
            file = LockedFile(
                path=part.path, size=part.size, digest=digest, cut=_locked(original, part)
            )
            files.append(file)
            if weights.is_big(file.size):  # a smaller one shares its layer with others
                layers[weights.action(weights.Group(file.path, (file,)), model_path).key] = layer
    _same(
        "the bytes of a file of the weights are not those that were promised",
        original.path,
        original.content.digest,
        Digest(whole.hexdigest()),
    )
    listener(Finished(name=original.path))
    return tuple(files), layers


def open_part(file: LockedFile, open_range: OpenRange, offset: int = 0) -> BinaryIO:
    """A part's bytes from `offset` on, made of its original's; the caller closes the stream.

    The original's head is checked here. The rest is not: who reads checks the part's own digest.
    """
    assert file.cut is not None, file.path
    span = file.cut
    own = file.size - (span.stop - span.start)
    rest = b""
    if offset < own:
        part = _rebuilt(file, span, _locked_head(span, open_range))
        rest = part.head[offset:]
    skipped = max(0, offset - own)
    begin, size = span.head.size + span.start + skipped, span.stop - span.start - skipped
    return stream_of(_joined(rest, partial(open_range, begin, size), size, span.of))


def remake_index(
    file: LockedFile,
    files: Sequence[LockedFile],
    *,
    original: bytes | None,
    open_file: OpenFile,
) -> bytes:
    """The index that was made when files were cut, made again. Raises WrongBytes.

    `original` is the repository's own index; where there is none, the heads of all weights are
    read, else those of the files that are cut.
    """
    heads: dict[str, Head] = {}
    parts: dict[str, list[Part]] = {}
    for one in files:
        if one.cut is not None:
            path = one.cut.of
            if path not in heads:
                heads[path] = _locked_head(one.cut, partial(open_file, path))
            parts.setdefault(path, []).append(_rebuilt(one, one.cut, heads[path]))
        elif original is None and one.path.endswith(".safetensors"):
            head = read_head(one.path, one.size, partial(open_file, one.path))
            heads[one.path] = parse(head, one.size, one.path)
    made = cut.index(parts, heads, original=original, name=file.path)
    _same(
        "the index of cut files is not the one that is locked",
        file.path,
        file.digest,
        Digest.of(made),
    )
    return made


def _joined(first: bytes, open_rest: Callable[[], BinaryIO], size: int, name: str) -> Chunks:
    """Bytes that are at hand, and then a stream that is opened when they have been taken."""
    yield first
    if size:
        with closing(open_rest()) as stream:
            yield from _read(stream, size, name)


def _measure(part: Part, chunks: Iterable[bytes], model_path: str) -> tuple[Digest, Content]:
    """A part's own digest, and the layer that holds it alone, from one pass over its range."""
    own, layer = hashlib.sha256(part.head), hashlib.sha256()
    stand_in = LocalFile(Path(part.path), part.size)  # only its size is looked at
    made = weights.layer_recipe(model_path, [(part.path, stand_in)])
    for segment in made.segments():
        if isinstance(segment, Literal):
            layer.update(segment.data)
            continue
        layer.update(part.head)
        for chunk in chunks:
            own.update(chunk)
            layer.update(chunk)
    return Digest(own.hexdigest()), Content(Digest(layer.hexdigest()), made.size)


def _heard(
    chunks: Iterable[bytes], whole: "hashlib._Hash", name: str, listener: Listener
) -> Chunks:
    """The same bytes, hashed and told of on their way."""
    for chunk in chunks:
        whole.update(chunk)
        listener(Advanced(name=name, size=len(chunk)))
        yield chunk


def _locked(original: Original, part: Part) -> Cut:
    return Cut(
        of=original.path,
        original=original.content,
        head=Content.of(original.head),
        start=part.start,
        stop=part.stop,
    )


def _locked_head(locked: Cut, open_range: OpenRange) -> Head:
    """The head of a locked part's original, checked."""
    size = locked.head.size
    with closing(open_range(0, size)) as stream:
        data = b"".join(_read(stream, size, locked.of))
    what = "the head of a file of the weights is not the one that is locked"
    _same(what, locked.of, locked.head.digest, Digest.of(data))
    return parse(data, locked.original.size, locked.of)


def _rebuilt(file: LockedFile, locked: Cut, head: Head) -> Part:
    try:
        part = cut.part(file.path, head, locked.start, locked.stop)
    except ValueError as error:
        raise _not_so(file, error) from error
    if part.size != file.size:
        raise _not_so(file, f"{part.size} bytes")
    return part


def _read(stream: BinaryIO, size: int, name: str) -> Chunks:
    left = size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise WrongBytes(
                "bytes ended too early",
                subject=name,
                expected=f"{size} bytes",
                got=f"{size - left} bytes",
            )
        left -= len(chunk)
        yield chunk


def _not_so(file: LockedFile, got: object) -> LockAgain:
    return LockAgain(
        "a part of a file of the weights cannot be what the lock says",
        subject=file.path,
        expected=f"{file.size} bytes (models.lock)",
        got=got,
        hint="restore models.lock, or run `invoke lock --model NAME`",
    )


def _same(what: str, subject: str, expected: Digest, got: Digest) -> None:
    if expected != got:
        raise WrongBytes(
            what,
            subject=subject,
            expected=expected,
            got=got,
            hint="what it comes from has changed, or is broken: run `invoke lock --model NAME`",
        )
