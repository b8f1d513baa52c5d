"""Planned histories get texts from a writer, and dates."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.catalogue.rapidapi import parse_document
from app.domain import HistorySetting, Interaction, Json, Rating, Tool
from tests.support.published_cases import document, parameter
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Attributes, ToolUse, Understanding
from training.generators.values import TODAY
from training.generators.writer import PlannedInteraction, WriterRejected
from training.petoolbench.stage_4_preferences import SETTINGS, Entry, User
from training.petoolbench.stage_5_histories import (
    HISTORIES,
    asked_at,
    interaction_times,
    read_histories,
    write_histories,
)

PREFERRED_ONLY, RATING_INTEGRATED, CHRONOLOGICAL = SETTINGS
TOOLS = {
    tool.name: tool
    for tool in (
        parse_document(document("Weather", provider, "Forecast", parameter("city", "STRING")))
        for provider in ("Sky", "Sea", "Wind", "Alps")
    )
}
NAMES = list(TOOLS)
UNDERSTOOD = {
    name: Understanding(
        name, ToolUse(f"Example of {name}", {"city": "Oslo"}), Attributes("tell the weather", f"of {tool.provider}")
    )
    for name, tool in TOOLS.items()
}


class Scripted:
    """Tells of what it was given; raises for the users in `faults`."""

    name = "scripted"

    def __init__(self, faults: Mapping[str, Exception] | None = None) -> None:
        self._faults = faults or {}
        self.given: dict[str, tuple[HistorySetting, list[PlannedInteraction]]] = {}

    async def example(self, tool: Tool, key: str) -> ToolUse:
        raise NotImplementedError

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:
        raise NotImplementedError

    async def history(
        self, setting: HistorySetting, planned: Sequence[PlannedInteraction], key: str
    ) -> Sequence[ToolUse]:
        self.given[key] = (setting, list(planned))
        if key in self._faults:
            raise self._faults[key]
        return [
            ToolUse(f"{key} asks {each.tool.provider} ({place})", {"city": each.tool.provider, "day": place})
            for place, each in enumerate(planned)
        ]

    async def instruction(
        self, history: Sequence[Interaction], tool: Tool, group: Sequence[Attributes], key: str, attempt: int
    ) -> ToolUse:
        raise NotImplementedError


def user(name: str, setting: HistorySetting = PREFERRED_ONLY, wanted: Sequence[bool] = (True, True, True)) -> User:
    entries = tuple(Entry(NAMES[place], each) for place, each in enumerate(wanted))
    return User(name, setting, False, (NAMES[3],), entries)


async def written(
    users: Sequence[User], directory: Path, writer: Scripted | None = None, seed: int = 1
) -> Mapping[str, Json]:
    return await write_histories(users, TOOLS, UNDERSTOOD, writer or Scripted(), seed, directory, NO_PROGRESS)


async def test_each_entry_gets_its_text_in_order(tmp_path: Path) -> None:
    report = await written([user("anna"), user("bert", wanted=[True] * 2)], tmp_path)
    found = read_histories(tmp_path / HISTORIES)
    assert list(found) == ["anna", "bert"]
    assert [(each.instruction, each.tool_call.tool_name, each.tool_call.parameters) for each in found["anna"]] == [
        ("anna asks Sky (0)", NAMES[0], {"city": "Sky", "day": 0}),
        ("anna asks Sea (1)", NAMES[1], {"city": "Sea", "day": 1}),
        ("anna asks Wind (2)", NAMES[2], {"city": "Wind", "day": 2}),
    ]
    assert len(found["bert"]) == 2
    assert report == {"users": 2, "rejected": {}}


async def test_the_writer_is_told_what_was_understood_and_the_setting(tmp_path: Path) -> None:
    writer = Scripted()
    await written([user("anna", CHRONOLOGICAL, [False, True])], tmp_path, writer)
    setting, planned = writer.given["anna"]
    assert setting is CHRONOLOGICAL
    assert planned == [
        PlannedInteraction(TOOLS[name], UNDERSTOOD[name].example, UNDERSTOOD[name].attributes, None)
        for name in NAMES[:2]
    ]


@pytest.mark.parametrize("setting", SETTINGS)
async def test_ratings_are_those_of_the_plan_and_in_one_setting_only(setting: HistorySetting, tmp_path: Path) -> None:
    writer = Scripted()
    await written([user("anna", setting, [True, False, True])], tmp_path, writer)
    expected: list[Rating | None] = [None] * 3
    if setting is RATING_INTEGRATED:
        expected = [Rating.LIKED, Rating.DISLIKED, Rating.LIKED]
    assert [each.rating for each in read_histories(tmp_path / HISTORIES)["anna"]] == expected
    assert [each.rating for each in writer.given["anna"][1]] == expected


async def test_a_rejected_history_is_counted_and_its_user_left_out(tmp_path: Path) -> None:
    faults = {
        "bert": WriterRejected("empty_history", "nothing"),
        "dora": WriterRejected("wrong_tool", "another"),
        "emil": WriterRejected("wrong_tool", "yet another"),
    }
    told: list[int] = []
    users = [user(name) for name in ("anna", "bert", "carl", "dora", "emil")]
    report = await write_histories(
        users, TOOLS, UNDERSTOOD, Scripted(faults), 1, tmp_path, Progress(advance=told.append)
    )
    assert list(read_histories(tmp_path / HISTORIES)) == ["anna", "carl"]
    assert report == {"users": 2, "rejected": {"empty_history": 1, "wrong_tool": 2}}
    assert sum(told) == 5


async def test_a_user_is_dated_alike_whoever_else_there_is(tmp_path: Path) -> None:
    await written([user("anna"), user("bert")], tmp_path)
    both = read_histories(tmp_path / HISTORIES)
    await written([user("bert")], tmp_path)
    assert read_histories(tmp_path / HISTORIES)["bert"] == both["bert"]
    assert [each.occurred_at for each in both["anna"]] != [each.occurred_at for each in both["bert"]]
    await written([user("bert")], tmp_path, seed=2)
    assert read_histories(tmp_path / HISTORIES)["bert"] != both["bert"]


async def test_dates_come_back_as_they_were_given(tmp_path: Path) -> None:
    await written([user("anna")], tmp_path)
    dates = [each.occurred_at for each in read_histories(tmp_path / HISTORIES)["anna"]]
    assert dates == interaction_times(3, 1, "anna")
    assert {date.utcoffset() for date in dates} == {timedelta(0)}


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize("count", [0, 1, 20])
def test_interactions_follow_one_another_and_come_before_the_instruction(count: int) -> None:
    for number in range(300):
        name = f"user {number}"
        times = interaction_times(count, 1, name)
        assert len(times) == count
        gaps = [later - earlier for earlier, later in pairwise([*times, asked_at(1, name)])]
        assert all(timedelta(minutes=20) <= gap <= timedelta(days=14) for gap in gaps)
        assert all(time.tzinfo is UTC and time.second == time.microsecond == 0 for time in times)


def test_gaps_are_minutes_days_and_weeks() -> None:
    gaps = [
        (later - earlier).total_seconds() / 3600
        for number in range(100)
        for earlier, later in pairwise(interaction_times(10, 1, f"user {number}"))
    ]
    assert min(gaps) < 1
    assert max(gaps) > 7 * 24
    assert sum(2 < gap < 100 for gap in gaps) > len(gaps) / 3


def test_instructions_are_given_today_at_a_waking_hour() -> None:
    times = [asked_at(1, f"user {number}") for number in range(500)]
    assert {time.date() for time in times} == {TODAY}
    assert {time.hour for time in times} == set(range(6, 22))
    assert all(time.tzinfo is UTC for time in times)
    assert asked_at(1, "anna") == asked_at(1, "anna") != asked_at(2, "anna")
    assert isinstance(times[0], datetime)
