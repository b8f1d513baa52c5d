"""RapidAPI documents as ToolBench publishes them, in their two forms.

Flat, one API an object: `category_name`, `tool_name`, `api_name`, `api_description`, `required_parameters`,
`optional_parameters`, `method`, `template_response`. And a tool with its `api_list`, one file a tool, in a
folder named as the category.
"""

from collections.abc import Iterator, Mapping

from app.catalogue.batch import Refusal
from app.catalogue.checks import checked, shown, text_of
from app.catalogue.descriptions import bounds_in, members_in
from app.catalogue.values import default_of, number_of, schema_of, type_name
from app.domain import Json, Parameter, Tool, ToolSource
from app.errors import DocumentError

_RESPONSE_FIELDS = ("template_response", "response_schema", "schema")


def parse_documents(raw: Json, category: str | None = None) -> Iterator[Tool | Refusal]:
    """The tools of a document of either form; what cannot be imported comes as a refusal, the rest goes on.

    `category` is what the folder says; a document that names its category itself knows better.
    """
    if not isinstance(raw, Mapping):
        yield Refusal("", "the document is not a JSON object")
        return
    if "api_list" not in raw:
        named = raw.get("category_name") is not None
        yield _attempt(raw if named else {**raw, "category_name": category})
        return
    apis = raw["api_list"]
    if not isinstance(apis, list) or not apis:
        yield Refusal(shown(_tool_name(raw)), "api_list is not a list of APIs, or is empty")
        return
    for api in apis:
        if isinstance(api, Mapping):
            yield _attempt(_flattened(raw, api, category))
        else:
            yield Refusal(shown(_tool_name(raw)), "an entry of api_list is not a JSON object")


def parse_document(raw: Mapping[str, Json]) -> Tool:
    """The tool of a flat document. Its name is `<category>.<tool>.<api>`, each part as it came.

    Raises DocumentError with the reason.
    """
    category, provider, api = (_name_part(raw, field) for field in ("category_name", "tool_name", "api_name"))
    return checked(
        Tool(
            name=f"{category}.{provider}.{api}",
            category=category,
            provider=provider,
            api=api,
            description=text_of(raw.get("api_description")),
            parameters=_parameters(raw),
            response_schema=_response(raw),
            source=ToolSource.RAPIDAPI,
        )
    )


def _attempt(raw: Mapping[str, Json]) -> Tool | Refusal:
    try:
        return parse_document(raw)
    except DocumentError as error:
        parts = [raw.get(field) for field in ("category_name", "tool_name", "api_name")]
        return Refusal(shown(".".join(part for part in parts if isinstance(part, str))), error.detail)


def _tool_name(raw: Mapping[str, Json]) -> Json:
    return next((raw[field] for field in ("tool_name", "name", "title") if raw.get(field) is not None), None)


def _flattened(tool: Mapping[str, Json], api: Mapping[str, Json], category: str | None) -> dict[str, Json]:
    """An entry of an api_list in the flat form; what it says of itself wins over what its tool says."""
    categories = (api.get("category_name"), tool.get("category_name"), tool.get("category"), category)
    descriptions = [text_of(api.get("api_description", api.get("description")))]
    about_tool = text_of(tool.get("tool_description", tool.get("description")))
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
    """Required ones first. Of two with one name the first stays, so that a required one is never lost."""
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
    description = text_of(entry.get("description"))
    declared, default = entry.get("type"), entry.get("default")
    schema = schema_of(declared, default)
    _narrow(schema, type_name(declared), description, default_of(schema, default))
    return Parameter(name, schema, required, description, default_of(schema, default))


def _narrow(schema: dict[str, Json], declared: str, description: str, default: Json) -> None:
    """Add the members or bounds that the description states, unless the document's default says otherwise."""
    if schema == {"type": "string"}:
        members: list[Json] = list(members_in(description, declared == "ENUM", default))
    elif schema["type"] in ("number", "integer"):
        numbers = [number_of(text) for text in members_in(description, False, None)]
        members = [] if None in numbers else list(numbers)
    else:
        return
    if members and (default is None or default in members):
        schema["enum"] = members
    elif schema["type"] != "string":
        low, high = bounds_in(description)
        if default is None or ((low is None or low <= default) and (high is None or default <= high)):
            schema.update({k: v for k, v in (("minimum", low), ("maximum", high)) if v is not None})
