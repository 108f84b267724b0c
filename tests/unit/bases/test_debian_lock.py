"""What apt is asked, and how its answers are read. Its place is taken by a program of ours."""

from pathlib import Path

import pytest

from ovenproof.bases.debian_lock import parse_uris, resolve, sources_list, status
from ovenproof.bases.debian_sources import AptSource
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image_lock import LockedDeb
from ovenproof.errors import BadFile, MissingTool, OvenproofError, TryAgain
from ovenproof.events import Event, Noted

MAIN = AptSource(archive="debian", url="http://m.example/debian", keyring="/keys.gpg")
SECURITY = AptSource(archive="debian-security", url="http://m.example/debian-security")
ONE, TWO = "1" * 64, "2" * 64
PRINTED = f"""\
Reading package lists...
The following NEW packages will be installed:
'http://m.example/debian-security/pool/updates/main/p/python3.11/libpy_3.11.2-6%2bdeb12u9_amd64.deb' libpy_3.11.2-6+deb12u9_amd64.deb 7 SHA256:{TWO}
'http://m.example/debian/pool/main/a/attr/libattr1_2.5.1-4~x_amd64.deb' libattr1_1%3a2.5.1-4~x_amd64.deb 22164 SHA256:{ONE}
"""  # noqa: E501
LOCKED = (
    LockedDeb(
        name="libattr1",
        version="1:2.5.1-4~x",
        archive="debian",
        path="pool/main/a/attr/libattr1_2.5.1-4~x_amd64.deb",
        content=Content(Digest(ONE), 22164),
    ),
    LockedDeb(
        name="libpy",
        version="3.11.2-6+deb12u9",
        archive="debian-security",
        path="pool/updates/main/p/python3.11/libpy_3.11.2-6+deb12u9_amd64.deb",
        content=Content(Digest(TWO), 7),
    ),
)


class FakeApt:
    """A program in apt's place: notes its arguments and its configuration, then answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = str(folder / "apt-get")
        self.answers(PRINTED)

    def answers(self, printed: str, *, update: tuple[int, str] = (0, ""), code: int = 0) -> None:
        (self._folder / "printed").write_text(printed)
        (self._folder / "complaint").write_text(update[1])
        script = f"""#!/bin/sh
cd '{self._folder}'
echo "$LC_ALL $*" >> asked
cat "$(dirname "$2")/status" > status
cat "$(dirname "$2")/sources.list" > sources
cat "$2" > configuration
case "$*" in
  *update) cat complaint >&2; exit {update[0]};;
esac
cat printed
[ {code} = 0 ] || cat printed >&2
exit {code}
"""
        Path(self.program).write_text(script)
        Path(self.program).chmod(0o755)

    def noted(self, name: str) -> str:
        return (self._folder / name).read_text()

    def resolve(self, *packages: str, without: tuple[str, ...] = ()) -> tuple[LockedDeb, ...]:
        return resolve(
            suite="bookworm",
            packages=packages or ("libattr1",),
            sources=(MAIN, SECURITY),
            without=without,
            program=self.program,
        )


@pytest.fixture
def apt(tmp_path: Path) -> FakeApt:
    return FakeApt(tmp_path)


def test_what_apt_prints_becomes_a_lock(apt: FakeApt) -> None:
    assert apt.resolve("libattr1", "libpy") == LOCKED


def test_the_order_in_which_apt_prints_does_not_matter() -> None:
    backwards = "\n".join(reversed(PRINTED.splitlines()))

    assert parse_uris(backwards, (MAIN, SECURITY)) == LOCKED


def test_apt_is_asked_in_english_to_print_and_not_to_install(apt: FakeApt) -> None:
    apt.resolve("libattr1")

    update, install = apt.noted("asked").splitlines()
    assert update.startswith("C --config-file ")
    assert update.endswith(" -q -y update")
    assert install.endswith(" -q -y install --print-uris -- libattr1")


def test_apt_works_in_a_world_of_its_own(apt: FakeApt) -> None:
    apt.resolve("libattr1")

    folder = apt.noted("asked").split()[2].removesuffix("/apt.conf")
    configuration = apt.noted("configuration")
    for setting in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert f'{setting} "{folder}/' in configuration
    assert 'Dir::Etc::sourceparts "/dev/null";' in configuration
    assert not Path(folder).exists()


def test_what_the_image_does_without_counts_as_installed(apt: FakeApt) -> None:
    apt.resolve("libattr1", without=("dpkg", "awk"))

    paragraphs = apt.noted("status").strip().split("\n\n")
    assert [text.splitlines()[0] for text in paragraphs] == ["Package: awk", "Package: dpkg"]
    assert all("Status: install ok installed" in text for text in paragraphs)


def test_nothing_counts_as_installed_otherwise() -> None:
    assert status((), "amd64") == ""


def test_each_archive_is_asked_for_its_own_suites() -> None:
    lines = sources_list("bookworm", (MAIN, SECURITY, MAIN), "amd64").splitlines()

    assert [line.split("] ")[1] for line in lines] == [
        "http://m.example/debian bookworm main",
        "http://m.example/debian bookworm-updates main",
        "http://m.example/debian-security bookworm-security main",
    ]
    assert lines[0].startswith("deb [arch=amd64 signed-by=/keys.gpg]")


def test_a_snapshot_may_be_out_of_date_and_a_mirror_may_not() -> None:
    old = AptSource(archive="debian", url="https://old.example/debian/20260101T000000Z")

    assert "check-valid-until=no" in sources_list("bookworm", [old], "amd64")
    assert "check-valid-until" not in sources_list("bookworm", [MAIN], "amd64")


def test_without_apt_it_says_where_to_lock() -> None:
    with pytest.raises(MissingTool, match="lock on Debian or Ubuntu"):
        resolve(suite="bookworm", packages=["bash"], sources=[MAIN], program="apt-get-not-here")


def test_without_a_mirror_it_names_the_setting() -> None:
    with pytest.raises(TryAgain, match="OVENPROOF_DEBIAN_MIRROR"):
        resolve(suite="bookworm", packages=["bash"], sources=[], program="apt-get-not-here")


def test_without_a_mirror_of_security_updates_it_says_so(apt: FakeApt) -> None:
    apt.answers(PRINTED.replace("debian-security", "debian"))
    heard: list[Event] = []

    resolve(
        suite="bookworm",
        packages=["libattr1"],
        sources=[MAIN],
        listener=heard.append,
        program=apt.program,
    )

    assert any(isinstance(event, Noted) and "security" in event.text for event in heard)


@pytest.mark.parametrize("name", ["-o=Dir=/", "Bash", "bash=5", "a b", "", "../x"])
def test_a_name_that_is_no_package_s_never_reaches_apt(apt: FakeApt, name: str) -> None:
    with pytest.raises(BadFile, match="not the name of a Debian package"):
        apt.resolve(name)
    with pytest.raises(BadFile, match="not the name of a Debian package"):
        apt.resolve("bash", without=(name,))


def test_a_package_cannot_be_wanted_and_left_out(apt: FakeApt) -> None:
    with pytest.raises(BadFile, match="left out at once: `libattr1`"):
        apt.resolve("libattr1", without=("libattr1",))


def test_a_package_that_only_others_provide_is_named(apt: FakeApt) -> None:
    with pytest.raises(BadFile, match="did not name a package that was asked for: `awk`"):
        apt.resolve("libattr1", "awk")


@pytest.mark.parametrize(
    ("complaint", "kind", "said"),
    [
        ("E: Unable to locate package bsah\n", BadFile, "this package: `bsah`"),
        ("E: Package 'awk' has no installation candidate\n", BadFile, "this package: `awk`"),
        (" a : Depends: b (>= 2)\nE: unmet dependencies.\n", BadFile, r"b \(>= 2\)"),
    ],
)
def test_a_refusal_to_resolve_is_told_with_its_remedy(
    apt: FakeApt, complaint: str, kind: type[OvenproofError], said: str
) -> None:
    apt.answers(complaint, code=100)

    with pytest.raises(kind, match=said):
        apt.resolve()


@pytest.mark.parametrize(
    ("complaint", "kind", "said"),
    [
        ("E: Failed to fetch http://u:pw@m.example/x  Could not resolve\n", TryAgain, "//m.exam"),
        ("W: GPG error: http://m.example NO_PUBKEY 0E98\n", MissingTool, "debian-archive-keyring"),
    ],
)
def test_a_failed_update_is_told_with_its_remedy(
    apt: FakeApt, complaint: str, kind: type[OvenproofError], said: str
) -> None:
    apt.answers(PRINTED, update=(100, complaint))

    with pytest.raises(kind, match=said) as caught:
        apt.resolve()
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "'http://m.example/debian/pool/x_1_all.deb' x_1_all.deb 5 MD5Sum:abc",
        f"'http://other.example/pool/x_1_all.deb' x_1_all.deb 5 SHA256:{ONE}",
        f"'http://m.example/debian/pool/x.deb' x.deb 5 SHA256:{ONE}",
    ],
)
def test_an_answer_that_is_not_understood_is_shown(line: str) -> None:
    with pytest.raises(TryAgain, match=r"not understood"):
        parse_uris(line, [MAIN])
