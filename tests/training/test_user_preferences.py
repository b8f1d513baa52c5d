"""What users prefer: many are drawn from a small world, and each is held against the rules of section 3.2.2."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from app.domain import HistorySetting, Parameter, Rating, Tool
from training.common.embedding import STEPS, Vectors
from training.common.stages import NO_PROGRESS, Progress
from training.data.dataset import read_rows
from training.petoolbench.config import InstanceConfig, PreferenceConfig
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_4_preferences import (
    HALF_LIFE,
    SETTINGS,
    USERS,
    Entry,
    Unsuitable,
    User,
    UserSampler,
    World,
    prefer,
    read_users,
)

PREFERRED_ONLY, RATING_INTEGRATED, CHRONOLOGICAL = SETTINGS
STYLES = 4
PROVIDERS = 60
EPS = 0.25
TRIES = 20
ATTEMPTS = 6
CONFIG = PreferenceConfig(tastes=(0.5, 0.3, 0.2), slips=0.3)


def rounded(vectors: NDArray[np.float64]) -> Vectors:
    """As `training.common.embedding` gives them: of length 1, in whole steps."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    steps: Vectors = (np.round(unit * STEPS) / STEPS).astype(np.float32)
    return steps


def make_tool(name: str, parameter: str, provider: str) -> Tool:
    return Tool(name, "Category", provider, "api", "What it does.", (Parameter(parameter, {"type": "string"}),))


def make_tools(names: Sequence[str]) -> list[Tool]:
    """None with the inputs or the provider of another."""
    return [make_tool(name, f"input of {name}", f"Provider of {name}") for name in names]


def make_world(seed: int = 1, jobs: int = 80, noise: float = 0.3) -> World:
    """A tool of each style for each job. Of the jobs every fourth is in no group, every fifth unseen; the jobs come in
    pairs that are nearly the same functionality (a cosine of 0.8), though grouping kept them apart. Some have the
    inputs of the job twenty further, and a provider has tools of several jobs.
    """
    random = np.random.default_rng(seed)
    owners = np.random.default_rng((seed, 1))
    tools = []
    for job in range(jobs):
        form = job % 20 if job < 40 and job % 20 % 3 == 0 else job
        for style, owner in enumerate(owners.choice(PROVIDERS, STYLES, replace=False)):
            # Spelled differently, they are one provider.
            provider = f"Provider {owner}" if job % 2 else f" provider  {owner}"
            tools.append(make_tool(f"tool {job}-{style}", f"input {form}", provider))
    groups = [
        Group(f"g{job}", "Category", tuple(f"tool {job}-{style}" for style in range(STYLES)), job % 5 == 0)
        for job in range(jobs)
        if job % 4 != 3
    ]
    axes = np.eye(jobs)
    meaning = np.stack([axes[job] if job % 2 == 0 else 0.8 * axes[job - 1] + 0.6 * axes[job] for job in range(jobs)])
    styles = np.tile(np.eye(STYLES + 4)[:STYLES], (jobs, 1))
    unseen = {tool.name for tool in tools if int(tool.name.split()[1].split("-")[0]) % 5 == 0}
    return World.of(
        tools,
        groups,
        rounded(np.repeat(meaning, STYLES, 0)),
        rounded(styles + random.normal(scale=noise, size=styles.shape)),
        unseen,
        EPS,
    )


@lru_cache
def world() -> World:
    return make_world()


def sampled(
    world: World, setting: HistorySetting, unseen: bool, count: int = 250, config: PreferenceConfig = CONFIG
) -> list[User]:
    """Those of `count` samplings that gave a user."""
    users = []
    for number in range(count):
        try:
            users.append(UserSampler(world, config, 7).sample(setting, unseen, number))
        except Unsuitable:
            continue
    return users


@lru_cache
def users() -> Sequence[User]:
    found = [user for setting in SETTINGS for unseen in (False, True) for user in sampled(world(), setting, unseen)]
    assert len(found) > 400
    return found


def cosine(vectors: Vectors, one: str, other: str) -> float:
    return float(vectors[world().row[one]].astype(np.float64) @ vectors[world().row[other]].astype(np.float64))


def group_of(tool: str) -> Group | None:
    return next((group for group in world().groups if tool in group.tools), None)


def same_job(one: str, other: str) -> bool:
    group = group_of(one)
    in_one_group = group is not None and other in group.tools
    of = world()
    if of.inputs[of.row[one]] == of.inputs[of.row[other]]:
        return True
    return one == other or in_one_group or cosine(world().functionality, one, other) >= 1 - EPS


def steady(user: User) -> list[Entry]:
    return [entry for entry in user.entries if not entry.slip]


# ---------------------------------------------------------------- every user


def test_there_are_users_of_every_kind() -> None:
    kinds = {(user.setting, user.unseen, len(user.targets)) for user in users()}
    assert kinds >= {(setting, unseen, n) for setting in SETTINGS for unseen in (False, True) for n in (1, 2)}
    assert kinds >= {(setting, False, 3) for setting in SETTINGS}
    assert {any(entry.slip for entry in user.entries) for user in users()} == {True, False}


def test_what_is_asked_for_is_of_a_group_and_never_in_the_history() -> None:
    for user in users():
        assert len(set(user.targets)) == len(user.targets)
        assert all(group_of(target) is not None for target in user.targets)
        assert not set(user.targets) & {entry.tool for entry in user.entries}


def test_no_tool_of_the_history_could_do_what_is_asked_for() -> None:
    for user in users():
        for target in user.targets:
            assert not any(same_job(target, entry.tool) for entry in user.entries)


def test_what_is_asked_for_has_not_the_inputs_of_a_tool_of_the_history() -> None:
    """Though other functionalities and groups do: there are such tools, and they are similar enough to be shown."""
    of = world()
    forms = {name: of.inputs[row] for name, row in of.row.items()}
    alike = 0
    for user in users():
        for target in user.targets:
            assert not any(forms[target] == forms[entry.tool] for entry in user.entries)
            alike += any(
                forms[name] == forms[target] and group_of(name) is not group_of(target) and name not in user.targets
                for name in of.names
            )
    assert alike > 50


def named(of: World, user: User) -> set[str]:
    """Providers of the groups asked about."""
    groups = [group for group in of.groups if set(user.targets) & set(group.tools)]
    return {of.providers[of.row[name]] for group in groups for name in group.tools}


def test_no_provider_of_the_group_is_in_the_history() -> None:
    """Though each of these providers has tools of other jobs."""
    of = world()
    offered = Counter(of.providers)
    for user in users():
        assert not {of.providers[of.row[entry.tool]] for entry in user.entries} & named(of, user)
        assert sum(offered[provider] for provider in named(of, user)) > 2 * STYLES * len(user.targets)


def test_a_provider_of_the_group_may_be_in_the_history_where_the_config_says_so() -> None:
    of, shown = world(), Counter[bool]()
    config = CONFIG.model_copy(update={"own_provider": True})
    for setting in SETTINGS:
        for user in sampled(of, setting, False, config=config):
            for entry in user.entries:
                shown[entry.wanted] += of.providers[of.row[entry.tool]] in named(of, user)
                assert not any(same_job(target, entry.tool) for target in user.targets)
    assert min(shown[True], shown[False]) > 20


def two_providers() -> World:
    """Two groups of two tools. Of what is like the first, the most similar five are of a provider of its group."""
    own = [make_tool(f"own {number}", f"o{number}", " north" if number % 2 else "SOUTH") for number in range(5)]
    others = [make_tool(f"other {number}", f"p{number}", f"Provider {number}") for number in range(5)]
    tools = [make_tool("target", "city", "North"), make_tool("rival", "city", "South"), *own, *others]
    style = np.array([[1, 0, 0]] + [[0, 1, 0]] + [[1, 0, 0.1]] * 5 + [[1, 0, 0.3]] * 5, dtype=np.float64)
    groups = [Group("g", "Category", ("target", "rival"), False)]
    return World.of(tools, groups, rounded(np.eye(len(tools))), rounded(style), set(), EPS)


@pytest.mark.parametrize(("own_provider", "expected"), [(False, "other"), (True, "own")])
def test_the_most_similar_are_shown_of_those_whose_provider_tells_nothing(own_provider: bool, expected: str) -> None:
    config = PreferenceConfig(tastes=(1.0,), slips=0.0, own_provider=own_provider)
    found = [
        user for user in sampled(two_providers(), PREFERRED_ONLY, False, 60, config) if user.targets == ("target",)
    ]
    assert len(found) > 15
    assert {entry.tool for user in found for entry in user.entries} == {f"{expected} {number}" for number in range(5)}
    assert {len(user.entries) for user in found} == {4, 5}


def test_tools_with_the_same_inputs_do_the_same() -> None:
    tools = [make_tool("a", "x", "A"), make_tool("b", "x", "B"), make_tool("c", "y", "C"), make_tool("d", "X_", "D")]
    other = replace(tools[0], name="e", category="Another")
    of = World.of([*tools, other], [], rounded(np.eye(5)), rounded(np.eye(5)), set(), EPS)
    assert [of.overlaps(0, [row]) for row in (1, 2, 3, 4)] == [True, False, True, False]
    assert of.overlaps(0, [2, 4, 3])
    assert not of.overlaps(0, [])


def crowded() -> World:
    """Two groups. "a0" has five tools near it, and is nearer than they are to "b0", which has none of its own."""
    degrees = {"a0": 10, "b0": 30} | {f"near a0 {number}": angle for number, angle in enumerate((0, 2, 4, 5, 6))}
    places = {
        name: [*map(float, (np.cos(a), np.sin(a))), 0, 0]
        for name, a in zip(degrees, np.radians([*degrees.values()]), strict=True)
    }
    for axis, name in enumerate(("a1", "b1"), 2):
        around = np.eye(4)[axis]
        places |= {name: [*around]} | {f"near {name} {number}": [*around] for number in range(6)}
    tools = [make_tool(name, name[0] if len(name) == 2 else name, f"Provider of {name}") for name in places]
    groups = [Group(each, "Category", (f"{each}0", f"{each}1"), False) for each in "ab"]
    styles = rounded(np.array([*places.values()]))
    return World.of(tools, groups, rounded(np.eye(len(tools))), styles, set(), EPS)


def test_every_tool_of_a_group_is_asked_for_as_often_however_many_resemble_it() -> None:
    config = PreferenceConfig(tastes=(1.0,), slips=0.0)
    found = [user for setting in SETTINGS for user in sampled(crowded(), setting, False, 1000, config)]
    assert len(found) == 3000
    counts = Counter(user.targets[0] for user in found)
    assert set(counts) == {"a0", "a1", "b0", "b1"}
    for group in "ab":
        one, other = counts[f"{group}0"], counts[f"{group}1"]
        # Chi-square with one degree of freedom: 1 in 1,000 is above.
        assert (one - other) ** 2 / (one + other) < 10.83


def test_targets_are_drawn_evenly_from_each_group() -> None:
    """Also where half of all tools are alike."""
    # A margin that every history has: all that are drawn are kept.
    config = PreferenceConfig(tastes=(1.0,), slips=0.0, shown=(1, 1)).model_copy(update={"margin": -2.0})
    of = replace(world(), non_functional=skewed())
    found = sampled(of, PREFERRED_ONLY, False, 4000, config)
    assert len(found) == 4000
    counts = Counter(user.targets[0] for user in found)
    groups = of.groups_of(False)
    chi_square = 0.0
    for group in groups:
        each = [counts[name] for name in group.tools]
        chi_square += sum((count - sum(each) / len(each)) ** 2 / (sum(each) / len(each)) for count in each)
    # About its degrees of freedom, give or take four standard deviations.
    freedom = len(groups) * (STYLES - 1)
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def skewed() -> Vectors:
    """Half of all tools are of one style."""
    random = np.random.default_rng(4)
    count = len(world().names)
    style = np.where(random.random(count) < 0.5, 0, random.integers(1, 8, count))
    return rounded(np.eye(8)[style] + random.normal(scale=0.2, size=(count, 8)))


def test_a_job_has_one_preferred_tool() -> None:
    for user in users():
        wanted = [entry.tool for entry in steady(user) if entry.wanted]
        assert not any(same_job(one, other) for one, other in combinations([*user.targets, *wanted], 2))


def test_no_tool_is_twice_in_a_history() -> None:
    for user in users():
        tools = [entry.tool for entry in user.entries]
        assert len(set(tools)) == len(tools)


def test_as_many_tools_are_shown_as_the_config_says() -> None:
    for user in users():
        if any(entry.slip for entry in user.entries):
            continue
        tastes = len(user.targets)
        wanted = sum(entry.wanted for entry in user.entries)
        unwanted = len(user.entries) - wanted
        assert CONFIG.shown == (4, 5)
        assert 4 * tastes <= wanted <= 5 * tastes
        if user.setting is PREFERRED_ONLY:
            assert unwanted == 0
        else:
            # Two tastes may share a tool they do not want, or one dislike what the other wants.
            assert unwanted <= 4 * tastes
            assert tastes > 1 or unwanted >= 2


def test_preferred_only_shows_nothing_unwanted() -> None:
    for user in users():
        if user.setting is PREFERRED_ONLY:
            assert all(entry.wanted for entry in user.entries)


def test_chronological_shows_the_unwanted_first_but_for_one_change_of_places() -> None:
    swapped = 0
    for user in users():
        if user.setting is CHRONOLOGICAL:
            order = [entry.wanted for entry in steady(user)]
            turn = order.count(False)
            assert 0 < turn < len(order)
            expected = [False] * turn + [True] * (len(order) - turn)
            other = [*expected[: turn - 1], True, False, *expected[turn + 1 :]]
            assert order in (expected, other)
            swapped += order == other
    assert swapped > 10


def test_ratings_follow_what_is_wanted_in_the_one_setting_that_has_them() -> None:
    for user in users():
        ratings = [user.rating(entry) for entry in user.entries]
        if user.setting is RATING_INTEGRATED:
            assert ratings == [Rating.LIKED if entry.wanted else Rating.DISLIKED for entry in user.entries]
        else:
            assert set(ratings) == {None}


def test_the_seen_and_the_unseen_stay_apart() -> None:
    for user in users():
        for tool in (*user.targets, *(entry.tool for entry in user.entries)):
            assert bool(world().unseen[world().row[tool]]) is user.unseen


def test_at_most_one_entry_goes_against_the_taste() -> None:
    slips = [[entry for entry in user.entries if entry.slip] for user in users()]
    assert {len(each) for each in slips} == {0, 1}
    assert 0.1 < np.mean([len(each) for each in slips]) < CONFIG.slips


def test_what_is_wanted_resembles_what_is_asked_for() -> None:
    """It is the point of the benchmark: over all users, wanted tools are near the target, unwanted ones are not."""
    near: dict[bool, list[float]] = {True: [], False: []}
    for user in users():
        for entry in steady(user):
            near[entry.wanted].append(max(cosine(world().non_functional, entry.tool, each) for each in user.targets))
    assert np.mean(near[True]) > np.mean(near[False]) + 0.2


def margin(user: User) -> float:
    """By the definition, number by number."""
    count = len(user.entries)
    margins = []
    for target in user.targets:
        scores: dict[str, float] = {}
        group = group_of(target)
        assert group is not None
        for rival in group.tools:
            total = size = 0.0
            for place, entry in enumerate(user.entries):
                weight = 1.0
                if user.setting is RATING_INTEGRATED:
                    weight = 1.0 if user.rating(entry) is Rating.LIKED else -1.0
                elif user.setting is CHRONOLOGICAL:
                    weight = 0.5 ** ((count - 1 - place) / max(1.0, HALF_LIFE * count))
                total += weight * cosine(world().non_functional, entry.tool, rival)
                size += abs(weight)
            scores[rival] = total / size
        own = scores.pop(target)
        margins.append(own - max(scores.values()))
    return min(margins)


def test_the_history_is_nearer_to_what_is_asked_for_than_to_any_rival() -> None:
    assert min(map(margin, users())) >= CONFIG.margin - 1e-5


def test_a_wider_margin_leaves_fewer_users() -> None:
    strict = PreferenceConfig(margin=0.2, slips=0.0)
    loose = PreferenceConfig(margin=0.0, slips=0.0)
    few = sampled(world(), CHRONOLOGICAL, False, 100, strict)
    many = sampled(world(), CHRONOLOGICAL, False, 100, loose)
    assert 0 < len(few) < len(many)
    assert min(map(margin, few)) >= 0.2 - 1e-5
    assert set(few) <= set(many)


def test_without_slips_there_are_none() -> None:
    found = sampled(world(), RATING_INTEGRATED, False, 100, PreferenceConfig(slips=0.0))
    assert not any(entry.slip for user in found for entry in user.entries)


def test_the_same_seed_gives_the_same_users_whoever_else_is_drawn() -> None:
    alone = UserSampler(world(), CONFIG, 7)
    found = users()
    for user in [*found[::50], found[-1]]:
        number = int(user.id[2:])
        assert alone.sample(user.setting, user.unseen, number) == user
    assert len({user.id for user in found}) == len(found)


def test_another_attempt_shows_another_history_for_what_the_same_user_asks_for() -> None:
    sampler = UserSampler(world(), CONFIG, 7)
    total = distinct = 0
    for setting in SETTINGS:
        for number in range(40):
            found = [user for attempt in range(ATTEMPTS) if (user := drawn(sampler, number, setting, attempt))]
            assert len({user.targets for user in found}) <= 1
            assert len({user.id for user in found}) <= 1
            total += len(found)
            distinct += len({user.entries for user in found})
    # Two may be the same by chance.
    assert 150 < 0.95 * total < distinct


def test_another_seed_gives_other_users() -> None:
    first, second = ([drawn(UserSampler(world(), CONFIG, seed), number) for number in range(30)] for seed in (7, 8))
    assert sum(one == other for one, other in zip(first, second, strict=True) if one is not None) == 0


def drawn(
    sampler: UserSampler, number: int, setting: HistorySetting = PREFERRED_ONLY, attempt: int = 0, unseen: bool = False
) -> User | None:
    try:
        return sampler.sample(setting, unseen, number, attempt)
    except Unsuitable:
        return None


# ---------------------------------------------------------------- what is similar


def test_similar_tools_come_by_their_cosine_from_their_own_side() -> None:
    for row in (0, 3, 17, 90):
        found = list(world().similar(row, ("key",)))
        cosines = [float(world().non_functional[row] @ world().non_functional[each]) for each in found]
        assert cosines == sorted(cosines, reverse=True)
        assert row not in found
        assert len(set(found)) == len(found)
        side = np.flatnonzero(world().unseen == world().unseen[row])
        assert set(found) <= set(side.tolist())
        expected = sorted(
            (float(world().non_functional[row] @ world().non_functional[each]) for each in side), reverse=True
        )
        # But for the tool itself, the first ones of the whole side.
        assert len(found) == min(len(side) - 1, 80)
        assert cosines == expected[1 : 1 + len(found)]


def tied_world(count: int) -> World:
    """All tools alike; the even ones a little more like the first."""
    axes = np.eye(2)
    non_functional = np.stack([axes[0] if row % 2 == 0 else axes[0] + 0.5 * axes[1] for row in range(count)])
    functionality = np.eye(count)
    names = [f"tool {row}" for row in range(count)]
    return World.of(make_tools(names), [], rounded(functionality), rounded(non_functional), set(), EPS)


@pytest.mark.parametrize("count", [30, 200])
def test_equally_similar_tools_come_in_an_order_that_the_key_decides(count: int) -> None:
    of = tied_world(count)
    one, again, other = (list(of.similar(0, (key,))) for key in ("a", "a", "b"))
    assert one == again != other
    evens, odds = count // 2 - 1, count // 2
    assert {row % 2 for row in one[:evens]} == {row % 2 for row in other[:evens]} == {0}
    assert set(one[:evens]) == set(other[:evens])
    if count == 30:
        assert sorted(one[evens:]) == sorted(other[evens:]) == list(range(1, 30, 2))
        assert len(one) == evens + odds
    assert one[:evens] != sorted(one[:evens])


def test_a_tool_more_does_not_change_the_order_of_the_others() -> None:
    small, large = tied_world(20), tied_world(24)
    before = [small.names[row] for row in small.similar(0, ("key",))]
    after = [large.names[row] for row in large.similar(0, ("key",))]
    assert [name for name in after if name in before] == before


# ---------------------------------------------------------------- the stage


INSTANCES = InstanceConfig(train=60, test=30, unseen=30, spare=0.1)


def planned(world: World, directory: Path, progress: Progress = NO_PROGRESS) -> Mapping[str, Any]:
    return prefer(world, PreferenceConfig(), INSTANCES, 7, directory, progress)


def test_users_are_planned_until_there_are_instructions_enough_in_each_setting(tmp_path: Path) -> None:
    told: list[int] = []
    report = planned(world(), tmp_path, Progress(lambda _, total: told.append(-(total or 0)), told.append))
    found = read_users(tmp_path / USERS)
    for setting in SETTINGS:
        for unseen, goal in ((False, 33), (True, 11)):
            have = sum(len(user.targets) for user in found if (user.setting, user.unseen) == (setting, unseen))
            assert goal <= have <= goal + 1
    assert report["users"] == len(found) == len({user.id for user in found})
    assert report["instructions"] == sum(len(user.targets) for user in found) == sum(told[1:])
    assert told[0] == -3 * (33 + 11)
    assert report["tastes"] == {n: sum(len(user.targets) == n for user in found) for n in (1, 2)}
    assert report["with_slip"] == sum(any(entry.slip for entry in user.entries) for user in found)
    assert sum(report["discarded"].values()) > 0


def test_users_come_back_from_the_disk_as_they_were(tmp_path: Path) -> None:
    planned(world(), tmp_path)
    found = read_users(tmp_path / USERS)
    assert [user.to_json() for user in found] == list(read_rows(tmp_path / USERS))
    sampler = UserSampler(world(), PreferenceConfig(), 7)
    later = 0
    for user in found:
        number = int(user.id[2:])
        tried = [drawn(sampler, number, user.setting, attempt, user.unseen) for attempt in range(ATTEMPTS)]
        # The first history that is well-posed is kept.
        assert user == next(each for each in tried if each is not None)
        later += tried[0] is None
    assert later > 0


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        planned(make_world(), tmp_path / folder)
    assert (tmp_path / "one" / USERS).read_bytes() == (tmp_path / "other" / USERS).read_bytes()


def test_without_unseen_groups_no_unseen_users_are_planned(tmp_path: Path) -> None:
    seen = [group for group in world().groups if not group.unseen]
    of = replace(world(), groups=seen)
    planned(of, tmp_path)
    assert {user.unseen for user in read_users(tmp_path / USERS)} == {False}


def nothing_to_tell() -> World:
    """All tools are alike, so no history can be nearer to one of a group than to another."""
    count = len(world().names)
    alike = rounded(np.ones((count, 8)))
    return replace(world(), non_functional=alike)


def too_few() -> World:
    """One group, and two tools that do something else."""
    names = ["a", "b", "c", "d"]
    groups = [Group("g", "Category", ("a", "b"), False)]
    return World.of(make_tools(names), groups, rounded(np.eye(4)), rounded(np.eye(4)), set(), EPS)


def one_job() -> World:
    """A single group and much else: who has two tastes cannot find a second job."""
    count = 30
    names = [f"tool {row:02}" for row in range(count)]
    groups = [Group("g", "Category", tuple(names[:2]), False)]
    styles = np.eye(4)[np.arange(count) % 2] + 0.001
    return World.of(make_tools(names), groups, rounded(np.eye(count)), rounded(styles), set(), EPS)


@pytest.mark.parametrize(
    ("of", "config", "reasons"),
    [
        (nothing_to_tell(), {"tastes": (1.0,)}, {"not_well_posed"}),
        (too_few(), {"tastes": (1.0,)}, {"too_few_similar_tools"}),
        (one_job(), {"tastes": (0.0, 1.0)}, {"functional_overlap"}),
    ],
    ids=["not well-posed", "too few", "overlap"],
)
def test_where_no_user_is_possible_none_is_planned_and_the_reason_counted(
    of: World, config: dict[str, Any], reasons: set[str], tmp_path: Path
) -> None:
    few = InstanceConfig(train=12, test=6, unseen=6, spare=0.5)
    report = prefer(of, PreferenceConfig(**config), few, 7, tmp_path, NO_PROGRESS)
    assert read_users(tmp_path / USERS) == []
    assert report["users"] == report["instructions"] == 0
    goals = 3 * (9 + (3 if of.groups_of(True) else 0))
    assert set(report["discarded"]) == reasons
    assert sum(report["discarded"].values()) == TRIES * ATTEMPTS * goals


@pytest.mark.parametrize(
    "faulty", [{"shown": (5, 3)}, {"shown": (0, 3)}, {"rivals_shown": (2, 1)}, {"tastes": ()}, {"tastes": (0, 0)}]
)
def test_shares_and_ranges_that_cannot_be_are_refused(faulty: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(faulty))):
        PreferenceConfig(**faulty)
