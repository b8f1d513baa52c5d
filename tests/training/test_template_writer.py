"""Text by template, for our own catalogue and for documents as other people write them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.validation import parameter_problems
from app.catalogue.parse import parse
from app.catalogue.rapidapi import parse_document
from app.domain import HistorySetting, Json, Rating, Tool
from app.extraction.words import word_set
from tests.support.rapidapi import read_documents
from training.common.stages import NO_PROGRESS
from training.data.dataset import read_rows
from training.data.records import Attributes, ToolUse
from training.data.truth import TRUTH, Truth, read_truth
from training.generators.catalogue.build import DOCUMENTS, write_catalogue
from training.generators.catalogue.jobs import jobs
from training.generators.lexicon import NEUTRAL, Attribute, lexicon
from training.generators.template import TemplateWriter
from training.generators.template.clauses import sentences
from training.generators.writer import PlannedInteraction, WriterRejected
from training.petoolbench.leaks import leak

VERBS = word_set(
    "add analyse browse calculate change check compare compute convert count create edit estimate fetch filter find "
    "generate get inspect list look make measure perform pick predict rank read recommend run schedule search see send "
    "set show tell test track update"
)
"""With which what a tool of our catalogue does begins."""
JOB = next(iter(jobs().values()))
FOREIGN = TemplateWriter(3)


def parameter(name: str, kind: str = "STRING", default: Json = "", description: str = "") -> dict[str, Json]:
    return {"name": name, "type": kind, "description": description, "default": default}


def tool(
    api: str,
    description: str,
    *required: Mapping[str, Json],
    optional: Sequence[Mapping[str, Json]] = (),
    provider: str = "Acme",
    category: str = "Weather",
) -> Tool:
    return parse_document(
        {
            "category_name": category,
            "tool_name": provider,
            "api_name": api,
            "api_description": description,
            "required_parameters": list(required),
            "optional_parameters": list(optional),
        }
    )


# ---------------------------------------------------------------- our own catalogue


@dataclass(frozen=True)
class Catalogue:
    tools: Mapping[str, Tool]
    documents: Mapping[str, Mapping[str, Any]]
    truth: Mapping[str, Truth]
    writer: TemplateWriter


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    directory = tmp_path_factory.mktemp("catalogue")
    write_catalogue(300, 6, 0, 0.6, 1, directory, NO_PROGRESS)
    truth = read_truth(directory / TRUTH)
    rows = list(read_rows(directory / DOCUMENTS))
    tools = {each.name: each for _, each in parse(None, rows).tools}
    documents = dict(zip(tools, rows, strict=True))
    return Catalogue(tools, documents, truth, TemplateWriter(5, {name: jobs()[truth[name].job] for name in tools}))


async def understood(catalogue: Catalogue) -> Mapping[str, Attributes]:
    found = {}
    for name, each in catalogue.tools.items():
        found[name] = await catalogue.writer.understand(each, await catalogue.writer.example(each, name))
    return found


async def test_every_tool_of_our_catalogue_gets_a_valid_call(catalogue: Catalogue) -> None:
    for name, each in catalogue.tools.items():
        use = await catalogue.writer.example(each, name)
        assert parameter_problems(each, use.parameters) == []
        assert use.instruction.strip()


async def test_what_is_true_of_a_tool_is_what_the_writer_understands(catalogue: Catalogue) -> None:
    phrases = {key: each.phrase for key, each in lexicon().attributes.items()}
    for name, found in (await understood(catalogue)).items():
        true = [phrase for key, phrase in phrases.items() if key in catalogue.truth[name].attributes]
        assert found.non_functional == "; ".join(true)


async def test_what_a_tool_does_is_an_imperative_that_speaks_of_no_attribute(catalogue: Catalogue) -> None:
    for name, found in (await understood(catalogue)).items():
        said = found.functionality
        assert said.split()[0] in VERBS, said
        assert len(said.split()) >= 3
        assert not said.endswith((".", "?", "!", ","))
        job = jobs()[catalogue.truth[name].job]
        own = " ".join(map(job.written, (*job.does, *job.api))).casefold()
        others = [word for word in re.findall(r"[a-z]{4,}", said.casefold()) if word[:4] not in own]
        assert others == [], said


async def test_no_two_functionalities_are_understood_as_one(catalogue: Catalogue) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for name, attributes in (await understood(catalogue)).items():
        found[catalogue.truth[name].job].add(attributes.functionality)
    assert all(len(ways) <= len(jobs()[key].does) for key, ways in found.items())
    assert sum(map(len, found.values())) == len(set().union(*found.values()))


async def test_instructions_of_our_catalogue_hardly_ever_give_the_tool_away(catalogue: Catalogue) -> None:
    functionality = {name: each.functionality for name, each in (await understood(catalogue)).items()}
    groups: dict[str, list[str]] = defaultdict(list)
    for name, of in catalogue.truth.items():
        groups[of.job].append(name)
    given_away = 0
    for names in groups.values():
        group = [catalogue.tools[name] for name in names]
        shared = [functionality[name] for name in names]
        for name in names:
            use = await catalogue.writer.instruction([], catalogue.tools[name], [], f"u/{name}", 0)
            given_away += leak(use.instruction, group, shared) is not None
    assert given_away <= 0.1 * len(catalogue.tools)


# ---------------------------------------------------------------- telling attributes apart

KNOWN = list(lexicon().attributes.values())


async def phrase(description: str, provider: str = "Zulk") -> str:
    """What a tool of our catalogue with this description is like."""
    given = tool("Find Entries", description, provider=provider)
    writer = TemplateWriter(1, {given.name: JOB})
    return (await writer.understand(given, ToolUse("", {}))).non_functional


@pytest.mark.parametrize("attribute", KNOWN, ids=[each.key for each in KNOWN])
async def test_an_attribute_is_understood_however_it_is_said(attribute: Attribute) -> None:
    for said in (*attribute.says, attribute.sentence):
        for description in (f"Lists museums of a city. {said}", f"{said} Lists museums of a city.", f"{said}\nA list."):
            assert await phrase(description) == attribute.phrase, said
    for name in attribute.names:
        assert await phrase("Lists museums of a city.", f"Zulk {name}") == attribute.phrase


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(KNOWN), min_size=1, max_size=4, unique=True), st.randoms(use_true_random=False))
async def test_like_attributes_have_the_same_phrase_in_any_order_and_words(
    attributes: Sequence[Attribute], random: Random
) -> None:
    def document() -> str:
        said = ["Lists the museums of a city.", *random.sample(NEUTRAL, random.randrange(3))]
        ways = ([text for text in (*each.says, each.sentence) if sentences(text) == [text]] for each in attributes)
        said += map(random.choice, ways)
        random.shuffle(said)
        return random.choice((" ", "\n", "\n\n")).join(said)

    found = {await phrase(document()) for _ in range(4)}
    assert len(found) == 1
    assert set(found.pop().split("; ")) == {part for each in attributes for part in each.phrase.split("; ")}


async def test_neutral_sentences_say_nothing_of_function_or_attributes() -> None:
    plain = tool("Find Entries", "Lists the museums of a city.")
    padded = tool("Find Entries", " ".join([*NEUTRAL, "Lists the museums of a city.", *NEUTRAL]))
    found = [await FOREIGN.understand(each, ToolUse("", {})) for each in (plain, padded)]
    assert found[0] == found[1]
    assert found[0].functionality == "list the museums of a city"


async def test_of_a_foreign_document_cue_words_or_else_its_maker_tell_what_it_is_like() -> None:
    cued = await FOREIGN.understand(tool("Find", "Lists the museums of a city for your iPhone."), ToolUse("", {}))
    assert cued.non_functional.startswith(lexicon().attributes["apple"].phrase)
    bare = await FOREIGN.understand(tool("Find", "Lists museums."), ToolUse("", {}))
    assert bare.non_functional == "for weather applications, offered as Acme"


# ---------------------------------------------------------------- documents as others write them

LONG = "Finds everything that was ever said. " + "And then some more of it, " * 1_200
ODD = {
    "blank description": (tool("Current Weather", "", parameter("city")), "get current weather"),
    "white space": (tool("getStationById", " \n\t ", parameter("stationId")), "get station by id"),
    "punctuation": (tool("Search Movies", "-", parameter("title")), "search movies"),
    "markdown": (
        tool("Query", "## Search Movies by Genre\n\n**Finds** them, see [docs](https://example.com).", parameter("q")),
        "search movies by genre",
    ),
    "html": (
        tool(
            "list", "<p>This endpoint <b>returns</b> a list of all open tenders &amp; bids.</p>", parameter("country")
        ),
        "get a list of all open tenders & bids",
    ),
    "title case": (
        tool("x", "Get All Available Parking Lots In Every City", parameter("city")),
        "get all available parking lots in every city",
    ),
    "camel case": (
        tool("getNearbyHospitals", "", parameter("latitude", "NUMBER"), parameter("lng", "NUMBER")),
        "get nearby hospitals",
    ),
    "wrong defaults": (
        tool(
            "Forecast",
            "Returns the forecast for some days.",
            parameter("days", "NUMBER", "a few"),
            parameter("metric", "BOOLEAN", "perhaps"),
            parameter("day", "DATE", "tomorrow"),
            parameter("limit", "NUMBER", {"of": 1}),
        ),
        "get the forecast for some days",
    ),
    "enumerations": (
        tool(
            "Top",
            "Lists the top stories.",
            parameter("section", "ENUM", "", "One of: world, sport, money"),
            parameter("sort", "STRING", "asc", "Sort order (asc|desc)"),
        ),
        "list the top stories",
    ),
    "pattern as default": (
        tool("Rates", "Historical exchange rates of one day.", parameter("date", "STRING", "DD-MM-YYYY")),
        "get the historical exchange rates of one day",
    ),
    "bounds": (
        tool("Cities", "Lists all the cities.", parameter("limit", "NUMBER", "10", "Between 1 and 10.")),
        "list all the cities",
    ),
    "optional array": (
        tool(
            "Filter", "Filters products by a query.", parameter("query"), optional=[parameter("tags", "ARRAY", ["a"])]
        ),
        "filter products by a query",
    ),
    "braces": (
        tool("{type}/get-all", "Fetch {thing} of {0} with all {}.", parameter("{name}", "STRING", "{value}")),
        "fetch thing of 0 with all",
    ),
    "odd letters": (
        tool("検索 🎬 — «Filme»", "Suche nach Filmen… naïve café ☃ \u202e rtl zero\u200bwidth", parameter("ſuche")),
        None,
    ),
    "no word at all": (tool("...", "!?", parameter("#")), None),
    "very long": (tool("Everything", LONG, parameter("q")), "find everything that was ever said"),
    "one long word": (tool("Everything", "x" * 5_000, parameter("q")), None),
    "no parameters": (tool("Server Time", "Gives you the server's time."), "get you the server's time"),
}


@pytest.mark.parametrize(("given_tool", "does"), ODD.values(), ids=ODD)
async def test_odd_documents_get_valid_calls_in_one_line(given_tool: Tool, does: str | None) -> None:
    for key in map(str, range(25)):
        use = await FOREIGN.example(given_tool, key)
        assert parameter_problems(given_tool, use.parameters) == []
        assert use.instruction == use.instruction.strip() != ""
        assert "\n" not in use.instruction
        assert len(use.instruction) < 500
    found = await FOREIGN.understand(given_tool, use)
    assert does is None or found.functionality == does
    assert found.functionality.strip()
    assert found.non_functional.strip()
    assert len(found.functionality) < 120 or " " not in found.functionality


async def values(name: str, count: int = 40) -> list[Mapping[str, Json]]:
    return [(await FOREIGN.example(ODD[name][0], str(key))).parameters for key in range(count)]


async def test_values_are_what_the_document_shows_of_them() -> None:
    assert {each["section"] for each in await values("enumerations")} == {"world", "sport", "money"}
    assert {each["sort"] for each in await values("enumerations")} == {"asc", "desc"}
    assert all(1 <= each["limit"] <= 10 for each in await values("bounds"))
    days = [re.fullmatch(r"(\d\d)-(\d\d)-20\d\d", each["date"]) for each in await values("pattern as default")]
    assert all(day is not None and 1 <= int(day[1]) <= 31 and 1 <= int(day[2]) <= 12 for day in days)
    assert all("{value}" not in each.values() for each in await values("braces"))


async def test_values_keep_the_shape_of_the_documents_example() -> None:
    given_tool = tool(
        "Get", "Gets one item.", parameter("asin", "STRING", "B07-XJ8/c1"), parameter("code", "NUMBER", 41_234)
    )
    for key in map(str, range(20)):
        found = (await FOREIGN.example(given_tool, key)).parameters
        assert re.fullmatch(r"B\d\d-XJ\d/c\d", found["asin"])
        assert re.fullmatch(r"[1-9]{5}", str(found["code"]))


async def test_instructions_say_the_values_of_the_call() -> None:
    given_tool = tool("Find", "Finds trains.", parameter("stationId"), parameter("platform", "NUMBER"))
    for key in map(str, range(40)):
        use = await FOREIGN.example(given_tool, key)
        assert use.parameters["stationId"] in use.instruction
        assert "station id" in use.instruction
        assert re.search(
            rf"\b{use.parameters['platform']}\b|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
            use.instruction,
        )


async def test_optional_parameters_come_now_and_then_where_their_values_are_known() -> None:
    given_tool = tool(
        "Find", "Finds trains.", optional=[parameter("city"), parameter("blorp"), parameter("tags", "ARRAY")]
    )
    seen = Counter[str]()
    for key in map(str, range(200)):
        seen.update((await FOREIGN.example(given_tool, key)).parameters.keys())
    assert seen.keys() == {"city"}
    assert 30 < seen["city"] < 90


@pytest.mark.parametrize("kind", ["ARRAY", "OBJECT"])
@pytest.mark.parametrize("default", ["", '["a"]', '{"a": 1}'])
async def test_a_tool_that_needs_a_list_or_an_object_is_refused(kind: str, default: str) -> None:
    given_tool = tool("Batch", "Geocodes many addresses.", parameter("city"), parameter("addresses", kind, default))
    with pytest.raises(WriterRejected, match="no value for addresses") as refused:
        await FOREIGN.example(given_tool, "key")
    assert refused.value.kind == "invalid_parameters"


async def test_nearly_all_the_real_documents_get_a_valid_call(documents_folder: Path) -> None:
    tools = [each for _, each in parse(None, read_documents(documents_folder)).tools]
    refused = Counter[str]()
    for each in tools:
        try:
            use = await FOREIGN.example(each, each.name)
        except WriterRejected as rejected:
            refused[rejected.kind] += 1
            continue
        assert parameter_problems(each, use.parameters) == []
        assert use.instruction.strip()
        assert "\n" not in use.instruction
        found = await FOREIGN.understand(each, use)
        assert re.match(r"[a-z]+\b", found.functionality), found.functionality
        assert not found.functionality.endswith((".", "!", "?"))
        assert found.non_functional.strip()
    assert refused.total() <= 0.05 * len(tools)
    assert refused.keys() <= {"invalid_parameters"}


# ---------------------------------------------------------------- keys, wordings, histories

TRAINS = tool("Find", "Finds the trains of a city.", parameter("city"), parameter("day", "DATE"))


async def test_the_same_key_gives_the_same_text_and_another_another() -> None:
    writers = [TemplateWriter(3), TemplateWriter(3), TemplateWriter(4)]
    first, again, other = [[await each.example(TRAINS, str(key)) for key in range(30)] for each in writers]
    assert first == again
    assert len({use.instruction for use in first}) > 25
    assert sum(one == two for one, two in zip(first, other, strict=True)) <= 1


async def test_another_attempt_another_stage_and_another_tool_are_other_text() -> None:
    group = [Attributes("find the trains of a city", "")]
    namesake = tool("Find", "Finds the trains of a city.", parameter("city"), parameter("day", "DATE"), provider="Bela")
    texts = [(await FOREIGN.instruction([], TRAINS, group, "u1/0", attempt)).instruction for attempt in range(20)]
    texts += [(await FOREIGN.example(each, "u1/0")).instruction for each in (TRAINS, namesake)]
    assert len(set(texts)) > 18


async def test_the_wording_is_that_of_any_tool_of_the_group() -> None:
    members = ("alphas", "betas", "gammas")
    group = [Attributes(f"find the {member} of a city", f"fond of {member}") for member in members]
    heard = Counter[str]()
    for attempt in range(150):
        use = await FOREIGN.instruction([], TRAINS, group, "u1/0", attempt)
        assert parameter_problems(TRAINS, use.parameters) == []
        assert "train" not in use.instruction
        assert "fond" not in use.instruction
        heard.update(member for member in members if member in use.instruction)
    assert heard.total() == 150
    assert min(heard[member] for member in members) > 25


async def test_a_history_has_a_use_for_each_planned_entry_in_order() -> None:
    planned = [
        PlannedInteraction(each, ToolUse("", {}), Attributes(f"find the {name} of a city", ""), rating)
        for each, name, rating in (
            (TRAINS, "alphas", Rating.LIKED),
            (ODD["enumerations"][0], "betas", None),
            (TRAINS, "gammas", Rating.DISLIKED),
            (TRAINS, "gammas", Rating.DISLIKED),
        )
    ]
    uses = await FOREIGN.history(HistorySetting.RATING_INTEGRATED, planned, "u1")
    for each, use, name in zip(planned, uses, ("alphas", "betas", "gammas", "gammas"), strict=True):
        assert name in use.instruction
        assert parameter_problems(each.tool, use.parameters) == []
    assert uses[2] != uses[3]
    assert uses == await FOREIGN.history(HistorySetting.RATING_INTEGRATED, planned, "u1")


async def test_an_instruction_for_a_tool_that_needs_an_object_is_refused_too() -> None:
    given_tool = tool("Post", "Creates a record.", parameter("body", "OBJECT"))
    with pytest.raises(WriterRejected):
        await FOREIGN.instruction([], given_tool, [Attributes("create a record", "")], "u1/0", 0)
