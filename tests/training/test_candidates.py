"""The ten tools to choose from: the right one, its rivals, what retrieval finds, and some by chance."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.catalogue.rapidapi import parse_document
from app.domain import Json, Tool, ToolCall
from app.retrieval.query import Query, split_sentences
from app.retrieval.snapshot import CatalogueSnapshot
from app.retrieval.texts import retrieval_text
from tests.support.published_cases import document, parameter
from training.common.embedding import Vectors, embed
from training.common.stages import NO_PROGRESS, Progress
from training.petoolbench.config import CandidateConfig
from training.petoolbench.interface import inputs
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_6_instructions import Asked
from training.petoolbench.stage_7_candidates import (
    CANDIDATES,
    CandidateChooser,
    Chosen,
    choose_candidates,
    read_candidates,
)

WORDS = [
    *("weather", "rain", "recipe", "flight", "train", "hotel", "song", "film", "stock", "coin"),
    *("football", "chess", "poem", "joke", "map", "street", "museum", "zoo", "bank", "letter"),
]


def tool(category: str, provider: str, api: str, *parameters: str) -> Tool:
    return parse_document(document(category, provider, api, *(parameter(name, "STRING") for name in parameters)))


def rivals(job: str, count: int) -> list[Tool]:
    return [tool(f"About {job}", f"{job} provider {number}", f"find {job}", job) for number in range(count)]


def group_of(tools: Sequence[Tool], *, unseen: bool = False) -> Group:
    return Group(f"g {tools[0].category}", tools[0].category, tuple(sorted(each.name for each in tools)), unseen)


def others(count: int, word: str = "other") -> list[Tool]:
    """Each of its own kind: no two have the same inputs."""
    return [tool("Misc", f"{word} {number}", f"do {WORDS[number % 20]}", f"{word}{number}") for number in range(count)]


def asked(tool: Tool, name: str = "anna", number: int = 0, instruction: str = "find something") -> Asked:
    return Asked(name, number, instruction, ToolCall(tool.name, {}))


def vectors(count: int, seed: int = 1) -> Vectors:
    found = np.random.default_rng(seed).normal(size=(count, 16))
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


QUERY_VECTORS = vectors(1, seed=2)


def phrases(tools: Sequence[Tool], near: Collection[tuple[Tool, Tool, float]] = ()) -> Vectors:
    """Of functionality, at right angles but for the first of each pair in `near`, which has that cosine with the
    second."""
    rows = {each.name: row for row, each in enumerate(tools)}
    found: Vectors = np.eye(len(tools), dtype=np.float32)
    for one, other, cosine in near:
        found[rows[one.name]] *= np.sqrt(1 - cosine**2)
        found[rows[one.name], rows[other.name]] = cosine
    return found


def chooser(
    tools: Sequence[Tool],
    seed: int = 1,
    shown: Collection[Tool] = (),
    near: Collection[tuple[Tool, Tool, float]] = (),
    **config: Any,
) -> CandidateChooser:
    snapshot = CatalogueSnapshot.build(tools, vectors(len(tools)), 1)
    names = {each.name for each in shown}
    return CandidateChooser(snapshot, phrases(tools, near), CandidateConfig(**config), seed, names)


def query_for(instruction: str = "find something") -> Query:
    return Query(instruction, split_sentences(instruction), QUERY_VECTORS)


def found_for(tools: Sequence[Tool], instruction: str = "find something") -> list[str]:
    snapshot = CatalogueSnapshot.build(tools, vectors(len(tools)), 1)
    return [item.tool.name for item in snapshot.search(query_for(instruction), 40)]


# ---------------------------------------------------------------- one instruction


@pytest.mark.parametrize("size", [2, 3, 5, 9, 10])
def test_the_right_tool_stands_among_its_whole_group(size: int) -> None:
    group, more = rivals("rain", size), others(40)
    chosen = chooser([*group, *more]).choose(asked(group[1]), group_of(group), query_for())
    assert len(chosen.candidates) == len(set(chosen.candidates)) == 10
    assert {each.name for each in group} <= set(chosen.candidates)
    assert set(chosen.same_function) == {each.name for each in group} - {group[1].name}
    assert (chosen.user_id, chosen.number) == ("anna", 0)


@pytest.mark.parametrize("size", [11, 15])
def test_of_a_group_that_is_too_large_nine_rivals_are_drawn(size: int) -> None:
    group = rivals("rain", size)
    of, draws = chooser([*group, *others(40)]), set()
    for number in range(30):
        chosen = of.choose(asked(group[3], number=number), group_of(group), query_for())
        assert set(chosen.candidates) == {group[3].name, *chosen.same_function}
        assert len(chosen.candidates) == 10
        assert len(chosen.same_function) == 9
        assert set(chosen.candidates) <= {each.name for each in group}
        draws.add(frozenset(chosen.same_function))
    assert len(draws) > 5
    assert set.union(*map(set, draws)) == {each.name for each in group} - {group[3].name}


@pytest.mark.parametrize("retrieved", [0, 3, 5])
@pytest.mark.parametrize("size", [2, 5, 7, 9])
def test_as_many_as_there_is_room_for_are_retrieved(size: int, retrieved: int) -> None:
    group, more = rivals("rain", size), others(60)
    tools = [*group, *more]
    chosen = chooser(tools, retrieved=retrieved).choose(asked(group[0]), group_of(group), query_for())
    expected = [name for name in found_for(tools) if name not in group_of(group).tools][: min(retrieved, 10 - size)]
    assert set(expected) <= set(chosen.candidates)
    assert len(chosen.candidates) == 10


def test_no_other_tool_could_do_the_job() -> None:
    """Of the same category and inputs, but in no group with it: it would be a second right answer."""
    group, more = rivals("rain", 3), others(60)
    twins = [tool("About rain", f"Twin {number}", "find rain", "RAIN") for number in range(20)]
    elsewhere = [tool("Another category", f"Elsewhere {number}", "find rain", "rain") for number in range(3)]
    tools = [*twins, *group, *more, *elsewhere]
    assert set(found_for(tools)[:5]) & {each.name for each in twins}
    of, seen = chooser(tools, shown=more), set[str]()
    for number in range(12):
        chosen = of.choose(asked(group[0], number=number), group_of(group), query_for())
        assert len(chosen.candidates) == 10
        seen.update(chosen.candidates)
    assert not seen & {each.name for each in twins}
    assert seen >= {each.name for each in (*group, *elsewhere)}


@pytest.mark.parametrize("retrieved", [0, 5])
def test_no_other_tool_says_nearly_the_same_of_its_functionality(retrieved: int) -> None:
    """Whatever it takes, and in whatever category it is."""
    group, more = rivals("rain", 3), others(60)
    alike = [tool("Elsewhere", f"Alike {number}", "find rain", f"alike{number}") for number in range(10)]
    akin = [tool("Elsewhere", f"Akin {number}", "find rain", f"akin{number}") for number in range(3)]
    tools = [*alike, *group, *more, *akin]
    assert set(found_for(tools)[:5]) & {each.name for each in alike}
    near = [(each, group[0], (0.86, 1.0)[number % 2]) for number, each in enumerate(alike)]
    near += [(each, group[0], 0.84) for each in akin]
    of, seen = chooser(tools, shown=more, near=near, retrieved=retrieved), set[str]()
    for number in range(12):
        chosen = of.choose(asked(group[0], number=number), group_of(group), query_for())
        assert len(chosen.candidates) == 10
        seen.update(chosen.candidates)
    assert not seen & {each.name for each in alike}
    assert seen >= {each.name for each in (*group, *akin)}


def test_only_likeness_to_the_right_tool_counts() -> None:
    """Its rivals stay, however their functionality reads; so do those that are like one of them alone."""
    group, more = rivals("rain", 3), others(7)
    near = [(group[1], group[0], 0.99), (more[0], group[2], 0.99)]
    of = chooser([*group, *more], near=near)
    chosen = of.choose(asked(group[0]), group_of(group), query_for())
    assert set(chosen.candidates) == {each.name for each in (*group, *more)}
    chosen = of.choose(asked(group[2]), group_of(group), query_for())
    assert set(chosen.candidates) == {each.name for each in (*group, *more[1:])}


def test_rivals_that_were_not_drawn_do_not_come_back_by_retrieval() -> None:
    group, more = rivals("rain", 6), others(40)
    of = chooser([*group, *more], n=4, retrieved=3)
    for number in range(10):
        chosen = of.choose(asked(group[0], number=number), group_of(group), query_for())
        assert len(chosen.same_function) == 3
        assert len(chosen.candidates) == 4


def test_where_there_are_fewer_tools_all_of_them_are_candidates() -> None:
    group, more = rivals("rain", 2), others(4)
    twin = tool("About rain", "Twin", "find rain", "rain")
    of = chooser([*group, *more, twin])
    for number in range(3):
        chosen = of.choose(asked(group[0], number=number), group_of(group), query_for())
        assert set(chosen.candidates) == {each.name for each in (*group, *more)}
        assert len(chosen.candidates) == 6


def test_the_right_tool_stands_anywhere() -> None:
    group, more = rivals("rain", 3), others(60)
    of = chooser([*group, *more])
    places: Counter[int] = Counter()
    for number in range(200):
        chosen = of.choose(asked(group[number % 3], f"user {number}"), group_of(group), query_for())
        places[chosen.candidates.index(group[number % 3].name)] += 1
    assert set(places) == set(range(10))
    # 20 each; a chi-square of 27.9 has a probability of a thousandth.
    assert sum((count - 20) ** 2 / 20 for count in places.values()) < 27.9


def test_two_instructions_of_a_user_are_shuffled_differently() -> None:
    group = rivals("rain", 10)
    of = chooser([*group, *others(5)])
    one, other, again = (
        of.choose(asked(group[0], number=number), group_of(group), query_for()) for number in (0, 1, 0)
    )
    assert set(one.candidates) == set(other.candidates)
    assert one.candidates == again.candidates != other.candidates


# ---------------------------------------------------------------- by chance


def drawn(of: CandidateChooser, group: Sequence[Tool], count: int) -> Iterator[list[str]]:
    for number in range(count):
        chosen = of.choose(asked(group[0], f"user {number}"), group_of(group), query_for())
        yield sorted(set(chosen.candidates) - set(group_of(group).tools))


def test_each_tool_is_drawn_before_any_is_drawn_twice() -> None:
    group, more = rivals("rain", 2), others(30)
    rounds = list(drawn(chooser([*group, *more], n=5, retrieved=0), group, 20))
    everything = sorted(each.name for each in more)
    assert sorted(name for names in rounds[:10] for name in names) == everything
    assert sorted(name for names in rounds[10:] for name in names) == everything
    assert rounds[:10] != rounds[10:]


def test_what_one_instruction_may_not_have_is_drawn_for_the_next() -> None:
    """Two jobs whose tools bar each other's draws in no way: over all, everything is drawn evenly."""
    rain, snow = rivals("rain", 3), rivals("snow", 3)
    tools = [*rain, *snow, *others(24)]
    of, counts = chooser(tools, n=5, retrieved=0), Counter[str]()
    for number in range(60):
        group = (rain, snow)[number % 2]
        chosen = of.choose(asked(group[0], f"user {number}"), group_of(group), query_for())
        assert len(chosen.candidates) == 5
        counts.update(set(chosen.candidates) - set(group_of(group).tools))
    assert set(counts) == {each.name for each in tools}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_what_is_barred_again_and_again_does_not_fill_the_deck() -> None:
    group, more = rivals("rain", 3), others(7)
    rounds = list(drawn(chooser([*group, *more], n=5, retrieved=0), group, 60))
    assert {len(names) for names in rounds} == {2}
    counts = Counter(name for names in rounds for name in names)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_tools_that_nothing_else_shows_are_drawn_first() -> None:
    group, more = rivals("rain", 2), others(30)
    shown = more[:21]
    first = list(drawn(chooser([*group, *more], shown=shown, n=5, retrieved=0), group, 10))
    assert {name for names in first[:3] for name in names} == {each.name for each in more[21:]}
    assert sorted(name for names in first[3:] for name in names) == sorted(each.name for each in shown)


def test_the_seed_decides_who_is_drawn_and_in_which_order() -> None:
    group, more = rivals("rain", 2), others(30)
    tools = [*group, *more]
    runs = [
        [
            chooser(tools, seed).choose(asked(group[0], f"user {n}"), group_of(group), query_for()).candidates
            for n in range(9)
        ]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


# ---------------------------------------------------------------- the stage


SEEN = {word: rivals(word, 3) for word in ("rain", "recipe", "flight")}
UNSEEN = {word: rivals(word, 2) for word in ("song", "poem")}
TOOLS = [each for found in (*SEEN.values(), *UNSEEN.values()) for each in found] + others(20) + others(15, "hidden")
HIDDEN = {each.name for found in UNSEEN.values() for each in found} | {each.name for each in others(15, "hidden")}
GROUPS = {
    each.name: group_of(found, unseen=side is UNSEEN)
    for side in (SEEN, UNSEEN)
    for found in side.values()
    for each in found
}
ASKED = [
    asked(found[0], f"user {number}", place, f"Please find me a {word}. Something {WORDS[number]} with it?")
    for number in range(10)
    for place, (word, found) in enumerate([*SEEN.items(), *UNSEEN.items()])
]


@lru_cache
def documents() -> Vectors:
    return embed([retrieval_text(each) for each in TOOLS])


def run(
    directory: Path,
    seed: int = 1,
    progress: Progress = NO_PROGRESS,
    near: Collection[tuple[Tool, Tool, float]] = (),
    **config: Any,
) -> Mapping[str, Json]:
    functionality, settings = phrases(TOOLS, near), CandidateConfig(**config)
    return choose_candidates(
        ASKED, GROUPS, TOOLS, documents(), functionality, HIDDEN, set(), settings, seed, directory, progress
    )


def chosen_in(directory: Path) -> dict[tuple[str, int], Chosen]:
    return read_candidates(directory / CANDIDATES)


def test_the_seen_and_the_unseen_stay_apart(tmp_path: Path) -> None:
    run(tmp_path)
    found = chosen_in(tmp_path)
    assert len(found) == len(ASKED)
    for each in ASKED:
        unseen = GROUPS[each.answer.tool_name].unseen
        assert {name in HIDDEN for name in found[each.user_id, each.number].candidates} == {unseen}


def test_every_instruction_gets_ten_with_its_own_retrieved_tools(tmp_path: Path) -> None:
    kind = {each.name: inputs(each) for each in TOOLS}
    snapshots = {}
    for unseen in (False, True):
        rows = [row for row, each in enumerate(TOOLS) if (each.name in HIDDEN) is unseen]
        snapshots[unseen] = CatalogueSnapshot.build([TOOLS[row] for row in rows], documents()[rows], 1)
    run(tmp_path)
    found = chosen_in(tmp_path)
    for each in ASKED:
        right, chosen = each.answer.tool_name, found[each.user_id, each.number]
        group = GROUPS[right]
        assert len(set(chosen.candidates)) == len(chosen.candidates) == 10
        assert set(group.tools) <= set(chosen.candidates)
        assert sorted(chosen.same_function) == sorted(set(group.tools) - {right})
        rest = [name for name in chosen.candidates if name not in group.tools]
        assert not any(kind[name] == kind[right] for name in rest)
        sentences = split_sentences(each.instruction)
        search = snapshots[group.unseen].search(Query(each.instruction, sentences, embed(sentences)), 40)
        nearest = [item.tool.name for item in search if item.tool.name not in group.tools]
        assert set(nearest[:5]) <= set(rest)


@pytest.mark.parametrize(("word", "side"), [("rain", "other"), ("poem", "hidden")])
def test_each_tool_is_compared_by_its_own_functionality(word: str, side: str, tmp_path: Path) -> None:
    right = {**SEEN, **UNSEEN}[word][0]
    alike = others(3, side)
    run(tmp_path, near=[(each, right, 0.9) for each in alike])
    found = chosen_in(tmp_path)
    names, with_alike = {each.name for each in alike}, set[str]()
    for each in ASKED:
        if names & set(found[each.user_id, each.number].candidates):
            with_alike.add(each.answer.tool_name)
    on_this_side = {each.answer.tool_name for each in ASKED if (each.answer.tool_name in HIDDEN) is (side == "hidden")}
    assert with_alike == on_this_side - {right.name}


def test_the_report_counts_rivals_and_progress_the_instructions(tmp_path: Path) -> None:
    started: list[str] = []
    report = run(tmp_path, progress=Progress(lambda what, total: started.append(f"{what}: {total}")))
    assert report == {"instructions": 50, "rivals": {1: 20, 2: 30}}
    assert started == ["Embedding instructions: 100", "Choosing candidates: 50"]


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    written = []
    for seed in (1, 1, 2):
        run(tmp_path, seed)
        written.append((tmp_path / CANDIDATES).read_bytes())
    assert written[0] == written[1] != written[2]


def test_nothing_unseen_and_nothing_asked_are_no_errors(tmp_path: Path) -> None:
    rows = [row for row, each in enumerate(TOOLS) if each.name not in HIDDEN]
    tools = [TOOLS[row] for row in rows]
    for wanted in (ASKED[:1], []):
        vectors_of = documents()[rows], phrases(tools)
        report = choose_candidates(
            wanted, GROUPS, tools, *vectors_of, set(), set(), CandidateConfig(), 1, tmp_path, NO_PROGRESS
        )
        assert report["instructions"] == len(wanted) == len(chosen_in(tmp_path))
