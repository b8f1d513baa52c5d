"""Input and output formats, by which tools with the same functionality are known."""

import pytest

from app.domain import Json, Parameter, Tool
from training.petoolbench.interface import inputs, output, same_output


def parameter(name: str, kind: str = "string", *, required: bool = True) -> Parameter:
    return Parameter(name, {"type": kind}, required)


def tool(*parameters: Parameter, category: str = "News", response: Json = None) -> Tool:
    return Tool(f"{category}.Acme.get", category, "Acme", "get", "", parameters, response)


@pytest.mark.parametrize(
    "name", ["newspaperId", "newspaper_id", "newspaper-id", "NEWSPAPER ID", "NewspaperID", "newspaperid"]
)
def test_parameters_are_the_same_however_they_are_spelled(name: str) -> None:
    assert inputs(tool(parameter(name))) == inputs(tool(parameter("newspaperID")))


def test_the_order_of_parameters_is_no_difference() -> None:
    one, other = parameter("city"), parameter("days", "number", required=False)
    assert inputs(tool(one, other)) == inputs(tool(other, one))


@pytest.mark.parametrize(
    "other",
    [
        tool(),
        tool(parameter("newspaperIds")),
        tool(parameter("newspaperId", "number")),
        tool(parameter("newspaperId", required=False)),
        tool(parameter("newspaperId"), parameter("page")),
        tool(parameter("newspaperId"), category="Sports"),
        tool(parameter("newspaperId"), parameter("newspaper_id")),
    ],
    ids=["none", "name", "type", "required", "another", "category", "twice"],
)
def test_name_type_required_mark_number_and_category_are_differences(other: Tool) -> None:
    assert inputs(other) != inputs(tool(parameter("newspaperId")))


def test_description_default_and_bounds_are_no_difference() -> None:
    plain = Parameter("limit", {"type": "number"})
    told = Parameter("limit", {"type": "number", "minimum": 1}, description="How many", default=10)
    assert inputs(tool(plain)) == inputs(tool(told))


def test_names_without_letters_stay_apart() -> None:
    assert inputs(tool(parameter("-"))) != inputs(tool(parameter("_")))
    assert inputs(tool(parameter("größe"))) == inputs(tool(parameter("GRÖSSE")))


def test_a_type_that_is_missing_or_a_list_is_one_of_its_own() -> None:
    untyped, either = Parameter("x", {}, True), Parameter("x", {"type": ["string", "null"]}, True)
    found = [inputs(tool(each)) for each in (untyped, either, parameter("x"))]
    assert len(set(found)) == 3


# ---------------------------------------------------------------- responses


def test_a_response_is_the_paths_of_its_fields_whatever_their_values() -> None:
    one = tool(response={"items": [{"id": "str", "tags": ["str"]}], "total": "int"})
    other = tool(response={"total": 7, "items": [{"tags": [], "id": None}, {"other": 1}]})
    assert output(one) == output(other) == frozenset({".items", ".total", ".items[].id", ".items[].tags"})


def test_notes_of_the_sampler_are_no_fields_at_any_depth() -> None:
    plain = {"items": [{"id": "str"}]}
    noted = {"items": [{"id": "str", "_list_length": 3}, {"_list_length": 3}], "_list_length": {"of": 3}}
    assert output(tool(response=noted)) == output(tool(response=plain))
    assert output(tool(response={"_list_length": 3})) is None


@pytest.mark.parametrize("response", [None, {}, [], "str", 7, [1, 2], [[]], [{}]])
def test_a_response_without_fields_tells_nothing(response: Json) -> None:
    assert output(tool(response=response)) is None


def test_a_list_of_objects_differs_from_one_object() -> None:
    assert output(tool(response=[{"id": 1}])) == frozenset({"[].id"})
    assert output(tool(response={"id": 1})) == frozenset({".id"})
    assert not same_output(output(tool(response=[{"id": 1}])), output(tool(response={"id": 1})))


def test_fields_far_down_do_not_count() -> None:
    def nested(depth: int, end: str) -> Json:
        return {"a": nested(depth - 1, end)} if depth else {end: 1}

    assert output(tool(response=nested(50, "x"))) == output(tool(response=nested(60, "y")))
    assert output(tool(response=nested(3, "x"))) != output(tool(response=nested(3, "y")))


def test_a_response_that_nobody_told_goes_with_any() -> None:
    told, other = output(tool(response={"id": 1})), output(tool(response={"name": 1}))
    assert same_output(None, None)
    assert same_output(None, told)
    assert same_output(told, None)
    assert same_output(told, output(tool(response={"id": "x"})))
    assert not same_output(told, other)
