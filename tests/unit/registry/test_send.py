"""Sending blobs: asked for first, biggest first, mounted where possible, taken up again."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ovenproof.core.digest import Content, Json
from ovenproof.errors import NoAccess, OvenproofError, Several, TryAgain, WrongBytes
from ovenproof.events import Event, Finished, Noted, silent
from ovenproof.registry.client import Blob, Uploaded
from ovenproof.registry.reference import Repository
from ovenproof.registry.send import Sender, Sent, send
from ovenproof.store.notes import Notes

HERE, OTHER = Repository("here", "a/models"), Repository("here", "b/models")
ELSEWHERE = Repository("elsewhere", "a/models")


@dataclass(slots=True)
class Repo:
    """A repository that a test can look into. It may refuse blobs, or break off in one."""

    repository: Repository = HERE
    held: set[Content] = field(default_factory=set)
    mounts: dict[Repository, set[Content]] = field(default_factory=dict)
    faults: dict[Content, BaseException] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)
    asked: list[Content] = field(default_factory=list)
    uploads: list[tuple[Content, str | None]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def has(self, content: Content) -> bool:
        self.asked.append(content)
        return content in self.held

    def cancel(self, session: str) -> None:
        self.cancelled.append(session)
        del self.sessions[session]

    def upload(self, blob: Blob, *, resume: str | None = None, began: Any, heard: Any) -> Uploaded:
        content = blob.content
        self.uploads.append((content, resume))
        for home in blob.homes:
            if content in self.mounts.get(home, ()):
                self.held.add(content)
                return Uploaded(sent=0, mounted_from=home)
        session = resume if resume in self.sessions else f"session-{len(self.uploads)}"
        data = self.sessions.setdefault(session, b"")
        offset = len(data)
        began(session)
        for number, piece in enumerate(blob.open(offset)):
            if number == 1 and content in self.faults:
                raise self.faults.pop(content)
            self.sessions[session] += piece
            heard(len(piece))
        if Content.of(self.sessions[session]) != content:
            raise WrongBytes("not what was promised")
        del self.sessions[session]
        self.held.add(content)
        return Uploaded(sent=content.size - offset)


def blob(size: int, *homes: Repository, data: bytes = b"") -> Blob:
    whole = data or bytes([size % 251]) * size

    def pieces(offset: int = 0) -> Iterator[bytes]:
        return (whole[start : start + 10] for start in range(offset, len(whole), 10))

    return Blob(
        content=Content.of(bytes([size % 251]) * size), title=f"{size}", open=pieces, homes=homes
    )


def run(
    repo: Repo, blobs: Sequence[Blob], root: Path, *, jobs: int = 1
) -> tuple[Sent, list[Event]]:
    heard: list[Event] = []
    remote: Any = repo
    return send(remote, blobs, notes=Notes(root), jobs=jobs, listener=heard.append), heard


def notes_of(heard: list[Event]) -> dict[str, str]:
    return {event.name: event.note for event in heard if isinstance(event, Finished)}


def test_what_is_there_is_not_sent_and_the_rest_goes_biggest_first(tmp_path: Path) -> None:
    blobs = [blob(size) for size in (20, 50, 300, 100)]
    repo = Repo(held={blobs[0].content, blobs[3].content})
    sent, heard = run(repo, blobs, tmp_path)
    assert [content.size for content, _ in repo.uploads] == [300, 50]
    assert sent == Sent(sent=350, there=120)
    assert sorted(content.size for content in repo.asked) == [20, 50, 100, 300]
    assert notes_of(heard) == {"300": "", "50": ""}
    assert heard[0] == Noted(text="2 of 4 blobs are there already")
    again, _ = run(repo, blobs, tmp_path)
    assert again == Sent(there=470)


def test_a_blob_that_is_named_twice_moves_once(tmp_path: Path) -> None:
    repo = Repo()
    sent, _ = run(repo, [blob(20), blob(20)], tmp_path)
    assert sent == Sent(sent=20)
    assert len(repo.uploads) == len(repo.asked) == 1


def test_what_another_repository_of_the_registry_has_is_mounted(tmp_path: Path) -> None:
    one = blob(40, ELSEWHERE, HERE, OTHER)
    repo = Repo(mounts={OTHER: {one.content}, ELSEWHERE: {one.content}, HERE: {one.content}})
    sent, heard = run(repo, [one], tmp_path)
    assert sent == Sent(mounted=40)
    assert notes_of(heard) == {"40": "mounted from b/models"}


def test_a_repository_that_took_a_blob_is_tried_as_its_home_by_the_next_one(
    tmp_path: Path,
) -> None:
    one = blob(40)
    run(Repo(repository=OTHER), [one], tmp_path)
    sent, _ = run(Repo(mounts={OTHER: {one.content}}), [one], tmp_path)
    assert sent == Sent(mounted=40)
    sent, _ = run(Repo(repository=ELSEWHERE, mounts={OTHER: {one.content}}), [one], tmp_path)
    assert sent == Sent(sent=40)


def test_an_upload_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    one = blob(100)
    repo = Repo(faults={one.content: TryAgain("cut")})
    with pytest.raises(TryAgain):
        run(repo, [one], tmp_path)
    sent, heard = run(repo, [one], tmp_path)
    assert sent == Sent(sent=90)
    assert notes_of(heard) == {"100": "resumed at 10"}
    assert [resume for _, resume in repo.uploads] == [None, "session-1"]
    repo.held.clear()
    run(repo, [one], tmp_path)
    assert repo.uploads[-1] == (one.content, None)


@pytest.mark.parametrize("fault", [NoAccess("denied"), TryAgain("cut")])
def test_a_session_that_leads_nowhere_does_not_stand_in_the_way(
    tmp_path: Path, fault: OvenproofError
) -> None:
    class Stale(Repo):
        def upload(self, blob: Blob, **options: Any) -> Uploaded:
            if options.get("resume"):
                self.uploads.append((blob.content, options["resume"]))
                raise fault
            return Repo.upload(self, blob, **options)

    one = blob(100)
    with pytest.raises(TryAgain):
        run(Repo(faults={one.content: TryAgain("cut")}), [one], tmp_path)
    repo = Stale()
    sent, _ = run(repo, [one], tmp_path)
    assert sent == Sent(sent=100)
    assert [resume for _, resume in repo.uploads] == ["session-1", None]


def test_a_fault_after_bytes_were_sent_keeps_the_session(tmp_path: Path) -> None:
    one = blob(100)
    repo = Repo(faults={one.content: TryAgain("cut")})
    for _ in range(2):
        with pytest.raises(TryAgain):
            run(repo, [one], tmp_path)
        repo.faults[one.content] = TryAgain("cut")
    assert [resume for _, resume in repo.uploads] == [None, "session-1"]


def test_the_note_of_an_upload_that_a_killed_process_ended_is_removed(tmp_path: Path) -> None:
    one = blob(100)
    repo = Repo(faults={one.content: TryAgain("cut")})
    with pytest.raises(TryAgain):
        run(repo, [one], tmp_path)
    repo.held.add(one.content)
    run(repo, [one], tmp_path)
    kept = [path.read_bytes() for path in (tmp_path / "notes").iterdir()]
    assert not any(b"session-1" in text for text in kept)


def test_a_session_is_one_repositorys_own(tmp_path: Path) -> None:
    one = blob(100)
    with pytest.raises(TryAgain):
        run(Repo(faults={one.content: TryAgain("cut")}), [one], tmp_path)
    for other in (OTHER, ELSEWHERE):
        repo = Repo(repository=other)
        run(repo, [one], tmp_path)
        assert repo.uploads == [(one.content, None)]


def test_a_session_that_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    one = blob(100)
    repo = Repo()
    notes = Notes(tmp_path)
    key: Json = {"registry": HERE.host, "digest": str(one.content.digest), "repository": HERE.name}
    notes.remember("upload", key, "theirs")
    with notes.alone("upload", key):
        sent, _ = run(repo, [one], tmp_path)
    assert sent == Sent(sent=100)
    assert repo.uploads == [(one.content, None)]
    assert notes.recall("upload", key) == "theirs"


def test_wrong_bytes_of_an_earlier_run_are_sent_again_from_the_beginning(tmp_path: Path) -> None:
    one = blob(100)
    repo = Repo(faults={one.content: TryAgain("cut")})
    with pytest.raises(TryAgain):
        run(repo, [one], tmp_path)
    repo.sessions["session-1"] = b"x" * 50
    sent, _ = run(repo, [one], tmp_path)
    assert sent == Sent(sent=100)
    assert repo.cancelled == ["session-1"]
    assert repo.held == {one.content}


def test_wrong_bytes_are_told_and_their_session_is_given_up(tmp_path: Path) -> None:
    repo = Repo()
    with pytest.raises(WrongBytes):
        run(repo, [blob(100, data=b"y" * 100)], tmp_path)
    assert repo.cancelled == ["session-1"]
    run(repo, [blob(100)], tmp_path)
    assert repo.uploads[-1][1] is None


def test_after_a_fault_nothing_new_begins_and_what_runs_comes_to_its_end(tmp_path: Path) -> None:
    blobs = [blob(size) for size in (100, 90, 80, 70)]
    both = threading.Barrier(2)

    class Meeting(Repo):
        def upload(self, blob: Blob, **options: Any) -> Uploaded:
            both.wait(10)
            return Repo.upload(self, blob, **options)

    repo = Meeting(faults={blobs[0].content: NoAccess("denied"), blobs[1].content: TryAgain("cut")})
    with pytest.raises(Several) as caught:
        run(repo, blobs, tmp_path, jobs=2)
    assert [type(fault) for fault in caught.value.faults] == [NoAccess, TryAgain]
    assert len(repo.uploads) == 2


def test_what_is_no_fault_of_the_registry_is_raised_as_it_is(tmp_path: Path) -> None:
    one = blob(100)
    with pytest.raises(PermissionError):
        run(Repo(faults={one.content: PermissionError("weights")}), [one], tmp_path)


def test_an_interruption_keeps_the_session(tmp_path: Path) -> None:
    one = blob(100)
    repo: Any = Repo()

    def impatient(event: Event) -> None:
        if "Advanced" in type(event).__name__:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(repo, [one], notes=Notes(tmp_path), jobs=2, listener=impatient)
    sent, _ = run(repo, [one], tmp_path)
    assert sent == Sent(sent=90)


def test_a_sender_asks_once_for_what_is_there_and_again_for_what_is_not(tmp_path: Path) -> None:
    one, two = blob(10), blob(20)
    repo: Any = Repo(held={one.content})
    sender = Sender(repo, notes=Notes(tmp_path), jobs=2)
    assert sender.there([one.content, two.content]) == {one.content}
    repo.held.add(two.content)
    assert sender.there([one.content, two.content]) == {one.content, two.content}
    assert sender.send([one, two], silent) == Sent(there=30)
    assert repo.asked.count(one.content) == 1
    assert repo.asked.count(two.content) == 2


def test_what_may_be_mounted_is_looked_for_in_other_repositories_of_the_registry_only(
    tmp_path: Path,
) -> None:
    one, two = blob(10).content, blob(20).content
    repos: dict[Repository, Any] = {
        OTHER: Repo(repository=OTHER, held={one}),
        ELSEWHERE: Repo(repository=ELSEWHERE, held={two}),
    }
    here: Any = Repo()
    sender = Sender(here, notes=Notes(tmp_path), jobs=2, at=repos.__getitem__)
    assert sender.mountable([one, two], [OTHER, ELSEWHERE]) == {one}
    assert repos[ELSEWHERE].asked == []


def test_a_repository_that_may_not_be_looked_at_gives_nothing(tmp_path: Path) -> None:
    def closed(_repository: Repository) -> Any:
        raise NoAccess("not for you")

    here: Any = Repo()
    sender = Sender(here, notes=Notes(tmp_path), jobs=2, at=closed)
    assert sender.mountable([blob(10).content], [OTHER]) == frozenset()
