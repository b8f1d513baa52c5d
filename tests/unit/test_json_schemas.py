"""A schema without a problem is a valid one, and refers to nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, SchemaError

from app.json_data.json_schemas import schema_problem

NAMES = st.sampled_from(
    [
        *("type", "properties", "items", "allOf", "prefixItems", "additionalProperties", "patternProperties"),
        *("required", "enum", "const", "pattern", "minLength", "maxItems", "minimum", "multipleOf", "uniqueItems"),
        *("dependentRequired", "dependentSchemas", "examples", "format", "title", "deprecated", "$defs", "not"),
        *("$anchor", "dependencies", "if", "$comment", "contentSchema", "x-own", "(", "a"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from([0.0, 0.5, 1.0])
    | NAMES
    | st.sampled_from(["string", "object", "integer"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_it_says_what_the_meta_schema_says(schema: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        assert schema_problem(schema) is not None
    else:
        assert schema_problem(schema) is None


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id"])
@pytest.mark.parametrize("at", ["items", "unevaluatedProperties", "allOf", "properties", "contentSchema"])
def test_a_reference_anywhere_is_a_problem(keyword: str, at: str) -> None:
    inner: Any = {keyword: "http://127.0.0.1:1/x"}
    whole: Any = [inner] if at == "allOf" else {"a": inner} if at == "properties" else inner
    assert schema_problem({at: whole}) is not None


def test_a_property_may_be_called_like_a_reference() -> None:
    assert schema_problem({"properties": {"$ref": {"type": "string"}, "$schema": {}}}) is None
