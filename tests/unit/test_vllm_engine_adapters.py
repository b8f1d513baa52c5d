"""`VllmEngine` loading and unloading adapters, against a server that answers as vLLM does, or fails."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.errors import AdapterMissing, EngineDown, EngineTimeout, InvalidAdapter
from app.inference.engine import GenerationRequest
from app.inference.vllm import VllmEngine
from tests.support.fake_vllm import FakeVllm, Received, after, answering, reply

PATH = Path("/adapters/abc")


@dataclass
class Adapters:
    """What a server has loaded, and how it answers for it; `refusal` is of every load."""

    names: list[str] = field(default_factory=list)
    refusal: bytes | None = None

    async def __call__(self, received: Received) -> bytes:
        if received.path == "/v1/models":
            served = [{"id": "base", "object": "model", "parent": None, "max_model_len": 4352}]
            return reply({"data": served + [{"id": name, "object": "model", "parent": "base"} for name in self.names]})
        name = received.document["lora_name"]
        if received.path == "/v1/load_lora_adapter":
            if self.refusal is not None:
                return self.refusal
            if name in self.names:
                return refused(f"The lora adapter '{name}' has already been loaded.")
            self.names.append(name)
            return reply(b"Success")
        assert received.path == "/v1/unload_lora_adapter"
        if name not in self.names:
            return refused(f"The lora adapter '{name}' cannot be found.", 404)
        self.names.remove(name)
        return reply(b"Success")


def refused(message: str, status: int = 400) -> bytes:
    return reply({"error": {"message": message, "type": "Whatever", "param": None, "code": status}}, status)


@pytest.fixture
def adapters(server: FakeVllm) -> Adapters:
    server.behaviour = adapters = Adapters()
    return adapters


@pytest.fixture
async def engine(server: FakeVllm) -> AsyncIterator[VllmEngine]:
    engine = VllmEngine(server.url, base_model="base", api_key="secret", probe_seconds=0.2)
    yield engine
    await engine.close()


async def test_loads_under_the_given_name_tells_what_is_loaded_and_unloads(
    engine: VllmEngine, server: FakeVllm, adapters: Adapters
) -> None:
    await engine.load_adapter("mine@1", PATH)
    assert server.received[0].document == {"lora_name": "mine@1", "lora_path": "/adapters/abc"}
    assert await engine.loaded() == {"mine@1"}
    assert await engine.context_tokens() == 4352
    await engine.unload_adapter("mine@1")
    assert (await engine.loaded(), adapters.names) == (frozenset(), [])
    assert {request.headers["authorization"] for request in server.received} == {"Bearer secret"}


async def test_what_another_process_loaded_is_loaded_and_what_it_unloaded_is_gone(
    engine: VllmEngine, adapters: Adapters
) -> None:
    adapters.names.append("mine@1")
    await engine.load_adapter("mine@1", PATH)
    adapters.names.clear()
    await engine.unload_adapter("mine@1")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (refused("LoRA rank 32 is greater than max_lora_rank 8."), "rank 32"),
        (refused("No adapter found for /adapters/abc", 404), "No adapter found"),
        (reply({"detail": "Not Found"}, 404), "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        (reply({"error": {"message": "tensors do not fit"}}, 500), "tensors do not fit"),
    ],
    ids=["rank", "not found", "not allowed", "broken"],
)
async def test_what_it_does_not_load_is_told_with_its_reason(
    engine: VllmEngine, adapters: Adapters, refusal: bytes, told: str
) -> None:
    adapters.refusal = refusal
    with pytest.raises(InvalidAdapter, match=told):
        await engine.load_adapter("mine@1", PATH)


@pytest.mark.parametrize("answer", [None, reply({}, 502), reply({}, 503)], ids=["dropped", "502", "503"])
async def test_a_server_that_is_gone_is_no_fault_of_the_adapter(
    engine: VllmEngine, server: FakeVllm, answer: bytes | None
) -> None:
    server.behaviour = answering(answer)
    for asked in (engine.loaded(), engine.load_adapter("mine@1", PATH), engine.unload_adapter("mine@1")):
        with pytest.raises(EngineDown):
            await asked


async def test_a_connection_that_was_closed_just_then_is_made_anew(
    engine: VllmEngine, server: FakeVllm, adapters: Adapters
) -> None:
    dropped = []

    async def drops_first(received: Received) -> bytes | None:
        if received.path not in dropped:
            dropped.append(received.path)
            return None
        return await adapters(received)

    server.behaviour = drops_first
    await engine.load_adapter("mine@1", PATH)
    assert await engine.loaded() == {"mine@1"}
    await engine.unload_adapter("mine@1")
    assert len(dropped) == 3


async def test_a_server_that_hangs_is_not_waited_for_when_asked_what_it_has(
    engine: VllmEngine, server: FakeVllm
) -> None:
    server.behaviour = after(3600)
    with pytest.raises(EngineTimeout, match="/v1/models"):
        await engine.loaded()


@pytest.mark.parametrize("answer", [b"[]", b"{", b'{"data": [{"parent": "base"}]}'])
async def test_a_list_that_is_none_is_an_error_and_not_an_empty_list(
    engine: VllmEngine, server: FakeVllm, answer: bytes
) -> None:
    server.behaviour = answering(reply(answer))
    with pytest.raises(EngineDown):
        await engine.loaded()


async def test_a_request_for_an_adapter_that_is_not_there_says_so(engine: VllmEngine, server: FakeVllm) -> None:
    server.behaviour = answering(refused("The model `mine@1` does not exist.", 404))
    request = GenerationRequest(prompt=[1, 2, 3], schema=None, max_tokens=5, timeout=20.0, adapter="mine@1")
    with pytest.raises(AdapterMissing, match="does not exist"):
        await engine.generate(request)
