"""What tests of adapters do over HTTP, and an engine whose adapters can be told apart."""

import io
import json
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from app.errors import EngineError
from app.inference.engine import GenerationRequest
from app.json_data.values import SEPARATORS
from tests.support.schema_instances import smallest_instance
from tests.support.scripted_engine import ScriptedEngine
from tests.support.steps import ok


def place_of(request: GenerationRequest, places: Mapping[str, int]) -> int:
    """Which of the candidates the request's adapter chooses: by its name; the base model the first."""
    return places.get((request.adapter or "").partition("@")[0], 0)


def choosing(places: Mapping[str, int]) -> Any:
    """A script: each adapter, by its name, chooses the candidate at its place in the prompt."""

    def answer(request: GenerationRequest) -> str | EngineError:
        assert request.schema is not None
        schema = dict(request.schema)
        options = schema.pop("anyOf", None) or [{}]
        chosen = options[min(place_of(request, places), len(options) - 1)]
        return json.dumps(smallest_instance(schema | chosen), ensure_ascii=False, separators=SEPARATORS)

    return answer


def engine_choosing(
    places: Mapping[str, int], *, place: str = "one", server: ScriptedEngine | None = None, shared: bool = True
) -> Any:
    """`server`: another process's view of the same server, which has the same adapters."""
    engine = ScriptedEngine(choosing(places), place=place, label_logprobs=lambda _: None, shared=shared)
    if server is not None:
        engine.adapters = server.adapters
    return engine


def tar_of(directory: Path, *, gzipped: bool = False, rename: Mapping[str, str] | None = None) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz" if gzipped else "w") as tar:
        for file in sorted(directory.iterdir()):
            tar.add(file, (rename or {}).get(file.name, file.name))
    return content.getvalue()


def upload(client: httpx.Client, name: str, content: bytes | Path, **query: Any) -> httpx.Response:
    body = tar_of(content) if isinstance(content, Path) else content
    headers = {"Content-Type": "application/x-tar"}
    return client.post("/admin/adapters", params={"name": name, **query}, content=body, headers=headers, timeout=120)


def registered(client: httpx.Client, name: str, directory: Path) -> str:
    """Its version."""
    answer = upload(client, name, directory)
    assert answer.status_code in (200, 201), answer.text
    version: str = answer.json()["version"]
    return version


def activate(client: httpx.Client, name: str, **body: Any) -> Any:
    """The operation, ended."""
    return ok(client.post(f"/admin/adapters/{name}/activate", params={"wait": True}, json=body, timeout=180))


def activated(client: httpx.Client, name: str, **body: Any) -> Any:
    operation = activate(client, name, **body)
    assert operation["state"] == "succeeded", operation
    return operation


def ended(client: httpx.Client, operation: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while (found := ok(client.get(f"/admin/operations/{operation}")))["state"] == "running":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def status(client: httpx.Client) -> Any:
    return ok(client.get("/admin/status"))


def until_agreed(client: httpx.Client, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (told := status(client))["agree"]:
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    return told


def state_of(client: httpx.Client, version: str) -> str:
    state: str = ok(client.get(f"/admin/adapters/{version}"))["state"]
    return state
