"""Several entries in one call: who is told of what."""

import pytest

from ovenproof.errors import BadFile, NoAccess, Several, TryAgain
from ovenproof.tasks.entries import of_entries
from ovenproof.tasks.surroundings import insecure_registries


def no_login() -> NoAccess:
    return NoAccess("the registry asks for a login", subject="h/a", where="h", hint="log in")


def test_a_fault_that_entries_share_is_told_once_with_their_names() -> None:
    other = BadFile("a folder is not there", subject="w")
    faults = {"one": no_login(), "two": Several([other, no_login()]), "four": no_login()}
    found = of_entries(faults, ["one", "two", "three", "four"])
    assert [(type(one), one.where) for one in found] == [
        (NoAccess, "h; for one, two, four"),
        (BadFile, "for two"),
    ]
    assert found[0].text().splitlines()[-1] == "hint: log in"


def test_faults_of_two_kinds_are_two() -> None:
    faults = {"one": NoAccess("no"), "two": TryAgain("no")}
    assert [one.exit_code for one in of_entries(faults, ["one", "two"])] == [5, 6]


def test_where_one_entry_is_meant_it_is_not_named() -> None:
    fault = no_login()
    assert of_entries({"one": fault}, ["one"]) == (fault,)


def test_a_host_for_plain_http_may_be_written_as_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OVENPROOF_INSECURE_REGISTRIES", "http://vm:5155, other/ ,,https://x")
    assert insecure_registries() == {"vm:5155", "other", "x"}
