"""Reading a file of the hub: redirected, cut, refused, gone on with."""

import pickle
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovenproof.errors import LockAgain, NoAccess, OvenproofError, TryAgain, WrongBytes
from ovenproof.hub.asking import Asking
from ovenproof.hub.greeting import greet
from ovenproof.hub.hub import Hub, Located
from ovenproof.hub.place import Place
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import MODEL, TOKEN, WAITS_S, Model

WEIGHTS = "model.safetensors"
SIZE = 1_000_000


def test_every_file_comes_whole(hub: Hub, model: Model) -> None:
    for path, data in model.files.items():
        with hub.open(model.at(path), 0, len(data)) as stream:
            assert stream.read() == data


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.integers(0, 999_999), size=st.integers(1, 1_000_000), step=st.integers(1, 99_999))
def test_a_range_is_that_slice_of_the_whole(
    hub: Hub, model: Model, start: int, size: int, step: int
) -> None:
    end = min(start + size, 1_000_000)
    with hub.open(model.at(WEIGHTS), start, end - start) as stream:
        found = b"".join(iter(lambda: stream.read(step), b""))
    assert found == model.files[WEIGHTS][start:end]


def test_nobody_is_asked_before_the_first_byte(hub: Hub, fake: FakeHub, model: Model) -> None:
    hub.open(model.at(WEIGHTS), 0, SIZE).close()
    assert not fake.requests


@pytest.mark.parametrize("offset", [0, 1, 999_000])
def test_what_was_cut_goes_on_where_it_stopped(
    offset: int, hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.cut_after = [0, 100, 70_000, 500, 900]
    with hub.open(model.at(WEIGHTS), offset, SIZE - offset) as stream:
        assert stream.read() == model.files[WEIGHTS][offset:]
    assert sum(asked.sent for asked in fake.cdn_requests) <= 1_000_000 - offset


def test_one_that_never_goes_on_is_given_up(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.cut_after = [100, *[0] * len(WAITS_S), 0]
    with pytest.raises(TryAgain), hub.open(model.at(WEIGHTS), 0, SIZE) as stream:
        stream.read()


@pytest.mark.parametrize("statuses", [[500], [503, 502], [429], [0], [408, 0, 429]])
def test_trouble_that_passes_is_waited_for(
    statuses: list[int], hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.status_next, fake.retry_after = list(statuses), "0"
    with hub.open(model.at(WEIGHTS), 5, SIZE - 5) as stream:
        assert stream.read() == model.files[WEIGHTS][5:]


def test_who_is_told_to_wait_for_long_is_told_so(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.status_next, fake.retry_after = [429], "3600"
    with pytest.raises(TryAgain) as caught:
        hub.open(model.at(WEIGHTS), 0, SIZE).read()
    assert "3600 s" in str(caught.value.hint)
    assert len(fake.requests) == 1


def test_crumbs_do_not_go_on_for_ever(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.cut_after = [100] * 50
    with pytest.raises(TryAgain), hub.open(model.at(WEIGHTS), 0, SIZE) as stream:
        stream.read()
    assert len(fake.cut_after) > 20


def test_what_comes_after_the_range_is_not_waited_for(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.surplus = 256 << 20
    with hub.open(model.at(WEIGHTS), 500, 1000) as stream:
        assert stream.read() == model.files[WEIGHTS][500:1500]
    (asked,) = fake.cdn_requests
    assert asked.sent < fake.surplus


def test_a_connection_is_used_again_for_the_next_range(hub: Hub, model: Model) -> None:
    pool = hub._asking._http._transport._pool  # type: ignore[attr-defined]
    used: list[object] = []
    for offset in range(0, 500, 100):
        with hub.open(model.at(WEIGHTS), offset, 100) as stream:
            assert stream.read(100) == model.files[WEIGHTS][offset : offset + 100]
        used += pool.connections
    assert len(used) == 5
    assert len({id(one) for one in used}) == 1


def test_a_hub_without_ranges_is_read_past(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.ignore_range = True
    with hub.open(model.at(WEIGHTS), 500_000, 1000) as stream:
        assert stream.read() == model.files[WEIGHTS][500_000:501_000]


def test_another_range_than_was_asked_for_is_not_taken(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.wrong_range = 7
    with pytest.raises(WrongBytes, match="another range"):
        hub.open(model.at(WEIGHTS), 10, 100).read()


def test_a_file_that_ends_before_what_is_locked_is_not_taken(hub: Hub, model: Model) -> None:
    with pytest.raises(WrongBytes):
        hub.open(model.at(WEIGHTS), 999_999, 10).read()
    with pytest.raises(WrongBytes):
        hub.open(model.at(WEIGHTS), 2_000_000, 10).read()


def test_the_token_goes_to_the_hub_and_to_nobody_else(fake: FakeHub, model: Model) -> None:
    fake.token = TOKEN
    fake.repositories[MODEL].gated = "auto"
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN), waits_s=WAITS_S) as hub:
        for path, data in model.files.items():
            assert hub.open(model.at(path), 0, len(data)).read() == data
    assert {asked.headers.get("authorization") for asked in fake.requests} == {f"Bearer {TOKEN}"}
    assert fake.cdn_requests
    assert not any(TOKEN in str(asked) for asked in fake.cdn_requests)


def test_where_we_were_sent_is_remembered_while_it_works(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    for offset in (0, 100, 200):
        assert hub.open(model.at(WEIGHTS), offset, 100).read()
    assert len(fake.requests) == 1
    fake.expire()
    data = model.files[WEIGHTS]
    assert hub.open(model.at(WEIGHTS), 300, 100).read() == data[300:400]
    assert len(fake.requests) == 2


@pytest.mark.parametrize("token", [None, "hf_a_strangers"])
def test_a_gated_file_tells_where_to_accept(token: str | None, fake: FakeHub, model: Model) -> None:
    fake.token, fake.other_tokens = TOKEN, {"hf_a_strangers"}
    fake.repositories[MODEL].gated = "auto"
    place = Place(endpoint=fake.endpoint, token=token)
    with Hub(place) as hub, pytest.raises(NoAccess, match="gated") as caught:
        hub.open(model.at(WEIGHTS), 0, SIZE).read()
    assert f"{fake.endpoint}/{MODEL}" in str(caught.value.hint)


def test_a_commit_that_vanished_wants_a_mirror_or_a_new_lock(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.repositories[MODEL].tags.clear()
    fake.repositories[MODEL].force_push("main", {"config.json": b"{}"})
    with pytest.raises(LockAgain) as caught:
        hub.open(model.at(WEIGHTS), 0, SIZE).read()
    assert "HF_ENDPOINT" in str(caught.value.hint)
    assert model.commit in str(caught.value)


def test_while_nothing_is_locked_nobody_speaks_of_a_lock(hub: Hub, model: Model) -> None:
    at = replace(model.at("not there"), locked=False)
    with pytest.raises(TryAgain, match="does not have a file that it lists") as caught:
        hub.open(at, 0, 10).read()
    assert "lock" not in str(caught.value)


def test_who_is_told_to_stay_offline_asks_nobody(fake: FakeHub, model: Model) -> None:
    place = Place(endpoint=fake.endpoint, offline=True)
    with Hub(place) as hub:
        with pytest.raises(TryAgain, match="stay offline"):
            hub.open(model.at(WEIGHTS), 0, 10).read()
        with pytest.raises(TryAgain, match="stay offline"):
            hub.look(MODEL, None)
    with pytest.raises(TryAgain, match="not asked"):
        greet(place)
    assert not fake.requests


def test_a_hub_that_is_gone_is_tried_again(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.go_away()
    with pytest.raises(TryAgain, match="does not answer"):
        hub.open(model.at(WEIGHTS), 0, SIZE).read()


@pytest.mark.parametrize(
    "place",
    [
        lambda fake, at: f"{fake.endpoint}/{at.model}/resolve/{at.commit}/{at.path}?again=secret",
        lambda fake, at: "file:///etc/passwd",
        lambda fake, at: "http://host:port/",
    ],
    ids=["a circle", "no web", "no address"],
)
def test_where_we_do_not_go_is_told_without_its_query(
    place: Callable[[FakeHub, Located], str], hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.location = place(fake, model.at(WEIGHTS))
    with pytest.raises(NoAccess, match="sends us on") as caught:
        hub.open(model.at(WEIGHTS), 0, SIZE).read()
    assert "secret" not in str(caught.value)


FAULTS: dict[str, Callable[[FakeHub], object]] = {
    "500": lambda fake: fake.status_next.extend([500] * 9),
    "403": lambda fake: fake.status_next.append(403),
    "cut": lambda fake: fake.cut_after.extend([0] * 9),
    "wrong range": lambda fake: setattr(fake, "wrong_range", 3),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("path", ["", "/[^/]+/[^/]+/[0-9a-f]{40}/"], ids=["hub", "CDN"])
def test_no_error_has_the_token_or_a_signature(
    path: str, fault: Callable[[FakeHub], object], fake: FakeHub, model: Model
) -> None:
    fake.token, fake.status_path = TOKEN, path
    fault(fake)
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN), waits_s=WAITS_S) as hub:
        with pytest.raises(OvenproofError) as caught:
            hub.open(model.at(WEIGHTS), 1, SIZE - 1).read()
        shown = str(caught.value) + repr(hub.place) + repr(pickle.dumps(caught.value))
    assert TOKEN not in shown
    assert "Signature" not in shown
    assert not any(signature in shown for signature in fake.signatures)


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://cdn/file?sig=1", "https://cdn/file?sig=1"),
        ("/elsewhere", "https://hub/elsewhere"),
        ("//cdn/file", "https://cdn/file"),
    ],
)
def test_a_redirect_leads_on_over_https(location: str, where: str, model: Model) -> None:
    asking = Asking(Place(endpoint="https://hub"))
    before = httpx2.URL("https://hub/acme/tiny/resolve/0/model.safetensors")
    assert str(asking.follow(model.at(WEIGHTS), before, location)) == where


def test_a_redirect_from_https_to_plain_http_is_not_followed(model: Model) -> None:
    asking = Asking(Place(endpoint="https://hub"))
    before = httpx2.URL("https://hub/acme/tiny/resolve/0/model.safetensors")
    with pytest.raises(NoAccess, match="plain http after https"):
        asking.follow(model.at(WEIGHTS), before, "http://cdn/file?sig=1")


def test_a_storage_that_says_no_is_named_and_no_token_is_asked_for(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.status_path, fake.status_next = "^/[^/]+/[^/]+/[0-9a-f]{40}/", [403]
    with pytest.raises(NoAccess, match="the place that the hub sent us on to") as caught:
        hub.open(model.at(WEIGHTS), 0, SIZE).read()
    assert "HF_TOKEN" not in str(caught.value)
    assert str(caught.value.where).startswith("http://127.0.0.1")
    assert fake.endpoint not in str(caught.value.where)


@pytest.mark.parametrize(
    "place",
    [
        *("127.0.0.1:1", "169.254.169.254", "0.0.0.0", "localhost", "a.localhost"),
        *("[::1]", "[fe80::1]", "[::ffff:127.0.0.1]"),
    ],
)
def test_a_hub_elsewhere_does_not_choose_what_is_asked_on_this_machine(place: str) -> None:
    asking = Asking(Place(endpoint="http://hub.example"))
    with pytest.raises(NoAccess, match="sends us on"):
        asking.follow("x", httpx2.URL("http://hub.example/x"), f"http://{place}/latest?secret")
    near = Asking(Place(endpoint="http://127.0.0.1:1"))
    near.follow("x", httpx2.URL("http://127.0.0.1:1/x"), f"http://{place}/latest")


def test_a_login_that_is_refused_is_not_taken_for_a_missing_token(
    fake: FakeHub, model: Model
) -> None:
    place = Place(endpoint=fake.endpoint.replace("//", "//joe:canary@"))
    calls: list[Callable[[Hub], object]] = [
        lambda hub: hub.open(model.at(WEIGHTS), 0, SIZE).read(),
        lambda hub: hub.look(MODEL, None),
        lambda hub: greet(hub.place),
    ]
    for call in calls:
        fake.status_next = [401]
        with Hub(place, waits_s=WAITS_S) as hub, pytest.raises(NoAccess) as caught:
            call(hub)
        assert "login of HF_ENDPOINT" in str(caught.value)
        assert "canary" not in str(caught.value)
