"""`VllmEngine` against a server that is slow, broken, busy or gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from app.errors import EngineDown, EngineError, EngineOverloaded, EngineRefused, EngineTimeout, SetupError
from app.inference.engine import GenerationRequest
from app.inference.vllm import VllmEngine
from tests.support.fake_vllm import FakeVllm, after, answering, completion, reply

REQUEST = GenerationRequest(prompt=[1, 2, 3], schema={"type": "object"}, max_tokens=50, timeout=20.0)
PROBE = 0.05
NEVER = 3600.0
EngineFactory = Callable[..., VllmEngine]


@pytest.fixture
async def engine_of(server: FakeVllm) -> AsyncIterator[EngineFactory]:
    made: list[VllmEngine] = []

    def make(**given: Any) -> VllmEngine:
        values: dict[str, Any] = {"base_model": "base", "probe_seconds": NEVER}
        made.append(VllmEngine(server.url, **(values | given)))
        return made[-1]

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
def engine(engine_of: EngineFactory) -> VllmEngine:
    """It never probes, and once down stays down."""
    return engine_of()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.005)


async def many(engine: VllmEngine, count: int, **given: Any) -> list[Any]:
    request = replace(REQUEST, **given)
    return await asyncio.gather(*(engine.generate(request) for _ in range(count)), return_exceptions=True)


class TestTheRequest:
    async def test_sends_token_ids_the_schema_and_neutral_sampling(self, engine: VllmEngine, server: FakeVllm) -> None:
        await engine.generate(REQUEST)
        assert server.received[0].path == "/v1/completions"
        assert server.received[0].document == {
            "model": "base",
            "prompt": [1, 2, 3],
            "max_tokens": 50,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "call", "schema": {"type": "object"}, "strict": True},
            },
        }

    async def test_asks_for_log_probabilities_only_where_there_are_labels(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        await engine.generate(replace(REQUEST, schema=None, labels=(7, 8), adapter="mine", temperature=0.5))
        body = server.received[0].document
        assert (body["model"], body["temperature"]) == ("mine", 0.5)
        assert body["logprob_token_ids"] == [7, 8]
        assert body["return_tokens_as_token_ids"] is True
        assert "response_format" not in body

    async def test_takes_any_sequence_of_token_ids(self, engine: VllmEngine, server: FakeVllm) -> None:
        await engine.generate(replace(REQUEST, prompt=range(4)))
        assert server.received[0].document["prompt"] == [0, 1, 2, 3]

    async def test_sends_the_api_key(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        await engine_of(api_key="secret").generate(REQUEST)
        assert server.received[0].headers["authorization"] == "Bearer secret"

    async def test_ignores_the_environments_proxies(
        self, engine_of: EngineFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert (await engine_of().generate(REQUEST)).text == "{}"

    @pytest.mark.parametrize("odd", [10**30, "\ud800", "🌋"], ids=repr)
    async def test_sends_odd_values_unchanged(self, engine: VllmEngine, server: FakeVllm, odd: object) -> None:
        await engine.generate(replace(REQUEST, schema={"const": odd}))
        sent = json.loads(server.received[0].content)
        assert sent["response_format"]["json_schema"]["schema"] == {"const": odd}

    async def test_what_json_cannot_say_is_refused_unsent(self, engine: VllmEngine, server: FakeVllm) -> None:
        endless: dict[str, Any] = {}
        endless["items"] = endless
        deep: dict[str, Any] = {}
        for _ in range(100_000):
            deep = {"items": deep}
        for schema in (endless, deep, {"const": object()}, {"const": {1, 2}}):
            with pytest.raises(EngineRefused, match="JSON"):
                await engine.generate(replace(REQUEST, schema=schema))
        assert server.received == []

    async def test_one_connection_serves_request_after_request(self, engine: VllmEngine, server: FakeVllm) -> None:
        for _ in range(5):
            await engine.generate(REQUEST)
        assert server.connections == 1


class TestTheAnswer:
    async def test_reads_text_tokens_model_and_cache(self, engine: VllmEngine, server: FakeVllm) -> None:
        details = {"cached_tokens": 2, "multimodal_tokens": None}
        answer = completion('{"a": "ü🌋"}', model="mine", prompt_tokens_details=details, finish_reason="length")
        server.behaviour = answering(reply(answer))
        generation = await engine.generate(replace(REQUEST, adapter="other"))
        assert (generation.text, generation.model) == ('{"a": "ü🌋"}', "mine")
        assert (generation.prompt_tokens, generation.completion_tokens, generation.cached_tokens) == (3, 5, 2)
        assert not generation.finished
        assert generation.label_logprobs is None

    async def test_labels_are_read_where_the_first_of_them_was_written(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        logprobs = {
            "tokens": ["token_id:1", "token_id:8", "token_id:7"],
            "top_logprobs": [
                {"token_id:1": 0.0, "token_id:7": -9999.0, "token_id:8": -9999.0},
                {"token_id:8": -0.25, "token_id:7": -1.5},
                {"token_id:7": 0.0, "token_id:8": -9999.0},
            ],
        }
        server.behaviour = answering(reply(completion(logprobs=logprobs)))
        generation = await engine.generate(replace(REQUEST, labels=(7, 8)))
        assert generation.label_logprobs == {7: -1.5, 8: -0.25}
        assert (await engine.generate(REQUEST)).label_logprobs is None
        assert (await engine.generate(replace(REQUEST, labels=(99,)))).label_logprobs is None

    async def test_a_server_that_tells_of_the_likeliest_only_still_tells_which_labels_are_forbidden(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        top = {"token_id:8": -0.25, "token_id:7": -1.5, "token_id:55": -9999.0}
        server.behaviour = answering(reply(completion(logprobs={"tokens": ["token_id:8"], "top_logprobs": [top]})))
        generation = await engine.generate(replace(REQUEST, labels=(7, 8, 9)))
        assert generation.label_logprobs == {7: -1.5, 8: -0.25, 9: -9999.0}

    async def test_labels_that_the_server_leaves_out_are_not_guessed(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        top = {"token_id:8": -0.25, "token_id:55": -3.5}
        server.behaviour = answering(reply(completion(logprobs={"tokens": ["token_id:8"], "top_logprobs": [top]})))
        assert (await engine.generate(replace(REQUEST, labels=(7, 8)))).label_logprobs is None

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"null", b"[]", b"{", b'"text"', b"<html>", b"\xff\xfe", b"{}", b'{"choices": []}'),
            json.dumps(completion(text=5)).encode(),
            json.dumps(completion(usage=None)).encode(),
            json.dumps(completion(model=None)).encode(),
            json.dumps(completion(prompt_tokens="many")).encode(),
            json.dumps(completion(finish_reason="abort")).encode(),
            json.dumps(completion(finish_reason=None)).encode(),
        ],
    )
    async def test_an_unreadable_answer_counts_as_down(
        self, engine: VllmEngine, server: FakeVllm, content: bytes
    ) -> None:
        server.behaviour = answering(reply(content))
        with pytest.raises(EngineDown, match="answer"):
            await engine.generate(REQUEST)

    async def test_unreadable_log_probabilities_count_as_down(self, engine: VllmEngine, server: FakeVllm) -> None:
        for logprobs in ("x", {"tokens": ["token_id:7"]}, {"tokens": ["token_id:7"], "top_logprobs": [None]}):
            server.behaviour = answering(reply(completion(logprobs=logprobs)))
            with pytest.raises(EngineDown, match="unreadable"):
                await engine.generate(replace(REQUEST, labels=(7,)))


class TestRefusals:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
    async def test_a_refusal_carries_the_servers_message(
        self, engine: VllmEngine, server: FakeVllm, status: int
    ) -> None:
        error = {"message": "The model `nope` does not exist.", "type": "NotFoundError", "code": status}
        server.behaviour = answering(reply({"error": error}, status))
        with pytest.raises(EngineRefused, match="`nope` does not exist"):
            await engine.generate(REQUEST)
        assert len(server.received) == 1

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{"error": "plain"}', "plain"),
            (b'{"object": "error", "message": "older"}', "older"),
            (b'{"detail": "gateway"}', "gateway"),
            (b"not json \xff", "not json"),
            (b"[1]", "1"),
            (b"", "nothing"),
        ],
    )
    async def test_messages_of_other_shapes_are_read_too(
        self, engine: VllmEngine, server: FakeVllm, content: bytes, message: str
    ) -> None:
        server.behaviour = answering(reply(content, 400))
        with pytest.raises(EngineRefused, match=message):
            await engine.generate(REQUEST)

    async def test_a_long_message_is_shortened(self, engine: VllmEngine, server: FakeVllm) -> None:
        server.behaviour = answering(reply({"error": {"message": "x" * 100_000}}, 400))
        with pytest.raises(EngineRefused) as refused:
            await engine.generate(REQUEST)
        assert len(refused.value.detail) < 1000

    @pytest.mark.parametrize(
        ("answer", "seconds"),
        [
            (reply({}, 429), 1),
            (reply({}, 429, Retry_After="7"), 7),
            (reply({}, 429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), 1),
            (reply({}, 503, Retry_After="3"), 3),
            (reply({"error": {"message": "The engine is currently busy", "type": "Service Unavailable"}}, 503), 1),
        ],
    )
    async def test_a_busy_server_is_overloaded_and_not_asked_again(
        self, engine: VllmEngine, server: FakeVllm, answer: bytes, seconds: int
    ) -> None:
        server.behaviour = answering(answer)
        with pytest.raises(EngineOverloaded) as overloaded:
            await engine.generate(REQUEST)
        assert overloaded.value.retry_after == seconds
        assert len(server.received) == 1

    @pytest.mark.parametrize("status", [204, 302, 500, 501])
    async def test_any_other_status_counts_as_down_without_a_second_try(
        self, engine: VllmEngine, server: FakeVllm, status: int
    ) -> None:
        server.behaviour = answering(reply(b"", status))
        with pytest.raises(EngineDown) as down:
            await engine.generate(REQUEST)
        assert down.value.retry_after is not None
        assert len(server.received) == 1


class TestRetries:
    @pytest.mark.parametrize(
        "first",
        [
            None,
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nshort",
            *(reply({"error": "gateway"}, status) for status in (502, 503, 504)),
        ],
    )
    async def test_one_failure_is_tried_again(self, engine: VllmEngine, server: FakeVllm, first: bytes | None) -> None:
        server.behaviour = answering(first, reply(completion("again")))
        assert (await engine.generate(REQUEST)).text == "again"
        assert len(server.received) == 2
        assert await engine.ready()

    @pytest.mark.parametrize(
        "answer",
        [None, b"garbage\r\n\r\n", reply(b"no gzip at all", content_encoding="gzip"), reply(b"", 502), reply(b"", 504)],
    )
    async def test_two_failures_are_down_and_later_requests_fail_at_once(
        self, engine: VllmEngine, server: FakeVllm, answer: bytes | None
    ) -> None:
        server.behaviour = answering(answer)
        with pytest.raises(EngineDown):
            await engine.generate(REQUEST)
        assert len(server.received) == 2
        for end in await many(engine, 10):
            assert isinstance(end, EngineDown)
            assert end.retry_after is not None
        assert len(server.received) == 2

    async def test_an_idle_connection_that_the_server_closed_costs_nothing(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        for _ in range(3):
            assert (await engine.generate(REQUEST)).text == "{}"
            server.drop_connections()
        assert server.connections == 3

    async def test_tries_end_with_the_deadline(self, engine: VllmEngine, server: FakeVllm) -> None:
        async def drop_late(_: object) -> None:
            await asyncio.sleep(0.2)

        server.behaviour = drop_late
        with pytest.raises(EngineTimeout):
            await engine.generate(replace(REQUEST, timeout=0.3))
        assert len(server.received) <= 2


class TestDeadlinesAndCancelling:
    async def test_a_slow_answer_is_a_timeout_and_the_server_is_let_go(
        self, engine: VllmEngine, server: FakeVllm
    ) -> None:
        server.behaviour = after(60)
        with pytest.raises(EngineTimeout):
            await engine.generate(replace(REQUEST, timeout=0.1))
        await until(lambda: server.running == 0)
        assert server.aborted == 1
        server.behaviour = answering()
        assert (await engine.generate(REQUEST)).text == "{}"

    async def test_a_body_that_never_ends_is_a_timeout(self, engine: VllmEngine, server: FakeVllm) -> None:
        server.behaviour = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        with pytest.raises(EngineTimeout):
            await engine.generate(replace(REQUEST, timeout=0.1))

    async def test_cancelling_lets_the_server_go(self, engine: VllmEngine, server: FakeVllm) -> None:
        server.behaviour = after(60)
        tasks = [asyncio.create_task(engine.generate(REQUEST)) for _ in range(5)]
        await until(lambda: server.running == 5)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        await until(lambda: server.aborted == 5)
        server.behaviour = answering()
        assert all(not isinstance(end, BaseException) for end in await many(engine, 5))


class TestBackPressure:
    async def test_so_many_run_so_many_wait_and_more_are_turned_away(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        engine = engine_of(max_concurrency=2, max_waiting=3)
        server.behaviour = after(0.1)
        ends = await many(engine, 9)
        assert sum(isinstance(end, EngineOverloaded) for end in ends) == 4
        assert all(isinstance(end, EngineOverloaded) or end.text == "{}" for end in ends)
        assert server.most_running == 2
        assert len(server.received) == 5

    async def test_it_is_not_ready_while_it_would_turn_away(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(max_concurrency=1, max_waiting=0, probe_seconds=1.0)
        server.behaviour = after(60)
        task = asyncio.create_task(engine.generate(REQUEST))
        await until(lambda: server.running == 1)
        assert not await engine.ready()
        task.cancel()
        await asyncio.wait([task])
        assert await engine.ready()

    async def test_waiting_counts_against_the_deadline_and_frees_its_place(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        engine = engine_of(max_concurrency=1, max_waiting=1)
        server.behaviour = after(60)
        ends = await many(engine, 2, timeout=0.1)
        assert all(isinstance(end, EngineTimeout) for end in ends)
        assert len(server.received) == 1
        server.behaviour = answering()
        assert all(not isinstance(end, BaseException) for end in await many(engine, 2))

    async def test_a_cancelled_waiter_frees_its_place(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(max_concurrency=1, max_waiting=1)
        server.behaviour = after(0.2)
        first, second = (asyncio.create_task(engine.generate(REQUEST)) for _ in range(2))
        await until(lambda: server.running == 1)
        second.cancel()
        await asyncio.wait([second])
        assert (await engine.generate(REQUEST)).text == "{}"
        assert (await first).text == "{}"


class TestWhenTheServerIsGone:
    async def test_requests_under_way_and_waiting_all_end_when_it_dies(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        engine = engine_of(max_concurrency=5, max_waiting=10)
        server.behaviour = after(60)
        asked = asyncio.ensure_future(many(engine, 15))
        await until(lambda: server.running == 5)
        await server.stop()
        assert all(isinstance(end, EngineDown) for end in await asked)
        assert not await engine.ready()

    async def test_without_a_watch_one_request_now_and_then_finds_it_again(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        await server.stop()
        engine = engine_of(probe_seconds=PROBE)
        assert all(isinstance(end, EngineDown) for end in await many(engine, 5))
        await server.start()

        async def answers() -> bool:
            return any(not isinstance(end, EngineError) for end in await many(engine, 3))

        await until(answers)
        assert all(not isinstance(end, BaseException) for end in await many(engine, 10))

    async def test_while_down_few_requests_are_let_through(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        server.behaviour = answering(None)
        engine = engine_of(probe_seconds=PROBE)
        await many(engine, 1)
        before = len(server.received)
        await asyncio.sleep(2 * PROBE)
        assert all(isinstance(end, EngineDown) for end in await many(engine, 20))
        assert len(server.received) - before == 2  # One request, tried twice.

    async def test_one_that_answers_is_not_down_because_it_is_too_busy_to_say_so(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        engine = engine_of(probe_seconds=PROBE)
        watch = asyncio.create_task(engine.watch())
        await until(engine.ready)
        server.health = after(NEVER)
        probes = server.probes
        while server.probes < probes + 4:
            await engine.generate(REQUEST)
            # So that it is asked at once how it is.
            engine._breaker.suspected.set()
            await asyncio.sleep(PROBE)
        assert await engine.ready()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    async def test_a_watch_finds_it_again_by_itself(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(probe_seconds=PROBE)
        watch = asyncio.create_task(engine.watch())
        await until(engine.ready)
        await server.stop()
        await until(lambda: _is_down(engine))
        assert all(isinstance(end, EngineDown) for end in await many(engine, 5))
        await server.start()
        asked = len(server.received)
        await until(engine.ready)
        assert len(server.received) == asked
        assert (await engine.generate(REQUEST)).text == "{}"
        await _cancel(watch)

    async def test_a_watch_notices_a_server_that_hangs(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(probe_seconds=PROBE)
        watch = asyncio.create_task(engine.watch())
        await until(engine.ready)
        server.behaviour = server.health = after(60)
        with pytest.raises(EngineTimeout):
            await engine.generate(replace(REQUEST, timeout=0.1))
        await until(lambda: _is_down(engine))
        with pytest.raises(EngineDown):
            await engine.generate(REQUEST)
        server.behaviour = server.health = answering()
        await until(engine.ready)
        assert (await engine.generate(REQUEST)).text == "{}"
        await _cancel(watch)

    async def test_a_watch_believes_health_not_single_failures(
        self, engine_of: EngineFactory, server: FakeVllm
    ) -> None:
        engine = engine_of(probe_seconds=PROBE)
        watch = asyncio.create_task(engine.watch())
        await until(engine.ready)
        server.behaviour = answering(None, None, reply(completion()))
        with pytest.raises(EngineDown):
            await engine.generate(REQUEST)
        await until(engine.ready)
        assert (await engine.generate(REQUEST)).text == "{}"
        server.health = answering(reply(b"", 503))
        server.behaviour = answering(reply(b"", 500))
        with pytest.raises(EngineDown, match="500"):
            await engine.generate(REQUEST)
        await until(lambda: _is_down(engine))
        await _cancel(watch)

    async def test_a_watch_is_quiet_while_all_is_well(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(probe_seconds=NEVER)
        watch = asyncio.create_task(engine.watch())
        await until(lambda: server.probes == 1)
        for _ in range(20):
            await engine.generate(REQUEST)
        assert server.probes == 1
        await _cancel(watch)

    async def test_ready_asks_where_nothing_is_known(self, engine_of: EngineFactory, server: FakeVllm) -> None:
        engine = engine_of(probe_seconds=1.0)
        assert await engine.ready()
        await server.stop()
        assert not await engine.ready()


class TestClosing:
    async def test_closing_ends_requests_under_way_and_the_watch(self, engine: VllmEngine, server: FakeVllm) -> None:
        server.behaviour = after(60)
        watch = asyncio.create_task(engine.watch())
        asked = asyncio.ensure_future(many(engine, 3))
        await until(lambda: server.running == 3)
        await engine.close()
        assert all(isinstance(end, EngineDown) for end in await asked)
        async with asyncio.timeout(30):
            await watch
        assert not await engine.ready()
        with pytest.raises(EngineDown):
            await engine.generate(REQUEST)
        await until(lambda: server.aborted == 3)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host", "http://", "http://host?x=1", "http://host:port", "/v1"]
)
def test_a_url_that_is_none_is_a_setup_error(url: str) -> None:
    with pytest.raises(SetupError, match="URL"):
        VllmEngine(url, base_model="base")


@pytest.mark.parametrize("key", ["a\nb", "schlüssel", "\ud800"], ids=repr)
def test_an_api_key_that_no_header_can_hold_is_a_setup_error(key: str) -> None:
    with pytest.raises(SetupError, match="API key"):
        VllmEngine("http://127.0.0.1:1", base_model="base", api_key=key)


async def _is_down(engine: VllmEngine) -> bool:
    return not await engine.ready()


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
