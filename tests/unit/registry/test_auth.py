"""Headers for registries, with a real token service on loopback that misbehaves when told to."""

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from ovenproof.errors import MissingTool, NoAccess, OvenproofError, TryAgain
from ovenproof.registry.auth import Actions, Auth
from ovenproof.registry.credentials import Credentials, Login
from ovenproof.registry.reference import Repository
from tests.unit.registry.conftest import Answer, NewTokenServer, TokenServer

CANARY = "c4n4ry-s3cret"
ANNA = Login(username="anna", password=CANARY, origin="/home/anna/auth.json")
IDENTITY = Login(identity_token=CANARY, origin="/home/anna/auth.json")
REPOSITORY = Repository("ghcr.io", "you/models")
OTHER = Repository("ghcr.io", "you/other")
BASIC_ANNA = "Basic " + base64.b64encode(f"anna:{CANARY}".encode()).decode()


class Logins:
    """Knows one login, or fails."""

    def __init__(self, login: Login | None = None, fault: OvenproofError | None = None) -> None:
        self.login = login
        self.fault = fault

    def find(self, repository: Repository) -> Login | None:
        if self.fault is not None:
            raise self.fault
        return self.login


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Registry:
    """What a registry's client does with an Auth: ask, learn, ask again."""

    def __init__(
        self,
        http: httpx2.Client,
        token_server: TokenServer,
        clock: Clock,
        login: Login | None = None,
        fault: OvenproofError | None = None,
    ) -> None:
        self.plain = {token_server.host}
        self.challenge = f'Bearer realm="{token_server.realm}",service="reg"'
        self.auth = Auth(
            Logins(login, fault),
            http,
            allows=self.allows,
            clock=clock,
            waits_s=(0.0, 0.0),
        )

    def allows(self, url: httpx2.URL, _repository: Repository) -> bool:
        return (url.scheme == "https" and bool(url.host)) or url.netloc.decode() in self.plain

    def refuses(
        self,
        used: str | None = None,
        *,
        url: str = "https://ghcr.io/v2/",
        actions: Actions = "pull",
        also: tuple[Repository, ...] = (),
        own: bool = False,
        code: int = 401,
    ) -> bool:
        """Tell a 401. Whether trying again may help."""
        response = httpx2.Response(
            code,
            headers={"WWW-Authenticate": self.challenge} if self.challenge else {},
            request=httpx2.Request("GET", url),
        )
        return self.auth.challenged(REPOSITORY, actions, response, used, also=also, own=own)

    def header(self, actions: Actions = "pull", *also: Repository) -> str | None:
        return self.auth.header(REPOSITORY, actions, also=also)


@pytest.fixture
def anonymous(http: httpx2.Client, token_server: TokenServer, clock: Clock) -> Registry:
    return Registry(http, token_server, clock)


@pytest.fixture
def anna(http: httpx2.Client, token_server: TokenServer, clock: Clock) -> Registry:
    return Registry(http, token_server, clock, ANNA)


def test_nobody_is_told_anything_before_the_registry_asks(
    anna: Registry, token_server: TokenServer
) -> None:
    assert anna.header() is None
    assert token_server.asked == []


def test_basic_is_answered_with_the_login(anna: Registry) -> None:
    anna.challenge = 'Basic realm="reg"'
    assert anna.refuses()
    assert anna.header() == BASIC_ANNA
    assert anna.auth.header(OTHER, "pull,push") == BASIC_ANNA, "the same for the whole host"
    assert anna.auth.header(Repository("quay.io", "a"), "pull") is None
    assert not anna.refuses(BASIC_ANNA), "the same again cannot help"


def test_basic_without_a_login_is_hopeless(anonymous: Registry) -> None:
    anonymous.challenge = "Basic"
    assert not anonymous.refuses()
    assert anonymous.header() is None


def test_a_token_is_asked_for_without_a_login(
    anonymous: Registry, token_server: TokenServer
) -> None:
    assert anonymous.refuses()
    assert anonymous.header() == "Bearer token-1"
    (asked,) = token_server.asked
    assert (asked.method, asked.path, asked.login) == ("GET", "/token", None)
    assert asked.fields == {"service": ["reg"], "scope": ["repository:you/models:pull"]}


def test_a_token_is_asked_for_with_the_login_and_kept(
    anna: Registry, token_server: TokenServer
) -> None:
    assert anna.refuses(actions="pull,push")
    assert anna.header("pull,push") == "Bearer token-1"
    assert anna.header("pull,push") == "Bearer token-1"
    (asked,) = token_server.asked
    assert asked.login == BASIC_ANNA
    assert asked.fields["scope"] == ["repository:you/models:pull,push"]


def test_each_need_has_a_token_of_its_own(anna: Registry, token_server: TokenServer) -> None:
    assert anna.refuses()
    headers = {
        anna.header(),
        anna.header("pull,push"),
        anna.header("pull,push", OTHER),
        anna.header("pull,push", OTHER, REPOSITORY, OTHER),
        anna.auth.header(OTHER, "pull"),
    }
    assert headers == {f"Bearer token-{number}" for number in (1, 2, 3, 4)}
    assert token_server.asked[2].fields["scope"] == [
        "repository:you/models:pull,push", "repository:you/other:pull",
    ]  # fmt: skip


def test_what_the_realm_asks_for_in_its_own_query_stays(
    anonymous: Registry, token_server: TokenServer
) -> None:
    anonymous.challenge = f'Bearer realm="{token_server.realm}?tenant=a%20b"'
    assert anonymous.refuses()
    assert anonymous.header()
    assert token_server.asked[0].fields == {
        "tenant": ["a b"], "scope": ["repository:you/models:pull"],
    }  # fmt: skip


def test_a_scope_that_only_the_registry_knows_is_asked_for_too(
    anonymous: Registry, token_server: TokenServer
) -> None:
    plain = anonymous.challenge
    anonymous.challenge += ',scope="aws repository:you/models:delete"'
    assert anonymous.refuses()
    assert anonymous.header()
    assert token_server.asked[0].fields["scope"] == ["repository:you/models:pull", "aws"]
    anonymous.challenge = plain + ',scope="another"'
    assert not anonymous.refuses("Bearer token-1"), "and it cannot go on inventing scopes"


def test_a_token_is_renewed_before_its_end(
    anna: Registry, token_server: TokenServer, clock: Clock
) -> None:
    token_server.lasts_s = 100
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    clock.now += 89
    assert anna.header() == "Bearer token-1"
    clock.now += 1
    assert anna.header() == "Bearer token-2"


@pytest.mark.parametrize("lasts_s", [None, "300", 0, -5, [], float("nan"), float("inf")])
def test_a_token_that_does_not_say_how_long_lasts_a_minute(
    anna: Registry, token_server: TokenServer, clock: Clock, lasts_s: object
) -> None:
    token_server.lasts_s = lasts_s
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    clock.now += 49
    assert anna.header() == "Bearer token-1"
    clock.now += 1
    assert anna.header() == "Bearer token-2"


def test_a_short_token_is_used_nevertheless(
    anna: Registry, token_server: TokenServer, clock: Clock
) -> None:
    token_server.lasts_s = 4
    assert anna.refuses()
    assert anna.header() == anna.header() == "Bearer token-1"
    clock.now += 3
    assert anna.header() == "Bearer token-2"


def test_the_time_that_fetching_takes_is_not_added_to_a_tokens_life(
    anna: Registry, token_server: TokenServer, clock: Clock
) -> None:
    token_server.lasts_s = 100

    def slow() -> None:
        clock.now += 95

    token_server.before = slow
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    assert anna.header() == "Bearer token-2"


def test_a_token_that_worked_is_replaced_as_often_as_it_is_refused(
    anna: Registry, token_server: TokenServer
) -> None:
    assert anna.refuses()
    for number in range(1, 6):
        used = anna.header()
        assert used == f"Bearer token-{number}"
        anna.auth.worked(REPOSITORY, "pull", used)
        assert anna.refuses(used)
        assert anna.refuses(used), "whoever else used it learns that there is another"
    assert anna.header() == "Bearer token-6"
    anna.auth.worked(REPOSITORY, "pull", "Bearer token-5")
    assert not anna.refuses("Bearer token-6"), "that an old one worked says nothing of it"
    assert len(token_server.asked) == 6


def test_a_token_that_others_may_still_get_through_with_is_replaced(anna: Registry) -> None:
    assert anna.refuses()
    assert anna.header() == anna.header() == "Bearer token-1"
    assert anna.refuses("Bearer token-1")
    assert anna.header() == "Bearer token-2"
    assert not anna.refuses("Bearer token-2")


def test_a_token_of_its_own_is_nobody_else_s_and_proves_that_there_is_no_access(
    anna: Registry,
) -> None:
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    own = anna.auth.header(REPOSITORY, "pull", own=True)
    assert own == "Bearer token-2"
    assert anna.header() == "Bearer token-1"
    assert not anna.refuses(own, own=True)


def test_a_token_refused_at_once_is_not_made_again(
    anna: Registry, token_server: TokenServer
) -> None:
    assert anna.refuses()
    assert not anna.refuses(anna.header())
    assert len(token_server.asked) == 1


def test_a_token_that_ended_while_it_was_used_is_replaced(
    anna: Registry, token_server: TokenServer, clock: Clock
) -> None:
    assert anna.refuses()
    used = anna.header()
    clock.now += 301
    assert anna.refuses(used)
    assert anna.header() == "Bearer token-2"
    clock.now += 301
    assert anna.header() == "Bearer token-3"
    assert anna.header() == "Bearer token-3"
    assert anna.refuses("Bearer token-3"), "it was renewed since, not replaced"


def test_a_registry_cannot_send_us_to_and_fro(anna: Registry) -> None:
    bearer = anna.challenge
    assert anna.refuses()
    used = anna.header()
    anna.challenge = "Basic realm=x"
    assert not anna.refuses(used)
    anna.challenge = f"Basic realm=x, {bearer}"
    assert not anna.refuses(used)


@pytest.mark.parametrize(
    ("code", "challenge"), [(403, None), (401, ""), (401, "Negotiate"), (401, "Bearer service=x")]
)
def test_what_is_no_challenge_teaches_nothing(
    anna: Registry, code: int, challenge: str | None
) -> None:
    if challenge is not None:
        anna.challenge = challenge
    assert not anna.refuses(code=code)
    assert anna.header() is None


@pytest.mark.parametrize(
    "url",
    ["https://cdn.example/v2/", "https://ghcr.io:444/v2/", "http://ghcr.io/v2/",
     "https://ghcr.io.evil.example/v2/"],
)  # fmt: skip
def test_only_the_registry_itself_may_ask(anna: Registry, url: str) -> None:
    assert not anna.refuses(url=url)
    assert anna.header() is None


def test_a_registry_may_ask_over_plain_http_where_that_is_allowed(anna: Registry) -> None:
    anna.plain.add("ghcr.io")
    assert anna.refuses(url="http://ghcr.io/v2/")
    assert anna.refuses(url="https://GHCR.io:443/v2/")


def test_docker_hub_asks_from_where_it_answers(anna: Registry) -> None:
    hub = Repository("docker.io", "you/models")
    response = httpx2.Response(
        401,
        headers={"WWW-Authenticate": "Basic"},
        request=httpx2.Request("GET", "https://registry-1.docker.io/v2/"),
    )
    assert anna.auth.challenged(hub, "pull", response, None)
    assert anna.auth.header(hub, "pull") == BASIC_ANNA


@pytest.mark.parametrize(
    "realm",
    ["http://tokens.example/token", "ftp://ghcr.io/token", "/token", "token", "https://",
     "https://[::1/", "http://127.0.0.1/token"],
)  # fmt: skip
def test_a_realm_that_is_not_safe_is_not_asked(anna: Registry, realm: str) -> None:
    anna.challenge = f'Bearer realm="{realm}"'
    assert anna.refuses()
    with pytest.raises(NoAccess, match="not safe") as caught:
        anna.header()
    assert CANARY not in str(caught.value)


def test_users_and_queries_of_a_realm_are_not_shown_and_its_user_is_not_used(
    anonymous: Registry, token_server: TokenServer
) -> None:
    realm = token_server.realm.replace("//", f"//evil:{CANARY}@")
    anonymous.challenge = f'Bearer realm="{realm}?key={CANARY}"'
    token_server.answers = [Answer(code=403)]
    assert anonymous.refuses()
    with pytest.raises(NoAccess) as caught:
        anonymous.header()
    assert CANARY not in str(caught.value)
    assert token_server.asked[0].login is None


def test_another_origin_is_not_told_the_login(
    anna: Registry, token_server: TokenServer, new_token_server: NewTokenServer
) -> None:
    other = new_token_server()
    anna.plain.add(other.host)
    token_server.answers = [
        Answer(code=307, headers={"Location": "/moved"}),
        Answer(code=302, headers={"Location": f"{other.realm}?a=b"}),
    ]
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    assert [(asked.path, asked.login) for asked in token_server.asked] == [
        ("/token", BASIC_ANNA), ("/moved", BASIC_ANNA),
    ]  # fmt: skip
    assert [asked.login for asked in other.asked] == [None]


@pytest.mark.parametrize("location", ["http://tokens.example/", "ftp://a/", "http://[", ""])
def test_a_redirect_to_nowhere_safe_is_not_followed(
    anna: Registry, token_server: TokenServer, location: str
) -> None:
    token_server.answers = [Answer(code=302, headers={"Location": location})] * 9
    assert anna.refuses()
    with pytest.raises(NoAccess, match="redirect"):
        anna.header()


def identity(http: httpx2.Client, token_server: TokenServer, login: Login) -> Registry:
    return Registry(http, token_server, Clock(), login)


def test_an_identity_token_is_posted(http: httpx2.Client, token_server: TokenServer) -> None:
    registry = identity(http, token_server, IDENTITY)
    assert registry.refuses()
    assert registry.header("pull", OTHER) == "Bearer token-1"
    (asked,) = token_server.asked
    assert (asked.method, asked.login) == ("POST", None)
    assert asked.fields == {
        "grant_type": ["refresh_token"],
        "client_id": ["ovenproof"],
        "service": ["reg"],
        "scope": ["repository:you/models:pull repository:you/other:pull"],
        "refresh_token": [CANARY],
    }


def test_where_nobody_knows_identity_tokens_the_password_is_used(
    http: httpx2.Client, token_server: TokenServer
) -> None:
    both = Login(username="anna", password=CANARY, identity_token="i", origin="f")
    registry = identity(http, token_server, both)
    token_server.posts = False
    assert registry.refuses()
    assert registry.header() == "Bearer token-1"
    assert [(asked.method, asked.login) for asked in token_server.asked] == [
        ("POST", None), ("GET", BASIC_ANNA),
    ]  # fmt: skip


def test_without_a_password_there_is_nothing_to_fall_back_to(
    http: httpx2.Client, token_server: TokenServer
) -> None:
    registry = identity(http, token_server, IDENTITY)
    token_server.posts = False
    assert registry.refuses()
    with pytest.raises(NoAccess, match="refuses the login") as caught:
        registry.header()
    assert CANARY not in str(caught.value)
    assert len(token_server.asked) == 1


def test_an_identity_token_follows_no_redirect_to_another_origin(
    http: httpx2.Client, token_server: TokenServer, new_token_server: NewTokenServer
) -> None:
    other = new_token_server()
    registry = identity(http, token_server, IDENTITY)
    registry.plain.add(other.host)
    token_server.answers = [
        Answer(code=308, headers={"Location": "/moved"}),
        Answer(code=307, headers={"Location": other.realm}),
    ]
    assert registry.refuses()
    with pytest.raises(NoAccess, match="redirect"):
        registry.header()
    assert [asked.path for asked in token_server.asked] == ["/token", "/moved"]
    assert other.asked == []


@pytest.mark.parametrize("challenge", [None, "Basic"])
def test_a_registry_token_needs_nobody(
    http: httpx2.Client, token_server: TokenServer, challenge: str | None
) -> None:
    registry = identity(http, token_server, Login(registry_token="ready", origin="f"))
    registry.challenge = challenge or registry.challenge
    assert registry.header() is None
    assert registry.refuses()
    assert registry.header() == "Bearer ready"
    assert not registry.refuses("Bearer ready")
    assert token_server.asked == []


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_whoever_is_refused_without_a_login_is_told_to_log_in(
    anonymous: Registry, token_server: TokenServer, code: int
) -> None:
    token_server.answers = [Answer(code=code)]
    assert anonymous.refuses()
    for _ in range(2):
        with pytest.raises(NoAccess, match=r"docker login ghcr\.io") as caught:
            anonymous.header()
        assert str(code) in str(caught.value)
    assert len(token_server.asked) == 1, "what is refused is not asked again"


def test_whoever_is_refused_with_a_login_is_told_whose_it_was(
    anna: Registry, token_server: TokenServer
) -> None:
    token_server.answers = [Answer(code=401, body=CANARY.encode())]
    assert anna.refuses()
    with pytest.raises(NoAccess, match=r"/home/anna/auth\.json") as caught:
        anna.header()
    assert CANARY not in str(caught.value)
    assert BASIC_ANNA.removeprefix("Basic ") not in str(caught.value)
    assert "docker login ghcr.io" in str(caught.value)
    assert ANNA.origin in anna.auth.advice(REPOSITORY)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(code=500),
        Answer(code=503, body=CANARY.encode()),
        Answer(code=429),
        Answer(body=f"<html>{CANARY}".encode()),
        Answer(body=b"[" * 100_000),
        Answer(body=f'["{CANARY}"]'.encode()),
        Answer(body=b'{"token": ""}'),
        Answer(body=b'{"token": 5}'),
        Answer(body=f'{{"token": "{CANARY}\\nInjected: header"}}'.encode()),
        Answer(body=b" " * (1 << 20) + b'{"token": "a"}'),
        Answer(headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(
    anna: Registry, token_server: TokenServer, answer: Answer
) -> None:
    token_server.answers = [answer, answer]
    assert anna.refuses()
    assert anna.header() == "Bearer token-1"
    assert len(token_server.asked) == 3


def test_a_service_is_not_asked_again_before_it_wants_to_be(
    anna: Registry, token_server: TokenServer
) -> None:
    asked_at: list[float] = []
    token_server.before = lambda: asked_at.append(time.monotonic())
    token_server.answers = [Answer(code=429, headers={"Retry-After": "61"})]
    assert anna.refuses()
    with pytest.raises(TryAgain, match="try in 61 s"):
        anna.header()
    assert len(asked_at) == 1


def test_three_times_no_answer_is_enough(anna: Registry, token_server: TokenServer) -> None:
    token_server.answers = [Answer(code=502, body=CANARY.encode())] * 3
    assert anna.refuses()
    with pytest.raises(TryAgain, match="HTTP status 502") as caught:
        anna.header()
    assert CANARY not in str(caught.value)
    assert len(token_server.asked) == 3
    assert anna.header() == "Bearer token-1", "and later it may work"


def test_a_service_that_is_gone_is_said_so(anna: Registry, token_server: TokenServer) -> None:
    token_server.close()
    assert anna.refuses()
    with pytest.raises(TryAgain, match=token_server.host):
        anna.header()


def test_an_access_token_is_a_token(anna: Registry, token_server: TokenServer) -> None:
    token_server.answers = [Answer(body=b'{"access_token": "a", "token": null}')]
    assert anna.refuses()
    assert anna.header() == "Bearer a"


def together(registry: Registry, count: int) -> list[str | None | Exception]:
    """What so many threads get, that ask at the same time."""
    barrier = threading.Barrier(count)

    def ask() -> str | None | Exception:
        barrier.wait()
        try:
            return registry.header()
        except OvenproofError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(ask) for _ in range(count)]]


def test_threads_wait_for_one_token(anna: Registry, token_server: TokenServer) -> None:
    token_server.before = lambda: time.sleep(0.1)
    assert anna.refuses()
    assert together(anna, 8) == ["Bearer token-1"] * 8
    assert len(token_server.asked) == 1


def test_threads_that_all_were_refused_wait_for_one_new_token(
    anna: Registry, token_server: TokenServer
) -> None:
    assert anna.refuses()
    used = together(anna, 8)
    assert all(anna.refuses(str(header)) for header in used)
    assert together(anna, 8) == ["Bearer token-2"] * 8
    assert len(token_server.asked) == 2


def test_threads_share_the_fault_of_one_fetch(anna: Registry, token_server: TokenServer) -> None:
    token_server.before = lambda: time.sleep(0.1)
    token_server.answers = [Answer(code=500)] * 99
    assert anna.refuses()
    faults = together(anna, 8)
    assert all(isinstance(fault, TryAgain) for fault in faults)
    assert len(token_server.asked) == 3


BROKEN = MissingTool("a login is kept by a program that is not here", subject="docker-credential-x")


def test_a_broken_store_does_not_stop_a_public_pull(
    http: httpx2.Client, token_server: TokenServer
) -> None:
    registry = Registry(http, token_server, Clock(), fault=BROKEN)
    assert registry.refuses()
    assert registry.header() == "Bearer token-1"
    assert token_server.asked[0].login is None


def test_a_broken_store_is_told_of_where_the_pull_is_refused(
    http: httpx2.Client, token_server: TokenServer
) -> None:
    registry = Registry(http, token_server, Clock(), fault=BROKEN)
    assert registry.refuses()
    used = registry.header()
    with pytest.raises(MissingTool):
        registry.refuses(used)
    registry.challenge = "Basic"
    with pytest.raises(MissingTool):
        registry.refuses()
    registry = Registry(http, token_server, Clock(), fault=BROKEN)
    token_server.answers = [Answer(code=401)]
    assert registry.refuses()
    for _ in range(2):
        with pytest.raises(MissingTool):
            registry.header()


def test_a_broken_store_stops_a_push_at_once(
    http: httpx2.Client, token_server: TokenServer
) -> None:
    registry = Registry(http, token_server, Clock(), fault=BROKEN)
    with pytest.raises(MissingTool):
        registry.refuses(actions="pull,push")
    assert token_server.asked == []


def test_a_file_a_helper_and_a_service_work_together(
    http: httpx2.Client, token_server: TokenServer, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "docker-credential-x"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho \'{{"Username": "anna", "Secret": "{CANARY}"}}\'\n')
    program.chmod(0o755)
    own = tmp_path / "auth.json"
    own.write_text('{"credHelpers": {"ghcr.io": "x"}}')
    environment = {"PATH": str(program.parent), "REGISTRY_AUTH_FILE": str(own)}
    registry = Registry(http, token_server, Clock())
    registry.auth = Auth(Credentials(environment, tmp_path), http, allows=registry.allows)
    assert registry.refuses()
    assert registry.header() == "Bearer token-1"
    assert token_server.asked[0].login == BASIC_ANNA
