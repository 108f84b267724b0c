"""Which data types a checkpoint may be computed in."""

import pytest

from ovenproof.core.quantization import DTYPES, refuses_dtype


@pytest.mark.parametrize(
    "name",
    [
        "Gemma2ForCausalLM",
        "Gemma2ForSequenceClassification",
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",
        "Gemma3TextModel",
        "Glm4ForCausalLM",
        "Plamo2ForCausalLM",
    ],
)
def test_some_architectures_refuse_float16_and_nothing_else(name: str) -> None:
    assert refuses_dtype(["Other", name], "float16") == name
    assert [refuses_dtype([name], dtype) for dtype in DTYPES if dtype != "float16"] == [None] * 3


@pytest.mark.parametrize(
    "name",
    [
        "LlamaForCausalLM",
        "GemmaForCausalLM",
        "Gemma3nForCausalLM",
        "Glm4MoeForCausalLM",
        "Glm4vForConditionalGeneration",
        "GlmForCausalLM",
        "NotGemma2ForCausalLM",
        "Gemma2Modelling",
    ],
)
def test_their_relatives_do_not(name: str) -> None:
    assert refuses_dtype([name], "float16") is None


def test_a_checkpoint_without_an_architecture_refuses_nothing() -> None:
    assert refuses_dtype([], "float16") is None
