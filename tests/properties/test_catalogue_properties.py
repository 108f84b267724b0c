"""What holds for every catalogue, not only for the ones that somebody thought of."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ovenproof.core import catalogue, document
from ovenproof.core.digest import canonical_json
from ovenproof.core.entry import LORA_RANKS, vllm_rank
from ovenproof.errors import OvenproofError

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn")))
NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,20}", fullmatch=True)
TREES: st.SearchStrategy[Any] = st.recursive(
    TEXTS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, TREES, min_size=1, max_size=4))
def test_what_another_program_writes_is_read_as_it_was_meant(tree: dict[str, Any]) -> None:
    text = yaml.dump(tree, allow_unicode=True, sort_keys=False, Dumper=_NoAliases)
    found = document.read(text, "m.yaml")
    assert found.faults == ()
    assert document.plain(found.root) == tree


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@settings(deadline=None)
@given(TEXTS)
def test_a_quoted_text_arrives_unchanged(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    (entry,) = catalogue.parse(f"models: {{m: {{model: a/b, description: {written}}}}}")
    assert entry.description == text


@settings(deadline=None)
@given(st.text(max_size=200))
def test_random_text_is_refused_by_our_own_error(text: str) -> None:
    with pytest.raises(OvenproofError, match=r"models\.yaml:[1-9][0-9]*:[1-9][0-9]*"):
        catalogue.parse(text)


@settings(deadline=None)
@given(st.text("ab:{}[]&*-!|>'\"#,~ \n\t?%@`<0.", max_size=60))
def test_a_heap_of_yaml_signs_is_refused_by_our_own_error(text: str) -> None:
    with pytest.raises(OvenproofError, match=r"models\.yaml:[1-9][0-9]*:[1-9][0-9]*"):
        catalogue.parse(f"models:\n m: {text}\n zzz: {{prot: 1}}")


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=200), st.integers(min_value=0, max_value=40))
def test_a_fault_is_found_where_it_was_put(lines: int, indent: int) -> None:
    pad = " " * (indent + 1)
    text = "# comment\n" * lines + f"models:\n{pad}m:\n{pad} model: a/b\n{pad} prot: 1\n"
    with pytest.raises(OvenproofError) as caught:
        catalogue.parse(text)
    assert caught.value.where == f"models.yaml:{lines + 4}:{indent + 3}"


@settings(deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.permutations(["port: 9999", "dtype: auto"]))
def test_the_order_of_the_file_changes_nothing(names: list[str], fields: list[str]) -> None:
    body = ", ".join(["model: a/b", "args: {x: 1}", *fields])
    text = "models:\n" + "".join(f"  {name}: {{{body}}}\n" for name in names)
    plain = "".join(
        f"  {n}: {{model: a/b, port: 9999, dtype: auto, args: {{x: 1}}}}\n" for n in "abcd"
    )
    assert catalogue.parse(text) == catalogue.parse("models:\n" + plain)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_a_variant_is_its_entry_written_out(name: str, variant: str) -> None:
    nested = f"models: {{'{name}': {{model: a/b, variants: {{'{variant}': {{port: 9999}}}}}}}}"
    flat = f"models: {{'{name}-{variant}': {{model: a/b, port: 9999}}}}"
    assert catalogue.parse(nested) == catalogue.parse(flat)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"x[a-z-]{0,8}[a-z]", fullmatch=True), TREES, max_size=5))
def test_options_are_ready_for_canonical_json_and_in_one_order(options: dict[str, Any]) -> None:
    written = json.dumps({"models": {"m": {"model": "a/b", "args": options}}}, ensure_ascii=False)
    try:
        (entry,) = catalogue.parse(written)
    except OvenproofError:
        return  # a text such as `yes` or one with control characters is refused
    assert list(entry.args) == sorted(entry.args)
    canonical_json(list(entry.vllm_arguments()))
    for option, value in entry.args:
        given_value = options[option]
        if isinstance(given_value, list | dict):
            assert json.loads(str(value)) == given_value
        else:
            assert value == given_value


@settings(deadline=None)
@given(
    st.integers(min_value=1, max_value=10**9),
    st.sampled_from([("", 0, 0), ("MB", 6, 0), ("GB", 9, 0), ("MiB", 0, 20), ("TiB", 0, 40)]),
)
def test_a_size_is_its_number_times_its_unit(number: int, unit: tuple[str, int, int]) -> None:
    name, tens, twos = unit
    size = number * 10**tens * 2**twos
    text = f"models: {{m: {{model: a/b, largest_file: {number}{name}}}}}"
    if size < 10**6:
        with pytest.raises(OvenproofError, match="at least 1000000"):
            catalogue.parse(text)
    else:
        assert catalogue.parse(text).entry("m").largest_file == size


LOCKED: dict[str, Any] = {
    "revision": "v1",
    "include": ["*.json", "b"],
    "exclude": ["c"],
    "allow_pickle": True,
    "largest_file": "10GB",
    "trust_remote_code": True,
    "model_path": "/other",
}
SERVED: dict[str, Any] = {
    "adapters": [{"name": "x", "model": "x/y"}],
    "port": 9999,
    "served_name": "y",
    "args": {"seed": 1},
    "license": "MIT",
}


@settings(deadline=None)
@given(*[st.sets(st.sampled_from([*LOCKED, *SERVED]))] * 2)
def test_the_fingerprint_changes_exactly_with_what_decides_the_weights(
    one: set[str], other: set[str]
) -> None:
    first, second = (_fingerprint(fields) for fields in (one, other))
    assert (first == second) == (one & LOCKED.keys() == other & LOCKED.keys())


def _fingerprint(names: set[str]) -> bytes:
    chosen = {name: value for name, value in (LOCKED | SERVED).items() if name in names}
    (entry,) = catalogue.parse(json.dumps({"models": {"m": {"model": "a/b", **chosen}}}))
    return canonical_json(entry.source_fingerprint())


@given(st.integers(min_value=1, max_value=512))
def test_a_rank_is_rounded_up_to_the_nearest_that_vllm_takes(rank: int) -> None:
    told = vllm_rank(rank)
    assert told in LORA_RANKS
    assert told >= rank
    assert not any(rank <= known < told for known in LORA_RANKS)
