"""Actions: what is in a key, and what is not."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from ovenproof.core.action import Action, Outcome
from ovenproof.core.digest import Content, Digest, canonical_json

A, B = Digest.of(b"a"), Digest.of(b"b")


def test_the_key_is_the_digest_of_the_four_fields() -> None:
    action = Action(kind="weights", version=3, inputs={"x": A}, parameters={"profile": 1})
    text = f'{{"inputs":{{"x":"{A}"}},"kind":"weights","parameters":{{"profile":1}},"version":3}}'
    assert action.key == Digest.of(text.encode())


def test_the_order_of_inputs_and_parameters_does_not_matter() -> None:
    one = Action(kind="k", version=1, inputs={"a": A, "b": B}, parameters={"p": 1, "q": 2})
    two = Action(kind="k", version=1, inputs={"b": B, "a": A}, parameters={"q": 2, "p": 1})
    assert one.key == two.key
    assert one == two


@pytest.mark.parametrize(
    "other",
    [
        Action(kind="l", version=1, inputs={"a": A}, parameters={"p": 1}),
        Action(kind="k", version=2, inputs={"a": A}, parameters={"p": 1}),
        Action(kind="k", version=1, inputs={"a": B}, parameters={"p": 1}),
        Action(kind="k", version=1, inputs={"b": A}, parameters={"p": 1}),
        Action(kind="k", version=1, inputs={}, parameters={"p": 1}),
        Action(kind="k", version=1, inputs={"a": A}, parameters={"p": "1"}),
        Action(kind="k", version=1, inputs={"a": A}, parameters={"p": True}),
        Action(kind="k", version=1, inputs={"a": A}, parameters={"q": 1}),
        Action(kind="k", version=1, inputs={"a": A}, parameters={"p": [1]}),
        Action(kind="k", version=1, inputs={}, parameters={"p": 1, "a": str(A)}),
    ],
)
def test_any_other_field_is_another_key(other: Action) -> None:
    assert other.key != Action(kind="k", version=1, inputs={"a": A}, parameters={"p": 1}).key


def test_what_was_given_may_change_afterwards_without_changing_the_action() -> None:
    inputs = {"a": A}
    action = Action(kind="k", version=1, inputs=inputs)
    key = action.key
    inputs["b"] = B
    assert action.key == key
    with pytest.raises(TypeError):
        action.inputs["b"] = B  # type: ignore[index]


def test_the_key_is_made_once_and_takes_no_part_in_what_an_action_is() -> None:
    action = Action(kind="k", version=1, inputs={"a": A})
    assert action.key is action.key
    assert "key" not in repr(action)
    with pytest.raises(FrozenInstanceError):
        action.key = A  # type: ignore[misc]
    other = replace(action, version=2)
    assert other.key == Action(kind="k", version=2, inputs={"a": A}).key


def test_a_float_in_the_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        Action(kind="k", version=1, parameters={"p": 0.9})  # type: ignore[dict-item]


def test_an_outcome_cannot_be_changed() -> None:
    outcome = Outcome({"layer": Content.of(b"x")})
    with pytest.raises(TypeError):
        outcome.outputs["other"] = Content.of(b"y")  # type: ignore[index]


def test_another_hash_seed_gives_the_same_key() -> None:
    program = (
        "from ovenproof.core.action import Action\n"
        "from ovenproof.core.digest import Digest\n"
        "names = {f'n{i}' for i in range(50)}\n"
        "print(Action(kind='k', version=1, inputs={n: Digest.of(n.encode()) for n in names},"
        " parameters={n: n for n in names}).key)"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    names = [f"n{number}" for number in range(50)]
    expected = Digest.of(
        canonical_json(
            {
                "kind": "k",
                "version": 1,
                "inputs": {name: str(Digest.of(name.encode())) for name in names},
                "parameters": {name: name for name in names},
            }
        )
    )
    assert keys == {f"{expected}\n"}
