"""One upload against a registry made of a list of faults: it ends, and it does not lie."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovenproof.core.digest import Content, Digest
from ovenproof.registry.limits import Limits, limits
from ovenproof.registry.reference import Repository
from ovenproof.registry.upload import Upload, with_digest
from ovenproof.registry.upload_steps import (
    Answer,
    Ask,
    Begin,
    Cancel,
    Done,
    GaveUp,
    Patch,
    Put,
    Refused,
    Wrong,
)
from tests.fakes.registry.script import BASE, DATA, FAULTS, Registry, kinds, run

CONTENT = Content.of(DATA)
ANY = limits("registry.example")
PUT_ONLY = limits("gcr.io")
HOME = Repository("registry.example", "other")
OTHER_HOME = Repository("registry.example", "another")


@settings(max_examples=600, deadline=None)
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=60),
    size=st.integers(0, 40),
    patch=st.booleans(),
    chunk=st.none() | st.integers(1, 50),
    resumed=st.booleans(),
    homes=st.sets(st.sampled_from([HOME, OTHER_HOME])),
)
@example(["rot", "cut-half"], 40, True, None, False, set())
@example(["cut-half", "lie-less"], 40, True, None, False, set())
@example(["lie-less"] * 60, 40, True, 3, True, set())
def test_whatever_happens_it_ends_and_done_means_the_very_bytes(
    faults: list[str],
    size: int,
    patch: bool,
    chunk: int | None,
    resumed: bool,
    homes: set[Repository],
) -> None:
    data = DATA[:size]
    registry = Registry(faults=faults, homes=(OTHER_HOME,), data=data)
    session = None
    if resumed:
        session = f"{BASE}0"
        registry.sessions[session] = bytearray(data[: size // 2])
    own = Limits(registry="x", note="x", patch=patch, chunk=chunk)
    upload = Upload(Content.of(data), own, homes=tuple(sorted(homes)), session=session)

    result = run(upload, registry)

    if isinstance(result, Done):
        assert registry.blob == data
    with pytest.raises(ValueError, match="ended"):
        upload.broke()


def test_a_blob_goes_in_one_patch_without_a_range() -> None:
    registry = Registry()

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert registry.asked[1] == Patch(f"{BASE}1", 0, 40, ranged=False)
    assert kinds(registry) == ["Begin", "Patch", "Put"]


def test_who_takes_no_patch_gets_one_put() -> None:
    registry = Registry()

    assert run(Upload(CONTENT, PUT_ONLY), registry) == Done()

    assert registry.asked[1:] == [Put(f"{BASE}1", 40)]


def test_an_empty_blob_is_only_ended() -> None:
    registry = Registry(data=b"")

    assert run(Upload(Content.of(b""), ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Put"]


def test_homes_are_tried_in_order_and_what_they_began_is_cancelled() -> None:
    registry = Registry(homes=(OTHER_HOME,))

    result = run(Upload(CONTENT, ANY, homes=(HOME, OTHER_HOME)), registry)

    assert result == Done(OTHER_HOME)
    assert registry.asked == [Begin(HOME), Cancel(f"{BASE}1"), Begin(OTHER_HOME)]
    assert registry.sessions == {}


def test_a_mount_that_fails_leaves_an_upload_to_be_used() -> None:
    registry = Registry()

    assert run(Upload(CONTENT, ANY, homes=(HOME,)), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put"]


def test_a_home_that_may_not_be_read_is_passed_over() -> None:
    registry = Registry(faults=["denied"])

    assert run(Upload(CONTENT, ANY, homes=(HOME,)), registry) == Done()

    assert registry.asked[:2] == [Begin(HOME), Begin()]


def test_after_a_cut_it_goes_on_where_the_registry_is() -> None:
    registry = Registry(faults=["", "cut-half"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert registry.asked[2:4] == [Ask(f"{BASE}1"), Patch(f"{BASE}1", 20, 20, ranged=True)]


def test_zero_to_zero_is_one_byte_or_none_so_it_begins_anew() -> None:
    registry = Registry(faults=["", "cut-none"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Ask", "Cancel", "Begin", "Patch", "Put"]


def test_another_process_goes_on_where_a_killed_one_ended() -> None:
    registry = Registry(sessions={f"{BASE}7?state=x": bytearray(DATA[:30])})

    assert run(Upload(CONTENT, ANY, session=f"{BASE}7?state=x"), registry) == Done()

    assert registry.asked[1] == Patch(f"{BASE}7?state=x", 30, 10, ranged=True)


def test_a_session_that_is_gone_begins_anew() -> None:
    registry = Registry()
    upload = Upload(CONTENT, ANY, session=f"{BASE}7", patience=0)

    assert run(upload, registry) == Done()

    assert kinds(registry) == ["Ask", "Begin", "Patch", "Put"]


@pytest.mark.parametrize("fault", ["denied", "busy", "too-many", "odd-status", "gone", "cut-none"])
@pytest.mark.parametrize("patience", [0, 5])
def test_a_session_of_another_process_that_leads_nowhere_is_no_fault(
    fault: str, patience: int
) -> None:
    registry = Registry(faults=[fault], sessions={f"{BASE}7": bytearray(DATA[:30])})
    upload = Upload(CONTENT, ANY, session=f"{BASE}7", patience=patience)

    assert run(upload, registry) == Done()

    assert kinds(registry) == ["Ask", "Begin", "Patch", "Put"]
    assert upload.faults == 0


def test_a_session_of_our_own_is_asked_for_with_patience() -> None:
    registry = Registry(faults=["", "cut-half", "busy"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Ask", "Ask", "Patch", "Put"]


def test_what_we_may_not_ask_is_passed_over_where_nothing_hangs_on_it() -> None:
    upload = Upload(CONTENT, ANY, homes=(HOME, OTHER_HOME), session=f"{BASE}7")

    upload.passed_over()
    assert (upload.next, upload.session) == (Begin(HOME), None)
    upload.passed_over()
    upload.passed_over()
    last: object = upload.next
    assert last == Begin()
    assert upload.faults == 0
    with pytest.raises(ValueError, match="hangs"):
        upload.passed_over()


def test_a_mount_that_is_put_off_is_waited_for_once() -> None:
    upload = Upload(CONTENT, ANY, homes=(HOME, OTHER_HOME))
    later = Answer(status=429, headers={"retry-after": "1"}, url=BASE)

    upload.answered(later)
    assert (upload.next, upload.faults) == (Begin(HOME), 1)
    upload.answered(later)
    assert (upload.next, upload.faults) == (Begin(OTHER_HOME), 2)
    upload.answered(Answer(status=503, url=BASE))
    last: object = upload.next
    assert (last, upload.faults) == (Begin(), 2)


def test_more_bytes_than_were_sent_are_a_lie() -> None:
    registry = Registry(faults=["", "cut-half", "lie-more"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert kinds(registry)[2:5] == ["Ask", "Cancel", "Begin"]


def test_bytes_joined_wrongly_are_sent_once_more_from_the_first() -> None:
    registry = Registry(faults=["", "cut-half", "lie-less"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert registry.made == 2
    assert registry.blob == DATA


def test_wrong_bytes_of_one_go_are_wrong_bytes() -> None:
    assert isinstance(run(Upload(CONTENT, ANY), Registry(faults=["", "rot"])), Wrong)


def test_a_registry_that_names_another_digest_is_not_believed() -> None:
    registry = Registry(faults=["", "", "other-digest"])

    assert run(Upload(CONTENT, ANY), registry) == Wrong(str(Digest.of(b"a lie")))


def test_a_lost_yes_is_looked_for_before_anything_is_sent_again() -> None:
    registry = Registry(faults=["", "", "lost-answer"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert kinds(registry) == ["Begin", "Patch", "Put", "Look"]


def test_who_wants_ranges_gets_them() -> None:
    registry = Registry(faults=["", "range-wanted"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    (last,) = [asked for asked in registry.asked if isinstance(asked, Patch)][1:]
    assert last.ranged


def test_chunks_are_as_small_as_the_registry_wants_once_they_say_their_range() -> None:
    registry = Registry(faults=["", "cut-half"])
    own = Limits(registry="x", note="x", chunk=8)

    assert run(Upload(CONTENT, own), registry) == Done()

    sizes = [asked.size for asked in registry.asked if isinstance(asked, Patch)]
    assert sizes == [40, 8, 8, 4]


def test_a_body_that_is_too_large_is_cut_smaller() -> None:
    upload = Upload(Content(Digest.of(b""), 100 << 20), ANY)
    upload.answered(Answer(status=202, headers={"location": "/u"}, url=BASE))
    upload.answered(Answer(status=413, url=BASE))
    assert isinstance(upload.next, Ask)
    upload.answered(Answer(status=204, headers={"range": "0-0"}, url=BASE))
    upload.answered(Answer(status=204, url=BASE))
    upload.answered(Answer(status=202, headers={"location": "/u"}, url=BASE))

    last: object = upload.next
    assert last == Patch("https://registry.example/u", 0, 64 << 20, ranged=True)


def test_a_small_body_that_is_too_large_is_refused() -> None:
    assert run(Upload(CONTENT, ANY), Registry(faults=["", "too-large"])) == Refused()


def test_who_knows_no_patch_gets_one_put() -> None:
    registry = Registry(faults=["", "not-supported"])

    assert run(Upload(CONTENT, ANY), registry) == Done()

    assert kinds(registry)[-2:] == ["Begin", "Put"]


def test_faults_without_progress_end_it() -> None:
    registry = Registry(faults=["", *["cut-none"] * 50])

    assert run(Upload(CONTENT, ANY, patience=3), registry) == GaveUp()

    assert len(registry.asked) == 5


def test_progress_earns_new_patience() -> None:
    registry = Registry(faults=["", *["cut-half", ""] * 4])

    assert run(Upload(CONTENT, ANY, patience=1), registry) == Done()


def test_no_is_no() -> None:
    assert run(Upload(CONTENT, ANY), Registry(faults=["denied"])) == Refused()


@pytest.mark.parametrize(
    ("location", "session"),
    [
        ("/v2/a/b/blobs/uploads/9?x=1", "https://registry.example/v2/a/b/blobs/uploads/9?x=1"),
        ("https://blobs.example/9?sig=a%2Fb", "https://blobs.example/9?sig=a%2Fb"),
        ("9", f"{BASE}9"),
    ],
)
def test_a_location_may_be_relative_absolute_or_elsewhere(location: str, session: str) -> None:
    upload = Upload(CONTENT, ANY)
    upload.answered(Answer(status=202, headers={"location": location}, url=BASE))

    assert upload.session == session


def test_the_query_of_a_session_is_kept_at_its_end() -> None:
    digest = CONTENT.digest
    assert with_digest("https://x/9?sig=a%2Fb", digest) == f"https://x/9?sig=a%2Fb&digest={digest}"
    assert with_digest("https://x/9", digest) == f"https://x/9?digest={digest}"
