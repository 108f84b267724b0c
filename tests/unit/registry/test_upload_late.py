"""One upload of bytes whose digest is known when they have gone by, against a list of faults."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovenproof.core.digest import Content, Digest
from ovenproof.registry.limits import Limits, limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload import Upload
from ovenproof.registry.upload_steps import (
    Answer,
    Ask,
    Begin,
    Cancel,
    Done,
    GaveUp,
    Look,
    Name,
    Patch,
    Put,
    Refused,
    Result,
    Unnamed,
    Wrong,
)
from tests.fakes.registry.script import BASE, DATA, FAULTS, Registry, kinds, run

LATE = Unnamed(len(DATA))
DIGEST = Digest.of(DATA)
ANY = limits("registry.example")
PUT_ONLY = limits("gcr.io")
FAULT_LISTS = st.lists(st.sampled_from(FAULTS), max_size=60)


@settings(max_examples=600, deadline=None)
@given(
    faults=FAULT_LISTS,
    size=st.integers(0, 40),
    patch=st.booleans(),
    chunk=st.none() | st.integers(1, 50),
    resumed=st.none() | st.integers(0, 40),
)
@example(["rot", "cut-half"], 40, True, None, None)
@example(["cut-half", "lie-less"], 40, True, None, None)
@example(["lie-less"] * 60, 40, True, 3, 20)
@example(["", "", "busy", "", "lie-zero"], 40, False, None, None)
def test_whatever_happens_it_ends_and_done_means_the_very_bytes(
    faults: list[str], size: int, patch: bool, chunk: int | None, resumed: int | None
) -> None:
    data = DATA[:size]
    registry = Registry(faults=faults, data=data)
    session = None
    if resumed is not None:
        session = f"{BASE}0"
        registry.sessions[session] = bytearray(data[:resumed])
    own = Limits(registry="x", note="x", patch=patch, chunk=chunk)
    upload = Upload(Unnamed(size), own, session=session)

    result = run(upload, registry)

    if isinstance(result, Done):
        assert registry.blob == data
        assert registry.named
    with pytest.raises(ValueError, match="ended"):
        upload.broke()


@settings(max_examples=300, deadline=None)
@given(faults=FAULT_LISTS, patch=st.booleans(), chunk=st.none() | st.integers(1, 50))
@example(faults=["", "", "cut-none", "", "lie-less"], patch=True, chunk=None)
def test_nobody_is_asked_for_a_digest_before_all_bytes_of_the_session_went_out(
    faults: list[str], patch: bool, chunk: int | None
) -> None:
    registry = Registry(faults=faults)
    upload = Upload(LATE, Limits(registry="x", note="x", patch=patch, chunk=chunk))
    end = 0

    while not isinstance(upload.next, Result):
        match upload.next:
            case Name():
                assert end == len(DATA)
                upload.named(DIGEST)
                continue
            case Begin(home):
                assert home is None
                end = 0
                assert upload.digest is None
            case Patch(offset=offset, size=size):
                assert offset <= end  # with a digest too, where the registry has lost the end
                end = offset + size
            case Put(size=size):
                assert (upload.digest, size) == (DIGEST, 0)
            case Look():
                assert upload.digest == DIGEST
        answer = registry.do(upload.next)
        if answer is None:
            upload.broke()
        else:
            upload.answered(answer)


@settings(max_examples=300, deadline=None)
@given(faults=FAULT_LISTS)
def test_where_a_put_must_bring_all_a_patch_brings_all(faults: list[str]) -> None:
    registry = Registry(faults=faults)

    run(Upload(LATE, PUT_ONLY), registry)

    patches = [asked for asked in registry.asked if isinstance(asked, Patch)]
    assert {(patch.offset, patch.size) for patch in patches} <= {(0, len(DATA))}


@settings(max_examples=300, deadline=None)
@given(faults=FAULT_LISTS, chunk=st.none() | st.integers(1, 50))
def test_but_for_the_digest_it_asks_what_any_upload_asks(
    faults: list[str], chunk: int | None
) -> None:
    own = Limits(registry="x", note="x", chunk=chunk)
    # Who would send all in one PUT then sends it in a PATCH: there the two part.
    known = [fault for fault in faults if fault not in {"not-supported", "lie-less", "lie-zero"}]
    late, early = Registry(faults=[*known]), Registry(faults=[*known])

    first = run(Upload(LATE, own), late)
    second = run(Upload(Content.of(DATA), own), early)

    if "lie-more" not in known:
        assert (first, late.asked) == (second, early.asked)


def test_the_digest_is_asked_for_between_the_last_byte_and_the_end() -> None:
    registry = Registry()
    upload = Upload(LATE, ANY)

    for _ in range(2):
        asked = upload.next
        assert isinstance(asked, Begin | Patch)
        answer = registry.do(asked)
        assert answer is not None
        upload.answered(answer)

    assert (upload.next, upload.digest, upload.session) == (Name(), None, f"{BASE}1")
    with pytest.raises(ValueError, match="not the registry"):
        upload.answered(Answer(status=201))
    upload.named(DIGEST)
    assert upload.next == Put(f"{BASE}1", 0)
    with pytest.raises(ValueError, match="nobody asked"):
        upload.named(DIGEST)


def test_no_home_is_asked_for_what_has_no_digest() -> None:
    home = Repository("registry.example", "other")

    assert Upload(LATE, ANY, homes=(home,)).next == Begin()


def test_an_empty_stream_is_only_named_and_ended() -> None:
    registry = Registry(data=b"")

    assert run(Upload(Unnamed(0), ANY), registry) == Done()

    assert (kinds(registry), registry.named) == (["Begin", "Put"], 1)


def test_who_takes_no_chunks_gets_one_patch_and_an_end_without_a_body() -> None:
    registry = Registry()

    assert run(Upload(LATE, PUT_ONLY), registry) == Done()

    assert registry.asked[1:] == [
        Patch(f"{BASE}1", 0, 40, ranged=False),
        Put(f"{BASE}1", 0),
    ]


@pytest.mark.parametrize("fault", ["lie-zero", "lie-less", "no-range"])
def test_where_nothing_resumes_the_range_of_an_answer_means_nothing(fault: str) -> None:
    registry = Registry(faults=["", fault])

    assert run(Upload(LATE, PUT_ONLY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put"]


def test_where_nothing_resumes_a_range_that_is_wanted_is_that_of_the_whole() -> None:
    registry = Registry(faults=["", "range-wanted"])
    own = Limits(registry="x", note="x", patch=False, chunk=8)

    assert run(Upload(LATE, own), registry) == Done()

    assert registry.asked[-2:] == [Patch(f"{BASE}2", 0, 40, ranged=True), Put(f"{BASE}2", 0)]


@pytest.mark.parametrize("fault", ["cut-half", "busy"])
def test_where_nothing_resumes_a_cut_begins_anew(fault: str) -> None:
    registry = Registry(faults=["", fault])

    assert run(Upload(LATE, PUT_ONLY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Cancel", "Begin", "Patch", "Put"]


def test_where_nothing_resumes_an_end_that_was_put_off_is_asked_for_again() -> None:
    registry = Registry(faults=["", "", "busy"])

    assert run(Upload(LATE, PUT_ONLY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put", "Look", "Ask", "Put"]


def test_where_nothing_resumes_a_session_of_another_process_is_let_go() -> None:
    registry = Registry(sessions={f"{BASE}7": bytearray(DATA[:30])})

    assert run(Upload(LATE, PUT_ONLY, session=f"{BASE}7"), registry) == Done()

    assert registry.asked[:2] == [Cancel(f"{BASE}7"), Begin()]


def test_after_a_cut_it_goes_on_where_the_registry_is() -> None:
    registry = Registry(faults=["", "cut-half"])

    assert run(Upload(LATE, ANY), registry) == Done()

    assert registry.asked[2:4] == [Ask(f"{BASE}1"), Patch(f"{BASE}1", 20, 20, ranged=True)]


@pytest.mark.parametrize("there", [30, 40])
def test_another_process_sends_the_rest_and_names_the_whole(there: int) -> None:
    registry = Registry(sessions={f"{BASE}7": bytearray(DATA[:there])})

    assert run(Upload(LATE, ANY, session=f"{BASE}7"), registry) == Done()

    rest = [Patch(f"{BASE}7", 30, 10, ranged=True)] if there == 30 else []
    assert registry.asked == [Ask(f"{BASE}7"), *rest, Put(f"{BASE}7", 0)]
    assert registry.named == 1


def test_a_lost_yes_is_looked_for_by_the_digest() -> None:
    registry = Registry(faults=["", "", "lost-answer"])

    assert run(Upload(LATE, ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put", "Look"]


def test_an_end_that_did_not_arrive_is_asked_for_again_under_the_same_digest() -> None:
    registry = Registry(faults=["", "", "cut-none"])

    assert run(Upload(LATE, ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put", "Look", "Ask", "Put"]
    assert registry.named == 1


def test_bytes_joined_wrongly_are_sent_and_named_once_more() -> None:
    registry = Registry(faults=["", "cut-half", "lie-less", "no-range"])

    assert run(Upload(LATE, ANY), registry) == Done()

    assert (registry.made, registry.named, registry.blob) == (2, 2, DATA)


def test_wrong_bytes_of_one_go_are_wrong_bytes() -> None:
    assert isinstance(run(Upload(LATE, ANY), Registry(faults=["", "rot"])), Wrong)


def test_a_registry_that_names_another_digest_is_not_believed() -> None:
    registry = Registry(faults=["", "", "other-digest"])

    assert run(Upload(LATE, ANY), registry) == Wrong(str(Digest.of(b"a lie")))


def test_who_knows_no_patch_at_all_cannot_take_it() -> None:
    registry = Registry(faults=["", "not-supported"])

    assert run(Upload(LATE, ANY), registry) == Refused()

    assert kinds(registry) == ["Begin", "Patch"]


def test_who_knows_no_chunks_gets_it_whole() -> None:
    registry = Registry(faults=["", "cut-half", "", "not-supported"])

    assert run(Upload(LATE, ANY), registry) == Done()

    assert registry.asked[-2:] == [Patch(f"{BASE}2", 0, 40, ranged=False), Put(f"{BASE}2", 0)]


def test_chunks_are_as_small_as_the_registry_wants() -> None:
    registry = Registry(faults=["", "cut-half"])
    own = Limits(registry="x", note="x", chunk=8)

    assert run(Upload(LATE, own), registry) == Done()

    sizes = [asked.size for asked in registry.asked if isinstance(asked, Patch)]
    assert sizes == [40, 8, 8, 4]


@pytest.mark.parametrize("own", [ANY, PUT_ONLY])
def test_faults_without_progress_end_it(own: Limits) -> None:
    registry = Registry(faults=[fault for _ in range(50) for fault in ("", "cut-none", "")])

    assert run(Upload(LATE, own, patience=3), registry) == GaveUp()

    assert len(registry.asked) < 30
