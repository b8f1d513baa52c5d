"""What every engine promises, as tests: a class to inherit from, with a fixture `subject` of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.domain import Json
from app.errors import EngineDown, EngineOverloaded, EngineRefused, EngineTimeout
from app.inference.engine import Engine, Generation, GenerationRequest
from app.json_data import json_schemas

PATIENCE = 120.0
"""Seconds after which something has gone wrong."""
LETTERS = "ABCDEFGHIJ"
LONG: Json = {"type": "string", "minLength": 3000, "maxLength": 6000}
"""A text that takes an engine a while."""
ODD_SCHEMAS: tuple[Json, ...] = (
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 2, "uniqueItems": True},
    {"type": "string", "pattern": "(?<=a)b"},
    {"type": "string", "pattern": "("},
    {"type": "banana"},
    {"enum": []},
    {"$ref": "#/$defs/missing"},
    {"type": "integer", "minimum": 3, "maximum": 1},
    {"const": "\ud800"},
    {"type": "integer", "minimum": 0, "maximum": 10**30},
    {"not": {}},
)
"""What an engine may serve or refuse, but not stumble over."""


def tool_schema(label: str, name: str = "Weather.Foo") -> Json:
    parameters = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "units": {"enum": ["metric", "imperial"]},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"tool_name": {"const": f"{label} {name}"}, "parameters": parameters},
        "required": ["tool_name", "parameters"],
        "additionalProperties": False,
    }


def choice_schema(letters: str = LETTERS) -> Json:
    return {"anyOf": [tool_schema(letter) for letter in letters]}


@dataclass(frozen=True)
class Subject:
    """An engine to be tested, and what a test has to know of it."""

    engine: Engine
    base_model: str
    adapter: str
    encode: Callable[[str], list[int]]
    context: int
    """Tokens that prompt and answer may have together."""
    running: Callable[[], Awaitable[int]]
    """How many requests it works on now."""
    start: Callable[[int, int], Awaitable[Engine]]
    """Another engine, which works on so many requests at once, and lets so many more wait."""

    def request(self, text: str = "Will it rain in Porto?", **given: Any) -> GenerationRequest:
        values: dict[str, Any] = {"schema": choice_schema(), "max_tokens": 120, "timeout": PATIENCE}
        return GenerationRequest(prompt=self.encode(text), **(values | given))

    def slow_request(self, **given: Any) -> GenerationRequest:
        return self.request(schema=LONG, max_tokens=3000, **given)

    @property
    def labels(self) -> tuple[int, ...]:
        """The token ids of the letters."""
        return tuple(self.encode(letter)[-1] for letter in LETTERS)

    async def answers(self) -> None:
        """That it still does its work."""
        assert_obeys(await self.engine.generate(self.request()), choice_schema())

    async def idle(self) -> None:
        """Returns when nothing runs any more."""
        async with asyncio.timeout(PATIENCE):
            while await self.running():  # noqa: ASYNC110 (an engine has no event for it)
                await asyncio.sleep(0.05)

    async def busy(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await self.running():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def started(subject: Subject, *, running: int, waiting: int) -> AsyncIterator[Engine]:
    engine = await subject.start(running, waiting)
    try:
        yield engine
    finally:
        await engine.close()


def assert_obeys(generation: Generation, schema: Json) -> None:
    value = _value(generation)
    assert json_schemas.first_problem(json_schemas.make_validator(schema, formats=False), value) is None
    assert generation.finished


def chosen(generation: Generation) -> str:
    return str(_value(generation)["tool_name"])[0]


def _value(generation: Generation) -> Json:
    # Not strict: vLLM's xgrammar lets control characters into a text with a maxLength.
    return json.loads(generation.text, strict=False)


async def all_of(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Generation | BaseException]:
    return await asyncio.gather(*(engine.generate(request) for request in requests), return_exceptions=True)


class EngineContract:
    async def test_the_text_obeys_the_schema(self, subject: Subject) -> None:
        for text in ("Will it rain?", "Ein Buch über Vulkane 🌋", "x"):
            generation = await subject.engine.generate(subject.request(text))
            assert_obeys(generation, choice_schema())
            assert generation.prompt_tokens == len(subject.encode(text))
            assert 0 < generation.completion_tokens <= 120

    async def test_the_same_request_gives_the_same_text_at_temperature_0(self, subject: Subject) -> None:
        texts = {(await subject.engine.generate(subject.request())).text for _ in range(4)}
        assert len(texts) == 1

    async def test_the_answer_names_who_wrote_it(self, subject: Subject) -> None:
        base = await subject.engine.generate(subject.request())
        adapted = await subject.engine.generate(subject.request(adapter=subject.adapter))
        assert (base.model, adapted.model) == (subject.base_model, subject.adapter)
        assert_obeys(adapted, choice_schema())

    async def test_an_unknown_adapter_is_refused(self, subject: Subject) -> None:
        for name in ("nobody", "../nobody", "\ud800"):
            with pytest.raises(EngineRefused):
                await subject.engine.generate(subject.request(adapter=name))
        await subject.answers()

    async def test_no_answer_within_the_deadline_is_a_timeout_that_frees_the_engine(self, subject: Subject) -> None:
        with pytest.raises(EngineTimeout):
            await subject.engine.generate(subject.slow_request(timeout=0.2))
        await subject.idle()
        await subject.answers()

    async def test_a_deadline_that_has_passed_already_is_a_timeout(self, subject: Subject) -> None:
        with pytest.raises(EngineTimeout):
            await subject.engine.generate(subject.slow_request(timeout=0.0))
        await subject.idle()
        await subject.answers()

    async def test_cancelling_leaves_nothing_running(self, subject: Subject) -> None:
        tasks = [asyncio.create_task(subject.engine.generate(subject.slow_request())) for _ in range(3)]
        await subject.busy()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        await subject.idle()
        await subject.answers()

    async def test_many_at_once_are_all_answered_each_by_its_own_model(self, subject: Subject) -> None:
        names = [None, subject.adapter]
        requests = [subject.request(f"Question number {number}", adapter=names[number % 2]) for number in range(24)]
        for request, generation in zip(requests, await all_of(subject.engine, requests), strict=True):
            assert isinstance(generation, Generation), generation
            assert_obeys(generation, choice_schema())
            assert generation.model == (request.adapter or subject.base_model)
            assert generation.prompt_tokens == len(request.prompt)

    async def test_more_than_it_takes_is_refused_as_overload(self, subject: Subject) -> None:
        async with started(subject, running=1, waiting=2) as narrow:
            requests = [replace(subject.slow_request(), max_tokens=300) for _ in range(8)]
            ends = await all_of(narrow, requests)
            answered = [end for end in ends if isinstance(end, Generation)]
            refused = [end for end in ends if isinstance(end, EngineOverloaded)]
            assert len(answered) + len(refused) == len(ends), ends
            assert len(answered) >= 3
            assert len(refused) >= 1
            assert all(end.retry_after is not None and end.retry_after >= 1 for end in refused)
            assert_obeys(await narrow.generate(subject.request()), choice_schema())

    async def test_waiting_counts_against_the_deadline(self, subject: Subject) -> None:
        async with started(subject, running=1, waiting=8) as narrow:
            ends = await all_of(narrow, [subject.slow_request(timeout=0.5) for _ in range(4)])
            assert all(isinstance(end, EngineTimeout) for end in ends), ends
            assert_obeys(await narrow.generate(subject.request()), choice_schema())

    @pytest.mark.parametrize("schema", ODD_SCHEMAS, ids=repr)
    async def test_an_odd_schema_is_served_or_refused(self, subject: Subject, schema: Json) -> None:
        end = (await all_of(subject.engine, [subject.request(schema=schema, max_tokens=40)]))[0]
        # vLLM answers some with 500: it is down for this request, and well for the next.
        assert isinstance(end, Generation | EngineRefused | EngineDown), repr(end)
        await subject.answers()

    async def test_a_prompt_longer_than_the_context_is_refused(self, subject: Subject) -> None:
        for length in (subject.context, subject.context + 1, 4 * subject.context):
            token = subject.encode("a")[-1]
            with pytest.raises(EngineRefused):
                await subject.engine.generate(replace(subject.request(), prompt=[token] * length))
        await subject.answers()

    async def test_the_labels_log_probabilities_are_told_and_the_chosen_is_the_likeliest(
        self, subject: Subject
    ) -> None:
        for text in ("Will it rain?", "A book about volcanoes", "?"):
            generation = await subject.engine.generate(subject.request(text, labels=subject.labels))
            told = generation.label_logprobs
            assert told is not None
            assert set(told) == set(subject.labels)
            assert all(value <= 0 for value in told.values())
            best = max(subject.labels, key=lambda label: told[label])
            assert LETTERS[subject.labels.index(best)] == chosen(generation)

    async def test_the_chosen_label_is_the_likeliest_of_those_the_schema_allows(self, subject: Subject) -> None:
        allowed = "DGH"
        request = subject.request(schema=choice_schema(allowed), labels=subject.labels)
        generation = await subject.engine.generate(request)
        told = generation.label_logprobs
        assert told is not None
        by_letter = {letter: told[label] for letter, label in zip(LETTERS, subject.labels, strict=True)}
        assert chosen(generation) == max(allowed, key=lambda letter: by_letter[letter])

    async def test_asking_for_labels_does_not_change_the_text(self, subject: Subject) -> None:
        plain = await subject.engine.generate(subject.request())
        asked = await subject.engine.generate(subject.request(labels=subject.labels))
        assert plain.label_logprobs is None
        assert plain.text == asked.text

    async def test_an_answer_cut_off_at_max_tokens_is_not_finished(self, subject: Subject) -> None:
        generation = await subject.engine.generate(replace(subject.slow_request(), max_tokens=5))
        assert not generation.finished
        assert generation.completion_tokens <= 5

    async def test_without_a_schema_it_writes_what_it_will(self, subject: Subject) -> None:
        generation = await subject.engine.generate(subject.request(schema=None, max_tokens=8))
        assert generation.completion_tokens <= 8

    async def test_it_is_ready_until_it_is_closed_and_then_down(self, subject: Subject) -> None:
        engine = await subject.start(4, 4)
        assert await engine.ready()
        under_way = asyncio.create_task(engine.generate(subject.slow_request()))
        await asyncio.sleep(0.3)
        await engine.close()
        with pytest.raises(EngineDown):
            await under_way
        assert not await engine.ready()
        with pytest.raises(EngineDown):
            await engine.generate(subject.request())
        await engine.close()
