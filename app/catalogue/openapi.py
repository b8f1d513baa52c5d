"""Reads OpenAPI 3.0 and 3.1 documents: each operation is a tool."""

import re
from collections.abc import Iterator, Mapping

from app.catalogue.checks import Refusal, as_text, check_tool, report_text
from app.catalogue.schemas import Schemas, make_parameter
from app.domain import Json, Parameter, Tool, ToolSource
from app.errors import DocumentError

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LOCATIONS = ("path", "query", "header", "cookie")
# Who calls is not the caller's choice: keys and tokens are the business of whoever executes the call.
_CREDENTIALS = re.compile(
    r"authorization|accept|content-type|cookie|(?:x-)?(?:rapidapi-)?(?:api|access|auth)[-_]?(?:key|token|host)"
    r"|x-rapidapi-(?:key|host)",
    re.IGNORECASE,
)


def parse_documents(raw: Json, category: str | None = None) -> Iterator[Tool | Refusal]:
    """The tools of a document, named `<category>.<info.title>.<operationId, or "METHOD /path">`.

    The category is the operation's first tag, else the given one, else the title. An operation that cannot be
    imported, or is deprecated, comes as a refusal.
    """
    try:
        document = _Document(raw, category)
    except DocumentError as error:
        info = raw.get("info") if isinstance(raw, Mapping) else None
        yield Refusal(report_text(info.get("title")) if isinstance(info, Mapping) else "", error.detail)
        return
    found = False
    for result in document.tools():
        found = True
        yield result
    if not found:
        yield Refusal(report_text(document.title), "the document has no operations")


class _Document:
    def __init__(self, raw: Json, category: str | None) -> None:
        if not isinstance(raw, Mapping):
            raise DocumentError("the document is not a JSON object")
        if "swagger" in raw:
            raise DocumentError(
                "Swagger 2.0 is not supported: convert the document to OpenAPI 3.x (swagger2openapi does)"
            )
        version = str(raw.get("openapi", ""))
        if not version.startswith(("3.0", "3.1")):
            raise DocumentError(f"OpenAPI {report_text(version)[:20]!r} is not supported; 3.0 and 3.1 are")
        info = raw.get("info")
        title = info.get("title") if isinstance(info, Mapping) else None
        if not isinstance(title, str) or not title.strip():
            raise DocumentError("info.title is missing, blank or not text; the tools are named after it")
        self.title: str = title
        self._category = category if category is not None else title
        paths = raw.get("paths", {})
        if not isinstance(paths, Mapping):
            raise DocumentError("paths is not a JSON object")
        self._paths: Mapping[str, Json] = paths
        self._schemas = Schemas(raw)
        self._keys = self._api_keys(raw)

    def _api_keys(self, raw: Mapping[str, Json]) -> set[tuple[str, str]]:
        """(location, name) of the parameters that carry API keys."""
        components = raw.get("components")
        schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
        targets = [self._schemas.follow(each) for each in schemes.values()] if isinstance(schemes, Mapping) else []
        return {
            (str(each.get("in")), str(each.get("name")))
            for each in targets
            if isinstance(each, Mapping) and each.get("type") == "apiKey"
        }

    def tools(self) -> Iterator[Tool | Refusal]:
        for path, item in self._paths.items():
            target = self._schemas.follow(item)
            if not isinstance(target, Mapping):
                yield Refusal(report_text(f"{self.title} {path}"), "the path item is not a JSON object")
                continue
            for method in _METHODS:
                if method in target:
                    yield self._parse_or_refuse(path, method, target)

    def _parse_or_refuse(self, path: str, method: str, item: Mapping[str, Json]) -> Tool | Refusal:
        operation = self._schemas.follow(item[method])
        label = f"{method.upper()} {path}"
        if not isinstance(operation, Mapping):
            return Refusal(report_text(f"{self.title} {label}"), "the operation is not a JSON object")
        identifier = operation.get("operationId")
        api = identifier if isinstance(identifier, str) and identifier.strip() else label
        tags = operation.get("tags")
        tag = tags[0] if isinstance(tags, list) and tags else None
        category = tag if isinstance(tag, str) and tag.strip() else self._category
        name = f"{category}.{self.title}.{api}"
        if operation.get("deprecated") is True:
            return Refusal(report_text(name), "deprecated")
        try:
            texts = [as_text(operation.get("summary")), as_text(operation.get("description"))]
            return check_tool(
                Tool(
                    name=name,
                    category=category,
                    provider=self.title,
                    api=api,
                    description="\n\n".join(dict.fromkeys(text for text in texts if text.strip())),
                    parameters=self._parameters(item, operation),
                    response_schema=self._response(operation),
                    source=ToolSource.OPENAPI,
                )
            )
        except DocumentError as error:
            return Refusal(report_text(name), error.detail)

    def _parameters(self, item: Mapping[str, Json], operation: Mapping[str, Json]) -> tuple[Parameter, ...]:
        """Parameters by location: path, query, header, cookie, body. A name met again gets its location as prefix."""
        declared: dict[tuple[str, str], Mapping[str, Json]] = {}
        for holder in (item, operation):
            for entry in self._list(holder.get("parameters"), "parameters"):
                location, name = entry.get("in"), entry.get("name")
                if not isinstance(name, str) or location not in _LOCATIONS:
                    raise DocumentError("a parameter has no name, or is not in path, query, header or cookie")
                declared[location, name] = entry
        parameters: dict[str, Parameter] = {}
        for location, name in sorted(declared, key=lambda key: _LOCATIONS.index(key[0])):
            if (location, name) in self._keys or (location != "path" and _CREDENTIALS.fullmatch(name)):
                continue
            unique = name if name not in parameters else f"{location}.{name}"
            parameters[unique] = self._parameter(unique, location, declared[location, name])
        for parameter in self._body(operation.get("requestBody")):
            unique = parameter.name if parameter.name not in parameters else f"body.{parameter.name}"
            parameters[unique] = Parameter(
                unique, parameter.schema, parameter.required, parameter.description, parameter.default
            )
        return tuple(parameters.values())

    def _list(self, value: Json, what: str) -> Iterator[Mapping[str, Json]]:
        if value is not None and not isinstance(value, list):
            raise DocumentError(f"{what} is not a list")
        for each in value or ():
            target = self._schemas.follow(each)
            if not isinstance(target, Mapping):
                raise DocumentError(f"an entry of {what} is not a JSON object")
            yield target

    def _parameter(self, name: str, location: str, entry: Mapping[str, Json]) -> Parameter:
        schema = self._schemas.resolve(entry["schema"] if "schema" in entry else self._content(entry))
        if entry.get("example") is not None and "examples" not in schema:
            schema["examples"] = [entry["example"]]
        required = location == "path" or entry.get("required") is True
        return make_parameter(name, schema, required, as_text(entry.get("description")))

    def _content(self, holder: Mapping[str, Json]) -> Json:
        """The schema of the `content`: that of JSON, else of a form, else the first; {} where there is none."""
        content = holder.get("content")
        if not isinstance(content, Mapping) or not content:
            return {}
        kinds = sorted(content, key=lambda kind: ("json" not in kind, "form" not in kind))
        media = content[kinds[0]]
        return media.get("schema", {}) if isinstance(media, Mapping) else {}

    def _body(self, declared: Json) -> Iterator[Parameter]:
        """The body's parameters: one for each property of an object, or one named `body` for anything else."""
        body = self._schemas.follow(declared)
        if body is None:
            return
        if not isinstance(body, Mapping):
            raise DocumentError("requestBody is not a JSON object")
        schema = self._schemas.resolve(self._content(body))
        properties = schema.get("properties")
        needed = body.get("required") is True
        if not isinstance(properties, Mapping) or not properties or "oneOf" in schema or "anyOf" in schema:
            yield make_parameter("body", schema, needed, as_text(body.get("description")))
            return
        listed = schema.get("required")
        required = listed if needed and isinstance(listed, list) else []
        for name, each in properties.items():
            if each.get("readOnly") is True:
                continue
            yield make_parameter(name, each, name in required)

    def _response(self, operation: Mapping[str, Json]) -> Json:
        """The schema of the first response with a 2xx status; None where there is none."""
        responses = operation.get("responses")
        if not isinstance(responses, Mapping):
            return None
        for status in sorted(str(each) for each in responses if str(each).startswith("2")):
            response = self._schemas.follow(responses.get(status))
            if isinstance(response, Mapping) and (schema := self._content(response)):
                return self._schemas.resolve(schema)
        return None
