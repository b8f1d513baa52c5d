"""Instructions that give their tool away, or that stand there already, are asked for again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.catalogue.rapidapi import parse_document
from app.domain import Interaction, Json, Tool, ToolCall
from tests.support.published_cases import document, parameter
from training.common.stages import NO_PROGRESS, Progress
from training.data.dataset import read_rows
from training.data.records import Attributes, ToolUse, Understanding
from training.generators.writer import PlannedInteraction, WriterRejected
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_4_preferences import SETTINGS, User
from training.petoolbench.stage_6_instructions import (
    INSTRUCTIONS,
    Asked,
    Material,
    read_instructions,
    write_instructions,
)

CITY = parameter("city", "STRING")
MATCH = [
    parse_document(document("Weather", provider, api, CITY))
    for provider, api in (("Skyline", "Rain Radar"), ("Nimbus", "Wet Days"), ("Puffin", "Umbrella Index"))
]
TIDES = [
    parse_document(document("Weather", provider, "High Water", parameter("harbour", "STRING")))
    for provider in ("Selkie", "Kelp Works")
]
TOOLS = {tool.name: tool for tool in (*MATCH, *TIDES)}
RAIN = Group("g0", "Weather", tuple(tool.name for tool in MATCH), False)
WATER = Group("g1", "Weather", tuple(tool.name for tool in TIDES), False)
GROUPS = {name: group for group in (RAIN, WATER) for name in group.tools}
UNDERSTOOD = {
    name: Understanding(
        name, ToolUse("", {}), Attributes(f"tell what the {tool.category} is", f"by {tool.provider}, {tool.api}")
    )
    for name, tool in TOOLS.items()
}
MATERIAL = Material(TOOLS, UNDERSTOOD, GROUPS)
HISTORY = [Interaction("before", ToolCall(TIDES[0].name, {}), datetime(2025, 1, 1, tzinfo=UTC))]
Answer = str | Exception


class Scripted:
    """Says for each key what the test says, attempt by attempt; the last again and again."""

    name = "scripted"

    def __init__(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, int]] = []
        self.given: dict[str, tuple[Sequence[Interaction], Tool, Sequence[Attributes]]] = {}

    async def example(self, tool: Tool, key: str) -> ToolUse:
        raise NotImplementedError

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:
        raise NotImplementedError

    async def history(self, setting: object, planned: Sequence[PlannedInteraction], key: str) -> Sequence[ToolUse]:
        raise NotImplementedError

    async def instruction(
        self, history: Sequence[Interaction], tool: Tool, group: Sequence[Attributes], key: str, attempt: int
    ) -> ToolUse:
        self.asked.append((key, attempt))
        self.given[key] = (history, tool, group)
        answers = self._answers[key]
        answer = answers[min(attempt, len(answers) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return ToolUse(answer, {"city": f"attempt {attempt}"})


def user(name: str, *targets: Tool) -> User:
    return User(name, SETTINGS[0], False, tuple(tool.name for tool in targets or MATCH[:1]), ())


async def written(
    answers: Mapping[str, Sequence[Answer]],
    directory: Path,
    users: Sequence[User] | None = None,
    attempts: int = 4,
) -> tuple[Scripted, Mapping[str, Json], list[Asked]]:
    writer = Scripted(answers)
    users = users or [user(name) for name in dict.fromkeys(key.split("/")[0] for key in answers)]
    histories = {each.id: HISTORY for each in users}
    report = await write_instructions(users, histories, MATERIAL, writer, attempts, directory, NO_PROGRESS)
    return writer, report, read_instructions(directory / INSTRUCTIONS)


async def test_each_target_gets_an_instruction(tmp_path: Path) -> None:
    users = [user("bert", MATCH[1], TIDES[0]), user("anna", MATCH[0])]
    answers = {"bert/0": ["Will it pour in Bergen?"], "bert/1": ["When is it deep?"], "anna/0": ["Dry on Sunday?"]}
    writer, report, found = await written(answers, tmp_path, users)
    city = {"city": "attempt 0"}
    assert found == [
        Asked("anna", 0, "Dry on Sunday?", ToolCall(MATCH[0].name, city)),
        Asked("bert", 0, "Will it pour in Bergen?", ToolCall(MATCH[1].name, city)),
        Asked("bert", 1, "When is it deep?", ToolCall(TIDES[0].name, city)),
    ]
    assert report == {"wanted": 3, "instructions": 3, "asked_again": {}, "given_up": {}}
    assert writer.asked == [("bert/0", 0), ("bert/1", 0), ("anna/0", 0)]


async def test_the_writer_is_told_history_tool_and_the_attributes_of_the_whole_group(tmp_path: Path) -> None:
    writer, _, _ = await written({"anna/0": ["Dry?"]}, tmp_path, [user("anna", MATCH[1])])
    history, tool, group = writer.given["anna/0"]
    assert history == HISTORY
    assert tool is MATCH[1]
    assert group == [UNDERSTOOD[name].attributes for name in RAIN.tools]


@pytest.mark.parametrize(
    "told",
    [
        "Ask Skyline whether it rains in Oslo",
        "ask skyline: rain in Oslo?",
        "Ask Nimbus whether it rains in Oslo",
        "What does the rain radar say of Oslo?",
        "What is Oslo's umbrella index?",
        "PUFFIN, rain in Oslo?",
    ],
)
async def test_what_gives_a_tool_of_the_group_away_is_asked_for_again(told: str, tmp_path: Path) -> None:
    writer, report, found = await written({"anna/0": [told, told, "Will it rain in Oslo?"]}, tmp_path)
    assert [each.instruction for each in found] == ["Will it rain in Oslo?"]
    assert found[0].answer.parameters == {"city": "attempt 2"}
    assert writer.asked == [("anna/0", 0), ("anna/0", 1), ("anna/0", 2)]
    assert report == {"wanted": 1, "instructions": 1, "asked_again": {"name_leak": 2}, "given_up": {}}


@pytest.mark.parametrize("told", ["Is there a radar for rain?", "High water in Oslo?", "Kelp in the harbour of Oslo?"])
async def test_words_that_tell_no_tool_apart_give_nothing_away(told: str, tmp_path: Path) -> None:
    """A single word of an API's name, the API that the whole group has, another group's provider."""
    target = TIDES[0] if "High" in told else MATCH[0]
    _, report, found = await written({"anna/0": [told]}, tmp_path, [user("anna", target)])
    assert [each.instruction for each in found] == [told]
    assert report["asked_again"] == {}


@pytest.mark.parametrize("again", ["Dry in Oslo?", "DRY  in\tOslo?", " dry in oslo?\n"])
async def test_the_same_text_is_never_there_twice(again: str, tmp_path: Path) -> None:
    answers = {"anna/0": ["Dry in Oslo?"], "bert/0": [again, "Dry in Rome?"], "carl/0": [again, again, "Dry in Bonn?"]}
    writer, report, found = await written(answers, tmp_path)
    assert [each.instruction for each in found] == ["Dry in Oslo?", "Dry in Rome?", "Dry in Bonn?"]
    assert report["asked_again"] == {"duplicate": 3}
    assert writer.asked.count(("anna/0", 0)) == 1
    assert ("anna/0", 1) not in writer.asked


async def test_a_text_that_was_refused_for_another_reason_is_still_free(tmp_path: Path) -> None:
    """Skyline gives a rain tool away, but not one for tides."""
    users = [user("anna", MATCH[0]), user("bert", TIDES[0])]
    answers = {"anna/0": ["Ask skyline", "Dry?"], "bert/0": ["Ask skyline"]}
    _, report, found = await written(answers, tmp_path, users)
    assert [each.instruction for each in found] == ["Dry?", "Ask skyline"]
    assert report["asked_again"] == {"name_leak": 1}


@pytest.mark.parametrize("blank", ["", "  ", "\n\t"])
async def test_a_blank_text_is_refused(blank: str, tmp_path: Path) -> None:
    _, report, found = await written({"anna/0": [blank, "Dry?"]}, tmp_path)
    assert [each.instruction for each in found] == ["Dry?"]
    assert report["asked_again"] == {"blank": 1}


async def test_what_the_writer_rejects_is_asked_for_again(tmp_path: Path) -> None:
    answers: dict[str, list[Answer]] = {
        "anna/0": [WriterRejected("invalid_json", "no"), WriterRejected("wrong_tool", "no"), "Dry?"]
    }
    _, report, found = await written(answers, tmp_path)
    assert [each.instruction for each in found] == ["Dry?"]
    assert report["asked_again"] == {"invalid_json": 1, "wrong_tool": 1}
    assert report["given_up"] == {}


@pytest.mark.parametrize("attempts", [1, 3])
async def test_after_so_many_attempts_it_is_given_up(attempts: int, tmp_path: Path) -> None:
    answers: dict[str, list[Answer]] = {
        "anna/0": ["Dry?"],
        "bert/0": ["Ask Nimbus"],
        "carl/0": [*["Ask Nimbus"] * (attempts - 1), "dry?"],
        "dora/0": [WriterRejected("invalid_json", "no")],
        "emil/0": [" "],
    }
    writer, report, found = await written(answers, tmp_path, attempts=attempts)
    assert [each.user_id for each in found] == ["anna"]
    assert (report["wanted"], report["instructions"]) == (5, 1)
    # By what was wrong at the last attempt.
    assert report["given_up"] == {"blank": 1, "duplicate": 1, "invalid_json": 1, "name_leak": 1}
    assert [attempt for key, attempt in writer.asked if key == "bert/0"] == list(range(attempts))


async def test_one_target_given_up_does_not_take_the_user_s_others(tmp_path: Path) -> None:
    users = [user("anna", MATCH[0], TIDES[0])]
    _, _, found = await written({"anna/0": ["Ask Skyline"], "anna/1": ["How deep?"]}, tmp_path, users)
    assert [(each.number, each.instruction) for each in found] == [(1, "How deep?")]


async def test_users_without_a_history_are_asked_nothing(tmp_path: Path) -> None:
    writer = Scripted({"anna/0": ["Dry?"]})
    told: list[int] = []
    progress = Progress(lambda _, total: told.append(total or 0), told.append)
    users = [user("anna"), user("bert")]
    report = await write_instructions(users, {"anna": HISTORY}, MATERIAL, writer, 4, tmp_path, progress)
    assert (report["wanted"], report["instructions"]) == (1, 1)
    assert told == [1, 1]


async def test_further_attempts_are_no_further_progress(tmp_path: Path) -> None:
    told: list[int] = []
    progress = Progress(lambda _, total: told.append(total or 0), told.append)
    writer = Scripted({"anna/0": [" ", "Nimbus?", "Dry?"]})
    await write_instructions([user("anna")], {"anna": HISTORY}, MATERIAL, writer, 4, tmp_path, progress)
    assert told == [1, 1]


async def test_any_other_fault_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await written({"anna/0": [ZeroDivisionError("a bug")]}, tmp_path)
    assert not (tmp_path / INSTRUCTIONS).exists()


async def test_rows_are_in_the_order_of_users_and_numbers(tmp_path: Path) -> None:
    users = [user(name, MATCH[0], TIDES[0]) for name in ("cleo", "anna", "bert")]
    answers = {f"{each.id}/{number}": [f"Text {each.id} {number}"] for each in users for number in (0, 1)}
    await written(answers, tmp_path, users)
    rows = [(row["user_id"], row["number"]) for row in read_rows(tmp_path / INSTRUCTIONS)]
    assert rows == [(name, number) for name in ("anna", "bert", "cleo") for number in (0, 1)]


async def test_what_is_given_up_after_one_attempt_was_never_asked_again(tmp_path: Path) -> None:
    _, report, found = await written({"anna/0": [""]}, tmp_path, attempts=1)
    assert found == []
    assert report == {"wanted": 1, "instructions": 0, "asked_again": {}, "given_up": {"blank": 1}}
