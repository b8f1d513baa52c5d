"""Which tools do the same job: clusters by functionality, then the paper's filter, on vectors made by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from app.catalogue.openai import parse_document as openai_tool
from app.catalogue.rapidapi import parse_document
from app.domain import Json, Tool
from app.retrieval.preferences import provider_key
from tests.support.published_cases import document, parameter
from training.common.embedding import Vectors
from training.common.stages import NO_PROGRESS
from training.data.dataset import read_rows
from training.petoolbench.config import GroupConfig
from training.petoolbench.interface import inputs, output, same_output
from training.petoolbench.stage_3_group import (
    CLUSTERS,
    GROUPS,
    Group,
    Grouping,
    Neighbours,
    group,
    held_out,
    read_groups,
)

CITY = parameter("city", "STRING")


def tool(provider: str, *parameters: Mapping[str, Json], category: str = "Weather", **more: Any) -> Tool:
    return parse_document(document(category, provider, "Forecast", *(parameters or (CITY,)), **more))


def providers(count: int, **more: Any) -> list[Tool]:
    return [tool(f"Provider {number}", **more) for number in range(count)]


def at_angles(*degrees: float) -> Vectors:
    """Unit vectors in a plane: two that are 30 degrees apart have a cosine distance of 0.13, 45 degrees 0.29."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def told(tools: Sequence[Tool]) -> list[str]:
    """Functionality phrases without a word of a provider's name."""
    return ["tell the forecast"] * len(tools)


def grouped(
    tools: Sequence[Tool], vectors: Vectors, eps: float = 0.2, phrases: Sequence[str] | None = None, **config: Any
) -> list[list[int]]:
    grouping = Grouping(tools, told(tools) if phrases is None else phrases, vectors, GroupConfig(eps=eps, **config))
    return grouping.groups(grouping.clusters(eps), eps)


def random_world(seed: int, count: int = 60) -> tuple[list[Tool], list[str], Vectors]:
    """Ten jobs in three categories, told a little differently by each of few providers, some with their own name."""
    random = np.random.default_rng(seed)
    jobs = random.normal(size=(10, 24))
    job = random.integers(0, 10, count)
    vectors = jobs[job] + random.normal(scale=random.uniform(0.1, 0.6), size=(count, 24))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tools = [
        parse_document(
            document(
                f"Category {job[row] % 3}",
                provider(int(random.integers(0, 25))),
                f"api {row}",
                parameter(("city", "place")[int(random.random() < 0.1)], "STRING"),
                template_response=[None, {"a": "int"}, {"b": "int"}][int(random.choice(3, p=[0.7, 0.2, 0.1]))],
            )
        )
        for row in range(count)
    ]
    named = np.random.default_rng((seed, 1)).random(count) < 0.15
    phrases = [
        f"get {each.provider if own else 'match'} {CITY['name']}" for each, own in zip(tools, named, strict=True)
    ]
    return tools, phrases, vectors.astype(np.float32)


def provider(number: int) -> str:
    return f"{('Rugby', 'Baseball', 'Cricket')[number % 3]} {number}"


# ---------------------------------------------------------------- what may be one group


def test_tools_of_the_same_function_and_format_are_a_group() -> None:
    assert grouped(providers(3), at_angles(0, 10, 20)) == [[0, 1, 2]]


@pytest.mark.parametrize(
    "other",
    [
        tool("B", category="Travel"),
        tool("B", parameter("place", "STRING")),
        tool("B", parameter("city", "NUMBER")),
        tool("B", parameter("city", "STRING", optional=True)),
        tool("B", CITY, parameter("days", "NUMBER", optional=True)),
        tool("B", template_response={"wind": "float"}),
        tool("B", template_response={"temperature": {"low": "float"}}),
        tool(" a ", api_name="Another"),
    ],
    ids=["category", "name", "type", "required", "one more", "output", "nested output", "provider"],
)
def test_tools_of_another_format_or_the_same_provider_are_none(other: Tool) -> None:
    one = tool("A", template_response={"temperature": "float"})
    assert grouped([one, other], at_angles(0, 0)) == []
    assert grouped([one, other, tool("C")], at_angles(0, 0, 0)) in ([[0, 2]], [[1, 2]])


def test_spelling_order_and_untold_outputs_are_no_differences() -> None:
    one = tool("A", parameter("cityName", "STRING"), parameter("days", "NUMBER", optional=True))
    other = tool("B", parameter("city_name", "STRING"), parameter("Days", "NUMBER", optional=True))
    told = tool("C", parameter("CITY NAME", "STRING"), parameter("days", "NUMBER", optional=True), schema={"a": 1})
    assert grouped([one, other, told], at_angles(0, 0, 0)) == [[0, 1, 2]]


def test_a_tool_that_tells_no_output_does_not_join_two_that_tell_different_ones() -> None:
    tools = [tool("A", template_response={"a": 1}), tool("B"), tool("C", template_response={"c": 1})]
    assert grouped(tools, at_angles(0, 1, 2)) in ([[0, 1]], [[1, 2]])


def test_openai_tools_have_no_provider_and_may_be_rivals() -> None:
    tools = [
        openai_tool({"type": "function", "function": {"name": name, "description": "Tells the weather."}})
        for name in ("get_weather", "weather_now")
    ]
    assert grouped(tools, at_angles(0, 5)) == [[0, 1]]


SPORTS = tool("Rugby API"), tool("Baseball API")


@pytest.mark.parametrize(
    ("phrases", "meet"),
    [
        (("get a match", "get a match"), True),
        (("get a match", "list the matches"), True),
        (("get a rugby match", "get a baseball match"), False),
        (("get a rugby match", "get a match"), False),
        (("get a match", "get a baseball match"), False),
        (("get a match", "get BASEBALL matches"), False),
        (("get a match", "getBaseballMatch"), False),
        (("get a match", "get baseballs"), False),
        (("get a rugby match", "get a match of rugby"), True),
        (("get a rugby or baseball match", "baseball and rugby: get a match"), True),
        (("get a football match", "get a match"), True),
        (("get a baseball match", "get a match"), True),
        (("get a match by the api", "get a match"), False),
        (("get a match by the api", "get an api's match"), True),
    ],
)
def test_tools_do_not_meet_where_only_one_tells_a_word_of_its_own_providers_name(
    phrases: tuple[str, str], meet: bool
) -> None:
    """The one's name for its sport is what the other lacks; another provider's word is as good as any."""
    for order in (1, -1):
        found = grouped(SPORTS[::order], at_angles(0, 0), phrases=phrases[::order])
        assert found == ([[0, 1]] if meet else [])


def test_a_name_of_two_letters_is_no_word_of_its_own() -> None:
    tools = [tool("TV Go 365"), tool("B")]
    assert grouped(tools, at_angles(0, 0), phrases=("go to tv 365", "list shows")) == [[0, 1]]


def test_who_tells_a_word_of_its_own_meets_only_those_that_tell_it_too() -> None:
    tools = [tool("Rugby API"), tool("B"), tool("C"), tool("D")]
    phrases = ("get a rugby match", "get a match", "get a rugby match", "get a match")
    assert grouped(tools, at_angles(0, 20, 1, 21), phrases=phrases) == [[0, 2], [1, 3]]
    assert grouped(tools, at_angles(0, 20, 1, 21)) == [[0, 1, 2, 3]]


def test_each_tool_has_a_phrase() -> None:
    with pytest.raises(ValueError, match="zip"):
        grouped(SPORTS, at_angles(0, 0), phrases=["get a match"])


def test_a_chain_does_not_bring_its_ends_together() -> None:
    tools, vectors = providers(3), at_angles(0, 29, 60)
    grouping = Grouping(tools, told(tools), vectors, GroupConfig(eps=0.2))
    assert grouping.clusters(0.2) == [0, 0, 0]
    assert grouping.groups([0, 0, 0], 0.2) == [[0, 1]]


def test_a_long_chain_falls_apart_into_groups_of_what_is_near() -> None:
    found = grouped(providers(12), at_angles(*range(0, 180, 15)))
    assert sum(map(len, found)) == 12
    for rows in found:
        assert 1 - np.cos(np.radians(15 * (rows[-1] - rows[0]))) <= 0.5
        assert rows == list(range(rows[0], rows[-1] + 1))


def test_the_most_similar_come_together_first() -> None:
    assert grouped(providers(4), at_angles(0, 35, 45, 80)) == [[1, 2]]
    assert grouped(providers(4), at_angles(0, 30, 40, 70), largest=2) == [[1, 2]]


def test_no_group_is_larger_than_the_largest() -> None:
    found = grouped(providers(17), np.repeat(at_angles(10), 17, 0), largest=5)
    assert max(map(len, found)) == 5
    assert sorted(row for rows in found for row in rows) == list(range(17))


def test_a_tool_that_is_near_none_is_noise(tmp_path: Path) -> None:
    report = group(
        providers(3), told(providers(3)), at_angles(0, 1, 90), GroupConfig(eps=0.1), 1, tmp_path, NO_PROGRESS
    )
    assert report["chosen"]["noise"] == 1
    assert [row["cluster"] for row in read_rows(tmp_path / CLUSTERS)] == [0, 0, -1]
    (found,) = read_groups(tmp_path / GROUPS)
    assert found == Group("g00000", "Weather", ("Weather.Provider 0.Forecast", "Weather.Provider 1.Forecast"), False)


def test_no_group_at_all_is_told_as_such(tmp_path: Path) -> None:
    report = group(providers(2), told(providers(2)), at_angles(0, 90), GroupConfig(), 1, tmp_path, NO_PROGRESS)
    assert read_groups(tmp_path / GROUPS) == []
    assert report["sizes"] == {}
    assert report["chosen"]["groups"] == report["unseen_groups"] == report["categories"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_every_pair_of_a_group_has_one_format_and_two_providers(seed: int) -> None:
    tools, phrases, vectors = random_world(seed)
    for eps in (0.1, 0.25, 0.4, 0.7):
        grouping = Grouping(tools, phrases, vectors, GroupConfig(eps=eps, largest=4))
        labels = grouping.clusters(eps)
        found = grouping.groups(labels, eps)
        rows = [row for each in found for row in each]
        assert len(rows) == len(set(rows))
        assert all(2 <= len(each) <= 4 for each in found)
        for one, other in (pair for each in found for pair in combinations(each, 2)):
            assert labels[one] == labels[other] != -1
            assert inputs(tools[one]) == inputs(tools[other])
            assert same_output(output(tools[one]), output(tools[other]))
            assert provider_key(tools[one].provider) != provider_key(tools[other].provider)
            for teller, listener in ((one, other), (other, one)):
                own = tools[teller].provider.split()[0]
                assert own not in phrases[teller] or own in phrases[listener]
        for each in found:
            # Two parts that were joined have a mean of at least this, so some pair has.
            cosines = (vectors[each] @ vectors[each].T)[~np.eye(len(each), dtype=bool)]
            assert cosines.max() >= 1 - eps - 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_the_order_of_the_tools_does_not_change_the_groups(seed: int, tmp_path: Path) -> None:
    tools, phrases, vectors = random_world(seed)
    found = []
    for number in range(3):
        order = np.random.default_rng(number).permutation(len(tools)) if number else np.arange(len(tools))
        said = [phrases[row] for row in order]
        group([tools[row] for row in order], said, vectors[order], GroupConfig(), 1, tmp_path, NO_PROGRESS)
        found.append({frozenset(each.tools) for each in read_groups(tmp_path / GROUPS)})
    assert found[0] == found[1] == found[2]
    assert found[0]


# ---------------------------------------------------------------- clusters and eps


def test_clusters_are_those_of_dbscan_over_cosine_distance() -> None:
    """More rows than one block of distances has; some of them equal, which a sparse matrix must not lose."""
    random = np.random.default_rng(5)
    vectors = random.normal(size=(60, 16))[random.integers(0, 60, 1_300)] + random.normal(scale=0.15, size=(1_300, 16))
    vectors[1_290:] = vectors[0]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    neighbours = Neighbours.of(vectors, 0.4)
    for eps in (0.02, 0.05, 0.1):
        expected = DBSCAN(eps=eps, min_samples=2, metric="cosine").fit_predict(vectors.astype(np.float64))
        assert neighbours.clusters(eps, 2) == expected.tolist()
    assert len(set(neighbours.clusters(0.05, 2))) > 1


@pytest.mark.parametrize("seed", range(6))
def test_eps_is_the_one_with_the_highest_score_of_those_that_agree(seed: int, tmp_path: Path) -> None:
    tools, phrases, vectors = random_world(seed)
    report = group(tools, phrases, vectors, GroupConfig(), 1, tmp_path, NO_PROGRESS)
    scores, agreements = {}, {}
    for tried in report["tried"]:
        eps = tried["eps"]
        near = [
            tools[one].category == tools[other].category
            for one, other in combinations(range(len(tools)), 2)
            if tools[one].provider != tools[other].provider and 1 - vectors[one] @ vectors[other] <= eps
        ]
        share = sum(map(len, grouped(tools, vectors, eps, phrases))) / len(tools)
        agreements[eps] = sum(near) / max(1, len(near))
        scores[eps] = share * agreements[eps]
        assert tried["agreement"] == pytest.approx(agreements[eps], abs=1e-4)
        assert tried["score"] == pytest.approx(scores[eps], abs=1e-4)
    assert list(scores) == [0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40]
    agreeing = {eps for eps, each in agreements.items() if each >= 0.9 * max(agreements.values())}
    assert report["chosen"]["eps"] in agreeing
    assert scores[report["chosen"]["eps"]] == pytest.approx(max(scores[eps] for eps in agreeing), abs=1e-4)
    assert [each["noise"] for each in report["tried"]] == sorted((e["noise"] for e in report["tried"]), reverse=True)


def test_eps_grows_until_what_is_near_no_longer_does_the_same(tmp_path: Path) -> None:
    """Within a job 20 degrees (0.06), between neighbouring jobs of other categories 30 (0.13)."""
    tools = [tool(f"P{number}", category=f"Category {number // 2}") for number in range(6)]
    vectors = at_angles(0, 20, 50, 70, 100, 120)
    config = GroupConfig(eps_grid=(0.05, 0.1, 0.2))
    report = group(tools, told(tools), vectors, config, 1, tmp_path, NO_PROGRESS)
    assert [each["grouped_tools"] for each in report["tried"]] == [0, 6, 6]
    assert [each["agreement"] for each in report["tried"]] == [0, 1, 0.6]
    assert report["chosen"]["eps"] == 0.1
    assert [each.category for each in read_groups(tmp_path / GROUPS)] == ["Category 0", "Category 1", "Category 2"]


@pytest.mark.parametrize(("alike", "agreement", "chosen"), [(8, 0.8889, 0.05), (9, 0.9, 0.2)])
def test_an_eps_that_falls_below_nine_tenths_of_the_best_agreement_is_not_taken(
    alike: int, agreement: float, chosen: float, tmp_path: Path
) -> None:
    """Pairs of tools far from all others: one is near (0.02), the rest less so (0.13), and one of two categories."""
    pairs = alike + 1
    tools, vectors = [], np.zeros((2 * pairs, 2 * pairs), np.float32)
    for pair in range(pairs):
        for side in (0, 1):
            place = 2 * pair + side
            tools.append(tool(f"P{place}", category=f"Category {side if pair == alike else 2}"))
            vectors[place, 2 * pair : 2 * pair + 2] = at_angles(side * (10 if pair == 0 else 30))[0]
    report = group(tools, told(tools), vectors, GroupConfig(eps_grid=(0.05, 0.2)), 1, tmp_path, NO_PROGRESS)
    assert [each["agreement"] for each in report["tried"]] == [1, agreement]
    low, high = report["tried"]
    assert (low["grouped_tools"], high["grouped_tools"]) == (2, 2 * alike)
    assert high["score"] > 5 * low["score"]
    assert report["chosen"]["eps"] == chosen


def test_of_equal_scores_the_smaller_eps_is_taken(tmp_path: Path) -> None:
    config = GroupConfig(eps_grid=(0.3, 0.1, 0.2))
    assert (
        group(providers(2), told(providers(2)), at_angles(0, 1), config, 1, tmp_path, NO_PROGRESS)["chosen"]["eps"]
        == 0.1
    )


def test_an_eps_that_is_given_is_taken(tmp_path: Path) -> None:
    report = group(
        providers(3), told(providers(3)), at_angles(0, 28, 57), GroupConfig(eps=0.123), 1, tmp_path, NO_PROGRESS
    )
    assert [each["eps"] for each in report["tried"]] == [0.123]
    assert report["chosen"]["grouped_tools"] == 2


def test_pairs_of_one_provider_say_nothing_of_agreement() -> None:
    tools = [tool("A"), tool("a", category="Travel"), tool("B")]
    grouping = Grouping(tools, told(tools), at_angles(0, 1, 2), GroupConfig(eps=0.1))
    assert grouping.agreement(0.1) == 0.5
    assert Grouping(tools[:2], told(tools[:2]), at_angles(0, 1), GroupConfig(eps=0.1)).agreement(0.1) == 0.0


# ---------------------------------------------------------------- seen and unseen


def many_groups(seed: int = 3) -> tuple[list[Tool], Vectors]:
    """Thirty groups of two to five tools, and forty tools that are in none; each job has inputs of its own."""
    random = np.random.default_rng(seed)
    axes = np.eye(70, dtype=np.float32)
    tools, rows = [], []
    for job in range(70):
        for number in range(int(random.integers(2, 6)) if job < 30 else 1):
            field = parameter(f"field {job}", "STRING")
            tools.append(tool(f"P{job}-{number}", field, category=f"Category {job % 7}"))
            rows.append(job)
    return tools, axes[rows]


@pytest.mark.parametrize("share", [0.0, 0.15, 0.4])
@pytest.mark.parametrize("seed", [1, 2])
def test_whole_groups_are_held_out_for_the_unseen(share: float, seed: int, tmp_path: Path) -> None:
    tools, vectors = many_groups()
    report = group(tools, told(tools), vectors, GroupConfig(eps=0.1, unseen=share), seed, tmp_path, NO_PROGRESS)
    groups = read_groups(tmp_path / GROUPS)
    unseen = {row["tool_name"] for row in read_rows(tmp_path / CLUSTERS) if row["unseen"]}
    seen = {each.name for each in tools} - unseen
    assert len(groups) == 30
    for each in groups:
        assert set(each.tools) <= (unseen if each.unseen else seen)
    held = {name for each in groups if each.unseen for name in each.tools}
    # Tools that are in no group are held out too, and fill what no group fits in.
    assert share * len(tools) - 1 < len(unseen) <= share * len(tools)
    if share:
        assert held
        assert unseen - held
    assert report["unseen_groups"] == sum(each.unseen for each in groups)
    assert report["unseen_tools"] == len(unseen)
    assert report["sizes"] == dict(sorted(Counter(len(each.tools) for each in groups).items()))


@pytest.mark.parametrize("share", [0.15, 0.4, 0.6])
@pytest.mark.parametrize("seed", range(6))
def test_the_seen_and_the_unseen_have_no_functionality_in_common(share: float, seed: int, tmp_path: Path) -> None:
    """Also where tools of one category and the same inputs are in several groups, or in none."""
    tools, phrases, vectors = random_world(seed, 120)
    group(tools, phrases, vectors, GroupConfig(eps=0.1, unseen=share), seed, tmp_path, NO_PROGRESS)
    unseen = {row["tool_name"] for row in read_rows(tmp_path / CLUSTERS) if row["unseen"]}
    kinds = {each.name: inputs(each) for each in tools}
    held = {kind for name, kind in kinds.items() if name in unseen}
    assert held
    assert not held & {kind for name, kind in kinds.items() if name not in unseen}
    groups = read_groups(tmp_path / GROUPS)
    assert max(Counter(kinds[each.tools[0]] for each in groups).values()) > 1
    for each in groups:
        assert {name in unseen for name in each.tools} == {each.unseen}
    # At most the share, and nothing is left that would still have fitted in.
    room = share * len(tools) - len(unseen)
    sizes = Counter(kinds.values())
    assert 0 <= room < min(size for kind, size in sizes.items() if kind not in held)


def test_the_seed_decides_what_is_held_out(tmp_path: Path) -> None:
    tools, vectors = many_groups()
    found = []
    for seed in (1, 1, 2):
        group(tools, told(tools), vectors, GroupConfig(eps=0.1, unseen=0.3), seed, tmp_path, NO_PROGRESS)
        found.append(((tmp_path / GROUPS).read_bytes(), (tmp_path / CLUSTERS).read_bytes()))
    assert found[0] == found[1] != found[2]
    marked = {row["tool_name"] for row in read_rows(tmp_path / CLUSTERS) if row["unseen"]}
    assert held_out(tools, 0.3, 2) == held_out(tools[::-1], 0.3, 2) == marked


def test_a_group_too_large_for_the_share_is_not_held_out(tmp_path: Path) -> None:
    tools = [*providers(5), *(tool(f"P{number}", category="Travel") for number in range(5))]
    vectors = np.repeat(at_angles(0, 90), 5, 0)
    report = group(tools, told(tools), vectors, GroupConfig(unseen=0.4), 1, tmp_path, NO_PROGRESS)
    assert (report["unseen_groups"], report["unseen_tools"]) == (0, 0)
    report = group(tools, told(tools), vectors, GroupConfig(unseen=0.5), 1, tmp_path, NO_PROGRESS)
    assert (report["unseen_groups"], report["unseen_tools"]) == (1, 5)


def test_groups_are_named_and_listed_in_the_order_of_their_tools(tmp_path: Path) -> None:
    tools, vectors = many_groups()
    group(tools, told(tools), vectors, GroupConfig(eps=0.1), 1, tmp_path, NO_PROGRESS)
    groups, place = read_groups(tmp_path / GROUPS), {each.name: row for row, each in enumerate(tools)}
    assert [each.id for each in groups] == [f"g{number:05d}" for number in range(30)]
    assert all(place[one.tools[0]] < place[other.tools[0]] for one, other in pairwise(groups))
    assert all({tools[place[name]].category for name in each.tools} == {each.category} for each in groups)
