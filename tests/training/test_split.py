"""Users go to parts: as many as wanted, a third for each setting, nobody in two."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.domain import HistorySetting, Interaction, Rating, ToolCall
from training.data.records import Instance, Part
from training.petoolbench.config import InstanceConfig
from training.petoolbench.stage_4_preferences import SETTINGS, Entry, User
from training.petoolbench.stage_5_histories import asked_at
from training.petoolbench.stage_6_instructions import Asked
from training.petoolbench.stage_7_candidates import Chosen
from training.petoolbench.stage_8_split import Placed, counts, instance, split

TRAIN, TEST, UNSEEN = Part


def people(count: int, instructions: Sequence[int] = (1,), *, unseen: bool = False) -> tuple[list[User], list[Asked]]:
    """`count` users of each setting, who in turn have so many instructions."""
    users, asked = [], []
    for setting in SETTINGS:
        for number in range(count):
            many = instructions[number % len(instructions)]
            targets = tuple(f"tool {place}" for place in range(many))
            name = f"{setting.value}-{'u' if unseen else 's'}-{number}"
            users.append(User(name, setting, unseen, targets, (Entry("before", True),)))
            asked += [Asked(name, place, f"{name} {place}", ToolCall(tool, {})) for place, tool in enumerate(targets)]
    return users, asked


def everyone(count: int, instructions: Sequence[int] = (1,)) -> tuple[list[User], list[Asked]]:
    seen, unseen = people(count, instructions), people(count, instructions, unseen=True)
    return [*seen[0], *unseen[0]], [*seen[1], *unseen[1]]


def wanted(train: int, test: int, unseen: int = 0) -> InstanceConfig:
    return InstanceConfig(train=train, test=test, unseen=unseen)


def sizes(placed: Sequence[Placed]) -> dict[Part, list[int]]:
    """Instructions of each part by setting, in the settings' order."""
    found = Counter((each.part, each.user.setting) for each in placed)
    return {part: [found[part, setting] for setting in SETTINGS] for part in Part}


@pytest.mark.parametrize("instructions", [(1,), (1, 2), (2,), (3, 1, 2)])
def test_parts_are_as_large_as_wanted_a_third_in_each_setting(instructions: Sequence[int]) -> None:
    users, asked = everyone(200, instructions)
    placed = split(users, asked, wanted(270, 90, 30), 1)
    assert sizes(placed) == {TRAIN: [90] * 3, TEST: [30] * 3, UNSEEN: [10] * 3}


def test_where_it_does_not_come_out_even_the_first_settings_have_one_more() -> None:
    placed = split(*everyone(50, (1, 2)), wanted(40, 11, 7), 1)
    assert sizes(placed) == {TRAIN: [14, 13, 13], TEST: [4, 4, 3], UNSEEN: [3, 2, 2]}


def test_where_there_are_fewer_than_wanted_none_is_left_over() -> None:
    placed = split(*people(36), wanted(9000, 3000), 1)
    assert sizes(placed) == {TRAIN: [27] * 3, TEST: [9] * 3, UNSEEN: [0] * 3}


def test_nobody_is_in_two_parts_and_nothing_is_placed_twice() -> None:
    users, asked = everyone(100, (1, 2, 3))
    placed = split(users, asked, wanted(300, 100, 60), 1)
    parts = defaultdict(set)
    for each in placed:
        assert each.asked.user_id == each.user.id
        parts[each.user.id].add(each.part)
    assert all(len(found) == 1 for found in parts.values())
    assert len({(each.user.id, each.asked.number) for each in placed}) == len(placed)


def test_the_unseen_are_no_one_else() -> None:
    for each in split(*everyone(30, (1, 2)), wanted(60, 30, 30), 1):
        assert each.user.unseen is (each.part is UNSEEN)


def test_with_fewer_than_wanted_train_and_test_keep_their_proportion() -> None:
    assert sizes(split(*everyone(20), wanted(90, 30, 90), 1)) == {TRAIN: [15] * 3, TEST: [5] * 3, UNSEEN: [20] * 3}


def test_few_are_divided_as_nearly_as_they_can_be() -> None:
    for have in range(1, 60):
        train, test, _ = sizes(split(*people(have), wanted(9_000, 3_000), 1)).values()
        assert abs(test[0] - have / 4) <= 1
        assert abs(train[0] - 3 * have / 4) <= 1
        assert have - 2 <= train[0] + test[0] <= have


def test_a_setting_that_has_too_few_takes_nothing_from_the_others() -> None:
    users, asked = people(40)
    few = [user for user in users if user.setting is not SETTINGS[1] or int(user.id.rsplit("-", 1)[1]) < 16]
    assert sizes(split(few, asked, wanted(90, 30), 1)) == {TRAIN: [30, 12, 30], TEST: [10, 4, 10], UNSEEN: [0] * 3}


def test_parts_that_are_not_wanted_are_empty() -> None:
    assert sizes(split(*everyone(10), wanted(0, 6), 1)) == {TRAIN: [0] * 3, TEST: [2] * 3, UNSEEN: [0] * 3}
    assert sizes(split(*everyone(10), wanted(6, 0, 3), 1)) == {TRAIN: [2] * 3, TEST: [0] * 3, UNSEEN: [1] * 3}
    assert split(*everyone(10), wanted(0, 0), 1) == []
    assert split([], [], wanted(10, 10, 10), 1) == []


def test_users_without_an_instruction_are_in_no_part() -> None:
    users, asked = people(10, (2,))
    silent = {user.id for user in users[::2]}
    left = [each for each in asked if each.user_id not in silent]
    placed = split(users, left, wanted(300, 100), 1)
    assert {each.user.id for each in placed}.isdisjoint(silent)
    assert {each.user.id for each in placed} <= {each.user_id for each in left}


def test_a_user_with_more_than_there_is_room_for_gives_the_first_ones() -> None:
    placed = split(*people(5, (3,)), wanted(3, 12), 1)
    assert sizes(placed) == {TRAIN: [1] * 3, TEST: [4] * 3, UNSEEN: [0] * 3}
    numbers = defaultdict(list)
    for each in placed:
        numbers[each.user.setting, each.part].append(each.asked.number)
    assert {tuple(sorted(found)) for found in numbers.values()} == {(0, 0, 1, 2), (0,)}


def test_the_order_of_the_users_does_not_matter() -> None:
    users, asked = everyone(60, (1, 2))
    first = split(users, asked, wanted(90, 45, 30), 1)
    for seed in range(3):
        random = np.random.default_rng(seed)
        shuffled = [users[place] for place in random.permutation(len(users))]
        assert split(shuffled, asked, wanted(90, 45, 30), 1) == first
    assert split(users, asked, wanted(90, 45, 30), 2) != first


def test_instructions_come_by_part_then_by_user_and_number() -> None:
    placed = split(*everyone(40, (1, 2)), wanted(60, 30, 30), 1)
    order = [(list(Part).index(each.part), each.user.id, each.asked.number) for each in placed]
    assert order == sorted(order)


# ---------------------------------------------------------------- instances


def test_an_instance_has_what_belongs_to_its_user() -> None:
    ((user, *_), (asked, *_)) = people(1)
    history = (Interaction("before", ToolCall("before", {}), datetime(2025, 1, 1, tzinfo=UTC), Rating.LIKED),)
    chosen = Chosen(user.id, 0, ("tool 0", "a", "b"), ("a",))
    assert instance(Placed(user, asked, TEST), history, chosen, 7) == Instance(
        id=f"{user.id}-0",
        user_id=user.id,
        setting=user.setting,
        part=TEST,
        history=history,
        instruction=asked.instruction,
        candidates=("tool 0", "a", "b"),
        answer=asked.answer,
        same_function=("a",),
        asked_at=asked_at(7, user.id),
    )


def test_instances_are_counted_by_part_and_setting() -> None:
    users, asked = everyone(30)
    placed = split(users, asked, wanted(40, 11, 7), 1)
    history = (Interaction("before", ToolCall("before", {}), datetime.now(UTC) - timedelta(days=900)),)
    made = [instance(each, history, Chosen(each.user.id, each.asked.number, (), ()), 1) for each in placed]
    names = [setting.value for setting in SETTINGS]
    assert names == ["preferred_only", "rating_integrated", "chronological"] == [HistorySetting(n) for n in names]
    assert counts(made) == {
        "train": dict(zip(names, [14, 13, 13], strict=True)),
        "test": dict(zip(names, [4, 4, 3], strict=True)),
        "unseen": dict(zip(names, [3, 2, 2], strict=True)),
    }
    assert len({each.id for each in made}) == len(made)
