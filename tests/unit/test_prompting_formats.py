"""The text of every format and setting, as it was frozen: tests/data/prompts.

A format that a model was trained on never changes: a new wording is a new format with a new number. While a format is
still being written, `python -m tests.unit.test_prompting_formats` writes the files anew; read what it changed.
"""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from app.domain import AnswerStyle, HistorySetting
from app.errors import SetupError
from app.prompting.formats import FORMATS, Listing, format_named
from app.prompting.prompt import Prompt
from app.prompting.wording import wording
from tests.support.prompting_cases import CANDIDATES, HISTORY, TODAY, builder, read
from tests.support.prompting_models import tokenizer_of

GOLDEN = Path(__file__).parents[1] / "data" / "prompts"
INSTRUCTION = 'Will it rain in "São Paulo"\ntomorrow?'
SETTINGS = [setting for setting in HistorySetting if setting is not HistorySetting.AUTO]
formats = pytest.mark.parametrize("name", FORMATS)
settings = pytest.mark.parametrize("setting", SETTINGS)


def written(name: str, setting: HistorySetting, today: date | None = TODAY) -> str:
    """The prompt as its tokens say it, template and special tokens included."""
    prompt = builder(name).build(INSTRUCTION, setting, HISTORY, CANDIDATES, today=today)
    return tokenizer_of("tiny").decode(prompt.token_ids)


def golden(name: str, setting: HistorySetting) -> Path:
    return GOLDEN / f"{name}.{setting}.txt"


@formats
@settings
def test_a_format_s_text_is_the_one_it_was_frozen_with(name: str, setting: HistorySetting) -> None:
    assert written(name, setting) == golden(name, setting).read_text("utf-8"), __doc__


def test_there_is_no_file_without_its_format() -> None:
    assert {file.name for file in GOLDEN.iterdir()} == {
        golden(name, each).name for name in FORMATS for each in SETTINGS
    }


@formats
@settings
def test_a_prompt_says_all_of_its_data(name: str, setting: HistorySetting) -> None:
    prompt = builder(name).build(INSTRUCTION, setting, HISTORY, CANDIDATES)
    said = read(prompt, format_named(name))
    assert said.instruction == INSTRUCTION
    assert said.names == [each.tool.name for each in CANDIDATES]
    if setting is HistorySetting.NONE:
        assert said.history is None
    else:
        assert said.called == [(each.tool_call.tool_name, each.rating) for each in HISTORY]


@formats
@settings
def test_the_day_is_told_once_right_before_the_instruction_and_only_if_it_is_known(
    name: str, setting: HistorySetting
) -> None:
    line = "Today is Sunday, 2026-11-22.\n\n"
    dated, undated = written(name, setting), written(name, setting, None)
    assert dated.count("Today") == (name != "published-1")
    assert dated.replace(f"{line}Instruction:\n", "Instruction:\n") == undated
    # Another day changes nothing that an engine's prefix cache holds.
    days = [TODAY, TODAY + timedelta(days=1)]
    first, second = (builder(name).build("x", setting, HISTORY, CANDIDATES, today=day) for day in days)
    assert first.token_ids[: first.stable_tokens] == second.token_ids[: second.stable_tokens]
    assert (first.token_ids == second.token_ids) is (name == "published-1")


def test_the_day_counts_as_the_format_s_own_and_has_an_english_name() -> None:
    def build(day: date | None) -> Prompt:
        return builder().build("x", HistorySetting.CHRONOLOGICAL, HISTORY, CANDIDATES, today=day)

    said = [read(build(TODAY + timedelta(days=n)), format_named("hinted-1")).today for n in range(7)]
    names = [(line or "").removeprefix("Today is ").split(",")[0] for line in said]
    assert names == ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    assert build(datetime(2026, 11, 22, 23, 30, tzinfo=UTC)) == build(TODAY)
    usage, without = build(TODAY).usage, build(None).usage
    assert usage.format - without.format == usage.total - without.total > 0
    assert read(build(None), format_named("hinted-1")).today is None


@formats
def test_an_impersonal_prompt_has_not_a_word_of_preferences(name: str) -> None:
    text = written(name, HistorySetting.NONE)
    assert not re.search(r"prefer|histor|liked|taste|interaction|would want|rated", text)
    assert builder(name).build(INSTRUCTION, HistorySetting.NONE, HISTORY, CANDIDATES).usage.history == 0


@formats
def test_each_setting_says_in_its_own_words_how_to_read_the_history(name: str) -> None:
    words = {setting: wording(format_named(name), setting) for setting in SETTINGS}
    assert len({each.history for each in words.values()}) == len(SETTINGS)
    rated, by_time = words[HistorySetting.RATING_INTEGRATED].history, words[HistorySetting.CHRONOLOGICAL].history
    if format_named(name).listing is Listing.TERSE:
        assert (rated, by_time) == ("History, rated:", "History, by time:")
    else:
        assert "liked" in rated
        assert re.search("later|recent", by_time)


@formats
def test_the_system_message_is_the_same_for_all_users_where_the_constant_comes_first(name: str) -> None:
    prompts = [
        builder(name).build(text, setting, HISTORY[:n], CANDIDATES[:n])
        for text, setting, n in (("a", HistorySetting.CHRONOLOGICAL, 1), ("b", HistorySetting.RATING_INTEGRATED, 3))
    ]
    same = prompts[0].messages[0] == prompts[1].messages[0]
    assert same is (name != "published-1")


@formats
def test_the_examples_are_answers_in_the_format_s_own_style(name: str) -> None:
    style = format_named(name).answer
    output = wording(format_named(name), HistorySetting.NONE).output
    examples = [json.loads(line) for line in output.split("\n") if line.startswith("{")]
    if format_named(name).listing is Listing.TERSE:
        # A model that was trained on nothing else needs none.
        assert output == "Answer in JSON."
        return
    assert [list(example) for example in examples] == [["tool_name", "parameters"]] * 2
    shape = {
        AnswerStyle.NAME: r"\w+\..+\..+",
        AnswerStyle.LABELLED_NAME: r"[A-Z] \w+\..+\..+",
        AnswerStyle.LABEL: "[A-Z]",
    }
    assert all(re.fullmatch(shape[style], example["tool_name"]) for example in examples)


@pytest.mark.parametrize("name", ["labelled-1", "hinted-1", "brief-1", "terse-1"])
def test_each_candidate_opens_with_its_label_and_the_instruction_ends_the_prompt(name: str) -> None:
    prompt = builder(name).build(INSTRUCTION, HistorySetting.CHRONOLOGICAL, HISTORY, CANDIDATES)
    assert read(prompt, format_named(name)).labels == list(prompt.labels) == ["A", "B", "C"]
    assert prompt.label_ids == tuple(tokenizer_of("tiny").encode(label)[0] for label in prompt.labels)
    assert prompt.messages[-1]["content"].endswith(json.dumps(INSTRUCTION, ensure_ascii=False))


@pytest.mark.parametrize("name", ["hinted-1", "brief-1", "terse-1"])
def test_hints_end_each_candidate_and_only_one_where_there_is_no_history(name: str) -> None:
    said = {
        setting: read(builder(name).build("x", setting, HISTORY, CANDIDATES), format_named(name)).hints
        for setting in (HistorySetting.PREFERRED_ONLY, HistorySetting.NONE)
    }
    if name == "terse-1":
        # Liked, fit, all in all: the last says the same as the fit where there is no history.
        assert said[HistorySetting.PREFERRED_ONLY] == [(0, 0, 9), (4, 1, 7), (9, 9, 0)]
        assert said[HistorySetting.NONE] == [(9,), (7,), (0,)]
    else:
        # Fit, liked, disliked.
        assert said[HistorySetting.PREFERRED_ONLY] == [(9, 0, 3), (8, 4, 0), (0, 9, 9)]
        assert said[HistorySetting.NONE] == [(9,), (8,), (0,)]


def test_only_the_terse_format_has_the_matchers_hints() -> None:
    assert [name for name, each in FORMATS.items() if each.matched] == ["terse-1"]
    assert all(each.hints for each in FORMATS.values() if each.matched)


def test_the_published_layout_has_neither_labels_nor_hints() -> None:
    prompt = builder("published-1").build(INSTRUCTION, HistorySetting.CHRONOLOGICAL, HISTORY, CANDIDATES)
    assert (prompt.labels, prompt.label_ids) == ((), ())
    assert prompt.messages[1] == {"role": "user", "content": INSTRUCTION}
    assert "fit 9" not in prompt.messages[0]["content"]


def test_an_unknown_format_is_told_with_those_there_are() -> None:
    with pytest.raises(SetupError, match="published-1, labelled-1, hinted-1, brief-1"):
        format_named("hinted-0")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in FORMATS:
        for one in SETTINGS:
            golden(each, one).write_text(written(each, one), "utf-8")
