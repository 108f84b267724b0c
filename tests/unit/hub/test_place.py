"""Which hub is asked, with which token: found where the hub's own client finds them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovenproof.errors import BadCall, BadFile
from ovenproof.hub.place import ENDPOINT, Place, find_cache, find_place

SAID = "import huggingface_hub as h; from huggingface_hub import constants as c, utils; "


def as_the_client(expression: str, home: Path, environment: dict[str, str]) -> str:
    """What the hub's client says of itself in that environment."""
    found = subprocess.run(
        [sys.executable, "-c", f"{SAID}print({expression})"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def test_without_settings_it_is_the_public_hub_and_nobody_asks(tmp_path: Path) -> None:
    assert find_place({}, tmp_path) == Place(endpoint=ENDPOINT, token=None)


def test_an_endpoint_is_taken_without_its_last_slash(tmp_path: Path) -> None:
    assert (
        find_place({"HF_ENDPOINT": "https://mirror/hf/"}, tmp_path).endpoint == "https://mirror/hf"
    )


@pytest.mark.parametrize(
    "endpoint", ["mirror", "ftp://mirror", "https://", "https://[", "file:///x"]
)
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(BadCall, match="HF_ENDPOINT"):
        find_place({"HF_ENDPOINT": endpoint}, tmp_path)


def test_a_refused_endpoint_is_shown_without_its_login(tmp_path: Path) -> None:
    with pytest.raises(BadCall) as caught:
        find_place({"HF_ENDPOINT": "ftp://me:secret@mirror"}, tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_token_comes_from_the_environment(name: str, tmp_path: Path) -> None:
    place = find_place({name: "hf_one\n"}, tmp_path)
    assert (place.token, place.origin) == ("hf_one", name)


def test_a_place_says_where_its_token_is_from(tmp_path: Path) -> None:
    token = tmp_path / "token"
    settings = {"HF_TOKEN_PATH": str(token)}
    assert find_place(settings, tmp_path).origin is None
    token.write_text("\n")
    assert find_place(settings, tmp_path).origin is None
    token.write_text("hf_one")
    assert find_place(settings, tmp_path).origin == str(token)


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, ".cache/huggingface/token"),
        ({"XDG_CACHE_HOME": "{home}/xdg"}, "xdg/huggingface/token"),
        ({"HF_HOME": "~/hf"}, "hf/token"),
        ({"HF_HOME": "$HOME/hf"}, "hf/token"),
        ({"HF_HOME": "{home}/hf", "HF_TOKEN_PATH": "{home}/elsewhere"}, "elsewhere"),
    ],
)
def test_a_token_comes_from_the_file_that_the_client_reads(
    environment: dict[str, str], where: str, tmp_path: Path
) -> None:
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_text("hf_filed\n")
    given = {name: text.format(home=tmp_path) for name, text in environment.items()}
    assert find_place({"HOME": str(tmp_path), **given}, tmp_path).token == "hf_filed"
    assert as_the_client("h.get_token()", tmp_path, given) == "hf_filed"


def test_a_token_may_be_there_and_not_be_sent(tmp_path: Path) -> None:
    environment = {"HF_TOKEN": "hf_one", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    assert find_place(environment, tmp_path).token is None


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, False),
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "yes"}, True),
        ({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, False),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "true"}, True),
    ],
)
def test_who_stays_offline_says_so_as_to_the_client(
    environment: dict[str, str], offline: bool, tmp_path: Path
) -> None:
    assert find_place(environment, tmp_path).offline is offline
    assert as_the_client("c.HF_HUB_OFFLINE", tmp_path, environment) == str(offline)


def test_a_token_is_not_in_what_a_place_prints() -> None:
    assert "hf_one" not in repr(Place(token="hf_one"))


def test_a_token_that_cannot_be_sent_is_refused_unseen(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="HF_TOKEN") as caught:
        find_place({"HF_TOKEN": "hf_one two"}, tmp_path)
    assert "hf_one" not in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"XDG_CACHE_HOME": "{home}/xdg"},
        {"HF_HOME": "{home}/hf"},
        {"HUGGINGFACE_HUB_CACHE": "{home}/old"},
        {"HF_HUB_CACHE": "~/new", "HUGGINGFACE_HUB_CACHE": "{home}/old"},
        {"HF_HUB_CACHE": "${{HOME}}/new"},
    ],
)
def test_the_cache_is_where_the_client_has_it(environment: dict[str, str], tmp_path: Path) -> None:
    given = {name: text.format(home=tmp_path) for name, text in environment.items()}
    found = find_cache({"HOME": str(tmp_path), **given}, tmp_path)
    assert str(found) == as_the_client("c.HF_HUB_CACHE", tmp_path, given)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:",
        "http://joe:canary#w@host",
        "http://joe:can/canary@host",
        "http://joe:12/canary@host",
        "http://joe:p@w/canary@host?token=canary",
        "http://host#",
        "http://\u200b.com",
        "http://a..b",
        "http://exa mple.com",
        f"http://{'a' * 64}.example",
        "http://[mirror]",
    ],
)
def test_an_endpoint_that_nobody_can_be_asked_at_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(BadCall, match="HF_ENDPOINT is not the address") as caught:
        find_place({"HF_ENDPOINT": endpoint}, tmp_path)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://[::1]:8080",
        "https://joe:pw@mirror_1.example:1/x",
        "https://bücher.example",
        "HTTP://a.",
    ],
)
def test_an_endpoint_may_be_any_address(endpoint: str, tmp_path: Path) -> None:
    assert find_place({"HF_ENDPOINT": endpoint}, tmp_path).endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["http://mirror", "http://192.0.2.1:80", "http://localhost.x"])
def test_a_token_is_not_sent_over_plain_http_to_another_machine(
    endpoint: str, tmp_path: Path
) -> None:
    given = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_canary"}
    with pytest.raises(BadCall, match="plain http") as caught:
        find_place(given, tmp_path)
    assert "OVENPROOF_INSECURE_HUB=1" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert find_place({**given, "OVENPROOF_INSECURE_HUB": "1"}, tmp_path).token
    assert find_place({**given, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, tmp_path).token is None
    assert find_place({"HF_ENDPOINT": endpoint}, tmp_path).token is None


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "http://[::1]", "http://localhost", "https://mirror"]
)
def test_a_token_is_sent_where_nobody_listens_in(endpoint: str, tmp_path: Path) -> None:
    assert find_place({"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_one"}, tmp_path).token == "hf_one"


def test_a_login_and_a_token_are_not_both_sent(tmp_path: Path) -> None:
    given = {"HF_ENDPOINT": "https://joe:canary@mirror", "HF_TOKEN": "hf_canary"}
    with pytest.raises(BadCall, match="login") as caught:
        find_place(given, tmp_path)
    assert "canary" not in str(caught.value)
