"""A small catalogue of our own for tests: a few jobs, each with tools that differ in what people care about."""

from typing import Any


def document(category: str, tool: str, api: str, description: str, *required: tuple[str, str]) -> dict[str, Any]:
    """A RapidAPI document; `required` are (name, type)."""
    return {
        "category_name": category,
        "tool_name": tool,
        "api_name": api,
        "api_description": description,
        "required_parameters": [
            {"name": name, "type": type_, "description": "", "default": ""} for name, type_ in required
        ],
        "optional_parameters": [],
        "method": "GET",
    }


CITY = (("city", "STRING"),)
QUERY = (("query", "STRING"),)
TEXT = (("text", "STRING"), ("target_language", "STRING"))

TOOLS = [
    document("Weather", "Quietcloud", "Forecast", "Weather forecast for a city. No logs, no tracking.", *CITY),
    document("Weather", "Tinkle Weather", "Forecast for kids", "Weather forecast in pictures for children.", *CITY),
    document("Weather", "Mirandex", "Weather feed", "Real-time weather forecast for trading desks, paid.", *CITY),
    document("Search", "Quietfind", "Web search", "Search the web without being watched; nothing is stored.", *QUERY),
    document("Search", "Tinkle Search", "Safe search", "Search the web, filtered for children and school.", *QUERY),
    document("Search", "Mirandex Search", "Search feed", "Professional web search with real-time alerts.", *QUERY),
    document("Translation", "Quiettongue", "Translate", "Translate text; it is forgotten right away.", *TEXT),
    document("Translation", "Tinkle Words", "Translate", "Translate text into simple words for children.", *TEXT),
    document("Translation", "Mirandex Desk", "Translate", "Translate text for enterprises, reviewed.", *TEXT),
    document("Finance", "Currency Corner", "Convert", "Convert an amount between currencies.", ("amount", "NUMBER")),
]

QUIET_WEATHER, TINKLE_WEATHER, MIRANDEX_WEATHER = (
    "Weather.Quietcloud.Forecast",
    "Weather.Tinkle Weather.Forecast for kids",
    "Weather.Mirandex.Weather feed",
)
QUIET_SEARCH, TINKLE_SEARCH, MIRANDEX_SEARCH = (
    "Search.Quietfind.Web search",
    "Search.Tinkle Search.Safe search",
    "Search.Mirandex Search.Search feed",
)
QUIET_TRANSLATE, TINKLE_TRANSLATE, MIRANDEX_TRANSLATE = (
    "Translation.Quiettongue.Translate",
    "Translation.Tinkle Words.Translate",
    "Translation.Mirandex Desk.Translate",
)
