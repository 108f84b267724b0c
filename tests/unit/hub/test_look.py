"""What a repository has at a revision, as the hub's own client tells it."""

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

import ovenproof
from ovenproof.core.digest import Digest
from ovenproof.errors import BadFile, NoAccess, TryAgain
from ovenproof.hub import asking, listing, looking
from ovenproof.hub.hub import Hub
from ovenproof.hub.place import ENDPOINT, Place
from tests.fakes.hub import FakeHub
from tests.unit.hub.conftest import MODEL, TOKEN, Model


def test_a_revision_becomes_a_commit_and_files_in_order(hub: Hub, model: Model) -> None:
    found = hub.look(MODEL, None)
    assert (found.model, found.commit) == (MODEL, model.commit)
    assert [file.path for file in found.files] == sorted(model.files)
    assert [file.size for file in found.files] == [len(model.files[p]) for p in sorted(model.files)]
    assert (found.gated, found.license) == (False, "apache-2.0")
    assert hub.look(MODEL, "v1") == found == hub.look(MODEL, model.commit)


def test_big_files_have_a_sha256_and_the_others_gits_own_name(hub: Hub, model: Model) -> None:
    files = {file.path: file for file in hub.look(MODEL, None).files}
    assert files["model.safetensors"].sha256 == Digest.of(model.files["model.safetensors"])
    assert files["config.json"].sha256 is None
    data = model.files["config.json"]
    assert files["config.json"].blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_an_older_commit_is_found_after_a_newer_one(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.repositories[MODEL].commit({"config.json": b"{}"})
    assert hub.look(MODEL, None).commit != model.commit
    assert hub.look(MODEL, "v1").commit == model.commit


def test_a_list_in_pages_is_read_to_its_end(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.page_size = 1
    assert len(hub.look(MODEL, None).files) == len(model.files)


def test_the_next_page_is_asked_of_nobody_else(fake: FakeHub, model: Model) -> None:
    fake.page_size, fake.next_link_to, fake.token = 1, fake.cdn, TOKEN
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN)) as hub, pytest.raises(NoAccess) as caught:
        hub.look(MODEL, None)
    assert "next page" in str(caught.value.got)
    assert not fake.cdn_requests


def test_a_mirror_may_give_the_pages_of_the_hub_itself(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.page_size, fake.next_link_to = 1, ENDPOINT
    assert len(hub.look(MODEL, None).files) == len(model.files)


def test_a_list_without_an_end_is_no_list(
    hub: Hub, fake: FakeHub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_PAGES", 7)
    fake.endless_list = True
    with pytest.raises(TryAgain, match="more than 7 pages"):
        hub.look(MODEL, None)
    assert len([asked for asked in fake.requests if "/tree/" in asked.path]) == 7


def test_a_page_without_an_end_is_no_page(
    hub: Hub, fake: FakeHub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_PAGE", 100)
    with pytest.raises(TryAgain, match="without an end"):
        hub.look(MODEL, None)


def test_a_listing_waits_no_longer_than_anything_else(
    hub: Hub, fake: FakeHub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    fake.status_next, fake.status_path, fake.retry_after = [429, 503], "/tree/", "3600"
    with pytest.raises(TryAgain) as caught:
        hub.look(MODEL, None)
    assert "3600 s" in str(caught.value.hint)
    assert not slept


def test_a_listing_that_has_trouble_is_asked_for_again(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.status_next, fake.status_path, fake.page_size = [503, 0, 429], "/tree/", 1
    assert len(hub.look(MODEL, None).files) == len(model.files)


@pytest.mark.parametrize("where", ["https://elsewhere/x", "https://hub:444/", "http://hub/"])
def test_the_client_shows_the_token_to_the_hub_alone(where: str) -> None:
    with looking._shown_to(Place(endpoint="https://hub")):
        for url, shown in ((where, False), ("https://HUB:443/x", True)):
            request = httpx2.Request("GET", url, headers={"Authorization": f"Bearer {TOKEN}"})
            looking._to_the_hub_alone(request)
            assert ("authorization" in request.headers) == shown


@pytest.mark.parametrize(
    "entries",
    [
        {},
        [7],
        [{"type": "file", "path": 7, "oid": "0" * 40, "size": 1}],
        [{"type": "file", "path": "a", "size": 1}],
        [{"type": "file", "path": "a", "oid": "0" * 40, "size": 1, "lfs": {"oid": "../.."}}],
    ],
)
def test_what_is_no_list_of_files_is_not_taken_for_one(entries: object) -> None:
    def ask(_url: httpx2.URL) -> listing.Page:
        return listing.Page(entries=entries, next=None)

    with pytest.raises((ValueError, TypeError, KeyError)):
        listing.list_files(Place(), MODEL, "0" * 40, ask)


def test_a_mirrors_password_stays_with_its_pages() -> None:
    asked: list[str] = []

    def ask(url: httpx2.URL) -> listing.Page:
        asked.append(str(url))
        return listing.Page(entries=[], next="/api/x?cursor=1" if len(asked) == 1 else None)

    listing.list_files(Place(endpoint="https://me:secret@mirror"), MODEL, "0" * 40, ask)
    assert asked[1] == "https://me:secret@mirror/api/x?cursor=1"


def test_a_licence_of_no_common_name_is_told_by_its_own(hub: Hub, fake: FakeHub) -> None:
    card = {"license_name": "acme-1"}
    fake.repository("acme/own", license="other", card=card).commit({"config.json": b"{}"})
    fake.repository("acme/none").commit({"config.json": b"{}"})
    assert hub.look("acme/own", None).license == "acme-1"
    assert hub.look("acme/none", None).license is None


def test_a_gated_model_may_be_looked_at(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.repositories[MODEL].gated = "manual"
    assert hub.look(MODEL, None).gated


def test_a_gate_that_hides_the_list_tells_where_to_accept(fake: FakeHub, model: Model) -> None:
    fake.token, fake.gated_listing = TOKEN, False
    fake.repositories[MODEL].gated = "auto"
    with Hub(Place(endpoint=fake.endpoint)) as hub, pytest.raises(NoAccess) as caught:
        hub.look(MODEL, None)
    assert f"{fake.endpoint}/{MODEL}" in str(caught.value.hint)
    assert "HF_TOKEN" in str(caught.value.hint)
    with Hub(Place(endpoint=fake.endpoint, token=TOKEN)) as hub:
        assert hub.look(MODEL, None).commit == model.commit


@pytest.mark.parametrize("token", [None, "hf_a_strangers"])
def test_a_private_model_looks_like_none(token: str | None, fake: FakeHub, model: Model) -> None:
    fake.token, fake.other_tokens = TOKEN, {"hf_a_strangers"}
    fake.repositories[MODEL].private = True
    with Hub(Place(endpoint=fake.endpoint, token=token)) as hub, pytest.raises(BadFile) as caught:
        hub.look(MODEL, None)
    assert "private" in str(caught.value.hint)
    assert "hf_a_strangers" not in str(caught.value)


def test_a_revision_that_is_not_there_is_named(hub: Hub, model: Model) -> None:
    with pytest.raises(BadFile, match="no such revision of the model: `v9`"):
        hub.look(MODEL, "v9")


def test_a_name_that_none_can_have_is_refused(hub: Hub) -> None:
    with pytest.raises(BadFile, match="not the name of a model"):
        hub.look("a b/c/d", None)


def test_a_token_that_nobody_has_is_no_access_and_not_shown(fake: FakeHub, model: Model) -> None:
    fake.token = TOKEN
    place = Place(endpoint=fake.endpoint, token="hf_wrong")
    with Hub(place) as hub, pytest.raises(NoAccess) as caught:
        hub.look(MODEL, None)
    assert "hf_wrong" not in str(caught.value)


def test_trouble_that_passes_is_waited_for(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.status_next = [503, 429, 0]
    assert hub.look(MODEL, None).commit == model.commit


def test_a_hub_that_wants_us_to_wait_for_long_is_tried_again_by_a_person(
    hub: Hub, fake: FakeHub, model: Model
) -> None:
    fake.status_next, fake.retry_after = [429], "3600"
    with pytest.raises(TryAgain) as caught:
        hub.look(MODEL, None)
    assert "3600 s" in str(caught.value.hint)


def test_a_hub_that_is_gone_is_tried_again(hub: Hub, fake: FakeHub, model: Model) -> None:
    fake.go_away()
    with pytest.raises(TryAgain, match="does not answer"):
        hub.look(MODEL, None)


def test_who_is_no_hub_is_tried_again_by_a_person(fake: FakeHub, model: Model) -> None:
    with Hub(Place(endpoint=fake.cdn), waits_s=()) as hub, pytest.raises(TryAgain, match="404"):
        hub.look(MODEL, None)


def test_nothing_is_printed_and_nobody_logs_in_unasked(
    hub: Hub, fake: FakeHub, model: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.status_next = [503]
    hub.look(MODEL, None)
    assert not any(asked.headers.get("authorization") for asked in fake.requests)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_told_of_us_and_nothing_written(
    fake: FakeHub, model: Model, tmp_path: Path
) -> None:
    """In a process of its own, whose client would ask the fake hub which programs it may meet."""
    script = (
        "from ovenproof.hub.hub import Hub; from ovenproof.hub.place import Place; import sys; "
        "print(Hub(Place(endpoint=sys.argv[1])).look(sys.argv[2], None).commit)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, fake.endpoint, MODEL],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(ovenproof.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(tmp_path),
            "HF_ENDPOINT": fake.endpoint,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == model.commit
    assert all(f"/api/models/{MODEL}" in asked.path for asked in fake.requests)
    assert not list(tmp_path.iterdir())


def test_many_may_look_at_once(hub: Hub, model: Model) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: hub.look(MODEL, None), range(16)))
    assert {snapshot.commit for snapshot in found} == {model.commit}


def test_the_client_is_not_sent_on_to_this_machine() -> None:
    with looking._shown_to(Place(endpoint="https://hub")), pytest.raises(NoAccess, match="sends"):
        looking._to_the_hub_alone(httpx2.Request("GET", "http://169.254.169.254/latest"))


@pytest.mark.parametrize("status", [401, 404])
def test_a_mirrors_login_is_blamed_for_its_own_refusal_alone(fake: FakeHub, status: int) -> None:
    place = Place(endpoint=fake.endpoint.replace("//", "//joe:canary@"))
    fake.token = TOKEN
    fake.repository("acme/hidden").private = True
    fake.status_next = [status] if status == 404 else []
    with Hub(place) as hub, pytest.raises((NoAccess, BadFile, TryAgain)) as caught:
        hub.look("acme/hidden", None)
    assert ("the login of HF_ENDPOINT was refused" in str(caught.value)) == (status == 401)
