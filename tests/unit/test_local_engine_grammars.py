"""What the local engine adds to a schema so that every value ends."""

from app.inference.local.grammars import _ending


def test_decimals_and_texts_get_an_end_wherever_they_stand() -> None:
    number, text = {"type": "number"}, {"type": "string"}
    schema = {
        "type": "object",
        "properties": {
            # Named like keywords.
            **{"pattern": number, "enum": text, "type": number, "properties": text},
            "list": {"type": "array", "items": {"anyOf": [number, text]}},
        },
    }
    ended = _ending(schema)["properties"]
    assert "multipleOf" in ended["pattern"]
    assert "multipleOf" in ended["type"]
    assert "maxLength" in ended["enum"]
    assert "maxLength" in ended["properties"]
    assert "multipleOf" in ended["list"]["items"]["anyOf"][0]
    assert "maxLength" in ended["list"]["items"]["anyOf"][1]


def test_what_ends_already_and_values_that_look_like_schemas_stay() -> None:
    ends = {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "string", "pattern": "^a$"}, {"type": "integer"}]}
    assert _ending(ends) == ends
    assert _ending({"const": {"type": "number"}}) == {"const": {"type": "number"}}
    assert _ending({"enum": [{"type": "string"}]}) == {"enum": [{"type": "string"}]}
