"""The demo's data holds together: the catalogue, the jobs, the users and what each user should get.

These are checks of the data files alone; how well the service does on them is measured elsewhere.
"""

import json
import re
from collections import Counter
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo_data import load_expectations, load_jobs

DEMO = files("app.demo")
TEST_DATA = Path(__file__).parents[1] / "data" / "demo"
VALUE_TYPES: dict[str, tuple[type, ...]] = {"NUMBER": (int, float), "BOOLEAN": (bool,)}


def load(name: str) -> Any:
    return json.loads(DEMO.joinpath(name).read_text(encoding="utf-8"))


@cache
def documents() -> dict[str, dict[str, Any]]:
    """Every tool document by its full name."""
    return {full_name(document): document for document in all_documents()}


@cache
def all_documents() -> list[dict[str, Any]]:
    paths = sorted(DEMO.joinpath("catalogue").iterdir(), key=lambda path: path.name)
    return [
        document
        for path in paths
        if path.name.endswith(".json")
        for document in json.loads(path.read_text(encoding="utf-8"))
    ]


def full_name(document: dict[str, Any]) -> str:
    return f"{document['category_name']}.{document['tool_name']}.{document['api_name']}"


@cache
def jobs() -> dict[str, list[str]]:
    return {entry["job"]: entry["tools"] for entry in load_jobs()["jobs"]}


@cache
def job_of() -> dict[str, str]:
    return {tool: job for job, tools in jobs().items() for tool in tools}


@cache
def attributes() -> dict[str, frozenset[str]]:
    return {entry["tool"]: frozenset(entry["attributes"]) for entry in load_jobs()["tools"]}


@cache
def users() -> dict[str, dict[str, Any]]:
    return {user["user_id"]: user for user in load("users.json")}


@cache
def expectations() -> list[dict[str, Any]]:
    return load_expectations()


def parameters_of(tool: str) -> dict[str, dict[str, Any]]:
    document = documents()[tool]
    return {
        parameter["name"]: parameter
        for parameter in [*document["required_parameters"], *document["optional_parameters"]]
    }


def enum_members(parameter: dict[str, Any]) -> list[str]:
    match = re.search(r"One of: ([^.]+)", parameter["description"])
    assert match, parameter
    return [member.strip() for member in match[1].split(",")]


def assert_value_fits(value: Any, parameter: dict[str, Any]) -> None:
    """The value is of the document's type; `parameter` is a RapidAPI parameter."""
    kind = parameter["type"]
    assert isinstance(value, VALUE_TYPES.get(kind, (str,))), (value, parameter)
    assert kind != "NUMBER" or not isinstance(value, bool), (value, parameter)
    if kind == "ENUM":
        assert value in enum_members(parameter)
    elif kind == "DATE":
        assert date.fromisoformat(str(value)).isoformat() == value
    elif kind == "TIME":
        assert re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(value))


def assert_parameters_fit(values: dict[str, Any], tool: str) -> None:
    known = parameters_of(tool)
    required = {parameter["name"] for parameter in documents()[tool]["required_parameters"]}
    assert required <= values.keys() <= known.keys(), (tool, values)
    for name, value in values.items():
        assert_value_fits(value, known[name])


def jobs_in_history(user: dict[str, Any]) -> set[str]:
    return {job_of()[interaction["tool_call"]["tool_name"]] for interaction in user["history"]}


def taste(user: dict[str, Any]) -> frozenset[str]:
    return frozenset(user["attributes_preferred"])


def interactions_matching(user: dict[str, Any]) -> list[bool]:
    """For each interaction in order: whether its tool has an attribute that the user prefers."""
    return [bool(attributes()[interaction["tool_call"]["tool_name"]] & taste(user)) for interaction in user["history"]]


def users_of(setting: str) -> list[dict[str, Any]]:
    return [user for user in users().values() if user["history_setting"] == setting]


def test_the_catalogue_is_large_enough() -> None:
    assert len(jobs()) >= 44
    assert len({document["category_name"] for document in all_documents()}) >= 22
    assert len(all_documents()) >= 260


def test_tool_names_and_descriptions_are_unique() -> None:
    assert len(documents()) == len(all_documents())
    providers = Counter((document["category_name"], document["tool_name"]) for document in all_documents())
    descriptions = Counter(document["api_description"].casefold() for document in all_documents())
    assert max(providers.values()) == max(descriptions.values()) == 1


def test_each_category_has_its_own_file() -> None:
    for path in DEMO.joinpath("catalogue").iterdir():
        if path.name.endswith(".json"):
            categories = {document["category_name"] for document in json.loads(path.read_text(encoding="utf-8"))}
            assert categories == {path.name.removesuffix(".json")}


def test_each_tool_is_in_exactly_one_job_and_has_attributes() -> None:
    listed = [tool for tools in jobs().values() for tool in tools]
    assert len(listed) == len(set(listed))
    assert set(listed) == documents().keys() == attributes().keys()
    assert all(attributes().values())


def test_the_tools_of_a_job_differ_in_nothing_but_provider_and_wording() -> None:
    for job, tools in jobs().items():
        assert 4 <= len(tools) <= 9, job
        for key in ("category_name", "required_parameters", "optional_parameters", "method", "template_response"):
            first, *others = (documents()[tool][key] for tool in tools)
            assert all(other == first for other in others), (job, key)


def test_parameters_are_described_and_their_defaults_fit() -> None:
    for tool in documents():
        for parameter in parameters_of(tool).values():
            assert parameter["description"]
            if parameter["default"] is not None:
                assert_value_fits(parameter["default"], parameter)


def test_there_are_four_distinct_users_in_each_setting() -> None:
    assert Counter(user["history_setting"] for user in users().values()) == {
        "preferred_only": 4,
        "rating_integrated": 4,
        "chronological": 4,
    }
    assert len(load("users.json")) == len(users())
    assert len({user["about"] for user in users().values()}) == len(users())
    tastes = {(taste(user), tuple(user.get("attributes_left_behind", ()))) for user in users().values()}
    assert len(tastes) == len(users())


def test_histories_are_dated_in_order_and_call_tools_as_their_documents_say() -> None:
    for user in users().values():
        assert 8 <= len(user["history"]) <= 16
        times = [datetime.fromisoformat(interaction["occurred_at"]) for interaction in user["history"]]
        assert times == sorted(times)
        assert all(interaction["occurred_at"].endswith("Z") for interaction in user["history"])
        for interaction in user["history"]:
            assert interaction["instruction"]
            assert_parameters_fit(interaction["tool_call"]["parameters"], interaction["tool_call"]["tool_name"])


def test_preferred_only_histories_hold_preferred_tools_only() -> None:
    for user in users_of("preferred_only"):
        assert all(interactions_matching(user))
        assert all(interaction["rating"] is None for interaction in user["history"])


def test_ratings_follow_the_taste_and_some_jobs_have_both() -> None:
    for user in users_of("rating_integrated"):
        liked = [interaction["rating"] == "liked" for interaction in user["history"]]
        assert liked == interactions_matching(user)
        assert {interaction["rating"] for interaction in user["history"]} == {"liked", "disliked"}
        by_rating: dict[str, set[str]] = {"liked": set(), "disliked": set()}
        for interaction in user["history"]:
            by_rating[interaction["rating"]].add(job_of()[interaction["tool_call"]["tool_name"]])
        assert by_rating["liked"] & by_rating["disliked"]


def test_chronological_histories_go_from_the_old_taste_to_the_new() -> None:
    for user in users_of("chronological"):
        matching = interactions_matching(user)
        turn = matching.index(True)
        assert turn >= 4
        assert all(matching[turn:])
        old = frozenset(user["attributes_left_behind"])
        assert all(attributes()[h["tool_call"]["tool_name"]] & old for h in user["history"][:turn])
        assert all(interaction["rating"] is None for interaction in user["history"])
        first, last = (datetime.fromisoformat(user["history"][i]["occurred_at"]) for i in (0, -1))
        assert (last - first).days > 120


def test_each_user_has_eight_instructions_on_jobs_new_to_them() -> None:
    counts = Counter(expectation["user_id"] for expectation in expectations())
    assert counts.keys() == users().keys()
    assert min(counts.values()) >= 8
    asked = [(expectation["user_id"], expectation["job"]) for expectation in expectations()]
    assert len(asked) == len(set(asked))
    for user_id, job in asked:
        assert job not in jobs_in_history(users()[user_id])


def test_the_acceptable_tools_are_those_of_the_job_that_suit_the_user_best() -> None:
    for expectation in expectations():
        wanted = taste(users()[expectation["user_id"]])
        overlap = {tool: len(attributes()[tool] & wanted) for tool in jobs()[expectation["job"]]}
        best = max(overlap.values())
        assert best > 0
        assert expectation["acceptable"] == [tool for tool, shared in overlap.items() if shared == best]
        assert 1 <= len(expectation["acceptable"]) <= 2


def test_expected_parameters_fit_the_acceptable_tools() -> None:
    for expectation in expectations():
        for tool in expectation["acceptable"]:
            assert_parameters_fit(expectation["parameters"], tool)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w{2,}", text.casefold()))


def telling_words(tool: str) -> set[str]:
    """The words of a provider's name that belong to it alone: not to its job, nor to a competing tool."""
    job = job_of()[tool]
    others = [documents()[other] for other in jobs()[job] if other != tool]
    keys = ("tool_name", "api_name", "api_description")
    shared = words_of(" ".join([job, *(other[key] for other in others for key in keys)]))
    return words_of(documents()[tool]["tool_name"]) - shared - {"in", "my", "of", "the"}


def test_no_instruction_gives_a_tool_or_an_attribute_away() -> None:
    labels = {name.replace("_", " ") for own in attributes().values() for name in own}
    for expectation in expectations():
        instruction = words_of(expectation["instruction"])
        assert not any(label in expectation["instruction"].casefold() for label in labels)
        for tool in jobs()[expectation["job"]]:
            assert not instruction & telling_words(tool), (tool, expectation["instruction"])


def test_showcase_instructions_have_one_answer_for_each_user_asked() -> None:
    showcase: dict[str, list[list[str]]] = {}
    for expectation in expectations():
        if expectation.get("showcase"):
            showcase.setdefault(expectation["instruction"], []).append(expectation["acceptable"])
    assert len(showcase) >= 3
    for answers in showcase.values():
        assert len(answers) >= 3
        tools = [tool for answer in answers for tool in answer]
        assert len(tools) == len(set(tools))


@pytest.mark.parametrize(
    "file", [DEMO / "users.json", TEST_DATA / "jobs.json", TEST_DATA / "expectations.json"], ids=str
)
def test_files_are_pretty_printed(file: Traversable) -> None:
    text = file.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=1) + "\n"
