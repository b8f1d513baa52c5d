"""Stage 8: users to parts, so that no user is in two, and the dataset as it is used (paper, section 3.2.3)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain import HistorySetting, Interaction
from training.benchmark.candidates import Chosen
from training.benchmark.config import InstanceConfig
from training.benchmark.histories import asked_at
from training.benchmark.instructions import Asked
from training.benchmark.preferences import SETTINGS, User
from training.benchmark.records import Instance, Part
from training.seeding import shuffled_by_hash


@dataclass(frozen=True)
class Finished:
    """Everything that was made for the users, by their ids."""

    users: Sequence[User]
    histories: Mapping[str, tuple[Interaction, ...]]
    asked: Mapping[str, Sequence[Asked]]
    candidates: Mapping[tuple[str, int], Chosen]


def split(finished: Finished, config: InstanceConfig, seed: int) -> list[Instance]:
    """Train and test in the proportion that is wanted, as large as wanted or as what there is allows, a third of each
    in every setting; part by part, ordered by id. A user with an instruction more than there is room for gives only
    the first ones."""
    by_side: dict[tuple[HistorySetting, bool], list[User]] = defaultdict(list)
    for user in finished.users:
        if user.id in finished.histories and finished.asked.get(user.id):
            by_side[user.setting, user.unseen].append(user)
    instances: list[Instance] = []
    for place, setting in enumerate(SETTINGS):
        seen = by_side[setting, False]
        have = sum(len(finished.asked[user.id]) for user in seen)
        wanted = {part: _share(count, place) for part, count in (("test", config.test), ("train", config.train))}
        scale = min(1.0, have / max(1, sum(wanted.values())))
        quotas = [(Part.TEST, int(wanted["test"] * scale)), (Part.TRAIN, int(wanted["train"] * scale))]
        instances.extend(_fill(seen, quotas, finished, seed))
        instances.extend(_fill(by_side[setting, True], [(Part.UNSEEN, _share(config.unseen, place))], finished, seed))
    order = list(Part)
    return sorted(instances, key=lambda instance: (order.index(instance.part), instance.id))


def _share(total: int, place: int) -> int:
    """A third, the first settings one more where it does not come out even."""
    return total // len(SETTINGS) + (place < total % len(SETTINGS))


def _fill(
    users: Sequence[User], quotas: Sequence[tuple[Part, int]], finished: Finished, seed: int
) -> Iterator[Instance]:
    by_id = {user.id: user for user in users}
    order = iter(shuffled_by_hash(by_id, seed, "split"))
    for part, quota in quotas:
        left = quota
        while left > 0 and (name := next(order, None)) is not None:
            for asked in finished.asked[name][:left]:
                yield _instance(by_id[name], asked, finished, part, seed)
                left -= 1


def _instance(user: User, asked: Asked, finished: Finished, part: Part, seed: int) -> Instance:
    chosen = finished.candidates[user.id, asked.number]
    return Instance(
        id=f"{user.id}-{asked.number}",
        user_id=user.id,
        setting=user.setting,
        part=part,
        history=finished.histories[user.id],
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
