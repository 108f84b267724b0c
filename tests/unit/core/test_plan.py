"""Plans: steps and knowledge in, a value out."""

from dataclasses import replace
from functools import partial

from ovenproof.core.action import Action
from ovenproof.core.base import GZIP_TYPE, BaseLayer
from ovenproof.core.digest import Content, Digest
from ovenproof.core.image import LAYER_TYPE, Layer, Settings, assemble
from ovenproof.core.plan import Knowledge, Plan, Step, Supply, make, taken

SETTINGS = Settings(
    entrypoint=("/run",), environment={}, labels={}, port=1, user="0", working_dir="/"
)
TORCH = Supply(kind="wheel", name="torch.whl", content=Content.of(b"torch"))
VLLM = Supply(kind="wheel", name="vllm.whl", content=Content.of(b"vllm"))
LIBC = Supply(kind="deb", name="libc.deb", content=Content.of(b"libc"))


def step(title: str, *supplies: Supply, reads: int = 0) -> Step:
    action = Action(kind="test", version=1, parameters={"title": title})
    return Step(title=title, action=action, supplies=supplies, reads=reads)


ROOT = step("root", LIBC, reads=10)
TOP = step("top", TORCH, VLLM, reads=200)
MORE = step("more", TORCH, reads=3000)
STEPS = (ROOT, TOP, MORE)


def layer_of(step: Step) -> Content:
    return Content.of(step.title.encode())


def plan(*known: Step, held: tuple[Supply, ...] = ()) -> Plan:
    knowledge = Knowledge(
        layers={step.action.key: layer_of(step) for step in known},
        held=frozenset(supply.content.digest for supply in held),
    )
    return make("smol", STEPS, knowledge, partial(assemble, settings=SETTINGS))


def test_with_everything_known_the_image_is_there_without_a_byte() -> None:
    made = plan(*STEPS)
    assert made.to_run == ()
    assert made.to_read == 0
    assert made.to_fetch() == ()
    layers = tuple(
        Layer(content=layer_of(step), title=step.title, action=step.action) for step in STEPS
    )
    assert made.image == assemble(layers, SETTINGS)


def test_with_nothing_known_all_is_run_read_and_fetched_once() -> None:
    made = plan()
    assert made.image is None
    assert [planned.step for planned in made.to_run] == list(STEPS)
    assert made.to_read == 3210
    assert made.to_fetch() == (LIBC, TORCH, VLLM)


def test_one_unknown_layer_is_enough_to_have_no_image() -> None:
    made = plan(ROOT, MORE)
    assert made.image is None
    assert [planned.step for planned in made.to_run] == [TOP]
    assert made.to_read == 200
    assert made.to_fetch() == (TORCH, VLLM)


def test_what_the_store_has_is_not_fetched() -> None:
    assert plan(held=(TORCH, LIBC)).to_fetch() == (VLLM,)


def test_a_known_layer_that_an_output_lacks_needs_its_supplies_again() -> None:
    needed = frozenset({layer_of(ROOT).digest})
    assert plan(*STEPS).to_fetch(needed) == (LIBC,)
    assert plan(*STEPS, held=(LIBC,)).to_fetch(needed) == ()


def test_a_digest_that_is_no_layer_of_the_plan_needs_nothing() -> None:
    assert plan(*STEPS).to_fetch(frozenset({Digest.of(b"other")})) == ()


def test_knowledge_of_other_actions_is_of_no_use() -> None:
    knowledge = Knowledge(layers={Digest.of(b"other"): layer_of(ROOT)}, held=frozenset())
    assert len(make("smol", STEPS, knowledge, partial(assemble, settings=SETTINGS)).to_run) == 3


def base_step(word: str, *, packed: bool = True) -> Step:
    diff_id = Digest.of(f"{word} unpacked".encode())
    content = Content.of(word.encode()) if packed else Content(diff_id, 9)
    media_type = GZIP_TYPE if packed else LAYER_TYPE
    layer = BaseLayer(content=content, media_type=media_type, diff_id=diff_id)
    return replace(step(word), base=layer, homes=("kitchen.example/base",))


def test_a_bases_layer_is_known_as_it_is_and_needs_no_proof() -> None:
    steps = (base_step("root"), base_step("plain", packed=False))
    made = make(
        "smol",
        steps,
        Knowledge(layers=taken(steps), held=frozenset()),
        partial(assemble, settings=SETTINGS),
    )
    assert made.to_run == ()
    assert made.to_fetch() == ()
    assert made.image is not None
    packed, plain = made.image.layers
    assert (packed.media_type, packed.diff_id) == (GZIP_TYPE, Digest.of(b"root unpacked"))
    assert (plain.media_type, plain.diff_id) == (LAYER_TYPE, plain.content.digest)
    assert packed.homes == ("kitchen.example/base",)


def test_what_an_output_lacks_of_a_base_streams_once() -> None:
    steps = (base_step("root"), base_step("more"), base_step("root"))
    made = make(
        "smol",
        steps,
        Knowledge(layers=taken(steps), held=frozenset()),
        partial(assemble, settings=SETTINGS),
    )
    root = Content.of(b"root").digest
    assert made.to_stream(frozenset()) == ()
    assert [layer.content.digest for layer in made.to_stream(frozenset({root}))] == [root]
