"""The fake hub is what the real client takes for a hub, and breaks where it is told to."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, RepoFile, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fakes.hub import FakeHub, Repository, Sparse

HEAD = b'{"w":{"dtype":"U8","shape":[40],"data_offsets":[0,40]}}'
WEIGHTS = len(HEAD).to_bytes(8, "little") + HEAD + bytes(range(40))
FILES = {"config.json": b"{}", "a b/notes.txt": b"as they are", "model.safetensors": WEIGHTS}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token="hf_right", other_tokens={"hf_stranger"}) as hub:
        yield hub


@pytest.fixture
def repository(hub: FakeHub) -> Repository:
    repository = hub.repository("org/name", license="apache-2.0")
    repository.commit(FILES, tag="v1")
    return repository


def api(hub: FakeHub, token: str | None = None) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token or False)


def get(
    hub: FakeHub,
    path: str,
    span: str = "",
    *,
    accept: str = "identity",
    follow_redirects: bool = True,
) -> httpx2.Response:
    where = f"{hub.endpoint}/org/name/resolve/main/{path}"
    headers = {"Accept-Encoding": accept, **({"Range": f"bytes={span}"} if span else {})}
    return httpx2.get(where, headers=headers, follow_redirects=follow_redirects, trust_env=False)


def test_the_client_finds_the_commit_and_the_licence(
    hub: FakeHub, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.branches["main"]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    for revision in (None, "main", "v1", "refs/heads/main", commit):
        resolved = api(hub).resolve_revision("org/name", revision=revision, cache_dir=tmp_path)
        assert resolved.resolved == commit
    told = api(hub).model_info("org/name", revision="v1", files_metadata=True)
    assert (told.sha, told.gated, told.private) == (commit, False, False)
    assert told.card_data is not None
    assert told.card_data.license == "apache-2.0"
    assert {item.rfilename: item.size for item in told.siblings or ()} == {
        path: len(data) for path, data in FILES.items()
    }
    assert api(hub).list_repo_refs("org/name").tags[0].target_commit == commit


def test_a_listing_names_files_as_git_and_lfs_do(hub: FakeHub, repository: Repository) -> None:
    listed = {
        item.path: item
        for item in api(hub).list_repo_tree("org/name", recursive=True)
        if isinstance(item, RepoFile)
    }
    assert sorted(listed) == sorted(FILES)
    assert listed["config.json"].lfs is None
    assert listed["config.json"].blob_id == hashlib.sha1(b"blob 2\0{}").hexdigest()
    weights = listed["model.safetensors"]
    assert weights.lfs is not None
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert weights.size == weights.lfs.size == len(WEIGHTS)
    assert weights.xet_hash is None


@pytest.mark.parametrize("expand", [False, True])
def test_a_long_listing_comes_in_pages(hub: FakeHub, expand: bool) -> None:
    hub.page_size = 3
    paths = [f"{number}/file" for number in range(5)]
    hub.repository("org/name").commit(dict.fromkeys(paths, b"x"))
    listed = api(hub).list_repo_tree("org/name", recursive=True, expand=expand)
    assert [item.path for item in listed if isinstance(item, RepoFile)] == paths
    assert len(hub.requests) == 4  # 5 files and 5 folders
    below = api(hub).list_repo_tree("org/name", "2", recursive=False)
    assert [item.path for item in below] == ["2/file"]


def test_what_is_known_of_paths_leaves_out_those_that_are_not_there(
    hub: FakeHub, repository: Repository
) -> None:
    found = api(hub).get_paths_info("org/name", ["config.json", "a b", "missing"], expand=True)
    assert [item.path for item in found] == ["config.json", "a b"]


@pytest.mark.parametrize("redirects", [True, False])
def test_the_client_downloads_a_snapshot(
    hub: FakeHub, repository: Repository, tmp_path: Path, redirects: bool
) -> None:
    hub.redirect_to_cdn = hub.redirect_to_cache = redirects
    folder = Path(
        snapshot_download("org/name", endpoint=hub.endpoint, cache_dir=tmp_path, token="hf_right")
    )
    assert folder.name == repository.branches["main"]
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert len(hub.cdn_requests) == redirects
    lfs_name = hashlib.sha256(WEIGHTS).hexdigest()
    assert (folder / "model.safetensors").resolve().name == lfs_name


def test_the_client_reads_the_head_of_the_weights(hub: FakeHub, repository: Repository) -> None:
    told = api(hub).get_safetensors_metadata("org/name")
    assert told.files_metadata["model.safetensors"].tensors["w"].shape == [40]


def test_a_token_goes_to_the_hub_and_not_to_the_cdn(
    hub: FakeHub, repository: Repository, tmp_path: Path
) -> None:
    repository.gated = "manual"
    for path in FILES:
        hf_hub_download(
            "org/name", path, endpoint=hub.endpoint, cache_dir=tmp_path, token="hf_right"
        )
    assert {asked.headers.get("authorization") for asked in hub.requests} == {"Bearer hf_right"}
    assert "hf_right" not in repr(hub.cdn_requests)
    assert "hf_right" in repr(hub.requests)


def test_the_cdn_refuses_a_token_a_wrong_signature_and_one_that_expired(
    hub: FakeHub, repository: Repository
) -> None:
    there = get(hub, "model.safetensors", follow_redirects=False)
    signed = there.headers["location"]
    assert there.status_code == 302
    assert signed.startswith(hub.cdn)
    assert there.headers["x-linked-etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert there.headers["x-linked-size"] == str(len(WEIGHTS))
    assert httpx2.get(signed, trust_env=False).content == WEIGHTS
    token = {"Authorization": "Bearer hf_right"}
    assert httpx2.get(signed, headers=token, trust_env=False).status_code == 400
    assert httpx2.get(signed.partition("?")[0], trust_env=False).status_code == 403
    hub.expire()
    assert httpx2.get(signed, trust_env=False).status_code == 403


def test_a_small_file_is_redirected_within_the_hub(hub: FakeHub, repository: Repository) -> None:
    there = get(hub, "a%20b/notes.txt", follow_redirects=False)
    assert there.status_code == 307
    assert there.headers["location"].startswith("/api/resolve-cache/models/org/name/")
    assert get(hub, "a%20b/notes.txt").content == b"as they are"


@pytest.mark.parametrize(
    ("name", "token", "error", "status"),
    [
        ("org/gated", None, GatedRepoError, 401),
        ("org/gated", "hf_stranger", GatedRepoError, 403),
        ("org/private", None, RepositoryNotFoundError, 401),
        ("org/private", "hf_stranger", RepositoryNotFoundError, 404),
        ("org/missing", None, RepositoryNotFoundError, 401),
        ("org/missing", "hf_right", RepositoryNotFoundError, 404),
        ("org/disabled", None, DisabledRepoError, 403),
        ("org/name", "hf_revoked", HfHubHTTPError, 401),
    ],
)
def test_a_closed_repository_is_an_error_of_the_clients_own(
    hub: FakeHub, name: str, token: str | None, error: type[HfHubHTTPError], status: int
) -> None:
    hub.repository("org/name").commit(FILES)
    hub.repository("org/gated", gated=True).commit(FILES)
    hub.repository("org/private", private=True).commit(FILES)
    hub.repository("org/disabled").disabled = True
    with pytest.raises(error) as caught:
        api(hub, token).auth_check(name)
    assert type(caught.value) is error
    assert caught.value.response.status_code == status


def test_the_right_token_opens_what_is_gated_and_private(hub: FakeHub) -> None:
    hub.repository("org/name", gated=True, private=True).commit(FILES)
    api(hub, "hf_right").auth_check("org/name")
    assert api(hub, "hf_right").model_info("org/name").gated == "auto"


def test_a_gated_repository_may_hide_its_listing_too(hub: FakeHub) -> None:
    hub.repository("org/name", gated=True).commit(FILES)
    assert list(api(hub).list_repo_tree("org/name"))
    hub.gated_listing = False
    with pytest.raises(GatedRepoError):
        list(api(hub).list_repo_tree("org/name"))


def test_unknown_revisions_and_files_are_told_apart(
    hub: FakeHub, repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(RevisionNotFoundError):
        api(hub).model_info("org/name", revision="v2")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(
            "org/name", "missing", endpoint=hub.endpoint, cache_dir=tmp_path, token=False
        )


@pytest.mark.parametrize("keep_old", [False, True])
def test_a_force_push_takes_away_the_old_commit_unless_it_is_kept(
    hub: FakeHub, keep_old: bool
) -> None:
    repository = hub.repository("org/name")
    old = repository.commit({"config.json": b"1"})
    new = repository.force_push("main", {"config.json": b"2"}, keep_old=keep_old)
    assert api(hub).model_info("org/name").sha == new != old
    if keep_old:
        assert api(hub).model_info("org/name", revision=old).sha == old
    else:
        with pytest.raises(RevisionNotFoundError):
            api(hub).model_info("org/name", revision=old)


def test_a_commit_adds_to_the_one_before_and_its_name_follows_from_its_content() -> None:
    first, second = Repository(name="a/b"), Repository(name="a/b")
    assert first.commit({"x": b"1"}) == second.commit({"x": b"1"})
    assert first.commit({"y": b"2"}) != second.commit({"y": b"3"})
    latest = first.find(first.commit({"x": None, "z": b"4"}, tag="v3"))
    assert latest is not None
    assert list(latest.files) == ["y", "z"]
    assert first.find("v3") is latest


def test_any_range_is_that_slice_of_the_file(
    hub: FakeHub, repository: Repository, tmp_path: Path
) -> None:
    large = Sparse(3 << 20, seed=5, head=b"head")
    repository.commit({"large.bin": large})
    whole = get(hub, "large.bin").content
    assert len(whole) == large.size
    assert whole.startswith(b"head")
    (tmp_path / "copy").write_bytes(whole)
    repository.commit({"disk.bin": tmp_path / "copy", "memory.bin": whole})
    for path in ("large.bin", "disk.bin", "memory.bin"):
        for said, start, end in (
            ("0-0", 0, 1),
            ("2-9", 2, 10),
            (f"{(1 << 20) - 1}-{2 << 20}", (1 << 20) - 1, (2 << 20) + 1),
            ("3145000-", 3145000, 3 << 20),
            ("-7", (3 << 20) - 7, 3 << 20),
            ("3145727-9999999", (3 << 20) - 1, 3 << 20),
        ):
            part = get(hub, path, said)
            assert part.status_code == 206
            assert part.content == whole[start:end]
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{large.size}"
    beyond = get(hub, "large.bin", f"{large.size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{large.size}")


def test_ranges_can_be_ignored_or_wrong_and_bytes_flipped(
    hub: FakeHub, repository: Repository
) -> None:
    hub.wrong_range = 2
    shifted = get(hub, "model.safetensors", "10-19")
    assert (shifted.headers["content-range"], shifted.content) == (
        "bytes 12-19/103",
        WEIGHTS[12:20],
    )
    hub.wrong_range, hub.wrong_bytes = 0, {"model.safetensors": 50}
    flipped = get(hub, "model.safetensors").content
    assert [at for at in range(103) if flipped[at] != WEIGHTS[at]] == [50]
    assert get(hub, "model.safetensors", "51-").content == WEIGHTS[51:]
    hub.ignore_range, hub.wrong_bytes = True, {}
    whole = get(hub, "model.safetensors", "10-19")
    assert (whole.status_code, whole.content) == (200, WEIGHTS)


def test_downloads_are_cut_and_requests_refused_as_often_as_told(
    hub: FakeHub, repository: Repository
) -> None:
    hub.cut_after = [60]
    with pytest.raises(httpx2.RemoteProtocolError):
        get(hub, "model.safetensors")
    assert hub.cdn_requests[-1].sent == 60
    assert get(hub, "model.safetensors").content == WEIGHTS
    assert hub.cdn_requests[-1].sent == len(WEIGHTS)
    hub.status_next, hub.status_path = [429, 503, 0], "config"
    hub.retry_after, hub.limit_ends_s = "7", 9
    assert get(hub, "model.safetensors").status_code == 200
    limited = get(hub, "config.json")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.headers["ratelimit"] == '"api";r=0;t=9'
    assert get(hub, "config.json").status_code == 503
    with pytest.raises(httpx2.RemoteProtocolError):
        get(hub, "config.json")
    assert get(hub, "config.json").status_code == 200


def test_every_so_many_requests_one_is_too_many(hub: FakeHub, repository: Repository) -> None:
    hub.limit_every, hub.redirect_to_cache = 3, False
    assert [get(hub, "config.json").status_code for _ in range(6)] == [200, 200, 429] * 2


def test_a_small_file_comes_gzipped_to_whom_takes_that(
    hub: FakeHub, repository: Repository
) -> None:
    hub.compress = True
    packed = get(hub, "config.json", "1-", accept="gzip")
    assert (packed.status_code, packed.headers["content-encoding"]) == (200, "gzip")
    assert packed.content == b"{}"
    assert "content-encoding" not in get(hub, "config.json").headers


def test_a_slow_download_still_gives_every_byte(hub: FakeHub, repository: Repository) -> None:
    hub.bytes_per_s = 20_000
    assert get(hub, "model.safetensors").content == WEIGHTS


def test_downloads_can_be_sent_anywhere(hub: FakeHub, repository: Repository) -> None:
    hub.location = f"{hub.endpoint}/org/name/resolve/main/config.json"
    with pytest.raises(httpx2.TooManyRedirects):
        get(hub, "config.json")


def test_lfs_files_say_their_xet_hash_where_told(hub: FakeHub, repository: Repository) -> None:
    hub.xet = True
    listed = api(hub).get_paths_info("org/name", "model.safetensors")[0]
    assert isinstance(listed, RepoFile)
    there = get(hub, "model.safetensors", follow_redirects=False)
    assert listed.xet_hash == there.headers["x-xet-hash"]
    assert "xet-auth" in there.links
    assert "x-xet-hash" not in get(hub, "config.json").headers


def test_the_hub_goes_away_and_comes_back(hub: FakeHub, repository: Repository) -> None:
    where = hub.endpoint
    hub.go_away()
    with pytest.raises(httpx2.ConnectError):
        get(hub, "config.json")
    hub.come_back()
    assert get(hub, "config.json").content == b"{}"
    assert hub.endpoint == where


def test_what_goes_wrong_in_a_hook_is_seen() -> None:
    def stumble(method: str, path: str) -> None:
        raise ValueError(path)

    with pytest.raises(ValueError, match="/api/whoami-v2"), FakeHub(before=stumble) as hub:
        assert httpx2.get(f"{hub.endpoint}/api/whoami-v2", trust_env=False).status_code == 500


def test_a_folder_is_served_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "org" / "name" / "sub").mkdir(parents=True)
    (tmp_path / "org" / "name" / "sub" / "file.bin").write_bytes(b"from disk")
    command = [sys.executable, "-m", "tests.fakes.hub", str(tmp_path), "--port", "0"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            endpoint = served.stdout.readline().strip()
            where = f"{endpoint}/org/name/resolve/main/sub/file.bin"
            found = httpx2.get(where, follow_redirects=True, trust_env=False)
            assert found.content == b"from disk"
        finally:
            os.kill(served.pid, signal.SIGTERM)
    assert served.returncode == 0
