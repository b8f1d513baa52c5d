"""What simple systems score, and what is counted of a dataset's faults, on a benchmark made by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from app.catalogue.rapidapi import parse_document
from app.domain import HistorySetting, Interaction, Json, Rating, Tool, ToolCall
from app.retrieval.query import Query
from app.retrieval.snapshot import CatalogueSnapshot, Retrieval, Retrieved
from tests.support.published_cases import document, parameter
from training.common.embedding import embed
from training.common.stages import NO_PROGRESS
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.data.systems import WIDTH, Oracle, Scene, Scenes, Systems, accuracy, interval, systems_table
from training.data.truth import Truth
from training.petoolbench.quality import QUALITY, measure_quality
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_4_preferences import SETTINGS

PREFERRED_ONLY, RATING_INTEGRATED, CHRONOLOGICAL = SETTINGS
LIKED, DISLIKED = Rating.LIKED, Rating.DISLIKED
START = datetime(2025, 1, 1, tzinfo=UTC)

# ---------------------------------------------------------------- a small benchmark

JOBS = {
    "Weather": ("Forecast", "city", "Tells the weather of a city.", "Tell me the weather forecast of the city {}"),
    "Food": ("Recipes", "dish", "Finds recipes for a dish.", "Find recipes for the dish {}"),
    "Music": ("Songs", "artist", "Lists the songs of an artist.", "List the songs of the artist {}"),
    "Finance": ("Quotes", "symbol", "Quotes the price of a stock.", "Quote the price of the stock {}"),
    "Travel": (
        "Flights",
        "destination",
        "Searches flights to a destination.",
        "Search flights to {} for a travel destination",
    ),
    "Sports": (
        "Scores",
        "team",
        "Gives the match results of a team.",
        "Give me the match results, the scores of the team {}",
    ),
    "Language": (
        "Translate",
        "text",
        "Translates a text into English.",
        "Translate the text {} into the English language",
    ),
    "Movies": (
        "Reviews",
        "film",
        "Shows what critics say of a film.",
        "Show the movie reviews that critics wrote of the film {}",
    ),
}
"""Category: api, parameter, description, instruction. The last three are the unseen ones."""
SEEN, UNSEEN = list(JOBS)[:5], list(JOBS)[5:]
THINGS = ("Lima", "Oslo", "Bali", "Riga", "Cairo", "Perth", "Turin", "Quito", "Delhi", "Kyoto", "Malmo", "Tunis")
STYLES = {
    "kids": "Made for children, playful, with cartoon pictures and simple words.",
    "experts": "Made for professional analysts, with raw technical data and full precision.",
    "seniors": "Made for elderly people, read aloud slowly in large friendly letters.",
}
PROVIDERS = ("Ablo", "Bront", "Crimsy", "Dovak", "Elph", "Frool", "Gnarl", "Hoppi", "Iskan")


@lru_cache
def tools() -> Mapping[str, Tool]:
    """By `job-style`; providers tell nothing of the style."""
    return {
        f"{job}-{style}": parse_document(
            document(
                job,
                f"{PROVIDERS[(2 * row + column) % 9]}{row}",
                api,
                parameter(name, "STRING"),
                api_description=f"{description} {about}",
            )
        )
        for row, (job, (api, name, description, _)) in enumerate(JOBS.items())
        for column, (style, about) in enumerate(STYLES.items())
    }


@lru_cache
def documents() -> Mapping[str, NDArray[np.float32]]:
    """By the tools' full names: what the model makes of the job, and beside it a direction for each style."""
    jobs = dict(
        zip(JOBS, embed([f"{job}. {about} {JOBS[job][3]}" for job, (_, _, about, _) in JOBS.items()]), strict=True)
    )
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(384, len(STYLES))))[0].T.astype(np.float32)
    styles = dict(zip(STYLES, axes, strict=True))
    found = {}
    for key, tool in tools().items():
        job, style = key.split("-")
        vector = jobs[job] + np.float32(0.5) * styles[style]
        found[tool.name] = vector / np.linalg.norm(vector)
    return found


def used(*items: tuple[str, Rating | None]) -> tuple[Interaction, ...]:
    """Oldest first: `job-style` and what the user thought of it."""
    return tuple(
        Interaction("Something", ToolCall(tools()[key].name, {}), START + timedelta(days=day), rating)
        for day, (key, rating) in enumerate(items)
    )


def history_of(setting: HistorySetting, style: str, other: str, jobs: Sequence[str]) -> tuple[Interaction, ...]:
    """One taste, told as the setting tells it; in two of them, more often the other style than the wanted one."""
    wanted, unwanted = [f"{job}-{style}" for job in jobs], [f"{job}-{other}" for job in jobs]
    if setting is PREFERRED_ONLY:
        return used(*((key, None) for key in wanted))
    if setting is RATING_INTEGRATED:
        return used(*((key, DISLIKED) for key in unwanted), *((key, LIKED) for key in wanted[1:]))
    return used(*((key, None) for key in (*unwanted, *unwanted, *wanted)))


@lru_cache
def benchmark(users: int = 4) -> Dataset:
    """`users` of each setting and style for every part; each asks for a job that its history does not show."""
    instances = []
    for part in Part:
        jobs = UNSEEN if part is Part.UNSEEN else SEEN
        for setting in SETTINGS:
            for place, style in enumerate(STYLES):
                for number in range(users):
                    job = jobs[number % len(jobs)]
                    # Nobody speaks of the third one.
                    other, third = [each for each in STYLES if each != style][:: 1 if number % 2 else -1]
                    rest = [each for each in jobs if each != job]
                    instances.append(
                        _instance(
                            f"{part.value}-{setting.value}-{place}-{number}",
                            setting,
                            part,
                            history_of(setting, style, other, rest),
                            f"{job}-{style}",
                            [f"{job}-{each}" for each in (other, third)],
                            [f"{each}-{third}" for each in rest],
                        )
                    )
    return Dataset.of_instances({each.name: each for each in tools().values()}, instances)


def _instance(
    name: str,
    setting: HistorySetting,
    part: Part,
    before: tuple[Interaction, ...],
    right: str,
    rivals: Sequence[str],
    rest: Sequence[str],
) -> Instance:
    job = right.split("-")[0]
    of = list(map(int, name.split("-")[2:]))
    thing = f"{THINGS[of[0] + 3 * SETTINGS.index(setting)]} {list(Part).index(part) + 3 * of[1]}"
    return Instance(
        id=name,
        user_id=f"user {name}",
        setting=setting,
        part=part,
        history=before,
        instruction=JOBS[job][3].format(thing),
        candidates=tuple(tools()[key].name for key in (*rivals, *rest, right)),
        answer=ToolCall(tools()[right].name, {JOBS[job][1]: thing}),
        same_function=tuple(tools()[key].name for key in rivals),
        asked_at=START + timedelta(days=90),
    )


def groups() -> list[Group]:
    return [
        Group(f"g{job}", job, tuple(sorted(tools()[f"{job}-{style}"].name for style in STYLES)), job in UNSEEN)
        for job in JOBS
    ]


def truth() -> dict[str, Truth]:
    return {each.name: Truth(each.name, key.split("-")[0], (key.split("-")[1],)) for key, each in tools().items()}


def functionality() -> dict[str, str]:
    return {each.name: JOBS[each.category][2] for each in tools().values()}


def styles() -> dict[str, NDArray[np.float32]]:
    """By full name: a vector for each style, not of length 1."""
    axes = 3 * np.eye(len(STYLES), dtype=np.float32)
    return {each.name: axes[list(STYLES).index(key.split("-")[1])] for key, each in tools().items()}


def measured(
    dataset: Dataset,
    directory: Path,
    known: Mapping[str, Truth] | None = None,
    of: Sequence[Group] | None = None,
) -> Mapping[str, Json]:
    known = truth() if known is None else known
    return measure_quality(
        dataset, documents(), styles(), functionality(), known, of or groups(), directory, NO_PROGRESS
    )


@lru_cache
def shared() -> Scenes:
    return Scenes(benchmark().tools, documents())


@lru_cache
def scenes() -> Sequence[Scene]:
    return shared().of(benchmark().instances)


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize(
    ("hits", "count"), [(0, 1), (1, 1), (0, 10), (9, 10), (5, 10), (50, 100), (100, 100), (1, 1_000), (777, 3_000)]
)
def test_intervals_are_wilson_s(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    found = interval(hits, count)
    assert found["plus_minus"] == pytest.approx(100 * (expected.high - expected.low) / 2, abs=0.01)
    assert found["accuracy"] == pytest.approx(100 * hits / count, abs=0.005)
    assert found["count"] == count


def test_an_interval_as_it_stands_in_textbooks() -> None:
    """Wilson's for 50 of 100 is 0.404 to 0.596, for 0 of 10 0 to 0.278."""
    assert interval(50, 100) == {"accuracy": 50.0, "plus_minus": 9.62, "count": 100}
    assert interval(0, 10) == {"accuracy": 0.0, "plus_minus": 13.88, "count": 10}


def test_accuracy_is_told_by_part_and_setting_and_for_all_together() -> None:
    of = [scene for scene in scenes() if scene.instance.part is not Part.TRAIN]
    right = [scene for scene in of if scene.instance.setting is CHRONOLOGICAL and scene.instance.part is Part.TEST][:3]
    right += [scene for scene in of if scene.instance.setting is PREFERRED_ONLY][:1]
    ids = {scene.instance.id for scene in right}
    found = accuracy(lambda scene: scene.instance.answer.tool_name if scene.instance.id in ids else "other", of)
    assert found["test"] == {
        "all": interval(4, 36),
        "chronological": interval(3, 12),
        "preferred_only": interval(1, 12),
        "rating_integrated": interval(0, 12),
    }
    assert found["unseen"]["all"] == interval(0, 36)
    assert set(found) == {"test", "unseen"}


# ---------------------------------------------------------------- scenes


def test_a_scene_has_the_candidates_with_their_own_vectors_most_relevant_first() -> None:
    for scene in scenes()[::7]:
        assert {item.tool.name for item in scene.found} == set(scene.instance.candidates)
        relevance = [item.relevance for item in scene.found]
        assert relevance == sorted(relevance, reverse=True)
        for item, vector in zip(scene.found, scene.found.vectors, strict=True):
            assert np.array_equal(vector, documents()[item.tool.name])
        assert scene.group == {scene.instance.answer.tool_name, *scene.instance.same_function}


def test_the_service_s_scene_has_what_it_would_find_in_the_whole_catalogue() -> None:
    wide = {**benchmark().tools}
    vectors = dict(documents())
    for number in range(60):
        more = parse_document(document("Misc", f"Provider {number}", f"do {number}"))
        wide[more.name] = more
        vectors[more.name] = np.roll(next(iter(documents().values())), number + 1)
    (scene,) = Scenes(wide, vectors).retrieved(benchmark().instances[:1])
    assert len(scene.found) == WIDTH == len(scene.found.vectors)
    assert scene.group <= {item.tool.name for item in scene.found}
    assert all(
        np.array_equal(scene.found.vectors[row], vectors[item.tool.name]) for row, item in enumerate(scene.found)
    )


def scene_of(
    setting: HistorySetting,
    before: tuple[Interaction, ...],
    found: Sequence[tuple[str, float]],
    group: Sequence[str],
) -> Scene:
    """By hand: what was found with which relevance; the first of the group is the right one."""
    names = [tools()[key].name for key, _ in found]
    asked = replace(
        benchmark().instances[0],
        setting=setting,
        history=before,
        candidates=tuple(names),
        answer=ToolCall(tools()[group[0]].name, {}),
        same_function=tuple(tools()[key].name for key in group[1:]),
    )
    items = [
        Retrieved(tools()[key], relevance, relevance, relevance, row) for row, (key, relevance) in enumerate(found)
    ]
    vectors = np.stack([documents()[name] for name in names])
    snapshot = CatalogueSnapshot.build([item.tool for item in items], vectors, 1)
    query = Query(asked.instruction, (asked.instruction,), vectors[:1])
    return Scene(asked, Retrieval(snapshot, query, items, np.zeros((2, len(items)), np.float32)))


WEATHER = [f"Weather-{style}" for style in STYLES]
FOUND = [("Food-kids", 0.9), ("Weather-seniors", 0.8), ("Weather-experts", 0.75), ("Weather-kids", 0.7)]
KIDS = used(("Food-kids", None), ("Music-kids", None), ("Finance-kids", None))


def chosen(name: str, scene: Scene) -> str:
    """As `job-style`."""
    system = getattr(Systems(shared()), name)
    found: str = system(scene)
    return next(key for key, each in tools().items() if each.name == found)


def test_without_history_relevance_decides_and_knowing_the_job_its_best_tool() -> None:
    scene = scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER)
    assert chosen("retrieval", scene) == chosen("fit", scene) == "Food-kids"
    assert chosen("retrieval_in_group", scene) == "Weather-seniors"


def test_tools_of_one_function_are_judged_together_before_one_is_chosen() -> None:
    found = [("Weather-seniors", 0.8), ("Food-kids", 0.75), ("Weather-experts", 0.1), ("Weather-kids", 0.1)]
    scene = scene_of(PREFERRED_ONLY, KIDS, found, WEATHER)
    assert chosen("retrieval", scene) == "Weather-seniors"
    assert chosen("fit", scene) == "Food-kids"


def test_plain_similarity_looks_at_the_job_s_tools_only_and_at_no_rating() -> None:
    scene = scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER)
    assert chosen("similarity_in_group", scene) == "Weather-kids"
    disliked = used(("Food-kids", DISLIKED), ("Music-kids", DISLIKED), ("Finance-experts", LIKED))
    assert chosen("similarity_in_group", scene_of(RATING_INTEGRATED, disliked, FOUND, WEATHER)) == "Weather-kids"


@pytest.mark.parametrize(
    ("setting", "before"),
    [
        (
            RATING_INTEGRATED,
            used(*((f"{job}-seniors", DISLIKED) for job in SEEN[1:]), ("Food-kids", LIKED), ("Music-kids", LIKED)),
        ),
        (
            CHRONOLOGICAL,
            used(*((f"{job}-seniors", None) for job in SEEN[1:]), ("Food-kids", None), ("Music-kids", None)),
        ),
    ],
    ids=["ratings", "time"],
)
def test_blind_to_ratings_and_time_the_ranker_fails_where_these_decide(
    setting: HistorySetting, before: tuple[Interaction, ...]
) -> None:
    found = [(key, 0.7) for key in WEATHER]
    scene = scene_of(setting, before, found, ["Weather-kids", "Weather-experts", "Weather-seniors"])
    assert chosen("ranker", scene) == "Weather-kids"
    assert chosen("blind", scene) == "Weather-seniors"


def test_what_is_blind_chooses_alike_whatever_the_ratings_and_the_order() -> None:
    found = [(key, 0.7) for key in WEATHER]
    items = [(f"{job}-seniors", LIKED) for job in SEEN[1:]] + [("Food-kids", DISLIKED), ("Music-kids", LIKED)]
    choices = set()
    for setting in SETTINGS:
        for order in (items, items[::-1]):
            for rating in (LIKED, DISLIKED, None):
                before = used(*((key, rating or own) for key, own in order))
                choices.add(chosen("blind", scene_of(setting, before, found, WEATHER)))
    assert choices == {"Weather-seniors"}


def right_in_train(*keys: str) -> list[Instance]:
    one = benchmark().of(Part.TRAIN)[0]
    return [replace(one, answer=ToolCall(tools()[key].name, {})) for key in keys]


def test_the_popular_one_is_of_the_job_s_tools_the_one_most_often_right_in_train() -> None:
    train = right_in_train("Food-kids", "Food-kids", "Food-kids", "Weather-kids", "Weather-experts", "Weather-experts")
    scene = scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER)
    assert Systems(shared(), train=train).popular_in_group(scene) == tools()["Weather-experts"].name
    assert Systems(shared(), train=train[:4]).popular_in_group(scene) == tools()["Weather-kids"].name
    # Histories and relevance are nothing to it, and where train tells nothing it still chooses one that does the job.
    assert Systems(shared()).popular_in_group(scene) in scene.group


def with_providers(scene: Scene, **providers: str) -> tuple[Systems, Scene]:
    """By what stands in `job_style`; the tools' names stay."""
    changed = {tools()[key.replace("_", "-")].name: provider for key, provider in providers.items()}
    known = {name: replace(each, provider=changed.get(name, each.provider)) for name, each in benchmark().tools.items()}
    found = [replace(item, tool=known[item.tool.name]) for item in scene.found]
    return Systems(Scenes(known, documents())), replace(scene, found=replace(scene.found, items=found))


def test_the_one_of_a_known_provider_is_of_the_job_and_has_the_best_ratings() -> None:
    before = used(("Food-kids", LIKED), ("Music-kids", LIKED), ("Finance-kids", DISLIKED), ("Travel-kids", LIKED))
    scene = scene_of(RATING_INTEGRATED, before, FOUND, WEATHER)

    def by_provider(scene: Scene, **providers: str) -> str:
        systems, changed = with_providers(scene, **providers)
        found = systems.provider_in_group(changed)
        return next(key for key, each in tools().items() if each.name == found)

    # No provider is known: the most relevant one that does the job.
    assert by_provider(scene) == "Weather-seniors"
    assert by_provider(scene, Weather_kids="Acme", Food_kids="acme") == "Weather-kids"
    assert by_provider(scene, Weather_seniors="Acme", Finance_kids="Acme") == "Weather-experts"
    twice = {"Weather_kids": "Acme", "Food_kids": "Acme", "Music_kids": "Acme"}
    assert by_provider(scene, **twice, Weather_experts="Bolt", Travel_kids="Bolt") == "Weather-kids"
    # Two likes of which a dislike takes one are as good as one: the more relevant leads.
    assert by_provider(scene, **twice, Finance_kids="Acme", Weather_experts="Bolt", Travel_kids="Bolt") == (
        "Weather-experts"
    )
    # Without ratings every use counts for it.
    unrated = scene_of(PREFERRED_ONLY, used(("Food-kids", None)), FOUND, WEATHER)
    assert by_provider(unrated, Weather_kids="Acme", Food_kids="Acme") == "Weather-kids"


def test_each_system_scores_what_it_can_know() -> None:
    table = systems_table(scenes(), shared(), Oracle.of_truth(truth()), benchmark().of(Part.TRAIN))
    assert list(table) == [
        "chance, job known",
        "retrieval alone",
        "functional fit alone",
        "no history, job known",
        "right most often in train, job known",
        "provider in the history, job known",
        "plain similarity, job known",
        "ranker, blind to ratings and time",
        "preference ranker",
        "oracle",
    ]
    for part in Part:
        rows = {name: {key: cell["accuracy"] for key, cell in row[part.value].items()} for name, row in table.items()}
        assert set(rows["oracle"].values()) == {100}
        assert set(rows["preference ranker"].values()) == {100}
        assert set(rows["chance, job known"].values()) == {33.33}
        for name in ("plain similarity, job known", "ranker, blind to ratings and time"):
            assert rows[name] == {
                "all": 33.33,
                "preferred_only": 100,
                "rating_integrated": 0,
                "chronological": 0,
            }
        for name in ("retrieval alone", "functional fit alone", "no history, job known"):
            assert rows[name]["all"] < 60
        # Each of a job's tools is right equally often, and histories show no provider of its job.
        assert set(rows["right most often in train, job known"].values()) == {33.33}
        assert rows["provider in the history, job known"] == rows["no history, job known"]


def test_a_benchmark_that_always_asks_for_the_same_tools_is_given_away_by_train(tmp_path: Path) -> None:
    seniors = [each for each in benchmark().instances if tools_style(each) == "seniors"]
    systems = measured(Dataset.of_instances(benchmark().tools, seniors), tmp_path)["systems"]
    row = systems["right most often in train, job known"]
    assert row["test"]["all"]["accuracy"] == 100
    assert row["unseen"]["all"]["accuracy"] == 0


def tools_style(instance: Instance) -> str:
    return next(key for key, each in tools().items() if each.name == instance.answer.tool_name).split("-")[1]


# ---------------------------------------------------------------- the oracle


def oracle_s(scene: Scene, known: Oracle | None = None) -> str:
    found = (known or Oracle.of_truth(truth())).choose(scene)
    return next((key for key, each in tools().items() if each.name == found), "")


def test_the_oracle_goes_by_the_true_attributes_of_the_job_s_tools() -> None:
    assert oracle_s(scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER)) == "Weather-kids"
    assert oracle_s(scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER[1:])) == ""


def test_the_oracle_goes_by_ratings() -> None:
    before = used(("Food-kids", DISLIKED), ("Music-kids", DISLIKED), ("Finance-experts", LIKED))
    assert oracle_s(scene_of(RATING_INTEGRATED, before, FOUND, WEATHER)) == "Weather-experts"
    only = used(("Food-kids", DISLIKED), ("Music-experts", DISLIKED))
    assert oracle_s(scene_of(RATING_INTEGRATED, only, FOUND, WEATHER)) == "Weather-seniors"


def test_the_oracle_goes_by_what_was_used_late() -> None:
    early = used(*((f"{job}-experts", None) for job in SEEN[1:]), ("Food-kids", None), ("Music-kids", None))
    assert oracle_s(scene_of(CHRONOLOGICAL, early, FOUND, WEATHER)) == "Weather-kids"
    assert oracle_s(scene_of(PREFERRED_ONLY, early, FOUND, WEATHER)) == "Weather-experts"
    assert oracle_s(scene_of(CHRONOLOGICAL, early[:-2], FOUND, WEATHER)) == "Weather-experts"


def test_the_oracle_gives_no_answer_where_two_are_equally_near() -> None:
    before = used(("Food-kids", None), ("Music-experts", None))
    scene = scene_of(PREFERRED_ONLY, before, FOUND, WEATHER)
    assert oracle_s(scene) == ""
    assert accuracy(Oracle.of_truth(truth()).choose, [scene])["train"]["all"]["accuracy"] == 0
    # By time they are not equal.
    assert oracle_s(scene_of(CHRONOLOGICAL, before, FOUND, WEATHER)) == "Weather-experts"


def test_the_oracle_weighs_each_tool_s_attributes_alike_however_many_it_has() -> None:
    known = {name: replace(each, attributes=(*each.attributes, "free")) for name, each in truth().items()}
    plain = tools()["Weather-kids"].name
    known[plain] = Truth(plain, "Weather", ("kids",))
    assert oracle_s(scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER), Oracle.of_truth(known)) == "Weather-kids"
    both = known[tools()["Weather-experts"].name]
    known[both.tool_name] = replace(both, attributes=("kids", "free"))
    assert oracle_s(scene_of(PREFERRED_ONLY, KIDS, FOUND, WEATHER), Oracle.of_truth(known)) == "Weather-experts"


# ---------------------------------------------------------------- what is counted


def test_a_dataset_without_faults_is_told_to_have_none(tmp_path: Path) -> None:
    report = measured(benchmark(), tmp_path)
    assert report["leaks"] == report["invalid_calls"] == 0
    assert report["overlap"] == {"users": 0, "instances": 0, "instructions": 0, "unseen_tools": 0}
    assert report["text"]["duplicated_share"] == 0
    assert report["text"]["instructions"] == 108
    assert sum(report["text"]["history_length"].values()) == 108
    assert set(report["systems"]["oracle"]) == {"test", "unseen"}
    assert report["oracle_knows"] == "the true attributes"
    assert report["grouping"] == {
        "functionalities": 8,
        "groups": 8,
        "groups_of_one_functionality": 8,
        "tools_in_groups": 24,
        "pair_precision": 1,
        "pair_recall": 1,
    }
    written = json.loads((tmp_path / QUALITY).read_text("utf-8"))
    assert written["overlap"] == report["overlap"]
    assert written["systems"] == report["systems"]


def tampered(changes: Mapping[Part, Mapping[str, Any]], count: int = 2) -> Dataset:
    """With the first `count` instances of a part changed."""
    instances = []
    for part in Part:
        own = benchmark().of(part)
        instances += [replace(each, **changes.get(part, {})) for each in own[:count]] + own[count:]
    return Dataset.of_instances(benchmark().tools, instances)


def test_instructions_that_give_their_tool_away_are_counted(tmp_path: Path) -> None:
    first = benchmark().of(Part.TEST)[0]
    provider = benchmark().tools[first.same_function[0]].provider
    data = tampered({Part.TEST: {"instruction": f"Ask {provider} for me"}}, 1)
    assert measured(data, tmp_path)["leaks"] == 1


def test_repeated_instructions_are_counted(tmp_path: Path) -> None:
    data = tampered({Part.TRAIN: {"instruction": "Please  do IT"}, Part.UNSEEN: {"instruction": "please do it"}})
    report = measured(data, tmp_path)
    assert report["text"]["duplicated_share"] == pytest.approx(3 / 108, abs=1e-4)
    assert report["overlap"]["instructions"] == 1
    assert report["text"]["words"]["least"] == 3


def test_repetitions_within_a_part_are_no_overlap(tmp_path: Path) -> None:
    report = measured(tampered({Part.TEST: {"instruction": "Please do it"}}, 4), tmp_path)
    assert report["text"]["duplicated_share"] == pytest.approx(3 / 108, abs=1e-4)
    assert report["overlap"]["instructions"] == 0


def test_users_and_instances_in_two_parts_are_counted(tmp_path: Path) -> None:
    train = benchmark().of(Part.TRAIN)[5]
    data = tampered({Part.TEST: {"user_id": train.user_id}, Part.UNSEEN: {"user_id": train.user_id, "id": train.id}}, 1)
    overlap = measured(data, tmp_path)["overlap"]
    assert (overlap["users"], overlap["instances"]) == (1, 1)


@pytest.mark.parametrize("role", ["history", "candidates"])
def test_tools_of_the_unseen_are_counted_in_whatever_role_training_has_them(role: str, tmp_path: Path) -> None:
    train, unseen = benchmark().of(Part.TRAIN)[0], tools()["Sports-kids"].name
    changed: dict[str, Any] = {
        "history": (*train.history, *used(("Sports-kids", None))),
        "candidates": (*train.candidates[:-2], unseen, train.candidates[-1]),
    }
    assert measured(tampered({Part.TRAIN: {role: changed[role]}}, 1), tmp_path)["overlap"]["unseen_tools"] == 1


def test_calls_that_their_tool_does_not_allow_are_counted(tmp_path: Path) -> None:
    first = benchmark().of(Part.TEST)[0]
    for parameters in ({}, {"city": 5}, {**first.answer.parameters, "more": "x"}):
        data = tampered({Part.TEST: {"answer": ToolCall(first.answer.tool_name, parameters)}}, 1)
        assert measured(data, tmp_path)["invalid_calls"] == 1


def test_without_a_truth_the_oracle_goes_by_what_was_understood(tmp_path: Path) -> None:
    report = measured(benchmark(), tmp_path, {})
    assert report["oracle_knows"] == "the understood non-functional phrases"
    assert report["grouping"] == {}
    assert report["systems"]["oracle"]["test"]["all"]["accuracy"] == 100


def test_groups_are_held_against_the_true_functionalities(tmp_path: Path) -> None:
    """One group too small by a tool, two run together."""
    small, *middle, one, other = groups()
    of = [
        replace(small, tools=small.tools[:2]),
        *middle,
        replace(one, tools=tuple(sorted((*one.tools, *other.tools)))),
    ]
    data = Dataset(benchmark().tools, [each for each in benchmark().instances if each.part is not Part.UNSEEN][:3])
    report = measured(data, tmp_path, of=of)["grouping"]
    # Of 24 pairs 22 are found (2 less in the small one), among 1 + 5 * 3 + 15 that are said to be.
    assert report == {
        "functionalities": 8,
        "groups": 7,
        "groups_of_one_functionality": 6,
        "tools_in_groups": 23,
        "pair_precision": pytest.approx(22 / 31, abs=1e-4),
        "pair_recall": pytest.approx(22 / 24, abs=1e-4),
    }
