"""The shipped adapters in a real vLLM: the same calls as the local engine writes, through the whole service."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.composition.served_model import MODELS
from app.composition.settings import Settings
from app.demo.tour import catalogue, load
from tests.conftest import running
from tests.support.demo_data import load_expectations
from tests.support.steps import ok
from tests.vllm.conftest import PYTHON
from tests.vllm.server import VllmServer

SMALL = MODELS / "small"
ASKED = 100
SAME_TOOL, SAME_CALL = 97, 88
"""Of the calls. The engines multiply in different orders and precisions, so what is as probable as something else may
change places with it. Tools rarely do; words that the model garbles do, as on the demo (docs/decisions/0005)."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    context = json.loads((SMALL / "base" / "config.json").read_text())["max_position_embeddings"]
    with VllmServer(PYTHON, SMALL / "base", tmp_path_factory.mktemp("vllm-shipped"), context=context, rank=16) as one:
        for adapter in ("sft", "dpo"):
            one.load_adapter(adapter, SMALL / adapter)
        yield one


@contextmanager
def service(directory: Path, **given: Any) -> Iterator[httpx.Client]:
    """With the demo's tools and users, in a database of its own."""
    settings = Settings(data_dir=directory, demo_mode=True, port=0, log_level="ERROR", **given)
    with running(settings) as url, httpx.Client(base_url=url, timeout=300) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": catalogue()}))
        for user in load("users.json"):
            ok(client.post(f"/users/{user['user_id']}/history", json={"interactions": user["history"]}))
        yield client


def answers(client: httpx.Client) -> list[Any]:
    asked = load_expectations()[:ASKED]
    found = [
        ok(client.post(f"/users/{each['user_id']}/tool-call", json={"instruction": each["instruction"]}))
        for each in asked
    ]
    assert [answer["degraded"] for answer in found] == [False] * ASKED
    return found


@pytest.mark.parametrize("adapter", ["sft", "dpo"])
def test_the_shipped_adapters_write_the_same_calls_on_vllm(server: VllmServer, tmp_path: Path, adapter: str) -> None:
    # The model alone decides and writes: nothing of the ranker or the rules makes calls alike.
    alone: dict[str, Any] = {
        "model": str(SMALL / "base"),
        "decision": "model",
        "parameters": "model",
        "engine_timeout_seconds": 100,
    }
    with service(tmp_path / "local", engine="local", adapter=str(SMALL / adapter), **alone) as client:
        local = answers(client)
    with service(tmp_path / "vllm", engine="vllm", engine_url=server.url, adapter=adapter, **alone) as client:
        remote = answers(client)
    assert {answer["model"] for answer in (*local, *remote)} == {adapter}
    same = sum(a["tool_call"] == b["tool_call"] for a, b in zip(local, remote, strict=True))
    tools = sum(a["tool_call"]["tool_name"] == b["tool_call"]["tool_name"] for a, b in zip(local, remote, strict=True))
    print(f"\n{adapter}: the same call {same}/{ASKED}, the same tool {tools}/{ASKED}")
    assert tools >= SAME_TOOL
    assert same >= SAME_CALL
