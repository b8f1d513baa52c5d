"""Our own catalogue: the rules that its data keep, the documents it writes, and what people ask of them."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from string import Formatter
from typing import Any

import pytest

from app.answers.validation import parameter_problems
from app.catalogue.parse import parse
from app.domain import Json, Tool
from app.errors import SetupError
from training.common.seeding import rng
from training.common.stages import NO_PROGRESS
from training.data.dataset import read_rows
from training.data.truth import TRUTH, Truth, read_truth
from training.generators.catalogue.build import DOCUMENTS, write_catalogue
from training.generators.catalogue.jobs import Job, categories, jobs
from training.generators.catalogue.providers import Providers, archetypes
from training.generators.lexicon import lexicon
from training.generators.template.clauses import sentences
from training.generators.values import KINDS, word_lists
from training.petoolbench.config import PrepareConfig
from training.petoolbench.stage_1_prepare import DROPPED, TOOLS, prepare

JOBS = list(jobs().values())
SOUND, FLAWED = 300, 40
REGISTERS = {"terse", "polite", "question", "context", "several"}
NUMERALS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
DAYS = ("date", "past_date", "future_date", "year")


def written(directory: Path, *, tools: int = SOUND, count: int = 6, flawed: int = FLAWED, seed: int = 1) -> Path:
    directory.mkdir(exist_ok=True)
    write_catalogue(tools, count, flawed, 0.6, seed, directory, NO_PROGRESS)
    return directory


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def truth(catalogue: Path) -> Mapping[str, Truth]:
    return read_truth(catalogue / TRUTH)


@pytest.fixture(scope="module")
def documents(catalogue: Path, truth: Mapping[str, Truth]) -> Mapping[str, dict[str, Any]]:
    """The sound ones by name."""
    rows = list(read_rows(catalogue / DOCUMENTS))[: len(truth)]
    return {f"{row['category_name']}.{row['tool_name']}.{row['api_name']}": row for row in rows}


@pytest.fixture(scope="module")
def tools(documents: Mapping[str, dict[str, Any]]) -> Mapping[str, Tool]:
    parsed = parse(None, list(documents.values()))
    assert parsed.rejections == ()
    assert parsed.duplicates == ()
    return {tool.name: tool for _, tool in parsed.tools}


@pytest.fixture(scope="module")
def groups(truth: Mapping[str, Truth]) -> Mapping[str, list[str]]:
    """Names of the tools by their functionality."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in truth.values():
        found[each.job].append(each.tool_name)
    return found


# ---------------------------------------------------------------- things and actions


def fields(template: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(template) if field is not None}


def test_there_are_46_categories_of_nine_things_with_several_functionalities_each() -> None:
    things = Counter(job.key.rsplit("/", 1)[0] for job in JOBS)
    assert len(categories()) == 46
    assert Counter(key.split("/")[0] for key in things) == dict.fromkeys(categories(), 9)
    assert sum(things.values()) > 1_500
    assert len({key.split("/")[1] for key in things}) == 46 * 9


def test_every_frame_speaks_of_all_that_is_required_and_of_nothing_unknown() -> None:
    for job in JOBS:
        required = {slot.slot for slot in job.slots if slot.required}
        assert set(job.asks) == REGISTERS
        for frame in (frame for of_register in job.asks.values() for frame in of_register):
            assert required <= fields(frame) <= required | set(job.words), f"{job.key}: {frame}"


def test_optional_parameters_and_they_alone_have_tails_that_name_them() -> None:
    for job in JOBS:
        optional = {slot.slot: slot.kind for slot in job.slots if not slot.required}
        assert set(job.tails) == set(optional), job.key
        for slot, tails in job.tails.items():
            assert tails
            for tail in tails:
                assert fields(tail) <= {slot, *job.words}, f"{job.key}: {tail}"
                assert slot in fields(tail) or optional[slot] == "boolean", f"{job.key}: {tail}"


def test_parameters_are_of_known_kinds_and_their_names_do_not_collide() -> None:
    for job in JOBS:
        assert all(isinstance(slot.kind, tuple) or slot.kind in {*KINDS, "boolean"} for slot in job.slots), job.key
        assert len({slot.name for slot in job.slots}) == len({slot.slot for slot in job.slots}) == len(job.slots)
        assert not {slot.slot for slot in job.slots} & set(job.words), job.key


def test_descriptions_name_a_functionality_in_several_ways_and_know_no_slot() -> None:
    for job in JOBS:
        assert len(set(job.does)) == len(job.does) >= 5, job.key
        assert len(set(job.api)) == len(job.api) >= 3, job.key
        assert job.returns
        for text in (*job.does, *job.api):
            assert fields(text) <= set(job.words), f"{job.key}: {text}"


def test_what_a_tool_does_is_one_sentence_that_says_nothing_of_attributes() -> None:
    for job in JOBS:
        for text in map(job.written, job.does):
            assert sentences(text) == [text]
            assert lexicon().of_sentence(text) is None
            assert not lexicon().is_neutral(text)


def test_things_have_the_article_that_is_spoken() -> None:
    said = {job.words["a_one"] for job in JOBS}
    assert {"an x-ray analysis", "a university"} <= said
    odd = {each for each in said if each.startswith("an ") is not (each.split()[1][0] in "aeiou")}
    assert odd == {"an x-ray analysis", "a university"}


# ---------------------------------------------------------------- documents


def test_there_are_as_many_documents_as_were_asked_for(
    catalogue: Path, truth: Mapping[str, Truth], tools: Mapping[str, Tool]
) -> None:
    assert len(list(read_rows(catalogue / DOCUMENTS))) == SOUND + FLAWED
    assert set(tools) == set(truth)
    assert len(truth) == SOUND
    assert len({tool.category for tool in tools.values()}) == 6


def test_the_report_counts_what_was_written(tmp_path: Path) -> None:
    counted = write_catalogue(90, 4, 7, 0.6, 3, tmp_path, NO_PROGRESS)
    of = read_truth(tmp_path / TRUTH).values()
    providers = {each.tool_name.split(".")[1] for each in of}
    jobs_, category_names = {each.job for each in of}, {each.job.split("/")[0] for each in of}
    assert counted == {
        "tools": 90,
        "flawed": 7,
        "categories": len(category_names),
        "functionalities": len(jobs_),
        "providers": len(providers),
    }


@pytest.mark.parametrize("seed", range(5))
def test_from_two_to_fifteen_tools_of_different_providers_compete(seed: int, tmp_path: Path) -> None:
    of = read_truth(written(tmp_path, tools=200, count=5, flawed=0, seed=seed) / TRUTH).values()
    sizes = Counter(each.job for each in of)
    assert all(2 <= size <= 15 for size in sizes.values())
    assert len({(each.job, each.tool_name.split(".")[1]) for each in of}) == 200
    assert len(set(sizes.values())) > 5


def test_the_last_functionality_has_no_more_than_fifteen_tools(tmp_path: Path) -> None:
    of = read_truth(written(tmp_path, tools=40, count=2, flawed=0, seed=485) / TRUTH).values()
    assert max(Counter(each.job for each in of).values()) <= 15


def test_tools_of_one_functionality_have_one_signature_and_one_response(
    tools: Mapping[str, Tool], groups: Mapping[str, list[str]]
) -> None:
    for names in groups.values():
        signatures = {
            tuple((each.name, each.schema.get("type"), each.required) for each in tools[name].parameters)
            for name in names
        }
        assert len(signatures) == 1
        assert len({json.dumps(tools[name].response_schema) for name in names}) == 1
        assert len({tools[name].category for name in names}) == 1


def test_enumerations_are_read_from_the_documents(tools: Mapping[str, Tool], truth: Mapping[str, Truth]) -> None:
    seen = 0
    for name, tool in tools.items():
        kinds = {slot.name: slot.kind for slot in jobs()[truth[name].job].slots}
        for parameter in tool.parameters:
            if isinstance(kinds[parameter.name], tuple):
                seen += 1
                assert parameter.schema["enum"] == list(kinds[parameter.name])
    assert seen > 10


def test_half_of_the_parameters_have_an_example(tools: Mapping[str, Tool]) -> None:
    given = [parameter.default is not None for tool in tools.values() for parameter in tool.parameters]
    assert 0.4 < sum(given) / len(given) < 0.6


def test_what_is_true_of_a_tool_is_shown_in_its_description_or_name(
    documents: Mapping[str, dict[str, Any]], truth: Mapping[str, Truth]
) -> None:
    for name, document in documents.items():
        described = str(document["api_description"]).casefold()
        shown = {each.key for each in lexicon().in_name(str(document["tool_name"]))}
        shown |= {
            each.key
            for each in lexicon().attributes.values()
            if any(said.casefold() in described for said in (*each.says, each.sentence))
        }
        assert set(truth[name].attributes) == shown
        assert shown


def test_a_tool_shows_about_four_attributes(truth: Mapping[str, Truth]) -> None:
    shown = [len(each.attributes) for each in truth.values()]
    assert set(shown) <= {1, 2, 3, 4, 5}
    assert 3.4 < sum(shown) / len(shown) < 4.1


def test_documents_also_say_what_the_tool_does(
    documents: Mapping[str, dict[str, Any]], truth: Mapping[str, Truth]
) -> None:
    for name, document in documents.items():
        job = jobs()[truth[name].job]
        assert any(job.written(does) in document["api_description"] for does in job.does)
        assert document["api_name"] in map(job.written, job.api)


def test_attributes_are_said_outright_as_often_as_asked_for(tmp_path: Path) -> None:
    def outright(share: float) -> float:
        write_catalogue(60, 2, 0, share, 1, tmp_path, NO_PROGRESS)
        text = (tmp_path / DOCUMENTS).read_text("utf-8")
        said = Counter(each.sentence for each in lexicon().attributes.values() if each.sentence in text)
        others = sum(line in text for each in lexicon().attributes.values() for line in each.says)
        return len(said) / (len(said) + others)

    assert outright(1) == 1
    assert outright(0) == 0
    assert 0 < outright(0.5) < 1


# ---------------------------------------------------------------- providers


def test_rivals_share_no_attribute_but_one_that_a_single_tool_adds(
    truth: Mapping[str, Truth], groups: Mapping[str, list[str]]
) -> None:
    shared = [
        len(set(truth[one].attributes) & set(truth[other].attributes))
        for names in groups.values()
        for one, other in combinations(names, 2)
    ]
    assert max(shared) <= 2
    assert sum(each > 0 for each in shared) < 0.1 * len(shared)


def test_providers_of_one_functionality_share_no_attribute() -> None:
    bundles = archetypes(lexicon(), rng(1, "archetypes"))
    taken: set[str] = set()
    providers = Providers(lexicon(), bundles, taken, rng(1, "rivals"))
    rounds = [providers.rivals(8) for _ in range(6)]
    for rivals in rounds:
        assert len({each.name for each in rivals}) == 8
        assert all({*one.attributes}.isdisjoint(two.attributes) for one, two in combinations(rivals, 2))
    uses = Counter(each.name for rivals in rounds for each in rivals)
    assert set(uses.values()) == {1, 2}
    assert {name.casefold() for name in uses} == taken


def test_archetypes_are_of_different_facets() -> None:
    for bundle in archetypes(lexicon(), rng(5, "archetypes")):
        assert len({lexicon().attributes[key].facet for key in bundle}) == len(bundle) == 6


def test_a_providers_hint_is_about_one_of_its_attributes(
    documents: Mapping[str, dict[str, Any]], truth: Mapping[str, Truth]
) -> None:
    hinted = [name for name, document in documents.items() if lexicon().in_name(str(document["tool_name"]))]
    assert 0.25 < len(hinted) / len(documents) < 0.55


class _Spent(Exception):
    pass


class _Limited(Random):
    """Fails where it is asked without end."""

    left = 1_500_000

    def getrandbits(self, count: int, /) -> int:
        self.left -= 1
        if self.left < 0:
            raise _Spent
        return super().getrandbits(count)


def test_fifteen_rivals_are_found_whatever_the_first_ones_are() -> None:
    random = _Limited()
    random.setstate(rng(832, "x").getstate())
    providers = Providers(lexicon(), archetypes(lexicon(), rng(832, "archetypes")), set(), random)
    found = providers.rivals(15)
    assert len({each.name for each in found}) == 15
    assert all({*one.attributes}.isdisjoint(two.attributes) for one, two in combinations(found, 2))
    assert all(each.attributes for each in found)


# ---------------------------------------------------------------- flaws, seeds and sizes


def test_preparation_finds_the_flawed_documents_and_drops_no_sound_one(
    catalogue: Path, truth: Mapping[str, Truth], tmp_path: Path
) -> None:
    report = prepare(catalogue / DOCUMENTS, PrepareConfig(), tmp_path, NO_PROGRESS)
    assert {row["name"] for row in read_rows(tmp_path / TOOLS)} == set(truth)
    each = FLAWED // 5
    assert report["dropped"] == {
        "category_name": each,
        "deprecated": each,
        "repeated_description": each,
        "repeated_name": each,
        "too_little_documentation": each,
    }


def test_each_flaw_is_found_for_its_own_reason(catalogue: Path, tmp_path: Path) -> None:
    prepare(catalogue / DOCUMENTS, PrepareConfig(), tmp_path, NO_PROGRESS)
    reasons = {row["location"]: row["reason"] for row in read_rows(tmp_path / DROPPED)}
    flawed = list(read_rows(catalogue / DOCUMENTS))[SOUND:]
    intended = ("deprecated", "too_little_documentation", "repeated_description", "repeated_name", "category_name")
    found = [reason for _, reason in sorted(reasons.items(), key=lambda item: int(re.findall(r"\d+", item[0])[-1]))]
    assert found == [intended[number % 5] for number in range(len(flawed))]


def bytes_of(directory: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(catalogue: Path, tmp_path: Path) -> None:
    assert bytes_of(written(tmp_path / "same")) == bytes_of(catalogue)
    other = bytes_of(written(tmp_path / "other", seed=2))
    assert other.keys() == bytes_of(catalogue).keys() == {DOCUMENTS, TRUTH}
    assert all(other[name] != content for name, content in bytes_of(catalogue).items())


def test_flawed_documents_change_no_sound_one(catalogue: Path, tmp_path: Path) -> None:
    without = list(read_rows(written(tmp_path, flawed=0) / DOCUMENTS))
    assert without == list(read_rows(catalogue / DOCUMENTS))[:SOUND]


def test_the_documents_order_tells_nothing_of_functionalities(
    documents: Mapping[str, Json], truth: Mapping[str, Truth]
) -> None:
    names = list(documents)
    side_by_side = sum(truth[one].job == truth[two].job for one, two in pairwise(names))
    assert side_by_side < 0.1 * SOUND


@pytest.mark.parametrize("tools", [2, 3, 17])
def test_small_catalogues_have_no_functionality_with_one_tool(tools: int, tmp_path: Path) -> None:
    for seed in range(10):
        of = read_truth(written(tmp_path, tools=tools, count=1, flawed=0, seed=seed) / TRUTH).values()
        assert len(of) == tools
        assert min(Counter(each.job for each in of).values()) >= 2


def test_more_tools_than_the_functionalities_can_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"1 categories have functionalities for \d+ tools, not for 5000"):
        write_catalogue(5_000, 1, 0, 0.6, 1, tmp_path, NO_PROGRESS)


# ---------------------------------------------------------------- instructions

DRAWN = Random(4).sample(JOBS, 8)
WITH_DAYS = [
    job for job in JOBS if max(Counter(slot.kind for slot in job.slots if slot.kind in DAYS).values(), default=0) > 1
]


def register_of(job: Job, instruction: str) -> str:
    """That of the frame which accounts for most of the instruction."""
    fitting = [
        (len(frame), register)
        for register, frames in job.asks.items()
        for frame in frames
        if re.search(_pattern(job, frame), instruction, re.IGNORECASE)
    ]
    assert fitting, instruction
    return max(fitting)[1]


def _pattern(job: Job, frame: str) -> str:
    """The frame with anything for its slots; what stands before and behind it is free."""
    parts = [r"(?:^|: |, )"]
    for literal, field, _, _ in Formatter().parse(frame.rstrip(".?!")):
        parts.append(re.escape(literal))
        if field is not None:
            parts.append(re.escape(job.words[field]) if field in job.words else ".+?")
    return "".join(parts)


def said_forms(value: Json) -> Iterable[str]:
    """How a value may be said."""
    yield str(value)
    yield str(value).replace("_", " ")
    for names in ("countries", "languages", "currencies"):
        yield from (name for name, code in word_lists()[names].items() if code == value)
    if isinstance(value, int) and 1 < value < 13:
        yield NUMERALS[value - 2]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        day = date.fromisoformat(value)
        yield from (f"{day.day} {day:%B} {day.year}", f"{day:%B} {day.day}, {day.year}")


@pytest.mark.parametrize("job", DRAWN, ids=[job.key for job in DRAWN])
def test_people_ask_in_all_registers_from_a_few_words_to_several_sentences(job: Job) -> None:
    random = rng("ask", job.key)
    asked = [job.ask(random).instruction for _ in range(500)]
    lengths: dict[str, list[int]] = defaultdict(list)
    for text in asked:
        lengths[register_of(job, text)].append(len(text))
    assert lengths.keys() == REGISTERS
    assert all(len(of_register) > 40 for of_register in lengths.values())
    assert min(lengths["context"]) > min(lengths["terse"]) + 40
    assert max(map(len, asked)) > min(map(len, asked)) + 80
    assert len(set(asked)) > 100


@pytest.mark.parametrize("job", DRAWN, ids=[job.key for job in DRAWN])
def test_only_those_in_a_hurry_end_without_a_mark(job: Job) -> None:
    random = rng("ends", job.key)
    for _ in range(500):
        text = job.ask(random).instruction
        if re.search(r"[.?!][\"”')]?$", text) is None:
            assert register_of(job, text) == "terse", text


def test_instructions_are_whole_text_that_says_every_value() -> None:
    for job in JOBS:
        random = rng("whole", job.key)
        for _ in range(4):
            use = job.ask(random)
            text = use.instruction
            assert text == text.strip()
            assert re.search(r"[{}]|  | [,.?!;)]|[.?!,][.?!,]|^\W*$", text) is None, text
            for slot in job.slots:
                assert slot.name in use.parameters or not slot.required
                if slot.name in use.parameters and slot.kind != "boolean":
                    value = use.parameters[slot.name]
                    assert any(form in text for form in said_forms(value)), f"{text}: {value}"


def test_optional_values_come_now_and_then() -> None:
    job = next(job for job in JOBS if sum(not slot.required for slot in job.slots) == 1)
    random = Random(1)
    optional = next(slot.name for slot in job.slots if not slot.required)
    spoken = sum(optional in job.ask(random).parameters for _ in range(500))
    assert 150 < spoken < 300


def of_one_kind(job: Job, parameters: Mapping[str, Json]) -> Iterable[tuple[str, Sequence[Json]]]:
    """The values by kind, in the slots' order."""
    found: dict[str, list[Json]] = defaultdict(list)
    for slot in job.slots:
        if slot.name in parameters and isinstance(slot.kind, str):
            found[slot.kind].append(parameters[slot.name])
    return found.items()


def test_no_two_values_of_a_kind_are_the_same_in_one_instruction() -> None:
    several = [job for job in JOBS if max(Counter(slot.kind for slot in job.slots).values(), default=0) > 1]
    assert len(several) > 100
    for job in several:
        random = rng("same", job.key)
        for _ in range(20):
            for kind, values in of_one_kind(job, job.ask(random).parameters):
                assert kind == "boolean" or len(set(map(str, values))) == len(values)


@pytest.mark.parametrize("job", WITH_DAYS[::5], ids=[job.key for job in WITH_DAYS[::5]])
def test_of_two_days_the_earlier_comes_first(job: Job) -> None:
    random = rng("days", job.key)
    for _ in range(100):
        for kind, values in of_one_kind(job, job.ask(random).parameters):
            assert kind not in DAYS or list(values) == sorted(values)


def test_parameters_are_valid_for_every_tool_of_the_functionality(
    tools: Mapping[str, Tool], groups: Mapping[str, list[str]]
) -> None:
    for key, names in groups.items():
        random = rng("valid", key)
        for _ in range(10):
            parameters = jobs()[key].ask(random).parameters
            for name in names:
                assert parameter_problems(tools[name], parameters) == []


def test_the_same_randomness_asks_the_same() -> None:
    assert [job.ask(Random(3)) for job in DRAWN] == [job.ask(Random(3)) for job in DRAWN]
