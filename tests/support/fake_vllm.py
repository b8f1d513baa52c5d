"""A real HTTP server that behaves as badly as a test wants."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.support.servers import free_port


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.content)


Behaviour = Callable[[Received], Awaitable[bytes | None]]
"""The bytes to send, or None to drop the connection; it is closed too after an answer that says so."""


def reply(document: object, status: int = 200, **headers: str) -> bytes:
    content = document if isinstance(document, bytes) else orjson.dumps(document)
    lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def completion(text: object = "{}", **given: Any) -> dict[str, Any]:
    """An answer as vLLM gives it."""
    choice: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    usage: dict[str, Any] = {
        "prompt_tokens": 3,
        "total_tokens": 8,
        "completion_tokens": 5,
        "prompt_tokens_details": None,
    }
    answer = {"id": "cmpl-1", "object": "text_completion", "model": "base", "choices": [choice], "usage": usage}
    choice.update({key: given.pop(key) for key in list(given) if key in choice})
    usage.update({key: given.pop(key) for key in list(given) if key in usage})
    return answer | given


class FakeVllm:
    """Keeps its port from one start to the next. `behaviour` answers completions, `health` the probes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.behaviour: Behaviour = answering()
        self.health: Behaviour = answering(reply({}))
        self.received: list[Received] = []
        """Completions that were asked for."""
        self.probes = 0
        self.connections = 0
        self.running = 0
        self.most_running = 0
        self.aborted = 0
        """Requests whose client went away."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Drops all connections, as a killed process does."""
        if self._server is not None:
            self._server.close()
        self.drop_connections()
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    def drop_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (received := await _read(reader)) is not None:
                answer = await self._answer(received, reader)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer:
                    break
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, received: Received, reader: asyncio.StreamReader) -> bytes | None:
        if received.path == "/health":
            self.probes += 1
            return await self.health(received)
        self.received.append(received)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        work = asyncio.ensure_future(self.behaviour(received))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            self.aborted += 1
            return None
        finally:
            self.running -= 1
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """None where the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(first.split(" ")[1], headers, content)


def answering(*answers: bytes | None) -> Behaviour:
    """One after the other; then the last again and again. Without any: completions."""
    left = list(answers) or [reply(completion())]

    async def answer(_: Received) -> bytes | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def after(seconds: float, answer: bytes | None = None) -> Behaviour:
    """The answer (or a completion) so much later."""

    async def slow(_: Received) -> bytes | None:
        await asyncio.sleep(seconds)
        return reply(completion()) if answer is None else answer

    return slow
