"""/users/{id}/history, its export and its end, over HTTP and on real PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.api import cursors
from tests.support.catalogue import MIRANDEX_WEATHER, QUIET_SEARCH, QUIET_WEATHER, TINKLE_WEATHER
from tests.support.steps import add_history, call, feedback, history, interaction, ok, problem


def minute(number: int) -> str:
    return (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=number)).isoformat()


def from_now(**distance: float) -> str:
    return (datetime.now(UTC) + timedelta(**distance)).isoformat()


def test_an_import_comes_back_whole_and_newest_first(client: httpx.Client, user: str) -> None:
    ratings = ["liked", "disliked", None]
    items = [interaction(QUIET_WEATHER, ratings[n % 3], minute(n), city=f"Town {n}") for n in range(450)]
    report = add_history(client, user, *items)
    assert report == {"imported": 450, "updated": 0, "rejected": [], "warnings": []}
    stored = history(client, user)
    for item, given in zip(stored, reversed(items), strict=True):
        assert item["tool_call"] == given["tool_call"]
        assert item["instruction"] == given["instruction"]
        assert item["rating"] == given["rating"]
        assert datetime.fromisoformat(item["occurred_at"]) == datetime.fromisoformat(given["occurred_at"])
        assert item["call_id"] is None


BROKEN: dict[str, tuple[Any, str]] = {
    "a number": (7, "valid dictionary"),
    "a text": ("forecast", "valid dictionary"),
    "null": (None, "valid dictionary"),
    "a list": ([], "valid dictionary"),
    "nothing in it": ({}, "instruction: Field required"),
    "no call": ({"instruction": "x"}, "tool_call: Field required"),
    "an empty instruction": (interaction(QUIET_WEATHER, city="Rome") | {"instruction": ""}, "instruction"),
    "an unknown rating": (interaction(QUIET_WEATHER, "adored", city="Rome"), "rating"),
    "an unknown field": (interaction(QUIET_WEATHER, city="Rome") | {"stars": 5}, "stars"),
    "no date": (interaction(QUIET_WEATHER, when="yesterday", city="Rome"), "occurred_at"),
    "a date before year 1 in UTC": (interaction(QUIET_WEATHER, when="0001-01-01T00:00:00+14:00"), "occurred_at"),
    "parameters that are no object": (
        {"instruction": "x", "tool_call": {"tool_name": QUIET_WEATHER, "parameters": [1]}},
        "parameters",
    ),
    "an unknown tool": (interaction("No.Such.Tool"), "'No.Such.Tool' is not in the catalogue"),
    "an unknown parameter": (interaction(QUIET_WEATHER, city="Rome", colour="red"), "no parameter 'colour'"),
    "the far future": (interaction(QUIET_WEATHER, when="2999-01-01T00:00:00Z", city="Rome"), "in the future"),
    "two days ahead": (interaction(QUIET_WEATHER, when=from_now(days=2), city="Rome"), "in the future"),
    "before 1970": (interaction(QUIET_WEATHER, when="1969-12-31T23:59:59Z", city="Rome"), "before 1970"),
}


def test_each_item_that_cannot_be_taken_is_named_with_its_reason_and_the_others_are_stored(
    client: httpx.Client, user: str
) -> None:
    good = [interaction(QUIET_WEATHER, "liked", minute(number), city="Rome") for number in range(2)]
    report = add_history(client, user, good[0], *(item for item, _ in BROKEN.values()), good[1])
    assert report["imported"] == 2
    assert [item["index"] for item in report["rejected"]] == list(range(1, len(BROKEN) + 1))
    for (name, (_, expected)), item in zip(BROKEN.items(), report["rejected"], strict=True):
        assert expected in item["reason"], name
    assert len(history(client, user)) == 2


def test_an_import_of_which_nothing_can_be_taken_makes_no_user(client: httpx.Client, user: str) -> None:
    report = add_history(client, user, interaction("No.Such.Tool"), 1)
    assert (report["imported"], len(report["rejected"])) == (0, 2)
    problem(client.get(f"/users/{user}/history"), 404, "not-found")


def test_missing_and_wrong_values_are_stored_with_a_warning(client: httpx.Client, user: str) -> None:
    report = add_history(
        client,
        user,
        interaction(QUIET_WEATHER, "liked", minute(0)),
        interaction(QUIET_WEATHER, "liked", minute(1), city=["not", "a", "text"]),
        interaction(QUIET_WEATHER, "liked", minute(2), city="Rome"),
    )
    assert (report["imported"], report["rejected"]) == (3, [])
    assert [item["index"] for item in report["warnings"]] == [0, 1]
    assert "city is required" in report["warnings"][0]["reason"]
    assert "city" in report["warnings"][1]["reason"]
    assert [item["tool_call"]["parameters"] for item in history(client, user)] == [
        {"city": "Rome"},
        {"city": ["not", "a", "text"]},
        {},
    ]


def test_the_same_import_again_adds_nothing_and_takes_over_ratings(client: httpx.Client, user: str) -> None:
    items = [interaction(QUIET_WEATHER, "liked", minute(number), city="Rome") for number in range(3)]
    assert add_history(client, user, *items)["imported"] == 3
    before = history(client, user)
    again = add_history(client, user, items[0], items[1] | {"rating": "disliked"}, items[2] | {"rating": None})
    assert (again["imported"], again["updated"]) == (0, 3)
    after = history(client, user)
    assert [item["id"] for item in after] == [item["id"] for item in before]
    assert [item["rating"] for item in after] == [None, "disliked", "liked"]


def test_an_interaction_twice_in_one_import_is_stored_once_with_the_last_rating(
    client: httpx.Client, user: str
) -> None:
    item = interaction(QUIET_WEATHER, "liked", city="Rome")
    report = add_history(client, user, item, item | {"rating": "disliked"})
    assert (report["imported"], report["updated"]) == (1, 1)
    assert [stored["rating"] for stored in history(client, user)] == ["disliked"]


def test_a_changed_rating_changes_the_next_answer(client: httpx.Client, user: str) -> None:
    item = interaction(MIRANDEX_WEATHER, "liked", city="Rome")
    add_history(client, user, item)
    assert call(client, user)["tool_call"]["tool_name"] == MIRANDEX_WEATHER
    add_history(client, user, item | {"rating": "disliked"})
    assert call(client, user)["tool_call"]["tool_name"] != MIRANDEX_WEATHER


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_hold_everything_once_also_where_times_are_equal(client: httpx.Client, user: str, limit: int) -> None:
    add_history(client, user, *(interaction(QUIET_WEATHER, None, minute(n // 5), city=f"Town {n}") for n in range(14)))
    whole = history(client, user)
    assert len({item["id"] for item in whole}) == 14
    assert history(client, user, limit=limit) == whole
    times = [item["occurred_at"] for item in whole]
    assert times == sorted(times, reverse=True)


def test_what_arrives_between_two_pages_repeats_nothing(client: httpx.Client, user: str) -> None:
    add_history(client, user, *(interaction(QUIET_WEATHER, None, minute(number), city="Rome") for number in range(4)))
    first = ok(client.get(f"/users/{user}/history", params={"limit": 2}))
    add_history(client, user, interaction(QUIET_WEATHER, None, minute(9), city="Rome"))
    second = ok(client.get(f"/users/{user}/history", params={"limit": 2, "cursor": first["next_cursor"]}))
    times = [item["occurred_at"] for item in first["items"] + second["items"]]
    assert [datetime.fromisoformat(time).minute for time in times] == [3, 2, 1, 0]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "é",
        "====",
        "A" * 200,
        "A" * 201,
        cursors.encode(1),
        cursors.encode("2026-05-01T10:00:00+00:00"),
        cursors.encode("yesterday", 1),
        cursors.encode("2026-05-01T10:00:00+00:00", -1),
        cursors.encode("2026-05-01T10:00:00+00:00", 2**63),
        cursors.encode("0001-01-01T00:00:00+14:00", 1),
        cursors.encode("2026-05-01T10:00:00+00:00", 1, 1),
    ],
)
def test_a_cursor_that_was_not_given_out_is_422(client: httpx.Client, user: str, cursor: str) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, city="Rome"))
    problem(client.get(f"/users/{user}/history", params={"cursor": cursor}), 422, "invalid-request")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "many", "1.5"])
def test_a_page_has_1_to_200_items(client: httpx.Client, user: str, limit: str) -> None:
    problem(client.get(f"/users/{user}/history", params={"limit": limit}), 422, "invalid-request")


def test_one_interaction_can_be_forgotten(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(MIRANDEX_WEATHER, "liked", minute(1), city="Rome"))
    add_history(client, user, interaction(QUIET_SEARCH, "disliked", minute(0), query="x"))
    assert call(client, user)["tool_call"]["tool_name"] == MIRANDEX_WEATHER
    liked, disliked = history(client, user)
    answer = client.delete(f"/users/{user}/history/{liked['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert history(client, user) == [disliked]
    assert call(client, user)["tool_call"]["tool_name"] != MIRANDEX_WEATHER
    problem(client.delete(f"/users/{user}/history/{liked['id']}"), 404, "not-found")


def test_nobody_can_delete_the_interaction_of_another_user(client: httpx.Client, user: str) -> None:
    for name in (user, f"{user}-other"):
        add_history(client, name, interaction(QUIET_WEATHER, city="Rome"))
    (mine,) = history(client, user)
    problem(client.delete(f"/users/{user}-other/history/{mine['id']}"), 404, "not-found")
    assert history(client, user) == [mine]


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
def test_the_id_of_an_interaction_is_a_positive_bigint(client: httpx.Client, user: str, number: str) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, city="Rome"))
    problem(client.delete(f"/users/{user}/history/{number}"), 422, "invalid-request")


def test_erasing_a_user_says_what_it_erased_and_leaves_nothing(client: httpx.Client, user: str) -> None:
    add_history(client, user, *(interaction(QUIET_WEATHER, None, minute(number), city="Rome") for number in range(5)))
    key = {"Idempotency-Key": f"key of {user}"}
    body = {"instruction": "Weather in Lisbon"}
    rated, unrated = (ok(client.post(f"/users/{user}/tool-call", json=body, headers=key)), call(client, user))
    feedback(client, rated["call_id"], "liked")
    kept = {"Idempotency-Key": f"feedback of {user}"}
    client.post("/feedback", json={"call_id": rated["call_id"], "rating": "liked"}, headers=kept)

    answer = ok(client.delete(f"/users/{user}"))
    assert answer == {
        "user_id": user,
        "erased": {"interactions": 6, "calls": 2, "feedback": 1, "idempotent_answers": 2},
    }
    for path in ("history", "export"):
        problem(client.get(f"/users/{user}/{path}"), 404, "not-found")
    problem(client.delete(f"/users/{user}"), 404, "not-found")
    for decision in (rated, unrated):
        gone = client.post("/feedback", json={"call_id": decision["call_id"], "rating": "liked"})
        problem(gone, 404, "not-found")
    again = client.post(f"/users/{user}/tool-call", json=body, headers=key)
    assert "Idempotency-Replayed" not in again.headers
    assert ok(again)["call_id"] != rated["call_id"]
    assert again.json()["evidence"] == []


def test_other_users_keep_theirs_when_one_is_erased(client: httpx.Client, user: str) -> None:
    for name in (user, f"{user}-other"):
        add_history(client, name, interaction(QUIET_WEATHER, city="Rome"))
    ok(client.delete(f"/users/{user}"))
    assert len(history(client, f"{user}-other")) == 1


def test_calls_and_imports_while_the_user_is_erased_never_fail(client: httpx.Client, user: str) -> None:
    def work(number: int) -> int:
        if number % 3 == 0:
            return client.delete(f"/users/{user}").status_code
        if number % 3 == 1:
            items = [interaction(QUIET_WEATHER, None, minute(number), city="Rome")]
            return client.post(f"/users/{user}/history", json={"interactions": items}).status_code
        return client.post(f"/users/{user}/tool-call", json={"instruction": "Weather in Rome"}).status_code

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(work, range(90))) <= {200, 404}


def lines(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text[:-1].split("\n")]


def test_the_export_holds_everything_that_is_stored_of_the_user(client: httpx.Client, user: str) -> None:
    items = [interaction(QUIET_WEATHER, "liked", minute(number), city=f"Town {number}") for number in range(1100)]
    add_history(client, user, *items)
    decisions = [call(client, user), call(client, user, "Search the web for \u2028 lines")]
    correction = {"tool_name": TINKLE_WEATHER, "parameters": {"city": "Oslo"}}
    feedback(client, decisions[0]["call_id"], "disliked", comment="too ☂", corrected_tool_call=correction)

    head, *rest = lines(client.get(f"/users/{user}/export"))
    assert (head["kind"], head["user_id"]) == ("user", user)
    assert head["created_at"]
    exported = [line for line in rest if line["kind"] == "interaction"]
    assert [{key: value for key, value in line.items() if key != "kind"} for line in exported] == history(client, user)
    assert len(exported) == 1102
    calls = {line["call_id"]: line for line in rest if line["kind"] == "call"}
    assert len(rest) == len(exported) + len(calls)
    assert calls.keys() == {decision["call_id"] for decision in decisions}
    for decision in decisions:
        line = calls[decision["call_id"]]
        for field in ("tool_call", "history_setting", "usage", "created_at"):
            assert line[field] == decision[field], field
        assert [item["tool_name"] for item in line["candidates"]] == [
            item["tool_name"] for item in decision["candidates"]
        ]
        assert [item["interaction_id"] for item in line["evidence"]] == [
            item["interaction_id"] for item in decision["evidence"]
        ]
    given = calls[decisions[0]["call_id"]]["feedback"]
    assert (given["rating"], given["comment"], given["corrected_tool_call"]) == ("disliked", "too ☂", correction)
    assert calls[decisions[1]["call_id"]]["feedback"] is None


def test_the_export_of_a_call_holds_the_callers_own_tools(client: httpx.Client, user: str) -> None:
    function = {"name": "weather_now", "description": "Weather.", "parameters": {"type": "object", "properties": {}}}
    call(client, user, tools=[{"type": "function", "function": function}])
    (line,) = lines(client.get(f"/users/{user}/export"))[1:]
    assert [tool["name"] for tool in line["inline_tools"]] == ["weather_now"]


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2026-05-01T10:00:00", "2026-05-01T10:00:00Z"),
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"),
        ("2026-05-01T10:00:00.123456+05:30", "2026-05-01T04:30:00.123456Z"),
        ("2026-05-01T00:30:00-11:00", "2026-05-01T11:30:00Z"),
        ("2026-05-01", "2026-05-01T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_times_are_kept_in_utc_and_without_a_zone_are_utc(
    client: httpx.Client, user: str, given: str, utc: str
) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, None, given, city="Rome"))
    assert history(client, user)[0]["occurred_at"] == utc
    same = add_history(client, user, interaction(QUIET_WEATHER, None, utc, city="Rome"))
    assert (same["imported"], same["updated"]) == (0, 1)


def test_a_clock_that_is_a_little_ahead_is_accepted(client: httpx.Client, user: str) -> None:
    report = add_history(client, user, interaction(QUIET_WEATHER, "liked", from_now(hours=20), city="Rome"))
    assert report["imported"] == 1
    assert call(client, user)["evidence"]


def test_without_a_time_it_happened_now(client: httpx.Client, user: str) -> None:
    before = datetime.now(UTC)
    add_history(client, user, interaction(QUIET_WEATHER, when=None, city="Rome"))
    assert before <= datetime.fromisoformat(history(client, user)[0]["occurred_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "text", ["🌦️🏳️‍🌈", "a\u0301\u202e\u2028\ufeff\ufffd", "\U0010ffff", "\x01\x1f\x7f\t\n", "'; --\\"]
)
def test_odd_text_comes_back_as_it_was(client: httpx.Client, user: str, text: str) -> None:
    item = interaction(QUIET_WEATHER, "liked", city=text) | {"instruction": text}
    assert add_history(client, user, item)["imported"] == 1
    (stored,) = history(client, user)
    assert (stored["instruction"], stored["tool_call"]["parameters"]) == (text, {"city": text})
    assert lines(client.get(f"/users/{user}/export"))[1]["instruction"] == text
    call(client, user)


@pytest.mark.parametrize("value", [10**400, -(2**63) - 1, 2**64, 0.1 + 0.2, 1e-300, True, None, {"a": [[]]}])
def test_any_json_value_of_a_parameter_comes_back_as_it_was(client: httpx.Client, user: str, value: Any) -> None:
    assert add_history(client, user, interaction(QUIET_WEATHER, "liked", city=value))["imported"] == 1
    assert history(client, user)[0]["tool_call"]["parameters"] == {"city": value}
    assert lines(client.get(f"/users/{user}/export"))[1]["tool_call"]["parameters"] == {"city": value}
    call(client, user)


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\udc00\ud800", "\x00", "\xed\xa0\x80"])
def test_text_that_cannot_be_stored_is_400(client: httpx.Client, user: str, text: str) -> None:
    item = json.dumps({"interactions": [interaction(QUIET_WEATHER, city="@")]}).replace("@", text)
    answer = client.post(
        f"/users/{user}/history", content=item.encode("latin-1"), headers={"Content-Type": "application/json"}
    )
    problem(answer, 400, "malformed-request")


def test_imports_for_the_same_new_user_at_once_lose_and_repeat_nothing(client: httpx.Client, user: str) -> None:
    def work(number: int) -> Any:
        own = [interaction(QUIET_WEATHER, None, minute(number * 10 + n), city="Rome") for n in range(10)]
        return add_history(client, user, *own, interaction(QUIET_SEARCH, "liked", minute(0), query="x"))

    with ThreadPoolExecutor(10) as pool:
        reports = list(pool.map(work, range(20)))
    assert sum(report["imported"] for report in reports) == 201
    assert sum(report["updated"] for report in reports) == 19
    assert len(history(client, user)) == 201


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "history"), ("GET", "export"), ("DELETE", "history/1"), ("DELETE", "")]
)
def test_a_user_nobody_has_seen_is_404(client: httpx.Client, user: str, method: str, path: str) -> None:
    answer = client.request(method, f"/users/{user}/{path}".rstrip("/"))
    assert user in problem(answer, 404, "not-found")["detail"]


@pytest.mark.parametrize("name", ["a b", "ada@example.org", "Ünï", "🦊", "..", "a?b#c", "%41", "a\\b", "'", "x" * 200])
def test_a_front_end_may_call_its_users_what_it_likes(client: httpx.Client, user: str, name: str) -> None:
    name = name if len(name) == 200 else f"{name}{user}"
    path = f"/users/{quote(name, safe='')}"
    report = ok(client.post(f"{path}/history", json={"interactions": [interaction(QUIET_WEATHER, city="Rome")]}))
    assert report["imported"] == 1
    assert ok(client.post(f"{path}/tool-call", json={"instruction": "Weather in Rome"}))["user_id"] == name
    assert len(ok(client.get(f"{path}/history"))["items"]) == 1
    assert ok(client.delete(path))["user_id"] == name


@pytest.mark.parametrize("name", ["%00", "a%00b", "%0A", "%7F", "%1b[31m", "x" * 201])
def test_a_user_id_without_a_printable_form_is_422(client: httpx.Client, name: str) -> None:
    for headers in ({}, {"Idempotency-Key": "for a name that cannot be"}):
        body = {"interactions": [interaction(QUIET_WEATHER, city="Rome")]}
        problem(client.post(f"/users/{name}/history", json=body, headers=headers), 422, "invalid-request")
    problem(client.get(f"/users/{name}/history"), 422, "invalid-request")
    problem(client.delete(f"/users/{name}"), 422, "invalid-request")


@pytest.mark.parametrize("body", [{}, {"interactions": []}, {"interactions": {}}, [], {"interactions": [1], "x": 1}])
def test_a_request_that_is_no_import_is_422(client: httpx.Client, user: str, body: Any) -> None:
    problem(client.post(f"/users/{user}/history", json=body), 422, "invalid-request")
