"""The schema for editors and the reference for people say what the catalogue does."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ovenproof.core import catalogue, schema
from ovenproof.errors import BadFile

ROOT = Path(__file__).parents[3]
HOW = "write what ovenproof.core.schema returns into docs/"


def reference() -> str:
    entry = catalogue.parse(schema.EXAMPLE).entry("llama-3.1-8b-awq")
    return schema.markdown(entry.vllm_arguments())


def properties() -> list[tuple[str, dict[str, Any]]]:
    found = schema.json_schema()
    parts = [found, *found["$defs"].values()]
    return [pair for part in parts for pair in part["properties"].items()]


def test_the_schema_in_docs_is_up_to_date() -> None:
    shipped = (ROOT / "docs" / "models.schema.json").read_text(encoding="utf-8")
    assert shipped == schema.json_text(), HOW


def test_the_reference_in_docs_is_up_to_date() -> None:
    assert (ROOT / "docs" / "models-yaml.md").read_text(encoding="utf-8") == reference(), HOW


@pytest.mark.parametrize(("name", "field"), properties())
def test_every_field_has_a_description_and_an_example(name: str, field: dict[str, Any]) -> None:
    assert field["description"].endswith("."), name
    assert field["examples"], name


def test_the_shipped_file_points_editors_to_the_schema() -> None:
    first = (ROOT / "models.yaml").read_text(encoding="utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / path).is_file()


def test_the_error_in_the_reference_is_the_real_one() -> None:
    with pytest.raises(BadFile) as caught:
        catalogue.parse("models:\n  phi-4:\n    model: a/b\n    prot: 9999\n")
    assert caught.value.text() in reference()


def test_an_independent_validator_accepts_the_shipped_file_and_refuses_faults() -> None:
    check = jsonschema.Draft202012Validator(schema.json_schema())
    shipped = yaml.safe_load((ROOT / "models.yaml").read_text(encoding="utf-8"))
    assert list(check.iter_errors(shipped)) == []
    faults: list[dict[str, Any]] = [
        {"port": 80},
        {"prot": 9999},
        {"dtype": "half"},
        {"gpu_memory_utilization": 1.5},
        {"variants": {"UPPER": {}}},
        {"weights": {"pakage": "x==1"}},
        {"weights": {"oci": "no-host/x:1"}},
        {"include": []},
        {"include": "x"},
        {"largest_file": "1.5GB"},
        {"largest_file": 999999},
        {"allow_pickle": "yes"},
        {"adapters": []},
        {"adapters": [{"name": "x"}]},
        {"adapters": [{"name": "a/b", "model": "x/y"}]},
    ]
    for wrong in faults:
        assert list(check.iter_errors({"models": {"m": wrong}})), wrong
    fine: list[dict[str, Any]] = [
        {"weights": {"oci": "h.io:5000/x/y:1"}},
        {"include": ["*.json"], "exclude": None},
        {"largest_file": "5GiB"},
        {"largest_file": 1000000},
        {"adapters": [{"name": "x", "model": "x/y", "revision": "main"}]},
        {"adapters": None, "largest_file": None, "allow_pickle": True},
    ]
    for right in fine:
        assert not list(check.iter_errors({"models": {"m": right}})), right
