"""The catalogue over HTTP: import, read, search, deactivate."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.api import cursors
from tests.conftest import _new_database, running, settings_for
from tests.support.catalogue import TOOLS, document
from tests.support.rapidapi import name_of_folder, read_documents
from tests.support.steps import add_history, call, history, interaction, ok, problem


@pytest.fixture
def mark() -> str:
    """A word that only one test's tools have."""
    return f"Zq{uuid.uuid4().hex[:10]}"


def put(client: httpx.Client, format_: str, *documents: Any) -> Any:
    return ok(client.put("/tools", json={"format": format_, "documents": list(documents)}))


def path(name: str) -> str:
    return f"/tools/{quote(name, safe='')}"


def search(client: httpx.Client, query: str, limit: int = 10) -> list[str]:
    items = ok(client.get("/tools/search", params={"q": query, "limit": limit}))["items"]
    return [item["tool_name"] for item in items]


def listed(client: httpx.Client, **query: Any) -> list[Any]:
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(client.get("/tools", params=query | cursor))
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def openai_tool(name: str, description: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def openapi(title: str, *operations: str) -> Any:
    """A document with one GET for each operation id."""
    city = {"name": "city", "in": "query", "required": True, "schema": {"type": "string"}}
    paths = {
        f"/{operation}": {"get": {"operationId": operation, "summary": f"Knows the {operation}.", "parameters": [city]}}
        for operation in operations
    }
    return {"openapi": "3.0.3", "info": {"title": title, "version": "1"}, "paths": paths}


def test_rapidapi_documents_become_tools_under_category_tool_and_api(client: httpx.Client, mark: str) -> None:
    report = put(client, "rapidapi", document(mark, "Tide/Table", "v1.2 | tides", "Tides.", ("port", "STRING")))
    assert report == {"imported": 1, "updated": 0, "unchanged": 0, "rejected": []}
    tool = ok(client.get(path(f"{mark}.Tide/Table.v1.2 | tides")))
    assert (tool["category"], tool["provider"], tool["source"], tool["active"]) == (
        mark,
        "Tide/Table",
        "rapidapi",
        True,
    )
    assert tool["parameters"]["required"] == ["port"]
    assert tool["parameters"]["properties"]["port"]["type"] == "string"


def test_openai_tools_keep_their_functions_name(client: httpx.Client, mark: str) -> None:
    report = put(client, "openai", openai_tool(f"{mark}_tides", "Tides.", port={"type": "string"}))
    assert report == {"imported": 1, "updated": 0, "unchanged": 0, "rejected": []}
    tool = ok(client.get(path(f"{mark}_tides")))
    assert tool["source"] == "openai"
    assert tool["openai"]["function"]["name"] == f"{mark}_tides"
    assert tool["openai"]["function"]["parameters"]["required"] == ["port"]


def test_each_operation_of_an_openapi_document_is_a_tool(client: httpx.Client, mark: str) -> None:
    report = put(client, "openapi", openapi(f"{mark} API", "tides", "currents"))
    assert (report["imported"], report["rejected"]) == (2, [])
    found = [tool for tool in listed(client, limit=200) if mark in tool["tool_name"]]
    assert {tool["provider"] for tool in found} == {f"{mark} API"}
    assert all("city" in ok(client.get(path(tool["tool_name"])))["parameters"]["properties"] for tool in found)


def test_what_cannot_be_imported_is_named_with_its_reason_and_the_rest_is_imported(
    client: httpx.Client, mark: str
) -> None:
    good = document(mark, "Tides", "get", "Tides.")
    broken: list[Any] = [
        None,
        7,
        "text",
        [],
        {},
        {"category_name": mark, "tool_name": "T"},
        document(mark, "x" * 600, "get", "Too long a name."),
        document(mark, "Tides", "get", "The same name, with other content."),
    ]
    report = put(client, "rapidapi", good, *broken, good, document(mark, "Currents", "get", "Currents."))
    assert (report["imported"], report["updated"]) == (2, 1)
    assert [item["index"] for item in report["rejected"]] == list(range(1, len(broken) + 1))
    assert all(item["reason"] for item in report["rejected"])
    assert report["rejected"][-1]["name"] == f"{mark}.Tides.get"
    assert report["imported"] + report["updated"] + len(report["rejected"]) == len(broken) + 3


@pytest.mark.parametrize("format_", ["rapidapi", "openai", "openapi"])
def test_documents_of_another_format_are_rejected_one_by_one(client: httpx.Client, mark: str, format_: str) -> None:
    documents = {
        "rapidapi": document(mark, "Tides", "get", "Tides."),
        "openai": openai_tool(f"{mark}_tides", "Tides."),
        "openapi": openapi(mark, "tides"),
    }
    del documents[format_]
    report = put(client, format_, *documents.values())
    assert (report["imported"], report["updated"]) == (0, 0)
    assert [item["index"] for item in report["rejected"]] == [0, 1]


def test_a_second_import_adds_nothing(client: httpx.Client, mark: str) -> None:
    documents = [document(mark, f"Tool {number}", "get", f"Job {number}.") for number in range(20)]
    put(client, "rapidapi", *documents)
    before = listed(client, category=mark)
    again = put(client, "rapidapi", *documents)
    assert again == {"imported": 0, "updated": 20, "unchanged": 20, "rejected": []}
    assert listed(client, category=mark) == before
    assert len(before) == 20


def test_a_changed_description_is_found_at_once_under_the_same_name(client: httpx.Client, mark: str) -> None:
    put(client, "rapidapi", document(mark, "Thing", "get", "Counts sheep."))
    report = put(client, "rapidapi", document(mark, "Thing", "get", f"Predicts the {mark}wave of glaciers."))
    assert report == {"imported": 0, "updated": 1, "unchanged": 0, "rejected": []}
    assert search(client, f"{mark}wave of glaciers")[0] == f"{mark}.Thing.get"
    assert ok(client.get(path(f"{mark}.Thing.get")))["description"] == f"Predicts the {mark}wave of glaciers."
    assert len(listed(client, category=mark)) == 1


def test_search_gives_the_best_first_and_no_more_than_asked_for(client: httpx.Client) -> None:
    items = ok(client.get("/tools/search", params={"q": "translate a text into German", "limit": 3}))["items"]
    assert len(items) == 3
    assert all(item["category"] == "Translation" for item in items)
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("query", [" ", "?!", "🌦️", "a" * 8000, "\x00", "weather. " * 800])
def test_any_text_may_be_searched_for(client: httpx.Client, query: str) -> None:
    ok(client.get("/tools/search", params={"q": query}))


@pytest.mark.parametrize("query", [{}, {"q": ""}, {"q": "a" * 8001}, {"q": "a", "limit": 0}, {"q": "a", "limit": 201}])
def test_a_search_for_nothing_is_422(client: httpx.Client, query: Any) -> None:
    problem(client.get("/tools/search", params=query), 422, "invalid-request")


@pytest.mark.parametrize("limit", [1, 4, 200])
def test_pages_of_the_list_hold_everything_once(client: httpx.Client, mark: str, limit: int) -> None:
    put(client, "rapidapi", *(document(mark, f"Tool {number}", "get", "Job.") for number in range(9)))
    names = [tool["tool_name"] for tool in listed(client, category=mark, limit=limit)]
    assert names == [f"{mark}.Tool {number}.get" for number in range(9)]


def test_the_list_can_be_filtered(client: httpx.Client, mark: str) -> None:
    put(client, "rapidapi", *(document(mark, f"Tool {number}", "get", "Job.") for number in range(3)))
    off = f"{mark}.Tool 1.get"
    ok(client.patch(path(off), json={"active": False}))
    assert [tool["tool_name"] for tool in listed(client, category=mark, active=False)] == [off]
    assert off not in [tool["tool_name"] for tool in listed(client, category=mark, active=True)]
    assert len(listed(client, category=mark)) == 3
    assert listed(client, category=f"{mark} and no other") == []


@pytest.mark.parametrize("cursor", ["nonsense", "é", cursors.encode("x"), cursors.encode(-1), cursors.encode(2**63)])
def test_a_cursor_that_was_not_given_out_is_422(client: httpx.Client, cursor: str) -> None:
    problem(client.get("/tools", params={"cursor": cursor}), 422, "invalid-request")


@pytest.mark.parametrize(
    "provider",
    ["a/b", "/", "..", "a.b.", "a b", "a?b#c&d=e", "%2F", "%", "Ünïcödé 天気 🌦️", "a\\b|c", "\u202e", "search", "+"],
)
def test_a_tool_is_found_by_its_name_whatever_that_holds(client: httpx.Client, mark: str, provider: str) -> None:
    put(client, "rapidapi", document(mark, provider, f"{provider} get", "Job."))
    (tool,) = listed(client, category=mark)
    assert tool["tool_name"] == f"{mark}.{provider}.{provider} get"
    whole = ok(client.get(path(tool["tool_name"])))
    assert whole["tool_name"] == tool["tool_name"]
    assert ok(client.patch(path(tool["tool_name"]), json={"active": False}))["active"] is False


def test_a_tool_nobody_imported_is_404(client: httpx.Client, mark: str) -> None:
    problem(client.get(path(mark)), 404, "not-found")
    problem(client.patch(path(mark), json={"active": False}), 404, "not-found")


@pytest.mark.parametrize("name", ["%00", "x" * 513])
def test_a_name_that_no_tool_can_have_is_422(client: httpx.Client, name: str) -> None:
    problem(client.get(f"/tools/{name}"), 422, "invalid-request")
    problem(client.patch(f"/tools/{name}", json={"active": True}), 422, "invalid-request")


@pytest.fixture
def job(client: httpx.Client, mark: str) -> str:
    """The name of the one tool that knows the `mark`s of a city."""
    put(client, "rapidapi", document(mark, "Only", "get", f"Tells how many {mark}s a city has.", ("city", "STRING")))
    return f"{mark}.Only.get"


def test_a_deactivated_tool_is_neither_searched_nor_called(
    client: httpx.Client, user: str, mark: str, job: str
) -> None:
    ask = f"How many {mark}s has Rome?"
    assert search(client, ask)[0] == job
    assert call(client, user, ask)["tool_call"]["tool_name"] == job
    assert ok(client.patch(path(job), json={"active": False}))["active"] is False
    assert job not in search(client, ask, limit=200)
    assert job not in [item["tool_name"] for item in call(client, user, ask, n_candidates=50)["candidates"]]
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": ask, "candidates": [job]})
    assert problem(answer, 422, "unknown-tools")["unknown"] == [job]
    assert ok(client.get(path(job)))["active"] is False


def test_histories_keep_and_take_a_deactivated_tool(client: httpx.Client, user: str, job: str) -> None:
    add_history(client, user, interaction(job, "liked", city="Rome"))
    ok(client.patch(path(job), json={"active": False}))
    report = add_history(client, user, interaction(job, "disliked", "2026-05-02T10:00:00Z", city="Oslo"))
    assert (report["imported"], report["rejected"]) == (1, [])
    assert [item["tool_call"]["tool_name"] for item in history(client, user)] == [job, job]
    assert call(client, user)["usage"]["history_interactions"] == 2


def test_a_reactivated_tool_is_called_again(client: httpx.Client, user: str, mark: str, job: str) -> None:
    for active in (False, True):
        ok(client.patch(path(job), json={"active": active}))
    assert search(client, f"{mark}s of a city")[0] == job
    assert call(client, user, f"How many {mark}s has Rome?")["tool_call"]["tool_name"] == job


@pytest.mark.parametrize("description", ["Tells how many {mark}s a city has.", "Counts the {mark}s of a city anew."])
def test_a_deactivated_tool_stays_so_when_it_is_imported_again(
    client: httpx.Client, mark: str, job: str, description: str
) -> None:
    ok(client.patch(path(job), json={"active": False}))
    text = description.format(mark=mark)
    report = put(client, "rapidapi", document(mark, "Only", "get", text, ("city", "STRING")))
    assert (report["imported"], report["updated"]) == (0, 1)
    tool = ok(client.get(path(job)))
    assert (tool["active"], tool["description"]) == (False, text)
    assert job not in search(client, f"{mark}s of a city", limit=200)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"format": "rapidapi"},
        {"format": "rapidapi", "documents": []},
        {"format": "soap", "documents": [{}]},
        {"format": "rapidapi", "documents": {}},
        {"format": "rapidapi", "documents": [{}], "dry_run": True},
    ],
)
def test_a_request_that_is_no_import_is_422(client: httpx.Client, body: Any) -> None:
    problem(client.put("/tools", json=body), 422, "invalid-request")


@pytest.mark.parametrize("body", [{}, {"active": "perhaps"}, {"active": None}, {"name": "x"}, []])
def test_a_patch_says_whether_the_tool_is_active_and_nothing_else(client: httpx.Client, job: str, body: Any) -> None:
    problem(client.patch(path(job), json=body), 422, "invalid-request")


FOUND = {
    "real": ("search for a video on YouTube", "Data.Simple YouTube Search.Search"),
    "sample": ("make a short link", "Tools.Echo.POST /shorten"),
}


@pytest.fixture
async def real_service(postgres: str, tmp_path: Path) -> AsyncIterator[str]:
    """A service with an empty database of its own."""
    async with _new_database(postgres) as url:
        with running(settings_for(url, tmp_path)) as service:
            yield service


def test_all_the_real_documents_are_imported_over_http_and_found(real_service: str, documents_folder: Path) -> None:
    documents = read_documents(documents_folder)
    names = [f"{raw['category_name']}.{raw['tool_name']}.{raw['api_name']}" for raw in documents]
    asked, wanted = FOUND[name_of_folder(documents_folder)]
    with httpx.Client(base_url=real_service, timeout=300) as client:
        first = put(client, "rapidapi", *documents)
        assert first["rejected"] == []
        assert first["imported"] + first["updated"] == len(documents)
        tools = listed(client, limit=200)
        assert {tool["tool_name"] for tool in tools} == set(names)
        assert len(tools) == first["imported"]

        second = put(client, "rapidapi", *documents, *TOOLS)
        assert (second["imported"], second["updated"], second["unchanged"]) == (len(TOOLS), *[len(documents)] * 2)
        assert ok(client.get("/readyz"))["tools"] == len(set(names)) + len(TOOLS)
        for name in names[::200]:
            assert ok(client.get(path(name)))["tool_name"] == name
        assert wanted in search(client, asked)
