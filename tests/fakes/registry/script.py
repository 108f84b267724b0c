"""A registry without a wire: it does to the n-th request what the n-th fault of a list says."""

from dataclasses import dataclass, field

from ovenproof.core.digest import Digest
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload import Upload
from ovenproof.registry.upload_steps import (
    Answer,
    Ask,
    Begin,
    Cancel,
    Look,
    Name,
    Patch,
    Put,
    Request,
    Result,
)

BASE = "https://registry.example/v2/a/b/blobs/uploads/"
DATA = bytes(range(40))
FAULTS = (
    "", "cut-none", "cut-half", "cut-all", "lost-answer", "busy", "too-many", "gone", "lie-more",
    "lie-less", "lie-zero", "no-range", "range-wanted", "too-large", "not-supported", "invalid",
    "denied", "other-digest", "odd-status", "rot",
)  # fmt: skip


@dataclass
class Registry:
    """Keeps the bytes that come, and does to the n-th request what the n-th fault says."""

    faults: list[str] = field(default_factory=list)
    homes: tuple[Repository, ...] = ()
    data: bytes = DATA
    sessions: dict[str, bytearray] = field(default_factory=dict)
    blob: bytes | None = None
    asked: list[Request] = field(default_factory=list)
    made: int = 0
    named: int = 0
    """How often a digest was asked for."""

    def do(self, asked: Request) -> Answer | None:
        """The answer; None where there is none."""
        self.asked.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in {"cut-none", "cut-half"}:
            self._take(asked, 0.5 if fault == "cut-half" else 0)
            return None
        if refused := self._refused(asked, fault):
            return refused
        if fault == "rot" and isinstance(asked, Patch) and asked.session in self.sessions:
            self._take(asked, 1)
            self.sessions[asked.session][-1] ^= 1
            return self._told(asked.session, 202)
        answer = self._answer(asked)
        if fault in {"cut-all", "lost-answer"}:
            return None
        headers = dict(answer.headers)
        lies = {"lie-more": "0-9999", "lie-less": "0-3", "lie-zero": "0-0"}
        if fault in lies and "range" in headers:
            headers["range"] = lies[fault]
        if fault == "no-range":
            headers.pop("range", None)
        if fault == "other-digest":
            headers["docker-content-digest"] = str(Digest.of(b"a lie"))
        return Answer(status=answer.status, headers=headers, url=answer.url, code=answer.code)

    def _refused(self, asked: Request, fault: str) -> Answer | None:
        statuses = {"busy": 503, "too-many": 429, "denied": 403, "odd-status": 302}
        if fault == "gone" and isinstance(asked, Patch | Put | Ask | Cancel):
            self.sessions.pop(asked.session, None)
        if fault == "range-wanted" and isinstance(asked, Patch) and not asked.ranged:
            return Answer(status=416, url=BASE)
        if isinstance(asked, Patch) and fault in {"too-large", "not-supported", "invalid"}:
            status = {"too-large": 413, "not-supported": 405, "invalid": 400}[fault]
            return Answer(status=status, url=BASE, code="BLOB_UPLOAD_INVALID")
        return Answer(status=statuses[fault], url=BASE) if fault in statuses else None

    def _answer(self, asked: Request) -> Answer:
        match asked:
            case Begin(home):
                return self._begin(home)
            case Look():
                there = self.blob is not None
                size = {"content-length": str(len(self.blob or b""))} if there else {}
                return Answer(status=200 if there else 404, headers=size, url=BASE)
            case Cancel(session):
                return Answer(status=204 if self.sessions.pop(session, None) is not None else 404)
        if asked.session not in self.sessions:
            return Answer(status=404, url=BASE, code="BLOB_UPLOAD_UNKNOWN")
        self._take(asked, 1)
        if isinstance(asked, Put):
            return self._end(asked.session)
        return self._told(asked.session, 204 if isinstance(asked, Ask) else 202)

    def _begin(self, home: Repository | None) -> Answer:
        if home is not None and home in self.homes:
            self.blob = self.data
            return Answer(status=201, url=BASE)
        self.made += 1
        self.sessions[f"{BASE}{self.made}"] = bytearray()
        return self._told(f"{BASE}{self.made}", 202)

    def _end(self, session: str) -> Answer:
        sent = bytes(self.sessions.pop(session))
        if Digest.of(sent) != Digest.of(self.data):
            return Answer(status=400, url=BASE, code="DIGEST_INVALID")
        self.blob = sent
        return Answer(status=201, url=BASE)

    def _take(self, asked: Request, part: float) -> None:
        """It appends whatever comes, wherever that belongs: distribution does the same."""
        if isinstance(asked, Patch | Put) and asked.session in self.sessions:
            offset = asked.offset if isinstance(asked, Patch) else 0
            sent = self.data[offset : offset + asked.size]
            self.sessions[asked.session] += sent[: int(len(sent) * part)]

    def _told(self, session: str, status: int) -> Answer:
        size = len(self.sessions[session])
        headers = {"location": session, "range": f"0-{max(size - 1, 0)}"}
        return Answer(status=status, headers=headers, url=BASE)


def run(upload: Upload, registry: Registry, most: int = 2000) -> Result:
    """Let the upload go on until it ends. The digest it may ask for is that of the data."""
    for _ in range(most):
        if isinstance(upload.next, Result):
            return upload.next
        if isinstance(upload.next, Name):
            registry.named += 1
            upload.named(Digest.of(registry.data))
            continue
        answer = registry.do(upload.next)
        if answer is None:
            upload.broke()
        else:
            upload.answered(answer)
    raise AssertionError("it does not end")


def kinds(registry: Registry) -> list[str]:
    """What was asked."""
    return [type(asked).__name__ for asked in registry.asked]
