"""Reading WWW-Authenticate, as registries write it and as they should not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenproof.registry.challenge import Basic, Bearer, Challenge, parse

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:samalba/my-app:pull,push"'
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), ()),
        (("",), ()),
        ((" , ,",), ()),
        (('Basic realm="Registry"',), (Basic(realm="Registry"),)),
        (("Basic",), (Basic(),)),
        (("basic REALM=x",), (Basic(realm="x"),)),
        (
            (HUB,),
            (
                Bearer(
                    realm="https://auth.docker.io/token",
                    service="registry.docker.io",
                    scope="repository:samalba/my-app:pull,push",
                ),
            ),
        ),
        (
            ('bEARER  realm = "https://a/b" , service=c',),
            (Bearer(realm="https://a/b", service="c"),),
        ),
        (
            ("Bearer realm=https://a/b?c=d,service=e",),
            (Bearer(realm="https://a/b?c=d", service="e"),),
        ),
        (("Bearer service=c",), ()),
        (("Bearer",), ()),
        (
            ('Negotiate, Basic realm="a, b", Bearer realm="https://c"',),
            (Basic(realm="a, b"), Bearer(realm="https://c")),
        ),
        (
            ('NTLM dG9rZW4=, Digest realm="d", nonce="n", Bearer realm="https://c"',),
            (Bearer(realm="https://c"),),
        ),
        (
            ('Bearer realm="https://c"', "Basic realm=b"),
            (Bearer(realm="https://c"), Basic(realm="b")),
        ),
        ((r'Basic realm="a \"quoted\" \\ word"',), (Basic(realm=r'a "quoted" \ word'),)),
        (('Basic realm="first", realm="second"',), (Basic(realm="first"),)),
        (('Basic realm="a", Bearer realm="https://never closed',), (Basic(realm="a"),)),
    ],
)
def test_challenges_are_read_as_they_are_meant(
    headers: tuple[str, ...], expected: tuple[Challenge, ...]
) -> None:
    assert parse(headers) == expected


@given(st.lists(st.text()))
def test_no_header_is_too_odd(headers: list[str]) -> None:
    parse(headers)


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(
        st.one_of(
            st.builds(Basic, realm=st.text()),
            st.builds(Bearer, realm=st.text(min_size=1), service=st.text(), scope=st.text()),
        )
    ),
    st.booleans(),
)
def test_whatever_can_be_quoted_comes_back(challenges: list[Challenge], together: bool) -> None:
    texts = []
    for item in challenges:
        text = f"Basic realm={quote(item.realm)}"
        if isinstance(item, Bearer):
            text = f"Bearer realm={quote(item.realm)}"
            text += f",service={quote(item.service)}, scope={quote(item.scope)}"
        texts.append(text)
    headers = [", ".join(texts)] if together else texts
    assert parse(headers) == tuple(challenges)


def test_a_long_header_is_read_at_once() -> None:
    assert parse(["a" * 100_000, "x," * 100_000, 'Basic realm="' + "\\" * 99_999]) == (Basic(),)
