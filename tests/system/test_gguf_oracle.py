"""The imported model against another implementation: the GGUF loader of transformers, in the image.

Transformers reads the same GGUF with its own reader, dequantization, order of rows and tokenizer.
One rule it does not know: a tokenizer whose split is called `smollm` takes every digit by itself.
So its tokenizer gets the text cut at every digit beforehand, by Unicode's own classes.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import pytest

ImagePython = Callable[[str, dict[Path, str]], str]

TEXTS = (
    "What is the capital of France?",
    "  two blanks,   three, a\ttab\t\tand two,\n a line\n\n\n  and an indented one   ",
    "\r\n\r\nWindows lines\r\n",
    "7 42 1984 3.14159, 1,000,000 and  12  or x1y22z333",
    "a  1\n 2\n\n3\t4   ",
    "½ + ¼ = ¾, Ⅷ is eight, ٣ is three, x² + y³, ①②③, 一二三",
    "I'll, we've, they're, it's, don't; I'LL, IT'S",
    "def f(x: int) -> int:\n    return x ** 2  # squares\n\n\tif x >= 10: pass\n",
    '{"key": [1, 2.5e-3, null], "other": "value\\n"}',
    "Ünïcödé, Ελληνικά, Русский, العربية, עברית, हिन्दी, ไทย, 中文字, 日本語のテキスト, 한국어",
    "e\u0301 against é, a zero\u200dwidth joiner, a no\u00a0break space, an \u3000 ideographic one",
    "🙂 👩‍👩‍👧‍👦 🇩🇪 👍🏽 and a lone \ufffd",
    "\x00\x01\x7f",
    "",
    " ",
    "<|im_start|>user\nHow much is 2 + 2?<|im_end|>\n<|im_start|>assistant\n",
    "a<|im_end|>b <|endoftext|> <repo_name>x<file_sep> <|not_special|>",
)

SCRIPT = """
import json, sys, unicodedata
sys.path.append("/oracle/packages")
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

texts = json.loads(TEXTS)
ours = AutoTokenizer.from_pretrained("/oracle/ours")
theirs = AutoTokenizer.from_pretrained("/oracle/theirs", gguf_file="model.gguf")

def cut_at_digits(text):
    piece = ""
    for character in text:
        if unicodedata.category(character).startswith("N"):
            if piece:
                yield piece
            yield character
            piece = ""
        else:
            piece += character
    if piece:
        yield piece

def their_ids(text):
    return [id_ for piece in cut_at_digits(text) for id_ in theirs(piece)["input_ids"]]

talk = [{"role": "user", "content": "What is the capital of France?"}]
prompts = [
    t.apply_chat_template(talk, tokenize=False, add_generation_prompt=True) for t in (ours, theirs)
]
ids = ours(prompts[0], return_tensors="pt")["input_ids"]

config = AutoConfig.from_pretrained("/oracle/theirs", gguf_file="model.gguf")
their_model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
stored = load_gguf_checkpoint(
    "/oracle/theirs/model.gguf", return_tensors=True, model_to_load=their_model
)["tensors"]
stored = {name: tensor.to(torch.bfloat16) for name, tensor in stored.items()}
their_model.load_state_dict(stored, strict=False)
their_model.tie_weights()
our_model = AutoModelForCausalLM.from_pretrained("/oracle/ours")

with safe_open("/oracle/ours/model.safetensors", "pt") as file:
    names = set(file.keys())
    different = [
        name for name in sorted(names & set(stored))
        if file.get_tensor(name).dtype != torch.bfloat16
        or not torch.equal(file.get_tensor(name), stored[name])
    ]

def greedy(model):
    model.eval()
    chosen = ids
    for _ in range(12):
        with torch.no_grad():
            logits = model(chosen).logits[:, -1]
        chosen = torch.cat((chosen, logits.argmax(-1, keepdim=True)), 1)
    return chosen[0, ids.shape[1]:].tolist()

answers = [greedy(our_model), greedy(their_model)]
print(json.dumps({
    "our_ids": [ours(text)["input_ids"] for text in texts],
    "their_ids": [their_ids(text) for text in texts],
    "prompts": prompts,
    "only_ours": sorted(names - set(stored)),
    "only_theirs": sorted(set(stored) - names),
    "different": different,
    "compared": len(names & set(stored)),
    "answers": answers,
    "text": ours.decode(answers[0], skip_special_tokens=True),
    "dtype": str(our_model.dtype),
    "rope": [dict(m.config.rope_parameters) for m in (our_model, their_model)],
}))
"""


class Verdict(TypedDict):
    """What the script in the image prints."""

    our_ids: list[list[int]]
    their_ids: list[list[int]]
    prompts: list[str]
    only_ours: list[str]
    only_theirs: list[str]
    different: list[str]
    compared: int
    answers: list[list[int]]
    text: str
    dtype: str
    rope: list[dict[str, object]]


@pytest.fixture(scope="module")
def verdict(
    smollm2_folder: Path,
    smollm2_gguf: Path,
    image_python: ImagePython,
    tmp_path_factory: pytest.TempPathFactory,
) -> Verdict:
    folder = tmp_path_factory.mktemp("oracle")
    _copy_package("gguf", folder / "packages")
    output = image_python(
        f"TEXTS = {json.dumps(TEXTS)!r}\n{SCRIPT}",
        {
            smollm2_folder: "/oracle/ours",
            smollm2_gguf: "/oracle/theirs/model.gguf",
            folder / "packages": "/oracle/packages",
        },
    )
    found: Verdict = json.loads(output.splitlines()[-1])
    return found


def _copy_package(name: str, to: Path) -> None:
    """Copy an installed package with its metadata: transformers asks for its version."""
    to.mkdir(mode=0o755)
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        if file.suffix == ".pyc" or ".." in file.parts:
            continue
        target = to / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(str(distribution.locate_file(file))), target)


@pytest.mark.parametrize("index", range(len(TEXTS)), ids=[repr(text)[:30] for text in TEXTS])
def test_every_text_gets_the_ids_of_the_other_tokenizer(verdict: Verdict, index: int) -> None:
    assert verdict["our_ids"][index] == verdict["their_ids"][index]
    assert bool(verdict["our_ids"][index]) == bool(TEXTS[index])


def test_the_chat_template_renders_the_same_prompt(verdict: Verdict) -> None:
    ours, theirs = verdict["prompts"]
    assert ours == theirs
    assert ours.endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_every_tensor_has_the_bits_that_the_other_loader_gives_it(verdict: Verdict) -> None:
    assert verdict["only_ours"] == []
    assert verdict["only_theirs"] == []
    assert verdict["different"] == []
    assert verdict["compared"] == 272


def test_the_greedy_answer_is_the_same_and_right(verdict: Verdict) -> None:
    ours, theirs = verdict["answers"]
    assert ours == theirs
    assert verdict["text"].startswith("The capital of France is Paris.")
    assert verdict["dtype"] == "torch.bfloat16"
    assert verdict["rope"][0] == verdict["rope"][1]
