"""A chat endpoint over real HTTP that writes valid texts from what it is asked, or lies and fails as a test wants."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.fake_vllm import Behaviour, FakeVllm, Received, reply

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40},
}
_VALUES: Mapping[str, Any] = {"string": "Lisbon", "integer": 7, "number": 1.5, "boolean": True, "array": []}
Content = Callable[[Mapping[str, Any]], str | None]
"""What the model says to the input of a prompt (`input_of`)."""


class FakeOpenAI(FakeVllm):
    """`received` are the chat completions that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviour = honest()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


def input_of(received: Received) -> Mapping[str, Any]:
    """What the prompt is about: the JSON object in a user's message, the last that is one."""
    for message in reversed(received.document["messages"]):
        if message["role"] == "user" and message["content"].startswith("{"):
            data: Mapping[str, Any] = json.loads(message["content"])
            return data
    raise AssertionError("the prompt has no input")


def chat(content: str | None, *, usage: Mapping[str, Any] | None = USAGE, finish_reason: str = "stop") -> bytes:
    """A response as OpenAI gives it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    document = {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice]}
    # Half of a surrogate pair is written as its escape, as servers in Python do.
    return reply(json.dumps(document | ({"usage": usage} if usage is not None else {})).encode("ascii"))


def refusal(status: int, message: str = "no", code: str | None = None, **headers: str) -> bytes:
    return reply({"error": {"message": message, "type": "error", "code": code, "param": None}}, status, **headers)


def proper(data: Mapping[str, Any]) -> str:
    """A valid text for each of the tasks."""
    if "plan" in data:
        tools = {tool["tool_name"]: tool for tool in data["tools"]}
        entries = [{"tool_name": each["tool_name"]} | _use(tools[each["tool_name"]]) for each in data["plan"]]
        return json.dumps({"interactions": entries})
    if "example" in data:
        return json.dumps({"functionality": "Does a job.", "non_functional": "Is quiet about it."})
    return json.dumps(_use(data["tool"]))


def _use(tool: Mapping[str, Any]) -> dict[str, str]:
    values = {
        each["name"]: each["enum"][0] if "enum" in each else _VALUES[each["type"]]
        for each in tool["parameters"]
        if each["required"]
    }
    return {"instruction": "What will it be like there tomorrow?", "parameters_json": json.dumps(values)}


def changed(**changes: Any) -> Callable[[Mapping[str, Any]], str]:
    """A proper text, or each entry of a history, with other values."""

    def content(data: Mapping[str, Any]) -> str:
        document = json.loads(proper(data))
        for each in document.get("interactions", [document]):
            each.update(changes)
        return json.dumps(document)

    return content


def _leak(data: Mapping[str, Any]) -> str:
    provider = data["tool"]["tool_name"].split(".")[1]
    return changed(instruction=f"Ask {provider.upper()}, please: will it rain?")(data)


LIES: Mapping[str, Content] = {
    "invalid_json": lambda _: 'Sure! {"instruction": "half of',
    "invalid_parameters": changed(parameters_json='{"nobody": "knows this"}'),
    "wrong_tool": changed(tool_name="Weather.Nobody.Nothing"),
    "name_leak": _leak,
    "empty_history": lambda _: '{"interactions": []}',
    "blank": changed(instruction=" \n "),
}
"""One for each kind of `WriterRejected`."""


def saying(content: Content, **given: Any) -> Behaviour:
    async def say(received: Received) -> bytes | None:
        return chat(content(input_of(received)), **given)

    return say


def honest(**given: Any) -> Behaviour:
    return saying(proper, **given)


def giving(answer: bytes | None) -> Behaviour:
    """The same every time; None closes the connection."""

    async def give(_: Received) -> bytes | None:
        return answer

    return give


def first(*behaviours: Behaviour) -> Behaviour:
    """One for each request in their order; the last for all that follow."""
    left = list(behaviours)

    async def behave(received: Received) -> bytes | None:
        return await (left.pop(0) if len(left) > 1 else left[0])(received)

    return behave


def knowing(*formats: str) -> Behaviour:
    """Honest, but refuses a `response_format` whose type is not among these."""
    honestly = honest()

    async def behave(received: Received) -> bytes | None:
        asked = received.document.get("response_format", {"type": "none"})["type"]
        if asked in (*formats, "none"):
            return await honestly(received)
        return refusal(400, f"This response_format type is unavailable now: {asked}")

    return behave
