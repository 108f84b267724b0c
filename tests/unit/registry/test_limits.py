"""What is known of each registry."""

import pytest

from ovenproof.registry.limits import limits


@pytest.mark.parametrize(
    ("host", "blob"),
    [
        ("ghcr.io", 10_000_000_000),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", 52_000 << 20),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", 52_000 << 20),
        ("public.ecr.aws", 10_000 << 20),
        ("europe-docker.pkg.dev", None),
        ("eu.gcr.io", None),
        ("you.azurecr.io", 200 << 30),
        ("docker.io", None),
        ("registry.example.com:5000", None),
        ("GHCR.IO:443", 10_000_000_000),
        ("[::1]:5000", None),
    ],
)
def test_a_known_registry_has_the_largest_blob_that_it_tells_of(
    host: str, blob: int | None
) -> None:
    assert limits(host).blob == blob


@pytest.mark.parametrize("host", ["x.dkr.ecr.eu-west-1.amazonaws.com", "a.pkg.dev", "gcr.io"])
def test_who_takes_one_put_only_resumes_nothing_inside_a_blob(host: str) -> None:
    assert not limits(host).patch
    assert not limits(host).resumes


def test_github_takes_small_chunks_where_they_say_their_range() -> None:
    assert limits("ghcr.io").chunk == 4 << 20


@pytest.mark.parametrize("host", ["ghcr.io.example.com", "notghcr.io", "evil-pkg.dev.example"])
def test_a_name_that_only_looks_alike_is_unknown(host: str) -> None:
    assert limits(host).registry == host


def test_every_row_says_where_it_comes_from() -> None:
    assert all(limits(host).note for host in ("ghcr.io", "docker.io", "gcr.io", "localhost:5000"))
