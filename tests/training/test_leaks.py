"""What gives a tool away in an instruction, and what does not."""

import pytest

from app.domain import Parameter, Tool
from training.petoolbench.leaks import leak

SHARED = ["get the weather forecast of a city"]


def tool(provider: str, api: str = "Forecast", category: str = "Weather", *parameters: str) -> Tool:
    own = tuple(Parameter(name, {"type": "string"}) for name in parameters)
    return Tool(f"{category}.{provider}.{api}", category, provider, api, "", own)


GROUP = [tool("QuietCloud", "Day Ahead"), tool("Tinkle Weather", "rain_soon"), tool("Mirandex", "Forecast")]


@pytest.mark.parametrize(
    ("instruction", "gives_away"),
    [
        ("Ask QuietCloud for rain in Rome", "QuietCloud"),
        ("Ask quiet cloud for rain in Rome", "QuietCloud"),
        ("quiet-cloud, Rome", "QuietCloud"),
        ("What does the Tinkle Weather say?", "Tinkle Weather"),
        ("what does TINKLE_WEATHER say", "Tinkle Weather"),
        ("Will it rain, asks mirandex?", "Mirandex"),
        ("MIRANDEX's view of Rome", "Mirandex"),
    ],
)
def test_a_providers_whole_name_does_whoever_of_the_group_it_is(instruction: str, gives_away: str) -> None:
    assert leak(instruction, GROUP, SHARED) == gives_away
    assert leak(instruction, GROUP[::-1], SHARED) == gives_away


@pytest.mark.parametrize(("instruction", "word"), [("A quiet day in Rome?", "quiet"), ("Tinkle, Rome.", "tinkle")])
def test_a_single_word_of_a_providers_name_does(instruction: str, word: str) -> None:
    assert leak(instruction, GROUP, SHARED) == word


def test_a_word_counts_whole() -> None:
    assert leak("Quietly, will the clouds of Rome go?", GROUP, SHARED) is None


@pytest.mark.parametrize(
    ("instruction", "gives_away"),
    [
        ("The day ahead in Rome", "Day Ahead"),
        ("the DAY-AHEAD for Rome, please", "Day Ahead"),
        ("dayAhead Rome", "Day Ahead"),
        ("Will there be rain soon?", "rain_soon"),
        ("rainSoon in Rome", "rain_soon"),
    ],
)
def test_an_apis_name_of_several_words_does(instruction: str, gives_away: str) -> None:
    assert leak(instruction, GROUP, SHARED) == gives_away


@pytest.mark.parametrize(
    "instruction", ["The ahead day", "A day to look ahead", "Rain will come soon", "Forecast for Rome"]
)
def test_an_apis_words_apart_and_its_single_word_do_not(instruction: str) -> None:
    assert leak(instruction, GROUP, SHARED) is None


def test_an_apis_name_that_all_of_the_group_have_does_not() -> None:
    group = [tool("Azuro", "Day Ahead"), tool("Bela", "dayAhead")]
    assert leak("The day ahead in Rome", group, SHARED) is None


@pytest.mark.parametrize(
    "instruction",
    ["The weather in Rome, please", "Get me the forecast of my city", "A world wide live data api, fast", ""],
)
def test_words_that_all_share_or_that_are_general_do_not(instruction: str) -> None:
    group = [tool("Weather Forecast City"), tool("Live World Data Pro"), tool("The Weather API")]
    assert leak(instruction, group, SHARED) is None


@pytest.mark.parametrize("instruction", ["A station in the county", "stationName Rome"])
def test_words_of_the_category_and_of_parameters_do_not(instruction: str) -> None:
    assert leak(instruction, [tool("Station Finder", "Forecast", "Weather", "stationName")], []) is None
    assert leak(instruction, [tool("Station Finder", "Forecast", "Weather station")], []) is None
    assert leak(instruction, [tool("Station Finder")], []) == "station"


def test_a_parameter_of_one_tool_does_not_excuse_the_name_of_another() -> None:
    group = [tool("Azuro", "Forecast", "Weather", "station"), tool("Station Finder")]
    assert leak("A station in the county", group, []) == "station"


def test_a_name_of_shared_and_other_words_does_as_a_whole() -> None:
    group = [tool("Weather Ab")]
    assert leak("the weather ab for Rome", group, SHARED) == "Weather Ab"
    assert leak("the weather in AB Street", group, SHARED) is None


def test_a_word_counts_from_three_letters_on() -> None:
    assert leak("the weather in ABC Street", [tool("Weather Abc")], SHARED) == "abc"
    assert leak("the weather in AB Street", [tool("Weather Ab")], SHARED) is None


def test_only_words_that_all_of_the_group_say_of_the_job_are_excused() -> None:
    """What one alone says, such as its country, tells which one is meant."""
    group = [tool("Norway Trains"), tool("Mirandex")]
    one, both = ["list trains in Norway", "list trains"], ["list trains in Norway", "trains of Norway"]
    for order in (one, one[::-1]):
        assert leak("Which trains go in Norway?", group, order) == "norway"
        assert leak("Which trains go?", group, order) is None
    assert leak("Which trains go in Norway?", group, both) is None
    assert leak("Which trains go in Norway?", group, iter(both)) is None
    assert leak("Which trains go?", group, []) == "trains"


@pytest.mark.parametrize("provider", ["Abc", "X-9", "天气"])
def test_a_short_name_does_as_a_whole(provider: str) -> None:
    assert leak(f"Ask {provider} for Rome", [tool(provider)], []) == provider
    assert leak(f"Ask {provider}zulk for Rome", [tool(provider)], []) is None


@pytest.mark.parametrize(
    ("provider", "instruction"),
    [
        ("Météo", "la MÉTÉO de Rome"),
        ("Straßenlage", "STRASSENLAGE bei Bonn"),
        ("Погода", "покажи ПОГОДА сейчас"),
        ("Ünal", "ask ünal, please"),
        ("Ørsted & Søn", "what does ØRSTED say"),
    ],
)
def test_letters_of_all_alphabets_count_in_either_case(provider: str, instruction: str) -> None:
    assert leak(instruction, [tool(provider)], []) is not None


def test_a_name_without_letters_gives_nothing_away() -> None:
    assert leak("What now - or never?", [tool("-"), tool("!!!", "...")], []) is None


@pytest.mark.parametrize(
    ("provider", "instruction"),
    [
        ("QuietCloud", "Ask quietcloud for rain in Rome"),
        ("QuietCloud", "QUIETCLOUD, Rome"),
        ("Youtube v31", "Find owls on YouTube"),
    ],
)
def test_a_name_does_with_capitals_anywhere(provider: str, instruction: str) -> None:
    assert leak(instruction, [tool(provider)], SHARED) is not None
