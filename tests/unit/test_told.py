"""What the oven makes of a remote store's words, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from ovenproof.core import weights
from ovenproof.core.action import Action, Outcome
from ovenproof.core.content import Literal
from ovenproof.core.digest import Content, Digest
from ovenproof.core.layer import File, recipe
from ovenproof.core.model_lock import LockedFile
from ovenproof.core.plan import Step
from ovenproof.errors import WrongBytes
from ovenproof.events import Event, Noted
from ovenproof.oven import Oven
from ovenproof.runners import Scene, measure_literal, told

FILE = LockedFile(path="config.json", size=700, digest=Digest.of(b"config"))
WEIGHTS = Step(
    title="model files", action=weights.action(weights.Group("model files", (FILE,)), "/model")
)
WHEELS = Step(title="wheels", action=Action(kind="wheels", version=1))
LITERAL = Step(
    title="words",
    action=Action(kind="words", version=1),
    literal=recipe([File(path="words", body=Literal(b"hello"))]),
)
RIGHT = weights.layer_size(WEIGHTS.action) or 0


@dataclass
class Words:
    """Somebody who says what he is told to say."""

    outcomes: Mapping[Digest, Outcome]

    def recall(self, key: Digest) -> Outcome | None:
        return self.outcomes.get(key)

    def remember(self, key: Digest, outcome: Outcome) -> None:
        raise AssertionError("nothing was proven")


@dataclass
class Place:
    """As much of a machine as is needed to listen."""

    remote: Words | None
    heard: list[Event]

    @property
    def listener(self) -> Any:
        return self.heard.append


def listen(
    step: Step, outputs: Mapping[str, Content] | None
) -> tuple[dict[Digest, Content], list[Event]]:
    words = {} if outputs is None else {step.action.key: Outcome(outputs)}
    place = Place(Words(words), [])
    return told(cast("Any", place), [step]), place.heard


@pytest.mark.parametrize(("step", "size"), [(WEIGHTS, RIGHT), (WHEELS, 512), (WHEELS, 0)])
def test_a_layer_that_can_be_is_heard(step: Step, size: int) -> None:
    layer = Content(Digest.of(b"layer"), size)
    assert listen(step, {"layer": layer}) == ({step.action.key: layer}, [])


@pytest.mark.parametrize("size", [0, 700, RIGHT - 512, RIGHT - 1, RIGHT + 1, 2**80])
def test_weights_of_another_size_than_the_lock_makes_are_not(size: int) -> None:
    found, heard = listen(WEIGHTS, {"layer": Content(Digest.of(b"layer"), size)})
    assert found == {}
    assert heard == [
        Noted(text="what the remote store tells of model files cannot be; it is ignored")
    ]


@pytest.mark.parametrize("outputs", [{}, {"other": Content(Digest.of(b"layer"), RIGHT)}])
def test_an_outcome_without_a_layer_is_not(outputs: dict[str, Content]) -> None:
    found, heard = listen(WEIGHTS, outputs)
    assert found == {}
    assert len(heard) == 1


def test_silence_is_no_word() -> None:
    assert listen(WEIGHTS, None) == ({}, [])
    assert told(cast("Any", Place(None, [])), [WEIGHTS]) == {}


@pytest.mark.parametrize("offset", [0, 512])
@pytest.mark.parametrize("more", [512, -512])
def test_a_layer_of_another_size_is_refused_before_its_first_byte(offset: int, more: int) -> None:
    right = measure_literal(LITERAL)
    oven = Oven(cast("Scene", None))
    assert b"".join(oven.open(LITERAL, right, offset))
    with pytest.raises(WrongBytes, match="the layer `words`"):
        oven.open(LITERAL, Content(right.digest, right.size + more), offset)
