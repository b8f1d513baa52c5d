"""Stage 8: users to parts, so that no user is in two, and the dataset as it is used (paper, section 3.2.3)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain import HistorySetting, Interaction
from training.common.seeding import shuffled_by_hash
from training.data.records import Instance, Part
from training.petoolbench.config import InstanceConfig
from training.petoolbench.stage_4_preferences import SETTINGS, User
from training.petoolbench.stage_5_histories import asked_at
from training.petoolbench.stage_6_instructions import Asked
from training.petoolbench.stage_7_candidates import Chosen


@dataclass(frozen=True)
class Placed:
    """An instruction and the part it goes to."""

    user: User
    asked: Asked
    part: Part


def split(users: Sequence[User], asked: Sequence[Asked], config: InstanceConfig, seed: int) -> list[Placed]:
    """Train and test in the proportion that is wanted, as large as wanted or as what there is allows, a third of each
    in every setting; `unseen` beside them. In the order of parts, then of ids. A user with an instruction more than
    there is room for gives only the first ones.
    """
    of_user: dict[str, list[Asked]] = defaultdict(list)
    for each in asked:
        of_user[each.user_id].append(each)
    by_side: dict[tuple[HistorySetting, bool], list[User]] = defaultdict(list)
    for user in users:
        if user.id in of_user:
            by_side[user.setting, user.unseen].append(user)
    placed: list[Placed] = []
    for place, setting in enumerate(SETTINGS):
        seen = by_side[setting, False]
        have = sum(len(of_user[user.id]) for user in seen)
        test, train = _share(config.test, place), _share(config.train, place)
        if have < test + train:
            test = test * have // (test + train)
            train = have - test
        placed.extend(_fill(seen, [(Part.TEST, test), (Part.TRAIN, train)], of_user, seed))
        unseen = by_side[setting, True]
        placed.extend(_fill(unseen, [(Part.UNSEEN, _share(config.unseen, place))], of_user, seed))
    order = list(Part)
    return sorted(placed, key=lambda each: (order.index(each.part), each.asked.user_id, each.asked.number))


def _share(total: int, place: int) -> int:
    """A third, the first settings one more where it does not come out even."""
    return total // len(SETTINGS) + (place < total % len(SETTINGS))


def _fill(
    users: Sequence[User], quotas: Sequence[tuple[Part, int]], of_user: Mapping[str, Sequence[Asked]], seed: int
) -> Iterator[Placed]:
    by_id = {user.id: user for user in users}
    order = iter(shuffled_by_hash(by_id, seed, "split"))
    for part, quota in quotas:
        left = quota
        while left > 0 and (name := next(order, None)) is not None:
            for asked in of_user[name][:left]:
                yield Placed(by_id[name], asked, part)
                left -= 1


def instance(placed: Placed, history: tuple[Interaction, ...], chosen: Chosen, seed: int) -> Instance:
    user, asked = placed.user, placed.asked
    return Instance(
        id=f"{user.id}-{asked.number}",
        user_id=user.id,
        setting=user.setting,
        part=placed.part,
        history=history,
        instruction=asked.instruction,
        candidates=chosen.candidates,
        answer=asked.answer,
        same_function=chosen.same_function,
        asked_at=asked_at(seed, user.id),
    )


def counts(instances: Sequence[Instance]) -> dict[str, dict[str, int]]:
    """Instances by part and setting."""
    found = Counter((instance.part, instance.setting) for instance in instances)
    return {part.value: {setting.value: found[part, setting] for setting in SETTINGS} for part in Part}
