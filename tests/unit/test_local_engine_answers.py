"""What the local engine writes: transformers' own text, the schema obeyed, adapters and stored prefixes kept apart."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.inference.engine import GenerationRequest
from app.inference.local import LocalEngine
from app.json_data import json_schemas
from tests.support.local_engines import CHOICE, LETTERS, PATIENCE, TEXT, Reference, started
from tests.support.tiny_model import tiny_adapter

TOKENS = 24


@pytest.fixture(scope="module")
def base(model_dir: Path) -> Reference:
    return Reference(model_dir)


@pytest.fixture(scope="module")
def adapted(model_dir: Path, adapter_dir: Path) -> Reference:
    return Reference(model_dir, adapter_dir)


@pytest.fixture(scope="module")
async def engine(model_dir: Path, adapter_dir: Path) -> AsyncIterator[LocalEngine]:
    """Reads prompts in parts of 64 tokens, so that those of the tests have several."""
    async with started(model_dir, adapters={"random.v1@a": adapter_dir}, step_tokens=64) as engine:
        yield engine


def prompt(base: Reference, tokens: int, start: str = "") -> list[int]:
    return base.encode(start + TEXT * 20)[:tokens]


def free(prompt: list[int], adapter: str | None = None) -> GenerationRequest:
    return GenerationRequest(prompt, None, TOKENS, PATIENCE, adapter=adapter)


def ruled(prompt: list[int], adapter: str | None = None) -> GenerationRequest:
    return GenerationRequest(prompt, CHOICE, 120, PATIENCE, adapter=adapter)


def assert_obeys(text: str, schema: dict[str, object]) -> None:
    assert json_schemas.first_problem(json_schemas.make_validator(schema, formats=False), json.loads(text)) is None


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 200])
async def test_the_text_is_that_of_transformers_own_greedy_search(
    engine: LocalEngine, base: Reference, adapted: Reference, length: int
) -> None:
    tokens = prompt(base, length)
    assert (await engine.generate(free(tokens))).text == base.text(tokens, TOKENS)
    assert (await engine.generate(free(tokens, "random.v1@a"))).text == adapted.text(tokens, TOKENS)


async def test_an_adapter_changes_the_text_and_the_base_is_the_same_after(engine: LocalEngine, base: Reference) -> None:
    tokens = prompt(base, 40, "once ")
    before = await engine.generate(free(tokens))
    changed = await engine.generate(free(tokens, "random.v1@a"))
    after = await engine.generate(free(tokens))
    assert changed.text != before.text == after.text
    assert (before.model, changed.model) == (engine.base_model, "random.v1@a")


async def test_requests_of_all_lengths_and_adapters_at_once_get_what_they_get_alone(
    engine: LocalEngine, base: Reference, adapted: Reference
) -> None:
    lengths = (1, 7, 30, 64, 90, 128, 131, 250, 300, 2, 64, 77)
    prompts = [prompt(base, length, f"{number} ") for number, length in enumerate(lengths)]
    names = [None if number % 3 else "random.v1@a" for number in range(len(prompts))]
    found = await asyncio.gather(*[engine.generate(free(*each)) for each in zip(prompts, names, strict=True)])
    for tokens, name, generation in zip(prompts, names, found, strict=True):
        assert generation.text == (base if name is None else adapted).text(tokens, TOKENS)
        assert generation.prompt_tokens == len(tokens)


async def test_a_schema_is_obeyed_and_written_without_white_space(engine: LocalEngine, base: Reference) -> None:
    requests = [
        ruled(prompt(base, 20 + number, f"{number} "), adapter)
        for number in range(6)
        for adapter in (None, "random.v1@a")
    ]
    alone = [await engine.generate(request) for request in requests]
    together = await asyncio.gather(*[engine.generate(request) for request in requests])
    for one, other in zip(alone, together, strict=True):
        assert one.finished
        assert_obeys(one.text, CHOICE)
        assert json.dumps(json.loads(one.text), ensure_ascii=False, separators=(",", ":")) == one.text
        assert one.text == other.text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 3, "maximum": 5},
        {"enum": ["Wetter 🌋 in São Tomé", "天気"]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        {"const": {"a b": [1, 2.5, None, 'quote " and \\ and \n']}},
        {"type": "object", "properties": {}, "additionalProperties": False},
    ],
    ids=repr,
)
async def test_schemas_of_every_kind_are_obeyed(
    engine: LocalEngine, base: Reference, schema: dict[str, object]
) -> None:
    request = GenerationRequest(prompt(base, 30), schema, 60, PATIENCE)
    for temperature in (0.0, 1.0, 5e-324, 1e300):
        generation = await engine.generate(replace(request, temperature=temperature))
        assert generation.finished
        assert_obeys(generation.text, schema)


async def test_an_answer_that_is_all_forced_needs_no_choice_and_is_whole(engine: LocalEngine, base: Reference) -> None:
    schema = {"const": {"tool_name": "A Weather.Foo"}}
    generation = await engine.generate(GenerationRequest(prompt(base, 30), schema, 60, PATIENCE))
    assert generation.text == '{"tool_name":"A Weather.Foo"}'
    assert generation.finished


async def test_an_answer_cut_off_says_so_and_is_the_beginning_of_the_whole(
    engine: LocalEngine, base: Reference
) -> None:
    request = ruled(prompt(base, 50))
    whole = await engine.generate(request)
    for limit in range(1, whole.completion_tokens):
        cut = await engine.generate(replace(request, max_tokens=limit))
        assert not cut.finished
        assert cut.completion_tokens == limit
        # A cut may go through a character, whose first bytes are no text yet.
        assert whole.text.startswith(cut.text.rstrip("�"))
    exact = await engine.generate(replace(request, max_tokens=whole.completion_tokens))
    assert exact.finished
    assert exact.text == whole.text


async def test_the_labels_log_probabilities_are_the_models_own_at_the_choice(
    engine: LocalEngine, base: Reference
) -> None:
    labels = [base.token(letter) for letter in LETTERS]
    for number in range(4):
        tokens = prompt(base, 33, f"{number} ")
        generation = await engine.generate(replace(ruled(tokens), labels=labels))
        told = generation.label_logprobs
        assert told is not None
        expected = base.logprobs([*tokens, *base.encode('{"tool_name":"')])
        assert told == pytest.approx({label: float(expected[label]) for label in labels}, abs=1e-3)
        assert json.loads(generation.text)["tool_name"][0] == LETTERS[labels.index(max(labels, key=told.__getitem__))]


async def test_a_forced_labels_log_probabilities_are_told_too(engine: LocalEngine, base: Reference) -> None:
    labels = [base.token(letter) for letter in LETTERS]
    schema = {**CHOICE, "properties": {**CHOICE["properties"], "tool_name": {"const": "B Weather.Foo"}}}
    tokens = prompt(base, 33)
    generation = await engine.generate(GenerationRequest(tokens, schema, 120, PATIENCE, labels=labels))
    expected = base.logprobs([*tokens, *base.encode('{"tool_name":"')])
    assert generation.label_logprobs == pytest.approx({label: float(expected[label]) for label in labels}, abs=1e-3)


async def test_no_label_in_the_answer_means_no_log_probabilities(engine: LocalEngine, base: Reference) -> None:
    label = base.token("Z")
    generation = await engine.generate(replace(ruled(prompt(base, 20)), labels=[label], schema={"enum": [1, 2]}))
    assert generation.label_logprobs is None


async def test_a_temperature_gives_different_texts_and_a_seed_the_same_again(model_dir: Path, base: Reference) -> None:
    async def texts(seed: int) -> list[str]:
        async with started(model_dir, seed=seed) as engine:
            request = replace(free(prompt(base, 10)), temperature=1.5)
            return [(await engine.generate(request)).text for _ in range(4)]

    first = await texts(1)
    assert len(set(first)) > 1
    assert await texts(1) == first
    assert await texts(2) != first


@pytest.mark.parametrize("adapter", [None, "random.v1@a"])
async def test_what_was_read_before_is_not_read_again_and_the_text_is_the_same(
    engine: LocalEngine, base: Reference, adapted: Reference, adapter: str | None
) -> None:
    reference = base if adapter is None else adapted
    first = prompt(base, 260, f"a user of {adapter} ")
    second = first[:200] + prompt(base, 100, "something else now ")
    fresh = await engine.generate(free(first, adapter))
    again = await engine.generate(free(first, adapter))
    near = await engine.generate(free(second, adapter))
    shorter = await engine.generate(free(first[:64], adapter))
    assert fresh.cached_tokens == 0
    assert again.cached_tokens == 256
    assert near.cached_tokens == 192
    assert shorter.cached_tokens == 32, "the last token is read for its logits, and with it its block"
    assert again.text == fresh.text == reference.text(first, TOKENS)
    assert near.text == reference.text(second, TOKENS)
    assert shorter.text == reference.text(first[:64], TOKENS)


async def test_an_answer_ends_where_the_models_settings_say(model_dir: Path, base: Reference, tmp_path: Path) -> None:
    tokens = prompt(base, 30)
    written = base.continuation(tokens, TOKENS)
    ending = shutil.copytree(model_dir, tmp_path / "ending")
    (ending / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, written[5]]}))
    before = written[: written.index(written[5])]
    async with started(ending) as engine:
        generation = await engine.generate(free(tokens))
    assert generation.finished
    assert generation.completion_tokens == len(before) + 1
    assert generation.text == base.tokenizer.decode(before, skip_special_tokens=True)


async def test_half_precision_obeys_the_schema_too_with_and_without_an_adapter(
    model_dir: Path, adapter_dir: Path, base: Reference
) -> None:
    async with started(model_dir, dtype="bfloat16", adapters={"random": adapter_dir}) as engine:
        requests = [ruled(prompt(base, 40, f"{number} "), name) for number in range(3) for name in (None, "random")]
        for generation in await asyncio.gather(*[engine.generate(request) for request in requests]):
            assert generation.finished
            assert_obeys(generation.text, CHOICE)


async def test_nothing_is_kept_where_there_is_no_memory_for_it(model_dir: Path, base: Reference) -> None:
    async with started(model_dir, prefix_cache_mb=0) as engine:
        for _ in range(2):
            generation = await engine.generate(free(prompt(base, 200)))
            assert generation.cached_tokens == 0
            assert generation.text == base.text(prompt(base, 200), TOKENS)


async def test_an_adapter_that_takes_anothers_name_gets_nothing_of_what_that_computed(
    model_dir: Path, adapter_dir: Path, base: Reference, adapted: Reference, tmp_path: Path
) -> None:
    other = tiny_adapter(model_dir, tmp_path / "other", seed=2)
    tokens = prompt(base, 150)
    async with started(model_dir, adapters={"name": adapter_dir}) as engine:
        first = await engine.generate(free(tokens, "name"))
        await engine.unload_adapter("name")
        await engine.load_adapter("name", other)
        second = await engine.generate(free(tokens, "name"))
    assert first.text == adapted.text(tokens, TOKENS)
    assert second.cached_tokens == 0
    assert second.text == Reference(model_dir, other).text(tokens, TOKENS) != first.text
