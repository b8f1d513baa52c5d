"""Which documents become tools of the benchmark, and what is understood of them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.catalogue.rapidapi import parse_document
from app.domain import HistorySetting, Interaction, Json, Tool
from app.errors import SetupError
from tests.support.published_cases import document, parameter
from training.common.stages import NO_PROGRESS, Progress
from training.data.dataset import read_rows
from training.data.records import Attributes, ToolUse
from training.generators.writer import PlannedInteraction, WriterRejected
from training.petoolbench.config import PrepareConfig
from training.petoolbench.stage_1_prepare import DROPPED, TOOLS, prepare
from training.petoolbench.stage_2_understand import REJECTED, UNDERSTOOD, read_understood, understand
from training.petoolbench.writing import write_all

FORECAST = document("Weather", "Sky", "Forecast", api_description="Tells tomorrow's temperature and rain.")
TIDES = document("Weather", "Sea", "Tides", api_description="High and low water of every harbour.")


def write_lines(path: Path, *documents: Json) -> Path:
    """JSON Lines; a text stands for a line that is none."""
    lines = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def prepared(source: Path, directory: Path, min_words: int = 2) -> Mapping[str, Json]:
    return prepare(source, PrepareConfig(min_words=min_words), directory, NO_PROGRESS)


def names(directory: Path) -> list[str]:
    return [row["name"] for row in read_rows(directory / TOOLS)]


def dropped(directory: Path) -> dict[str, tuple[str, str]]:
    """Location to reason and name."""
    return {row["location"]: (row["reason"], row["name"]) for row in read_rows(directory / DROPPED)}


# ---------------------------------------------------------------- what is dropped


def test_each_reason_is_told_with_file_and_line(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_lines(
        source / "a.jsonl",
        FORECAST,
        '{"category_name": "Weather",',
        {"category_name": "Weather", "tool_name": "Sky", "api_description": "No api_name."},
        document("Weather", "Old", "Rain", api_description="Rain by the hour, in inches.", deprecated=True),
        document("Weather", "Older", "Snow", api_description="Deprecated: snow by the hour, use Ski instead."),
        document("Weather", "Rare", "Ping", api_description="Rare weather."),
        FORECAST,
        {**FORECAST, "api_description": "Says something else entirely."},
        document("weather", "sky", "forecast", api_description="Only spelled in another way."),
        document("Weather", "Wind", "Gusts", api_description="tells TOMORROW'S temperature, and rain"),
        document("Weather", "Misc", "weather", api_description="Everything about clouds and sunshine."),
        document("Weather", "WEATHER", "Clouds", api_description="Everything about low clouds and fog."),
    )
    (source / "b.json").write_text(json.dumps([TIDES, "no object"]), "utf-8")
    (source / "c.json").write_text("", "utf-8")
    report = prepared(source, tmp_path)
    assert dropped(tmp_path) == {
        "a.jsonl:2": ("unreadable", ""),
        "a.jsonl:3": ("not_importable", "Weather.Sky"),
        "a.jsonl:4": ("deprecated", "Weather.Old.Rain"),
        "a.jsonl:5": ("deprecated", "Weather.Older.Snow"),
        "a.jsonl:6": ("too_little_documentation", "Weather.Rare.Ping"),
        "a.jsonl:7": ("repeated_name", "Weather.Sky.Forecast"),
        "a.jsonl:8": ("repeated_name", "Weather.Sky.Forecast"),
        "a.jsonl:9": ("repeated_name", "weather.sky.forecast"),
        "a.jsonl:10": ("repeated_description", "Weather.Wind.Gusts"),
        "a.jsonl:11": ("category_name", "Weather.Misc.weather"),
        "a.jsonl:12": ("category_name", "Weather.WEATHER.Clouds"),
        "b.json[1]": ("not_importable", ""),
        "c.json": ("unreadable", ""),
    }
    assert names(tmp_path) == ["Weather.Sea.Tides", "Weather.Sky.Forecast"]
    assert report["documents"] == 15
    assert report["tools"] == 2
    assert report["dropped"] == {
        "category_name": 2,
        "deprecated": 2,
        "not_importable": 2,
        "repeated_description": 1,
        "repeated_name": 3,
        "too_little_documentation": 1,
        "unreadable": 2,
    }


def test_the_report_shows_the_first_of_each_reason(tmp_path: Path) -> None:
    late = {**TIDES, "api_name": "Ebb", "api_description": "Obsolete since spring."}
    later = {**TIDES, "api_name": "Flow", "api_description": "No longer supported by the harbours."}
    report = prepared(write_lines(tmp_path / "s.jsonl", FORECAST, TIDES, late, later), tmp_path / ".")
    assert report["examples"] == {"deprecated": "Weather.Sea.Ebb: its document says so"}


def test_counts_add_up_over_many_documents(tmp_path: Path) -> None:
    """More than one batch; what repeats an earlier batch is still found, where it stands."""
    many = [
        document("Numbers", f"Provider{number}", "Count", api_description=f"Counts sheep{'abcdefgh'[number % 8] * 3}")
        for number in range(1_100)
    ]
    report = prepared(write_lines(tmp_path / "s.jsonl", *many, many[0]), tmp_path)
    assert report["documents"] == 1_101 == report["tools"] + sum(report["dropped"].values())
    assert report["tools"] == len(names(tmp_path)) == 8
    assert report["dropped"] == {"repeated_description": 1_092, "repeated_name": 1}
    assert dropped(tmp_path)["s.jsonl:1101"] == ("repeated_name", "Numbers.Provider0.Count")


@pytest.mark.parametrize("flag", [True, "true", "True", 1])
@pytest.mark.parametrize("key", ["deprecated", "is_deprecated"])
def test_a_document_says_by_a_flag_that_it_is_deprecated(key: str, flag: Json, tmp_path: Path) -> None:
    other = document("Weather", "Wind", "Gusts", api_description="Gusts at sea and on land.")
    report = prepared(write_lines(tmp_path / "s.jsonl", FORECAST, TIDES, {**other, key: flag}), tmp_path)
    assert report["dropped"] == {"deprecated": 1}


@pytest.mark.parametrize("flag", [False, "false", None, 0])
def test_a_flag_that_says_no_is_no_reason(flag: Json, tmp_path: Path) -> None:
    report = prepared(write_lines(tmp_path / "s.jsonl", FORECAST, {**TIDES, "deprecated": flag}), tmp_path)
    assert report["dropped"] == {}


@pytest.mark.parametrize(
    "text", ["[DEPRECATED] Tides.", "An obsolete list.", "Discontinued in May.", "It is no longer maintained."]
)
def test_a_document_says_in_words_that_it_is_deprecated(text: str, tmp_path: Path) -> None:
    other = document("Weather", "Wind", "Gusts", api_description=text)
    assert prepared(write_lines(tmp_path / "s.jsonl", FORECAST, TIDES, other), tmp_path)["dropped"] == {"deprecated": 1}


@pytest.mark.parametrize("order", [1, -1])
def test_a_deprecated_document_does_not_cost_the_live_one_of_its_name(order: int, tmp_path: Path) -> None:
    old = {**FORECAST, "api_description": "The forecast as it was.", "deprecated": True}
    source = write_lines(tmp_path / "tools.jsonl", *[old, FORECAST][::order], TIDES)
    report = prepared(source, tmp_path)
    assert names(tmp_path) == ["Weather.Sea.Tides", "Weather.Sky.Forecast"]
    assert report["dropped"] == {"deprecated": 1}


def test_a_flag_counts_for_one_api_of_a_tool(tmp_path: Path) -> None:
    apis = [
        {"name": "Rain", "description": "Tells where it rains tomorrow."},
        {"name": "Snow", "description": "Tells where it snows tomorrow.", "deprecated": True},
    ]
    sky = {"category_name": "Weather", "tool_name": "Sky", "api_list": apis}
    prepared(write_lines(tmp_path / "tools.jsonl", sky, TIDES), tmp_path)
    assert names(tmp_path) == ["Weather.Sea.Tides", "Weather.Sky.Rain"]
    assert dropped(tmp_path) == {"tools.jsonl:1": ("deprecated", "Weather.Sky.Snow")}


def test_words_of_provider_and_category_are_no_documentation(tmp_path: Path) -> None:
    thin = document("Weather", "Wind Ways", "Gusts", api_description="Wind ways weather 24/7 a b")
    source = write_lines(tmp_path / "s.jsonl", FORECAST, TIDES, thin)
    assert prepared(source, tmp_path, min_words=2)["dropped"] == {"too_little_documentation": 1}
    assert prepared(source, tmp_path, min_words=1)["dropped"] == {}


def test_tools_without_a_description_do_not_repeat_one_another(tmp_path: Path) -> None:
    bare = [
        document("Weather", provider, api, api_description="")
        for provider, api in (("Sky", "Daily Forecast"), ("Sea", "Tide Table"))
    ]
    assert prepared(write_lines(tmp_path / "s.jsonl", *bare), tmp_path)["tools"] == 2


def test_what_was_dropped_does_not_make_others_repetitions(tmp_path: Path) -> None:
    old = {**FORECAST, "tool_name": "Old Sky", "deprecated": True}
    assert prepared(write_lines(tmp_path / "s.jsonl", old, FORECAST, TIDES), tmp_path)["dropped"] == {"deprecated": 1}


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    for folder, files in {"one": ("a.jsonl", "b.jsonl"), "other": ("b.jsonl", "a.jsonl")}.items():
        (tmp_path / folder).mkdir()
        write_lines(tmp_path / folder / files[0], FORECAST, document("Zoo", "Ark", "Two of each kind"))
        write_lines(tmp_path / folder / files[1], TIDES, document("Art", "Louvre", "Find paintings"))
        (tmp_path / f"{folder}-out").mkdir()
        prepared(tmp_path / folder, tmp_path / f"{folder}-out")
    assert (tmp_path / "one-out" / TOOLS).read_bytes() == (tmp_path / "other-out" / TOOLS).read_bytes()
    found = names(tmp_path / "one-out")
    assert found == sorted(found)
    assert len(found) == 4


def test_the_paper_s_two_forms_of_documents_are_read(tmp_path: Path) -> None:
    (tmp_path / "in" / "Sports").mkdir(parents=True)
    apis = [
        {"name": "Scores", "description": "Scores of last night's matches."},
        {"name": "Tables", "description": "Who leads which league."},
    ]
    (tmp_path / "in" / "Sports" / "ball.json").write_text(json.dumps({"tool_name": "Ball", "api_list": apis}))
    prepared(tmp_path / "in", tmp_path)
    assert names(tmp_path) == ["Sports.Ball.Scores", "Sports.Ball.Tables"]


@pytest.mark.parametrize("kept", [[], [FORECAST]])
def test_fewer_than_two_tools_are_an_error(kept: list[Json], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "s.jsonl", *kept, {**TIDES, "deprecated": True})
    with pytest.raises(SetupError, match=f"{len(kept)} usable tools of {len(kept) + 1} documents"):
        prepared(source, tmp_path)
    assert not (tmp_path / TOOLS).exists()


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no file or folder"):
        prepared(tmp_path / "nowhere", tmp_path)


# ---------------------------------------------------------------- what is understood


class Scripted:
    """Writes examples and attributes; `faults` are raised for the tools they are of."""

    name = "scripted"

    def __init__(self, faults: Mapping[str, Exception] | None = None) -> None:
        self._faults = faults or {}
        self.keys: list[str] = []
        self.finished: list[str] = []

    async def example(self, tool: Tool, key: str) -> ToolUse:
        self.keys.append(key)
        # The later it is asked, the earlier it answers.
        for _ in range(10 * (8 - len(self.keys))):
            await asyncio.sleep(0)
        if tool.name in self._faults:
            raise self._faults[tool.name]
        self.finished.append(tool.name)
        return ToolUse(f"Use {tool.provider}", {"city": tool.provider})

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:
        if f"{tool.name}!" in self._faults:
            raise self._faults[f"{tool.name}!"]
        return Attributes(f"do {tool.api}", f"by {tool.provider}, as in {example.instruction}")

    async def history(
        self, setting: HistorySetting, planned: Sequence[PlannedInteraction], key: str
    ) -> Sequence[ToolUse]:
        raise NotImplementedError

    async def instruction(
        self, history: Sequence[Interaction], tool: Tool, group: Sequence[Attributes], key: str, attempt: int
    ) -> ToolUse:
        raise NotImplementedError


SIX = [
    parse_document(document("Weather", provider, "Forecast", parameter("city", "STRING")))
    for provider in ("Sky", "Sea", "Wind", "Alps", "Moon", "Star")
]


def counting(told: list[Any]) -> Progress:
    return Progress(lambda _, total: told.append(total), told.append)


async def test_tools_are_understood_in_their_order_whoever_answers_first(tmp_path: Path) -> None:
    writer, told = Scripted(), list[Any]()
    report = await understand(SIX, writer, tmp_path, counting(told))
    assert writer.finished == [tool.name for tool in reversed(SIX)]
    found = read_understood(tmp_path / UNDERSTOOD)
    assert list(found) == [tool.name for tool in SIX]
    assert writer.keys == list(found)
    sea = found["Weather.Sea.Forecast"]
    assert sea.example == ToolUse("Use Sea", {"city": "Sea"})
    assert sea.attributes == Attributes("do Forecast", "by Sea, as in Use Sea")
    assert report == {
        "writer": "scripted",
        "tools": 6,
        "rejected": {},
        "distinct_functionality": 1,
        "distinct_non_functional": 6,
    }
    assert told == [6, *[1] * 6]


async def test_rejected_tools_are_listed_and_left_out(tmp_path: Path) -> None:
    faults = {
        SIX[1].name: WriterRejected("invalid_json", "no object"),
        SIX[3].name: WriterRejected("invalid_json", "half an object"),
        f"{SIX[4].name}!": WriterRejected("blank", "functionality is empty"),
    }
    told: list[Any] = []
    report = await understand(SIX, Scripted(faults), tmp_path, counting(told))
    assert list(read_understood(tmp_path / UNDERSTOOD)) == [SIX[place].name for place in (0, 2, 5)]
    assert list(read_rows(tmp_path / REJECTED)) == [
        {"tool_name": SIX[1].name, "kind": "invalid_json", "detail": "no object"},
        {"tool_name": SIX[3].name, "kind": "invalid_json", "detail": "half an object"},
        {"tool_name": SIX[4].name, "kind": "blank", "detail": "functionality is empty"},
    ]
    assert (report["tools"], report["rejected"]) == (3, {"blank": 1, "invalid_json": 2})
    assert told == [6, *[1] * 6]


async def test_nothing_understood_is_an_error(tmp_path: Path) -> None:
    faults = {tool.name: WriterRejected("blank", "nothing") for tool in SIX}
    with pytest.raises(SetupError, match="scripted could not write an example for any of 6 tools"):
        await understand(SIX, Scripted(faults), tmp_path, NO_PROGRESS)
    assert not (tmp_path / UNDERSTOOD).exists()


async def test_any_other_fault_ends_the_run(tmp_path: Path) -> None:
    writer = Scripted({SIX[5].name: ZeroDivisionError("a bug")})
    with pytest.raises(ZeroDivisionError):
        await understand(SIX, writer, tmp_path, NO_PROGRESS)
    assert writer.finished == []
    assert not (tmp_path / UNDERSTOOD).exists()


async def test_many_items_are_written_in_their_order() -> None:
    running = most = 0

    async def write(item: int) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if item % 7 == 3:
            raise WriterRejected("blank", str(item))
        return f"text {item}"

    found = await write_all(range(600), write, NO_PROGRESS)
    told = [each.detail if isinstance(each, WriterRejected) else each.removeprefix("text ") for each in found]
    assert told == [str(item) for item in range(600)]
    assert [isinstance(each, WriterRejected) for each in found] == [item % 7 == 3 for item in range(600)]
    assert 1 < most < 600


async def test_nothing_to_write_is_nothing_written() -> None:
    async def write(item: int) -> str:
        raise AssertionError(item)

    assert await write_all([], write, NO_PROGRESS) == []
