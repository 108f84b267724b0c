"""Code that a checkpoint names: its own is baked where it is trusted, another's is refused."""

import json
from typing import TYPE_CHECKING

import pytest

from ovenproof.errors import BadFile, Several
from ovenproof.events import Event, silent
from ovenproof.sources.remote_code import Named, check_code, named_code
from tests.fakes.hub import FakeHub
from tests.unit.sources.repositories import described, notes, paths, tensors

if TYPE_CHECKING:
    from tests.unit.sources.conftest import Source

OWN = {"AutoModel": "modeling_x.Model", "AutoTokenizer": [None, "tokenization_x.Fast"]}


def named(**configs: object) -> list[str]:
    found = named_code(
        {f"{name}.json": json.dumps(said).encode() for name, said in configs.items()}
    )
    return [one.reference for one in found]


def test_all_that_auto_map_names_is_found_however_deep() -> None:
    assert named(config={"auto_map": OWN, "n": [1, {"auto_map": {"A": "deep.D"}}]}) == [
        "deep.D",
        "modeling_x.Model",
        "tokenization_x.Fast",
    ]
    assert named(config={"architectures": ["modeling_x.Model"]}, other=[1, "a.b"]) == []


def test_a_config_that_is_no_json_is_named() -> None:
    with pytest.raises(Several) as caught:
        named_code({"a.json": b"{", "b.json": b"\xff", "c.json": b"{}"})
    assert [fault.subject for fault in caught.value.faults] == ["a.json", "b.json"]


def test_a_module_is_a_file_of_the_repository() -> None:
    assert Named("config.json", "modeling_x.Model").module == "modeling_x.py"
    assert Named("config.json", "lib.deep.Model").module == "lib/deep.py"
    assert Named("config.json", "modeling_x.Model").repository is None
    assert Named("config.json", "org/other--modeling_x.Model").repository == "org/other"


def test_code_elsewhere_and_code_that_is_missing_are_told_at_once() -> None:
    references = ("gone.Model", "here.Model", "org/other--modeling_x.Model")
    with pytest.raises(Several) as caught:
        check_code([Named("config.json", one) for one in references], ["here.py"], "org/m")
    missing, elsewhere = caught.value.faults
    assert (missing.subject, elsewhere.subject) == ("gone.py", "org/other--modeling_x.Model")
    assert "make a copy" in str(elsewhere.hint)


# With a hub


def commit(fake: FakeHub, reference: str = "modeling_x.Model") -> None:
    fake.repository("org/m").commit(
        {
            "config.json": described(auto_map={"AutoModel": reference}),
            "model.safetensors": tensors(a=10),
            "modeling_x.py": b"class Model: ...\n",
            "lib/deep.py": b"",
            ".hidden/hook.py": b"",
        }
    )


def test_without_the_flag_no_code_is_baked_and_that_is_told(
    fake: FakeHub, make_source: "Source"
) -> None:
    commit(fake)
    events: list[Event] = []
    assert not [path for path in paths(make_source().resolve(events.append)) if ".py" in path]
    (note,) = notes(events)
    assert "trust_remote_code: true" in note
    assert "modeling_x.Model" in note


def test_with_the_flag_the_repositorys_code_is_locked(fake: FakeHub, make_source: "Source") -> None:
    commit(fake)
    events: list[Event] = []
    found = make_source(remote_code=True).resolve(events.append)
    assert {"modeling_x.py", "lib/deep.py"} <= {*paths(found)}
    assert ".hidden/hook.py" not in paths(found)
    assert notes(events) == []


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ("org/other--modeling_x.Model", "another repository"),
        ("org/m--modeling_x.Model", "another repository"),  # transformers would ask the hub
        ("modeling_y.Model", "not in its repository"),
    ],
)
def test_with_the_flag_code_from_elsewhere_is_refused(
    fake: FakeHub, make_source: "Source", reference: str, match: str
) -> None:
    commit(fake, reference)
    with pytest.raises(BadFile, match=match):
        make_source(remote_code=True).resolve(silent)
    assert make_source().resolve(silent).files


def test_a_tokenizers_code_counts_too(fake: FakeHub, make_source: "Source") -> None:
    commit(fake)
    tokenizer = json.dumps({"auto_map": {"AutoTokenizer": ["tok.Slow", None]}}).encode()
    fake.repositories["org/m"].commit({"tokenizer_config.json": tokenizer})
    with pytest.raises(BadFile, match=r"tok\.py"):
        make_source(remote_code=True).resolve(silent)
