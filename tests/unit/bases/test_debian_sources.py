"""Which mirrors apt's configuration names, and which of them are Debian's."""

from pathlib import Path

import pytest

from ovenproof.bases.debian_sources import (
    AptSource,
    from_setting,
    machine_sources,
    mirrors,
)
from ovenproof.errors import BadCall

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        place = folder / "sources.list" if stem == "main" else folder / "sources.list.d" / stem
        (place if stem == "main" else place.with_suffix(f".{suffix}")).write_text(content)
    return folder


def test_deb822_stanzas_are_read(tmp_path: Path) -> None:
    text = f"""\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/
  https://second.example/pub/debian
Suites: bookworm bookworm-updates
# a comment inside
Components: main contrib
Signed-By: {KEYS}

types: deb
uris: http://mirror.example/debian-security
suites: bookworm-security
components: main
"""
    assert machine_sources(apt(tmp_path, debian_sources=text)) == (
        AptSource(archive="debian", url="http://mirror.example/debian", keyring=KEYS),
        AptSource(archive="debian", url="https://second.example/pub/debian", keyring=KEYS),
        AptSource(archive="debian-security", url="http://mirror.example/debian-security"),
    )


def test_one_line_entries_are_read(tmp_path: Path) -> None:
    text = f"""\
deb http://mirror.example/debian trixie main non-free  # ours
#deb http://off.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by={KEYS}] https://s.example/security bullseye/updates main
"""
    assert machine_sources(apt(tmp_path, main_list=text)) == (
        AptSource(archive="debian", url="http://mirror.example/debian"),
        AptSource(archive="debian-security", url="https://s.example/security", keyring=KEYS),
    )


@pytest.mark.parametrize(
    "line",
    [
        "deb http://other.example/linux/debian bookworm stable",
        "deb http://other.example/debian nodistro main",
        "deb http://ubuntu.example/ubuntu noble main",
        "deb http://other.example/apt bookworm-pgdg main",
        "deb [signed-by=/usr/share/keyrings/other.gpg] http://other.example/debian bookworm main",
        "deb file:/srv/debian bookworm main",
        "deb cdrom:[Debian]/ bookworm main",
        "bookworm main",
    ],
)
def test_other_people_s_repositories_are_left_alone(tmp_path: Path, line: str) -> None:
    assert machine_sources(apt(tmp_path, other_list=line + "\n")) == ()


def test_a_stanza_that_is_switched_off_is_left_alone(tmp_path: Path) -> None:
    text = "Enabled: no\nTypes: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n"

    assert machine_sources(apt(tmp_path, debian_sources=text)) == ()
    assert machine_sources(apt(tmp_path / "sources.list.d", x_sources=text[12:])) != ()


def test_a_file_of_another_suffix_is_not_read(tmp_path: Path) -> None:
    assert machine_sources(apt(tmp_path, a_disabled="deb http://m.example/debian sid main\n")) == ()


def test_a_list_of_mirrors_is_followed(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors.txt"
    listed.write_text("https://a.example/debian\tpriority:1\n# none\nhttp://b.example/debian/\n")
    folder = apt(tmp_path, debian_list=f"deb mirror+file:{listed} bookworm main\n")

    assert mirrors(machine_sources(folder)) == {
        "debian": ("https://a.example/debian", "http://b.example/debian")
    }


def test_a_machine_without_apt_has_no_mirrors(tmp_path: Path) -> None:
    assert mirrors(machine_sources(tmp_path / "nowhere")) == {}


def test_a_setting_names_both_archives() -> None:
    assert mirrors(from_setting("https://m.example/pub/")) == {
        "debian": ("https://m.example/pub/debian",),
        "debian-security": ("https://m.example/pub/debian-security",),
    }


def test_a_setting_may_say_where_the_name_goes() -> None:
    assert mirrors(from_setting("https://old.example/{archive}/20260101T000000Z")) == {
        "debian": ("https://old.example/debian/20260101T000000Z",),
        "debian-security": ("https://old.example/debian-security/20260101T000000Z",),
    }


@pytest.mark.parametrize("setting", ["m.example", "ftp://m.example", "/srv/debian", "", "https://"])
def test_a_setting_that_is_no_address_is_refused(setting: str) -> None:
    with pytest.raises(BadCall, match="OVENPROOF_DEBIAN_MIRROR"):
        from_setting(setting)


def test_a_password_in_a_setting_is_not_shown() -> None:
    with pytest.raises(BadCall) as caught:
        from_setting("ftp://me:se@cret@m.example/debian")
    assert caught.value.subject == "ftp://m.example/debian"
