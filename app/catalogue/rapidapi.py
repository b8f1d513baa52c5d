"""RapidAPI documents as ToolBench publishes them, in their two forms.

Flat, one API an object: `category_name`, `tool_name`, `api_name`, `api_description`, `required_parameters`,
`optional_parameters`, `method`, `template_response`. And a tool with its `api_list`, one file a tool, in a
folder named as the category.
"""

import re
from collections.abc import Iterator, Mapping

from app.catalogue.checks import Refusal, as_text, check_tool, report_text
from app.catalogue.defaults import read_default, read_number
from app.catalogue.descriptions import find_bounds, find_members
from app.domain import Json, Parameter, Tool, ToolSource
from app.errors import DocumentError

_RESPONSE_FIELDS = ("template_response", "response_schema", "schema")
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

_SCHEMAS: Mapping[str, Mapping[str, Json]] = {
    "NUMBER": {"type": "number"},
    "FLOAT": {"type": "number"},
    "DOUBLE": {"type": "number"},
    "DECIMAL": {"type": "number"},
    "INTEGER": {"type": "integer"},
    "INT": {"type": "integer"},
    "LONG": {"type": "integer"},
    "BOOLEAN": {"type": "boolean"},
    "BOOL": {"type": "boolean"},
    "DATE": {"type": "string", "format": "date"},
    # JSON Schema's own `time` format wants seconds and an offset.
    "TIME": {"type": "string", "pattern": _TIME},
    "ARRAY": {"type": "array"},
    "LIST": {"type": "array"},
    "OBJECT": {"type": "object"},
    "MAP": {"type": "object"},
    "JSON": {"type": "object"},
    # Text by any name: files go as URL or base64, a geographic point as "latitude,longitude".
    **{name: {"type": "string"} for name in ("STRING", "TEXT", "ENUM", "FILE", "BINARY", "GEOPOINT", "CREDENTIALS")},
}


def parse_documents(raw: Json, category: str | None = None) -> Iterator[Tool | Refusal]:
    """The tools of a document of either form, and a refusal for each API that cannot be imported.

    `category` is the folder's; a category that the document names itself takes precedence.
    """
    if not isinstance(raw, Mapping):
        yield Refusal("", "the document is not a JSON object")
        return
    if "api_list" not in raw:
        named = raw.get("category_name") is not None
        yield _parse_or_refuse(raw if named else {**raw, "category_name": category})
        return
    apis = raw["api_list"]
    if not isinstance(apis, list) or not apis:
        yield Refusal(report_text(_tool_name(raw)), "api_list is not a list of APIs, or is empty")
        return
    for api in apis:
        if isinstance(api, Mapping):
            yield _parse_or_refuse(_flatten(raw, api, category))
        else:
            yield Refusal(report_text(_tool_name(raw)), "an entry of api_list is not a JSON object")


def parse_document(raw: Mapping[str, Json]) -> Tool:
    """The tool of a flat document, named `<category>.<tool>.<api>`. Raises DocumentError with the reason."""
    category, provider, api = (_name_part(raw, field) for field in ("category_name", "tool_name", "api_name"))
    return check_tool(
        Tool(
            name=f"{category}.{provider}.{api}",
            category=category,
            provider=provider,
            api=api,
            description=as_text(raw.get("api_description")),
            parameters=_parameters(raw),
            response_schema=_response(raw),
            source=ToolSource.RAPIDAPI,
        )
    )


def _parse_or_refuse(raw: Mapping[str, Json]) -> Tool | Refusal:
    try:
        return parse_document(raw)
    except DocumentError as error:
        parts = [raw.get(field) for field in ("category_name", "tool_name", "api_name")]
        return Refusal(report_text(".".join(part for part in parts if isinstance(part, str))), error.detail)


def _tool_name(raw: Mapping[str, Json]) -> Json:
    return next((raw[field] for field in ("tool_name", "name", "title") if raw.get(field) is not None), None)


def _flatten(tool: Mapping[str, Json], api: Mapping[str, Json], category: str | None) -> dict[str, Json]:
    """An entry of an `api_list` as a flat document; what the entry says takes precedence over what its tool says."""
    categories = (api.get("category_name"), tool.get("category_name"), tool.get("category"), category)
    descriptions = [as_text(api.get("api_description", api.get("description")))]
    about_tool = as_text(tool.get("tool_description", tool.get("description")))
    if about_tool.strip() and about_tool not in descriptions:
        descriptions.append(about_tool)
    own_tool = api.get("tool_name")
    return {
        **api,
        "category_name": next((each for each in categories if each is not None), None),
        "tool_name": own_tool if own_tool is not None else _tool_name(tool),
        "api_name": api.get("api_name", api.get("name")),
        "api_description": "\n\n".join(text for text in descriptions if text.strip()),
    }


def _name_part(raw: Mapping[str, Json], field: str) -> str:
    part = raw.get(field)
    if not isinstance(part, str):
        what = "missing" if part is None else f"not text but {type(part).__name__}"
        raise DocumentError(f"{field} is {what}")
    if not part.strip():
        raise DocumentError(f"{field} is blank")
    return part


def _response(raw: Mapping[str, Json]) -> Json:
    found = (raw[field] for field in _RESPONSE_FIELDS if raw.get(field) not in (None, "", {}, []))
    return next(found, None)


def _parameters(raw: Mapping[str, Json]) -> tuple[Parameter, ...]:
    """The parameters, required ones first; of two with one name the first is kept, so that no required one is lost."""
    parameters: dict[str, Parameter] = {}
    for field, required in (("required_parameters", True), ("optional_parameters", False)):
        entries = raw.get(field)
        if entries is None:
            continue
        if not isinstance(entries, list):
            raise DocumentError(f"{field} is not a list")
        for entry in entries:
            parameter = _parameter(entry, field, required)
            parameters.setdefault(parameter.name, parameter)
    return tuple(parameters.values())


def _parameter(entry: Json, field: str, required: bool) -> Parameter:
    if not isinstance(entry, Mapping):
        raise DocumentError(f"an entry of {field} is not a JSON object")
    name = entry.get("name")
    if not isinstance(name, str):
        raise DocumentError(f"an entry of {field} has no name, or one that is not text")
    description = as_text(entry.get("description"))
    declared, default = entry.get("type"), entry.get("default")
    schema = _schema_of_type(declared, default)
    _narrow(schema, _declared_type(declared), description, read_default(schema, default))
    return Parameter(name, schema, required, description, read_default(schema, default))


def _declared_type(declared: Json) -> str:
    """The bare word of a declared type in capitals (`DATE` of "Date (YYYY-MM-DD)"); empty where there is none."""
    found = re.match(r"\s*([A-Za-z]+)", declared) if isinstance(declared, str) else None
    return found[1].upper() if found else ""


def _schema_of_type(declared: Json, default: Json) -> dict[str, Json]:
    """The JSON Schema of a parameter of the declared type.

    For an unknown or missing type it is the default's type, or a string without one: every value of a query is text.
    """
    known = _SCHEMAS.get(_declared_type(declared))
    if known is not None:
        return dict(known)
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int | float):
        return {"type": "number"}
    if isinstance(default, list | dict):
        return {"type": "array" if isinstance(default, list) else "object"}
    return {"type": "string"}


def _narrow(schema: dict[str, Json], declared: str, description: str, default: Json) -> None:
    """Adds the members or bounds that the description states to the schema, unless the default contradicts them."""
    if schema == {"type": "string"}:
        members: list[Json] = list(find_members(description, declared == "ENUM", default))
    elif schema["type"] in ("number", "integer"):
        numbers = [read_number(text) for text in find_members(description, False, None)]
        members = [] if None in numbers else list(numbers)
    else:
        return
    if members and (default is None or default in members):
        schema["enum"] = members
    elif schema["type"] != "string":
        low, high = find_bounds(description)
        if default is None or ((low is None or low <= default) and (high is None or default <= high)):
            schema.update({k: v for k, v in (("minimum", low), ("maximum", high)) if v is not None})
