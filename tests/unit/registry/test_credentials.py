"""Logins as podman, Docker and their helpers keep them; nothing of them in any message."""

import base64
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from ovenproof.errors import BadFile, MissingTool, NoAccess
from ovenproof.registry.credentials import Credentials, Login
from ovenproof.registry.reference import Repository

CANARY = "c4n4ry-s3cret"
MODELS = Repository("ghcr.io", "you/models")
HUB = Repository("docker.io", "you/models")


def encoded(username: str, password: str = CANARY) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def user(
    home: Path, repository: Repository = MODELS, environment: Mapping[str, str] | None = None
) -> str | None:
    login = Credentials(environment or {}, home).find(repository)
    return None if login is None else login.username


def docker_file(home: Path, value: object) -> Path:
    return write(home / ".docker" / "config.json", value)


Helper: TypeAlias = Callable[..., dict[str, str]]


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    """Puts a `docker-credential-x` on a PATH of its own; its runs are lines of `asked`."""

    def install(script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "docker-credential-x"
        log = tmp_path / "asked"
        noted = f'{shutil.which("sed")} "s/^/$1 /;\\$a\\\\" >> {log}'
        program.write_text(f"#!/bin/sh\n{noted}\n{script}\n")
        program.chmod(0o755)
        return {"PATH": str(folder)}

    return install


def asked(tmp_path: Path) -> list[str]:
    log = tmp_path / "asked"
    return log.read_text().splitlines() if log.exists() else []


def answer(username: str = "anna", secret: str = CANARY) -> str:
    return "echo '" + json.dumps({"ServerURL": "s", "Username": username, "Secret": secret}) + "'"


def test_without_any_file_there_is_no_login(tmp_path: Path) -> None:
    assert Credentials({}, tmp_path / "nowhere").find(MODELS) is None


def test_places_are_asked_in_podmans_order_and_dockers_last(tmp_path: Path) -> None:
    home, run, settings = tmp_path / "home", tmp_path / "run", tmp_path / "settings"
    own = tmp_path / "own.json"
    docker, moved = home / ".docker" / "config.json", tmp_path / "moved"
    by_place = {
        own: "own",
        run / "containers" / "auth.json": "run",
        settings / "containers" / "auth.json": "settings",
        home / ".config" / "containers" / "auth.json": "home",
        docker: "docker",
        moved / "config.json": "moved",
    }
    for path, name in by_place.items():
        write(path, {"auths": {"ghcr.io": {"auth": encoded(name)}}})
    everything = {
        "REGISTRY_AUTH_FILE": str(own),
        "XDG_RUNTIME_DIR": str(run),
        "XDG_CONFIG_HOME": str(settings),
        "DOCKER_CONFIG": str(moved),
    }
    assert user(home, environment=everything) == "own"
    own.unlink()
    assert user(home, environment=everything) == "moved", "podman's other files are not meant"
    del everything["REGISTRY_AUTH_FILE"]
    assert user(home, environment=everything) == "run"
    (run / "containers" / "auth.json").unlink()
    assert user(home, environment=everything) == "settings"
    assert user(home, environment={"XDG_CONFIG_HOME": "", "DOCKER_CONFIG": ""}) == "home"
    (home / ".config" / "containers" / "auth.json").unlink()
    assert user(home) == "docker"


@pytest.mark.parametrize(
    "key",
    [
        "ghcr.io", "https://ghcr.io", "https://ghcr.io/", "https://ghcr.io/v1/", "http://ghcr.io",
        "ghcr.io/v2/", "GHCR.io", "ghcr.io/you", "ghcr.io/you/", "ghcr.io/you/models",
    ],
)  # fmt: skip
def test_a_key_may_be_written_in_many_ways(tmp_path: Path, key: str) -> None:
    docker_file(tmp_path, {"auths": {key: {"auth": encoded("anna")}}})
    assert user(tmp_path) == "anna"


@pytest.mark.parametrize(
    "key",
    ["ghcr.io:443", "ghcr", "io", "ghcr.io.evil.example", "evil.example/ghcr.io", "ghcr.io/yo",
     "ghcr.io/you/model", "ghcr.io/you/models/more", "ghcr.io/models", ""],
)  # fmt: skip
def test_a_key_of_something_else_does_not_fit(tmp_path: Path, key: str) -> None:
    docker_file(tmp_path, {"auths": {key: {"auth": encoded("anna")}}})
    assert user(tmp_path) is None


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io/v1/", "registry-1.docker.io",
     "docker.io/you"],
)  # fmt: skip
def test_docker_hub_has_many_names(tmp_path: Path, key: str) -> None:
    docker_file(tmp_path, {"auths": {key: {"auth": encoded("anna")}}})
    assert user(tmp_path, HUB) == "anna"


def test_a_port_belongs_to_the_host(tmp_path: Path) -> None:
    docker_file(tmp_path, {"auths": {"localhost:5000": {"auth": encoded("anna")}}})
    assert user(tmp_path, Repository("localhost:5000", "a")) == "anna"
    assert user(tmp_path, Repository("localhost:5001", "a")) is None


def test_the_longest_key_wins_and_an_empty_entry_does_not_count(tmp_path: Path) -> None:
    keys = {"ghcr.io": "host", "ghcr.io/you": "space", "ghcr.io/you/models": "name"}
    entries: dict[str, dict[str, str]] = {
        key: {"auth": encoded(name)} for key, name in keys.items()
    }
    docker_file(tmp_path, {"auths": entries})
    assert user(tmp_path) == "name"
    assert user(tmp_path, Repository("ghcr.io", "you/other")) == "space"
    assert user(tmp_path, Repository("ghcr.io", "yours/models")) == "host"
    docker_file(tmp_path, {"auths": {**entries, "ghcr.io/you/models": {}}})
    assert user(tmp_path) == "space"


def test_the_writing_of_the_program_itself_wins_over_others(tmp_path: Path) -> None:
    entries = {
        "docker.io": {"auth": encoded("podman")},
        "https://index.docker.io/v1/": {"auth": encoded("docker")},
    }
    docker_file(tmp_path, {"auths": entries})
    assert user(tmp_path, HUB) == "docker"
    own = write(tmp_path / "own.json", {"auths": entries})
    assert user(tmp_path, HUB, {"REGISTRY_AUTH_FILE": str(own)}) == "podman"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": encoded("a", "b:c")}, Login(username="a", password="b:c")),
        ({"auth": encoded("a", "b\0\0")}, Login(username="a", password="b")),
        ({"username": "a", "password": "b"}, Login(username="a", password="b")),
        ({"auth": None, "username": "a", "password": "ü"}, Login(username="a", password="ü")),
        ({"identitytoken": "i"}, Login(identity_token="i")),
        (
            {"auth": encoded("a", ""), "identitytoken": "i"},
            Login(username="a", identity_token="i"),
        ),
        ({"registrytoken": "r", "email": 7}, Login(registry_token="r")),
        ({"username": "a"}, None),
        ({"auth": ""}, None),
        ({}, None),
        (None, None),
    ],
)
def test_every_kind_of_entry_is_understood(
    tmp_path: Path, entry: object, expected: Login | None
) -> None:
    path = docker_file(tmp_path, {"auths": {"ghcr.io": entry}})
    found = Credentials({}, tmp_path).find(MODELS)
    if expected is None:
        assert found is None
    else:
        assert found == Login(
            username=expected.username,
            password=expected.password,
            identity_token=expected.identity_token,
            registry_token=expected.registry_token,
            origin=str(path),
        )


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {"ghcr.io": {"auth": "' + CANARY,
        "\x00" + CANARY,
        '["' + CANARY + '"]',
        json.dumps({"auths": CANARY}),
        json.dumps({"auths": {"ghcr.io": CANARY}}),
        json.dumps({"auths": {f"https://a:{CANARY}@ghcr.io": {"auth": [CANARY]}}}),
        json.dumps({"auths": {"ghcr.io": {"auth": f"{CANARY}="}}}),
        json.dumps({"auths": {"ghcr.io": {"auth": base64.b64encode(CANARY.encode()).decode()}}}),
        json.dumps({"auths": {"ghcr.io": {"identitytoken": [CANARY]}}}),
        json.dumps({"auths": {"ghcr.io": {"registrytoken": f"{CANARY}ü"}}}),
        json.dumps({"credHelpers": [CANARY]}),
        json.dumps({"credHelpers": {"ghcr.io": 5}}),
        json.dumps({"credsStore": {"x": CANARY}}),
        json.dumps({"credsStore": f"../{CANARY}"}),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = docker_file(tmp_path, None)
    path.write_text(text)
    with pytest.raises(BadFile) as caught:
        Credentials({}, tmp_path).find(MODELS)
    assert str(path) in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bytes_that_are_no_text_are_a_damaged_file(tmp_path: Path) -> None:
    docker_file(tmp_path, None).write_bytes(b'{"\xff\xfe": 1}')
    with pytest.raises(BadFile):
        Credentials({}, tmp_path).find(MODELS)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".docker" / "config.json"
    path.mkdir(parents=True)
    with pytest.raises(NoAccess, match=r"config\.json"):
        Credentials({}, tmp_path).find(MODELS)


def test_what_else_stands_in_dockers_file_does_not_matter(tmp_path: Path) -> None:
    value = {"auths": {"ghcr.io": {"auth": encoded("anna")}}, "plugins": {"x": 1.5}, "a": [None]}
    docker_file(tmp_path, value)
    assert user(tmp_path) == "anna"


def test_a_repr_shows_no_secret() -> None:
    login = Login(username=CANARY, password=CANARY, identity_token=CANARY, registry_token=CANARY)
    assert CANARY not in repr(login)


def test_a_store_is_asked_for_every_host_and_a_helper_for_its_own(
    tmp_path: Path, helper: Helper
) -> None:
    environment = helper(answer())
    docker_file(tmp_path, {"credHelpers": {"https://ghcr.io": "x"}})
    found = Credentials(environment, tmp_path)
    login = found.find(MODELS)
    assert login is not None
    assert (login.username, login.password) == ("anna", CANARY)
    assert "docker-credential-x" in login.origin
    assert found.find(HUB) is None
    docker_file(tmp_path, {"credsStore": "x", "credHelpers": {"quay.io": "none"}})
    found = Credentials(environment, tmp_path)
    assert found.find(HUB)
    assert found.find(Repository("localhost:5000", "a"))
    assert asked(tmp_path) == [
        "get ghcr.io", "get https://index.docker.io/v1/", "get localhost:5000",
    ]  # fmt: skip


def test_podmans_helper_is_asked_for_docker_hub_by_its_plain_name(
    tmp_path: Path, helper: Helper
) -> None:
    own = write(tmp_path / "own.json", {"credHelpers": {"docker.io": "x"}})
    environment = {**helper(answer()), "REGISTRY_AUTH_FILE": str(own)}
    assert Credentials(environment, tmp_path).find(HUB)
    assert asked(tmp_path) == ["get docker.io"]


def test_a_helper_runs_once_for_a_host_whoever_asks(tmp_path: Path, helper: Helper) -> None:
    environment = helper(answer())
    docker_file(tmp_path, {"credsStore": "x"})
    found = Credentials(environment, tmp_path)
    threads = [
        threading.Thread(target=found.find, args=(Repository("ghcr.io", f"you/{number % 3}"),))
        for number in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(tmp_path) == ["get ghcr.io"]


def test_an_identity_token_is_known_by_its_user(tmp_path: Path, helper: Helper) -> None:
    environment = helper(answer("<token>"))
    docker_file(tmp_path, {"credsStore": "x"})
    login = Credentials(environment, tmp_path).find(MODELS)
    assert login is not None
    assert (login.username, login.password, login.identity_token) == ("", "", CANARY)


@pytest.mark.parametrize(
    "script",
    [
        "echo 'credentials not found in native keychain'; exit 1",
        "echo 'Credentials not found' >&2; exit 1",
        answer("", ""),
    ],
)
def test_a_helper_that_has_nothing_is_no_fault(tmp_path: Path, helper: Helper, script: str) -> None:
    environment = helper(script)
    docker_file(tmp_path, {"credsStore": "x"})
    assert Credentials(environment, tmp_path).find(MODELS) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'the wallet is locked'; exit 1", "the wallet is locked"),
        ("echo 'no dbus' >&2; exit 3", "no dbus"),
        ("exit 7", "exit status 7"),
        (f"{answer()}; exit 1", "exit status 1"),
        (f"echo {CANARY}", "without Username and Secret"),
        (f"echo '[\"{CANARY}\"]'", "without Username and Secret"),
        (f'echo \'{{"Secret": "{CANARY}"}}\'', "without Username and Secret"),
    ],
)
def test_a_helper_that_fails_is_named_with_what_it_said(
    tmp_path: Path, helper: Helper, script: str, said: str
) -> None:
    environment = helper(script)
    path = docker_file(tmp_path, {"credsStore": "x"})
    found = Credentials(environment, tmp_path)
    for _ in range(2):
        with pytest.raises(NoAccess) as caught:
            found.find(MODELS)
        text = str(caught.value)
        assert said in text
        assert "docker-credential-x" in text
        assert str(path) in text
        assert CANARY not in text
    assert len(asked(tmp_path)) == 1


@pytest.mark.parametrize("environment", [{}, {"PATH": ""}, {"PATH": "/nonexistent"}])
def test_a_helper_that_is_missing_is_named(tmp_path: Path, environment: Mapping[str, str]) -> None:
    docker_file(tmp_path, {"credsStore": "desktop.exe"})
    with pytest.raises(MissingTool, match=r"docker-credential-desktop\.exe"):
        Credentials(environment, tmp_path).find(MODELS)


def test_a_helper_is_looked_for_on_the_given_path_only(
    tmp_path: Path, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", helper(answer())["PATH"])
    docker_file(tmp_path, {"credsStore": "x"})
    with pytest.raises(MissingTool):
        Credentials({}, tmp_path).find(MODELS)


def test_a_broken_helper_matters_only_where_nobody_else_has_the_login(
    tmp_path: Path, helper: Helper
) -> None:
    environment = helper("exit 1")
    own = write(tmp_path / "own.json", {"credHelpers": {"ghcr.io": "x"}})
    docker_file(tmp_path, {"auths": {"ghcr.io": {"auth": encoded("anna")}}})
    login = Credentials({**environment, "REGISTRY_AUTH_FILE": str(own)}, tmp_path).find(MODELS)
    assert login is not None
    assert login.username == "anna"


def test_a_helper_is_asked_before_what_stands_in_the_file(tmp_path: Path, helper: Helper) -> None:
    environment = helper(answer("kept"))
    docker_file(
        tmp_path, {"credHelpers": {"ghcr.io": "x"}, "auths": {"ghcr.io": {"auth": encoded("old")}}}
    )
    login = Credentials(environment, tmp_path).find(MODELS)
    assert login is not None
    assert login.username == "kept"
