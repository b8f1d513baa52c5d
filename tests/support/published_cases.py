"""A small benchmark with everything that names, parameters and texts may hold."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.catalogue.openai import parse_document as openai_tool
from app.catalogue.rapidapi import parse_document
from app.domain import HistorySetting, Interaction, Json, Rating, Tool, ToolCall
from training.data.dataset import Dataset
from training.data.records import Instance, Part

ASKED_AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
SETTINGS = (HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL)


def document(category: str, provider: str, api: str, *parameters: Mapping[str, Json], **more: Json) -> dict[str, Any]:
    """A RapidAPI document; parameters are optional where they say so."""
    fields = [{key: value for key, value in each.items() if key != "optional"} for each in parameters]
    optional = [each.get("optional", False) for each in parameters]
    return {
        "category_name": category,
        "tool_name": provider,
        "api_name": api,
        "api_description": f"What {api} of {provider} does.",
        "required_parameters": [field for field, is_optional in zip(fields, optional, strict=True) if not is_optional],
        "optional_parameters": [field for field, is_optional in zip(fields, optional, strict=True) if is_optional],
        **more,
    }


def parameter(name: str, kind: str, description: str = "", default: Json = "", **more: Json) -> dict[str, Json]:
    return {"name": name, "type": kind, "description": description, "default": default, **more}


PLAIN = parse_document(document("Weather", "Sky", "Forecast", parameter("city", "STRING", "Where", "Oslo")))
DOTS = parse_document(
    document(
        "Weather.v2",
        "flight | flight [aggregator]",
        "/get.{id}/<b>bold</b>",
        parameter("sort", "ENUM", "`asc` or `desc`", "asc"),
        parameter("days", "NUMBER", "between 1 and 7", 3, optional=True),
        parameter("ratio", "NUMBER", "", 0.5, optional=True),
        parameter("exact", "BOOLEAN", "", False, optional=True),
        parameter("day", "DATE (YYYY-MM-DD)", "The day", "2024-02-29", optional=True),
        parameter("at", "TIME (24-hour HH:MM)", "", "09:30", optional=True),
        parameter("tags", "ARRAY", "", ["a", {"b": None}], optional=True),
        parameter("filter", "OBJECT", "", {"x": [1, 2.5, "三"]}, optional=True),
        parameter("city", "STRING", 'Quotes " and \\ and \n lines', "  Zürich\u2028", optional=True),
        template_response={"temperature": "float", "list": [{"day": "str"}]},
    )
)
UNICODE = parse_document(document("天气", "Ünï 🌦️ [{]}", "say \"hi\" [{'a': 1}]", api_description="[{ not an array"))
LIKE_BRACKETS = parse_document(document("A", "x>.<y", "c", parameter("q", "STRING")))
"""Its parts cannot be told in brackets."""
WITHOUT_PARAMETERS = parse_document(document("Jokes", "Laugh", "Random"))
PLACE: dict[str, Json] = {"type": "object", "properties": {"city": {"type": "string"}}}
OPENAI = openai_tool(
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "OpenAI's.",
            "parameters": {"type": "object", "properties": {"place": PLACE}, "required": ["place"]},
        },
    }
)
TOOLS = {tool.name: tool for tool in (PLAIN, DOTS, UNICODE, LIKE_BRACKETS, WITHOUT_PARAMETERS, OPENAI)}

_NESTED: dict[str, Json] = {"days": 3, "ratio": 1.0, "filter": {"a": [None, True, {"ключ": "\u2028\t"}]}, "city": "[{"}


def interaction(number: int, tool: Tool, parameters: Mapping[str, Json], rating: Rating | None = None) -> Interaction:
    return Interaction(
        f"Request {number} [with {{odd}} text]: «été» \U0001f600\n", ToolCall(tool.name, parameters), ASKED_AT, rating
    )


def instance(number: int, setting: HistorySetting, part: Part) -> Instance:
    rated = setting is HistorySetting.RATING_INTEGRATED
    history = [
        interaction(1, DOTS, _NESTED, Rating.LIKED if rated else None),
        interaction(2, WITHOUT_PARAMETERS, {}, Rating.DISLIKED if rated else None),
        interaction(3, OPENAI, {"place": {"city": "Oslo"}}),
    ]
    kept = [] if number == 0 else history
    return Instance(
        id=f"{part.value}-{setting.value}-{number}",
        user_id=f"user-{number}",
        setting=setting,
        part=part,
        history=tuple(
            Interaction(each.instruction, each.tool_call, ASKED_AT - timedelta(days=9 - place), each.rating)
            for place, each in enumerate(kept)
        ),
        instruction=f'What is it like in "{number}"? [1, 2] \\n',
        candidates=tuple(list(TOOLS)[number:] + list(TOOLS)[:number]),
        answer=ToolCall(DOTS.name, _NESTED) if number % 2 else ToolCall(WITHOUT_PARAMETERS.name, {}),
        same_function=(PLAIN.name,) if number % 2 else (),
        asked_at=ASKED_AT,
    )


def dataset(count: int = 3) -> Dataset:
    """`count` instances for each part and setting; the first has no history."""
    return Dataset(
        TOOLS,
        [instance(number, setting, part) for part in Part for setting in SETTINGS for number in range(count)],
    )
