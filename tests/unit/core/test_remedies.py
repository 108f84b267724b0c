"""The page about errors says what the classes say, and shows messages that are really made."""

from pathlib import Path

import pytest

from ovenproof.core import catalogue, remedies
from ovenproof.errors import BadFile, OvenproofError, Several

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
WRONG = """\
models:
  my-chat:
    weights:
      folder: weights/my-chat
    flavour: cpu
    prot: 9999
    tensor_parallel: 0
"""


def test_the_page_has_the_table_of_exit_codes() -> None:
    assert remedies.table() in PAGE.read_text(encoding="utf-8"), (
        "write what ovenproof.core.remedies.table returns into docs/errors.md"
    )


def test_every_error_is_in_the_table_once_and_has_a_code_of_its_own() -> None:
    kinds = remedies.remedies()
    own = {kind for kind in OvenproofError.__subclasses__() if kind.__module__.endswith(".errors")}
    assert set(kinds) == {OvenproofError, *own} - {Several}
    assert len({kind.exit_code for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", remedies.remedies())
def test_every_error_says_what_it_means_in_one_line(kind: type[OvenproofError]) -> None:
    first = str(kind.__doc__).split("\n", maxsplit=1)[0]
    assert first.endswith(".")
    assert f"| {kind.exit_code} | `{kind.__name__}` | {first} |" in remedies.table()


def test_the_faults_on_the_page_are_the_real_ones() -> None:
    with pytest.raises(Several) as caught:
        catalogue.parse(WRONG)
    assert caught.value.worst == BadFile.exit_code
    page = PAGE.read_text(encoding="utf-8")
    assert WRONG in page
    assert caught.value.text() in page
