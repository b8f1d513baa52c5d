"""The published file format, both ways: our data, and files such as the authors publish."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain import HistorySetting, Json, Rating, Tool, ToolCall
from app.errors import SetupError
from tests.support.published_cases import (
    DOTS,
    LIKE_BRACKETS,
    OPENAI,
    PLAIN,
    SETTINGS,
    TOOLS,
    UNICODE,
    WITHOUT_PARAMETERS,
    dataset,
)
from training.data.dataset import Dataset
from training.data.published import ImportReport, PublishedReport, entries, export_published, import_published
from training.data.published.documents import tool_document, tool_of
from training.data.published.layout import own_name, published_name
from training.data.published.reading import read_prompt
from training.data.records import Instance, Part

# ---------------------------------------------------------------- there and back


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    export_published(dataset(), directory)
    return directory


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_what_is_exported_comes_back(published: Path) -> None:
    ours = dataset()
    found, report = import_published(published)
    assert report.problems == report.remarks == ()
    assert len(found.instances) == len(ours.instances)
    for setting in SETTINGS:
        for part in Part:
            before = [each for each in ours.of(part) if each.setting is setting]
            after = [each for each in found.of(part) if each.setting is setting]
            for one, other in zip(before, after, strict=True):
                assert other.instruction == one.instruction
                assert other.candidates == one.candidates
                assert other.answer == one.answer
                assert [(each.instruction, each.tool_call, each.rating) for each in other.history] == [
                    (each.instruction, each.tool_call, each.rating) for each in one.history
                ]


def test_tools_come_back_whole(published: Path) -> None:
    found, report = import_published(published)
    assert report.undocumented == ()
    assert set(found.tools) == set(TOOLS)
    for tool in (PLAIN, DOTS, UNICODE):
        assert found.tools[tool.name] == tool
    assert found.tools[LIKE_BRACKETS.name].parameters == LIKE_BRACKETS.parameters
    assert found.tools[OPENAI.name].parameters[0].schema == {"type": "object"}


def test_numbers_keep_their_kind(published: Path) -> None:
    found, _ = import_published(published)
    answer = next(each.answer for each in found.instances if each.answer.tool_name == DOTS.name)
    assert [type(answer.parameters[name]) for name in ("days", "ratio")] == [int, float]


def test_the_export_counts_what_it_leaves_out_and_simplifies(tmp_path: Path) -> None:
    report = export_published(dataset(), tmp_path)
    assert isinstance(report, PublishedReport)
    assert report.without_rejected == 6
    assert report.entries["user_entries_sft_p.json"] == 3
    assert report.entries["user_entries_dpo_p.json"] == 1
    assert report.simplified == (OPENAI.name,)


def test_files_and_keys_are_the_published_ones(published: Path) -> None:
    kinds = ("sft", "dpo", "test", "unseen")
    names = {f"user_entries_{kind}_{letter}.json" for kind in kinds for letter in "prc"}
    assert {path.name for path in published.iterdir()} == names | {"dataset_info.json"}
    assert list(read(published / "user_entries_sft_p.json")[0]) == ["instruction", "input", "output"]
    assert list(read(published / "user_entries_dpo_r.json")[0]) == ["instruction", "input", "chosen", "rejected"]
    entry = read(published / "user_entries_test_r.json")[1]
    assert list(entry) == [
        "instruction_ratings",
        "instruction_wo_history",
        "query",
        "api_call_ground_truth",
        "entry_id",
        "history_length",
    ]
    assert entry["history_length"] == 3
    assert "rating" not in entry["instruction_wo_history"]
    info = read(published / "dataset_info.json")
    assert info["user_entries_sft_c"] == {
        "file_name": "user_entries_sft_c.json",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    }
    assert info["user_entries_dpo_c"]["ranking"] is True
    assert len(info) == 6


def test_ratings_are_written_only_where_the_setting_has_them(published: Path) -> None:
    def ratings(letter: str) -> list[Json]:
        prompt = read(published / f"user_entries_sft_{letter}.json")[1]["instruction"]
        return [each.get("rating", "none") for each in read_prompt(prompt).history]

    assert ratings("r") == [1, 0, "none"]
    assert ratings("p") == ratings("c") == ["none"] * 3


def test_the_rejected_call_keeps_the_parameters_that_the_other_tool_has(published: Path) -> None:
    entry = read(published / "user_entries_dpo_c.json")[0]
    assert json.loads(entry["rejected"]) == {"tool_name": "<Weather>.<Sky>.<Forecast>", "parameters": {"city": "[{"}}
    assert json.loads(entry["chosen"])["tool_name"] == published_name(DOTS)
    assert "\n" not in entry["chosen"]


def rejected_in(directory: Path, instances: Sequence[Instance]) -> dict[str, str]:
    """By the instances' ids."""
    directory.mkdir()
    export_published(Dataset(TOOLS, instances), directory)
    names = [json.loads(each["rejected"])["tool_name"] for each in read(directory / "user_entries_dpo_p.json")]
    return dict(zip([each.id for each in instances], map(own_name, names), strict=True))


def test_the_rejected_tool_is_any_of_those_with_the_same_function(tmp_path: Path) -> None:
    one = dataset().of(Part.TRAIN)[1]
    rivals = (PLAIN.name, UNICODE.name, WITHOUT_PARAMETERS.name)
    instances = [replace(one, id=f"instance {number}", same_function=rivals) for number in range(90)]
    found = rejected_in(tmp_path / "all", instances)
    counts = Counter(found.values())
    assert set(counts) == set(rivals)
    # 30 each; a chi-square of 13.8 has a probability of a thousandth.
    assert sum((count - 30) ** 2 / 30 for count in counts.values()) < 13.8
    # By the instance's id alone, whatever stands before it.
    assert rejected_in(tmp_path / "some", instances[::-7]) == {each.id: found[each.id] for each in instances[::-7]}


def test_rejected_calls_are_kept_aside(published: Path) -> None:
    found, report = import_published(published)
    assert len(report.rejected_calls) == 3
    assert report.rejected_calls[0].rejected == ToolCall(PLAIN.name, {"city": "[{"})
    assert report.rejected_calls[0].chosen.tool_name == DOTS.name
    assert all(each.same_function == () for each in found.instances)


def test_two_exports_are_equal_to_the_byte(published: Path, tmp_path: Path) -> None:
    export_published(dataset(), tmp_path)
    for path in published.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_half_surrogate_pairs_survive(tmp_path: Path) -> None:
    ours = dataset(1)
    odd = replace(ours.instances[0], instruction="half \ud800 \x85 \u2029")
    export_published(Dataset(TOOLS, [odd]), tmp_path)
    assert import_published(tmp_path)[0].instances[0].instruction == odd.instruction


@pytest.mark.parametrize("setting", [HistorySetting.NONE, HistorySetting.AUTO])
def test_an_instance_without_a_published_setting_is_an_error(setting: HistorySetting, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="for which there are no published files"):
        export_published(Dataset(TOOLS, [replace(dataset(1).instances[0], setting=setting)]), tmp_path)


def test_a_candidate_without_a_document_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="without a document"):
        export_published(Dataset({}, dataset(1).instances), tmp_path)


@pytest.mark.parametrize("tool", list(TOOLS.values()), ids=list(TOOLS))
def test_names_come_back(tool: Tool) -> None:
    assert own_name(published_name(tool)) == tool.name


def test_names_are_read_with_and_without_brackets() -> None:
    assert own_name("<A b>.<C | d>.<e/f>") == own_name("A b.C | d.e/f") == "A b.C | d.e/f"
    assert own_name("<A.1>.<B>.<c.d>") == "A.1.B.c.d"
    assert own_name("get_weather") == "get_weather"
    assert own_name("<A>.<B>") == "<A>.<B>"


def test_a_document_with_any_name_gives_a_tool() -> None:
    tool = tool_of({**tool_document(PLAIN), "tool_name": "one.two.three.four"})
    assert (tool.name, tool.category, tool.provider, tool.api) == ("one.two.three.four", "", "", "one.two.three.four")
    assert tool.parameters == PLAIN.parameters


# ---------------------------------------------------------------- files such as the authors publish


SEARCH: dict[str, Json] = {
    "tool_name": "<Search>.<Find It>.<web search>",
    "tool_description": "Searches the web [fast].",
    "required_parameters": [{"name": "q", "type": "STRING", "description": "Words", "default": "cats"}],
    "optional_parameters": [{"name": "limit", "type": "NUMBER", "description": "", "default": "10"}],
}
NEWS: dict[str, Json] = {**SEARCH, "tool_name": "<News>.<Daily>.<latest>", "tool_description": "It's the news."}
PAST: list[dict[str, Json]] = [
    {
        "instruction": "Find cats [not dogs]",
        "tool_call": {"tool_name": "<Search>.<Find It>.<images>", "parameters": {"q": "cats"}},
    },
    {"instruction": "It's Monday", "tool_call": {"tool_name": "<News>.<Daily>.<latest>", "parameters": {}}},
]
ANSWER = {"tool_name": "<Search>.<Find It>.<web search>", "parameters": {"q": "owls"}}


def prompt(history: str, tools: str) -> str:
    """Arrays under headings, prose with brackets before, and examples of answers behind, one of them cut short."""
    return f"""
Use the tool [one only] that fits.
What went before:
{history}

What can be called:
{tools}

Write it so:
{{"tool_name": the name, "parameters": an object}}
Example 1:
{{"tool_name": "<A>.<B>.<C>", "parameters": {{"q": "x", "ids": [1, 2]}}
Begin!

"""


def pretty(value: Json) -> str:
    return json.dumps(value, indent=4, ensure_ascii=False)


def sft(**changes: Json) -> dict[str, Json]:
    return {
        "instruction": prompt(pretty(PAST), pretty([SEARCH, NEWS])),
        "input": "Find owls",
        "output": json.dumps(ANSWER),
        **changes,
    }


def imported(directory: Path, *rows: Json, file: str = "user_entries_sft_p.json") -> tuple[Dataset, ImportReport]:
    (directory / file).write_text(json.dumps(rows), "utf-8")
    return import_published(directory)


def test_a_pretty_printed_prompt_is_read(tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft())
    assert report.problems == report.remarks == ()
    (instance,) = found.instances
    assert (instance.part, instance.setting) == (Part.TRAIN, HistorySetting.PREFERRED_ONLY)
    assert instance.id == instance.user_id == "user_entries_sft_p/0"
    assert instance.candidates == ("Search.Find It.web search", "News.Daily.latest")
    assert instance.answer == ToolCall("Search.Find It.web search", {"q": "owls"})
    assert [each.tool_call.tool_name for each in instance.history] == ["Search.Find It.images", "News.Daily.latest"]
    search = found.tools["Search.Find It.web search"]
    assert [(each.name, each.required, each.default) for each in search.parameters] == [
        ("q", True, "cats"),
        ("limit", False, 10),
    ]


def test_dates_are_made_up_an_hour_apart_before_the_question(tmp_path: Path) -> None:
    found, _ = imported(tmp_path, sft())
    (instance,) = found.instances
    assert [instance.asked_at - each.occurred_at for each in instance.history] == [
        timedelta(hours=2),
        timedelta(hours=1),
    ]


def test_a_tool_that_only_a_history_names_is_there_without_a_document(tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft())
    assert report.undocumented == ("Search.Find It.images",)
    images = found.tools["Search.Find It.images"]
    assert (images.category, images.provider, images.api) == ("Search", "Find It", "images")
    assert images.description == ""


@pytest.mark.parametrize(
    "instruction",
    [
        prompt(str(PAST), str([SEARCH, NEWS])),
        prompt(json.dumps(PAST), json.dumps([SEARCH, NEWS])),
        prompt(pretty([SEARCH, NEWS]), pretty(PAST)),
        prompt(pretty(PAST).replace("},", "} ,\r\n"), pretty([SEARCH, NEWS]).replace("Words", "Wo\trds")),
        prompt(pretty(PAST), str((SEARCH, NEWS)).replace("(", "[", 1)[:-1] + "]"),
        f"{pretty(PAST)}{pretty([SEARCH, NEWS])}",
    ],
    ids=["Python", "one line", "tools first", "odd white space", "half Python", "no headings"],
)
def test_arrays_are_found_however_they_are_written(instruction: str, tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft(instruction=instruction))
    assert report.problems == ()
    assert len(found.instances[0].history) == 2
    assert found.instances[0].history[0].instruction == "Find cats [not dogs]"
    assert len(found.instances[0].candidates) == 2


@pytest.mark.parametrize(
    "output",
    [
        {"tool_name": "Search.Find It.web search", "parameters": {"q": "owls"}},
        json.dumps({**ANSWER, "parameters": json.dumps(ANSWER["parameters"])}),
        str(ANSWER),
        f"  {json.dumps(ANSWER)}\n",
    ],
    ids=["object without brackets", "parameters as text", "Python", "white space"],
)
def test_answers_are_read_however_they_are_written(output: Json, tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft(output=output))
    assert report.problems == ()
    assert found.instances[0].answer == ToolCall("Search.Find It.web search", {"q": "owls"})


@pytest.mark.parametrize("nothing", ["{}", "", None, {}])
def test_a_call_may_be_without_parameters(nothing: Json, tmp_path: Path) -> None:
    found, _ = imported(tmp_path, sft(output=json.dumps({**ANSWER, "parameters": nothing})))
    assert found.instances[0].answer.parameters == {}


@pytest.mark.parametrize(
    ("written", "rating"),
    [(each, Rating.LIKED) for each in (1, True, "1", "Liked", "true")]
    + [(each, Rating.DISLIKED) for each in (0, False, "0", "disliked")],
)
def test_ratings_are_read_however_they_are_written(written: Json, rating: Rating, tmp_path: Path) -> None:
    row = sft(instruction=prompt(pretty([{**PAST[0], "rating": written}]), pretty([SEARCH])))
    found, report = imported(tmp_path, row, file="user_entries_sft_r.json")
    assert report.problems == ()
    assert found.instances[0].history[0].rating is rating


def test_ratings_count_only_in_the_rating_integrated_files(tmp_path: Path) -> None:
    row = sft(instruction=prompt(pretty([{**PAST[0], "rating": 1}]), pretty([SEARCH])))
    found, _ = imported(tmp_path, row, file="user_entries_sft_c.json")
    assert found.instances[0].history[0].rating is None


def test_tool_calls_of_the_history_may_be_texts(tmp_path: Path) -> None:
    past = [{**PAST[0], "tool_call": json.dumps(PAST[0]["tool_call"])}]
    found, _ = imported(tmp_path, sft(instruction=prompt(pretty(past), pretty([SEARCH]))))
    assert found.instances[0].history[0].tool_call == ToolCall("Search.Find It.images", {"q": "cats"})


def test_an_empty_history_is_none(tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft(instruction=prompt("[]", pretty([SEARCH]))))
    assert report.problems == ()
    assert found.instances[0].history == ()


def case(**changes: Json) -> dict[str, Json]:
    """An entry of a test file with the prompts of all settings, as real ones have."""
    return {
        "instruction_preferred": prompt(pretty(PAST), pretty([SEARCH, NEWS])),
        "instruction_ratings": prompt(pretty([{**each, "rating": 0} for each in PAST]), pretty([SEARCH, NEWS])),
        "instruction_chronological": prompt(pretty(PAST[:1]), pretty([SEARCH, NEWS])),
        "instruction_wo_history": prompt("", pretty([SEARCH, NEWS])),
        "query": "Find owls",
        "api_call_ground_truth": ANSWER,
        "entry_id": 17,
        "history_length": 2,
        **changes,
    }


def test_a_test_entry_is_read_by_the_setting_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "dataset_test").mkdir()
    for letter in "pr":
        (tmp_path / "dataset_test" / f"user_entries_test_{letter}.json").write_text(json.dumps([case()]))
    found, report = imported(tmp_path, case(history_length=1), file="user_entries_test_c.json")
    assert report.problems == report.remarks == ()
    assert [(each.id, len(each.history)) for each in found.of(Part.TEST)] == [
        ("user_entries_test_p/17", 2),
        ("user_entries_test_r/17", 2),
        ("user_entries_test_c/17", 1),
    ]
    assert [each.history[0].rating for each in found.instances] == [None, Rating.DISLIKED, None]


def test_what_is_odd_is_remarked_and_imported(tmp_path: Path) -> None:
    twice = prompt(pretty(PAST), pretty([SEARCH, SEARCH]))
    other = prompt(pretty(PAST), pretty([{**SEARCH, "tool_description": "Other."}]))
    rows = [case(), case(history_length=5), case(instruction_preferred=twice), case(instruction_preferred=other)]
    rows = [{**row, "entry_id": min(number, 2)} for number, row in enumerate(rows)]
    found, report = imported(tmp_path, *rows, file="user_entries_test_p.json")
    assert report.problems == ()
    assert [str(each) for each in report.remarks] == [
        "user_entries_test_p.json[1]: its history_length is 5, but its history has 2 interactions",
        "user_entries_test_p.json[2]: its tool Search.Find It.web search comes twice; the first counts",
        "user_entries_test_p.json[3]: its tool Search.Find It.web search has another document than in an earlier "
        "entry, which counts",
        "user_entries_test_p.json[3]: another entry has the entry_id 2",
    ]
    assert len({each.id for each in found.instances}) == 4
    assert found.tools["Search.Find It.web search"].description == "Searches the web [fast]."


# ---------------------------------------------------------------- what cannot be imported


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("text", "not a JSON object"),
        (sft(input=" "), "no text of the user"),
        (sft(instruction=None), "no prompt"),
        (sft(instruction=prompt(pretty(PAST), "none")), "no array of tools"),
        (sft(instruction=prompt("none", pretty([SEARCH]))), "no array of interactions"),
        (sft(instruction=prompt(pretty(PAST), pretty([SEARCH, NEWS]))[:900]), "does not end"),
        (sft(instruction=prompt(pretty(PAST).replace(":", "", 1), pretty([SEARCH]))), "neither JSON"),
        (sft(instruction=prompt("[{1, 2}]", pretty([SEARCH]))), "neither JSON"),
        (sft(output="I would search."), "output is no readable call: it is no JSON object"),
        (sft(output='{"parameters": {}}'), "no tool_name"),
        (sft(output='{"tool_name": "<Search>.<Find It>.<web search>"}'), "no parameters"),
        (sft(output=json.dumps({**ANSWER, "parameters": '{"a": {"b": 1} "c": 2}'})), "no parameters"),
        (sft(output=json.dumps({**ANSWER, "parameters": [1]})), "no parameters"),
        (sft(output=json.dumps({**ANSWER, "tool_name": "<X>.<Y>.<Z>"})), "X.Y.Z is none of its 2 tools"),
        (
            sft(instruction=prompt(pretty([{"instruction": "a"}]), pretty([SEARCH]))),
            "interaction 0 of its history cannot be read: it is no JSON object",
        ),
        (
            sft(instruction=prompt(pretty([{"tool_call": PAST[0]["tool_call"]}]), pretty([SEARCH]))),
            "interaction 0 of its history has no instruction",
        ),
        (
            sft(
                instruction=prompt(
                    pretty(PAST), pretty([SEARCH, {"tool_name": "<A>.<B>.<C>", "required_parameters": 1}])
                )
            ),
            "its tool A.B.C cannot be read: required_parameters is not a list",
        ),
        (
            sft(instruction=prompt(pretty(PAST), pretty([SEARCH, {"tool_description": "x"}]))),
            "its tool (without a name) cannot be read",
        ),
    ],
)
def test_an_entry_that_cannot_be_read_is_told_and_the_rest_imported(row: Json, reason: str, tmp_path: Path) -> None:
    found, report = imported(tmp_path, sft(), row, sft(input="Find larks"))
    (problem,) = report.problems
    assert (problem.file, problem.entry) == ("user_entries_sft_p.json", 1)
    assert reason in problem.reason
    assert [each.instruction for each in found.instances] == ["Find owls", "Find larks"]
    assert report.entries == {"user_entries_sft_p.json": 3}


def test_a_rating_that_is_none_is_told(tmp_path: Path) -> None:
    row = sft(instruction=prompt(pretty([{**PAST[0], "rating": 5}]), pretty([SEARCH])))
    _, report = imported(tmp_path, row, file="user_entries_sft_r.json")
    assert "the rating 5 is neither 1 nor 0" in report.problems[0].reason


def test_a_broken_tool_does_not_spoil_later_entries(tmp_path: Path) -> None:
    broken = {**SEARCH, "required_parameters": 1}
    row = sft(instruction=prompt(pretty(PAST), pretty([broken])))
    found, report = imported(tmp_path, row, row, sft())
    assert (len(report.problems), len(found.instances)) == (2, 1)
    assert len(found.tools["Search.Find It.web search"].parameters) == 2


def test_broken_pairs_are_told(tmp_path: Path) -> None:
    good = {"instruction": "", "input": "x", "chosen": json.dumps(ANSWER), "rejected": json.dumps(ANSWER)}
    found, report = imported(tmp_path, good, {**good, "rejected": "-"}, file="user_entries_dpo_p.json")
    assert found.instances == []
    assert len(report.rejected_calls) == 1
    assert "rejected is no readable call" in report.problems[0].reason


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"instruction": "a", "input": }', "not JSON"),
        ('{"instruction": "a", "input": "b"', "not JSON"),
        ('{"instruction": "a, "input": "b"}', "not JSON"),
        ('{"instruction": "a", "input": "b}', "not JSON"),
        ('{"instruction": "a\\q", "input": "b"}', "not JSON"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_reading_goes_on_behind_broken_json(broken: str, reason: str, tmp_path: Path) -> None:
    text = f"[{json.dumps(sft())},\n{broken},\n{json.dumps(sft(input='Find larks'))}]"
    (tmp_path / "user_entries_sft_p.json").write_text(text, "utf-8")
    found, report = import_published(tmp_path)
    assert [each.instruction for each in found.instances] == ["Find owls", "Find larks"]
    assert report.problems[0].entry == 1
    assert reason in report.problems[0].reason


@pytest.mark.parametrize(
    ("end", "count", "reason"),
    [
        ("", 1, "the file ends before its array does"),
        (',\n{"instruction": "a', 1, "nothing behind it was read"),
        ("]\n[]", 1, "something follows the end of the array"),
    ],
)
def test_a_file_that_is_cut_off_gives_what_it_has(end: str, count: int, reason: str, tmp_path: Path) -> None:
    (tmp_path / "user_entries_sft_p.json").write_text(f"[{json.dumps(sft())}{end}", "utf-8")
    found, report = import_published(tmp_path)
    assert len(found.instances) == count
    assert reason in report.problems[0].reason


def test_bytes_that_are_no_utf_8_spoil_one_entry(tmp_path: Path) -> None:
    text = json.dumps([sft(), sft(input="Find \udcff"), sft(input="Zürich")], ensure_ascii=False)
    (tmp_path / "user_entries_sft_p.json").write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8", "surrogateescape"))
    found, report = import_published(tmp_path)
    assert [each.instruction for each in found.instances] == ["Find owls", "Zürich"]
    assert [str(each) for each in report.problems] == ["user_entries_sft_p.json[1]: it is not UTF-8"]


def test_a_broken_entry_is_not_searched_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_ENTRY", 3_000)
    monkeypatch.setattr(entries, "_CHUNK", 1_000)
    text = f'[{json.dumps(sft())}, {{"instruction": ?{"x" * 9_000}}}, {json.dumps(sft())}]'
    (tmp_path / "user_entries_sft_p.json").write_text(text, "utf-8")
    found, report = import_published(tmp_path)
    assert len(found.instances) == 1
    assert "no other entry was found" in report.problems[0].reason


@pytest.mark.parametrize("chunk", [1, 7, 100, 4_096])
def test_entries_are_found_whatever_the_size_of_the_pieces(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_CHUNK", chunk)
    rows: list[Mapping[str, Json]] = [
        {"input": 'é\\"{[', "query": [{"query": "a" * 40}, {"input": number}]} for number in range(5)
    ]
    texts = [pretty(row) for row in rows]
    texts[2:2] = ['{"input": "no end', '{"query": [{"a": 1}, {"b": 2}}', '{"input": 1 2}']
    path = tmp_path / "rows.json"
    path.write_text(f" [ {' , '.join(texts)} ] ", "utf-8")
    found = list(entries.read_entries(path))
    assert [each.value for each in found if isinstance(each, entries.Entry)] == rows
    assert [each.index for each in found if isinstance(each, entries.Broken)] == [2, 3, 4]


@pytest.mark.parametrize("text", ["", "  ", '{"instruction": "x"}', '"text"', "PK\x03\x04"])
def test_a_file_that_is_no_array_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "user_entries_test_c.json").write_text(text, "utf-8")
    with pytest.raises(SetupError, match=r"user_entries_test_c\.json is not a JSON array of entries"):
        import_published(tmp_path)


def test_a_folder_without_the_files_is_an_error_that_says_which(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="user_entries_sft_p"):
        import_published(tmp_path)


def test_progress_is_told_in_bytes(published: Path) -> None:
    told: list[tuple[int, int | None]] = []
    import_published(published, lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for path in published.glob("user_*.json"))
    assert {total for _, total in told} == {size}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == size
