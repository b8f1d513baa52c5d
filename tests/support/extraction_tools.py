"""Tools of several kinds for the extraction tests."""

from typing import Any

from app.domain import Json, Parameter, Tool


def tool(api: str, *parameters: Parameter, provider: str = "") -> Tool:
    return Tool(api, "", provider, api, "", parameters)


def need(name: str, description: str = "", default: Json = None, **schema: Any) -> Parameter:
    return Parameter(name, {"type": "string", **schema}, True, description, default)


def may(name: str, description: str = "", default: Json = None, **schema: Any) -> Parameter:
    return Parameter(name, {"type": "string", **schema}, False, description, default)


WEATHER = tool("get_weather", need("city", "City name"), may("days", type="integer", minimum=1, maximum=16))
SEARCH = tool("search_articles", need("query"), may("max_results", type="integer", minimum=1, maximum=100))
EXCHANGE = tool(
    "convert_currency",
    need("from_currency", "ISO 4217 code", pattern="^[A-Z]{3}$"),
    need("to_currency", "ISO 4217 code", pattern="^[A-Z]{3}$"),
    need("amount", type="number"),
)
FLIGHTS = tool(
    "search_flights",
    need("origin", "City or airport"),
    need("destination", "City or airport"),
    need("date", format="date"),
    may("passengers", type="integer"),
)
TRANSLATE = tool("translate_text", need("text"), need("target_language", "Language to translate to"))
EVENT = tool(
    "create_event", need("title"), need("start_time", format="date-time"), may("duration_minutes", type="integer")
)
EMAIL = tool("send_email", need("to", format="email"), need("subject"), need("body"))
PROPERTIES = tool(
    "list_properties",
    need("city", default="Boston"),
    may("price_min", type="number"),
    may("price_max", type="number"),
    may("sort", "PRICE_LOW (cheapest first), NEWEST", enum=["PRICE_LOW", "NEWEST"]),
    may("furnished", type="boolean"),
    may("include_photos", type="boolean"),
    may("tags", type="array", items={"type": "string"}),
    may("filter", type="object"),
)
ROUTE = tool(
    "directions",
    *(need(f"{end}_{axis}", type="number") for end in ("start", "end") for axis in ("lat", "lon")),
    may("unit", enum=["km", "mi"]),
)
ACCOUNT = tool(
    "get_user",
    need("user_id"),
    may("page", type="integer"),
    may("offset", type="integer"),
    may("limit", type="integer"),
)
ALL = (WEATHER, SEARCH, EXCHANGE, FLIGHTS, TRANSLATE, EVENT, EMAIL, PROPERTIES, ROUTE, ACCOUNT)
