"""What a person calls an image, against what Docker makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.core.digest import Digest
from ovenproof.errors import BadCall
from ovenproof.registry.reference import Reference, Repository, is_tag, parse, parse_repository

HEX = "0123456789abcdef" * 4
DIGEST = Digest(HEX)


@pytest.mark.parametrize(
    ("text", "host", "name", "tag", "digest"),
    [
        ("ubuntu", "docker.io", "library/ubuntu", None, None),
        ("ubuntu:22.04", "docker.io", "library/ubuntu", "22.04", None),
        ("vllm/vllm-openai:v0.33.0", "docker.io", "vllm/vllm-openai", "v0.33.0", None),
        ("docker.io/ubuntu", "docker.io", "library/ubuntu", None, None),
        ("index.docker.io/a/b", "docker.io", "a/b", None, None),
        ("registry-1.docker.io/ubuntu", "docker.io", "library/ubuntu", None, None),
        ("ghcr.io:5000", "docker.io", "library/ghcr.io", "5000", None),
        ("localhost/a", "localhost", "a", None, None),
        ("localhost:5000/a/b/c:t", "localhost:5000", "a/b/c", "t", None),
        ("host:5000/a", "host:5000", "a", None, None),
        ("127.0.0.1:5000/a__b/c--d.e", "127.0.0.1:5000", "a__b/c--d.e", None, None),
        ("[::1]:5000/a:t", "[::1]:5000", "a", "t", None),
        ("[::1]/a", "[::1]", "a", None, None),
        (f"ghcr.io/a/b@sha256:{HEX}", "ghcr.io", "a/b", None, DIGEST),
        (f"ghcr.io/a/b:t@sha256:{HEX}", "ghcr.io", "a/b", "t", DIGEST),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(
    text: str, host: str, name: str, tag: str | None, digest: Digest | None
) -> None:
    found = parse(text)
    assert found == Reference(Repository(host, name), tag, digest)
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":", "@", "a:", "a@", "/a", "a/", "a//b", "ghcr.io/", "ghcr.io/:t", "A", "a/B",
        "-a", "a-", "a..b", "a___b", "a b", "a\n", "ghcr.io/a\n", "a:t\n", "a:-t", "a:.t", "a:ü",
        f"a:{'t' * 129}", "a:t:u", "a" * 256, "http://ghcr.io/a", "https://ghcr.io/a:t",
        "user:pw@ghcr.io/a", "ghcr.io:port/a", "ghcr.io:123456/a", ".ghcr.io/a", "ghcr.io-/a",
        "a..b/c", "999.1.1.1/a", f"{'a' * 64}.io/a", "[::1/a",
        "a@sha256:12", f"a@sha512:{HEX}", f"a@sha256:{HEX.upper()}",
        f"a@sha256:{HEX}@sha256:{HEX}", f"a@sha256:{HEX}\n", "ghcr.io/a?b", "ghcr.io/a#b", "../a",
        "ghcr.io/../a", "a/../b", "host:99999/a", "host:0/a", "[:::::]/a",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_said_so(text: str) -> None:
    with pytest.raises(BadCall):
        parse(text)


@pytest.mark.parametrize("host", [None, "docker.io"])
@pytest.mark.parametrize(
    "text",
    [
        "https://anna:c4n4ry@ghcr.io/a",
        "anna:c4n4ry@ghcr.io/a",
        "anna:c4n4ry!@ghcr.io/a",
        "anna:x/c4n4ry@ghcr.io/a:t",
        "anna:@c4n4ry@ghcr.io/a",
        f"anna:c4n4ry@ghcr.io/a@sha256:{HEX}",
        "a.b:c4n4ry/x@ghcr.io/a",
    ],
)
def test_a_password_in_a_reference_is_not_repeated(text: str, host: str | None) -> None:
    with pytest.raises(BadCall) as caught:
        parse(text, host=host)
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("docker://ghcr.io/a", "leave out `docker://`"),
        ("https://me:c4n4ry@ghcr.io/a", "leave out `https://`"),
        ("oci://ghcr.io/a", "leave out `oci://`"),
        ("registry:ghcr.io/a", "leave out `registry:`"),
        ("oci:shelf", "layout:DIR"),
        ("layout:shelf", "layout:DIR"),
        ("/tmp/shelf", "layout:DIR"),
        ("./shelf", "layout:DIR"),
        ("you/models", "None"),
    ],
)
def test_what_other_programs_write_before_a_name_is_told(text: str, hint: str) -> None:
    with pytest.raises(BadCall) as caught:
        parse(text, host=None)
    assert hint in str(caught.value.hint)


def test_a_host_may_have_to_be_named() -> None:
    assert parse("quay.io/a", host=None).repository == Repository("quay.io", "a")
    with pytest.raises(BadCall, match="HOST/NAME"):
        parse("you/models", host=None)
    assert parse("you/models", host="quay.io").repository == Repository("quay.io", "you/models")
    assert parse("a", host="localhost:5000").repository == Repository("localhost:5000", "a")


def test_a_repository_has_neither_tag_nor_digest() -> None:
    assert parse_repository("ghcr.io/a/b") == Repository("ghcr.io", "a/b")
    for text in ("ghcr.io/a/b:t", f"ghcr.io/a/b@sha256:{HEX}", "a/b"):
        with pytest.raises(BadCall):
            parse_repository(text)


def test_a_registry_is_asked_for_the_digest_if_there_is_one() -> None:
    assert parse("a").target == "latest"
    assert parse("a:t").target == "t"
    assert parse(f"a:t@sha256:{HEX}").target == f"sha256:{HEX}"
    assert str(parse("ghcr.io/a:t").at(DIGEST)) == f"ghcr.io/a@sha256:{HEX}"


def test_docker_hub_answers_at_another_host_than_it_is_called_by() -> None:
    assert Repository("docker.io", "a/b").server == "registry-1.docker.io"
    assert Repository("ghcr.io:443", "a/b").server == "ghcr.io:443"


@given(st.text())
def test_any_text_is_a_reference_or_a_bad_call(text: str) -> None:
    try:
        found = parse(text)
    except BadCall:
        return
    assert parse(str(found)) == found


part = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,2})[a-z0-9]{1,4}){0,2}", fullmatch=True)


@given(
    host=st.sampled_from(["ghcr.io", "localhost", "localhost:5000", "docker.io", "[::1]:80"]),
    parts=st.lists(part, min_size=2, max_size=4),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    digest=st.none() | st.just(DIGEST),
)
def test_what_is_written_is_read_again(
    host: str, parts: list[str], tag: str | None, digest: Digest | None
) -> None:
    reference = Reference(Repository(host, "/".join(parts)), tag, digest)
    assert parse(str(reference)) == reference


@given(st.text(max_size=130))
def test_a_tag_is_what_a_reference_can_end_with(text: str) -> None:
    try:
        fits = parse(f"ghcr.io/a/b:{text}").tag == text
    except BadCall:
        fits = False
    assert is_tag(text) == fits
