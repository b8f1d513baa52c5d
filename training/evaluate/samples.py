"""Which instances are asked: all of a part, or as many of each setting, chosen by a hash."""

from collections.abc import Collection, Sequence

from app.domain import HistorySetting
from app.errors import SetupError
from training.common.seeding import shuffled_by_hash
from training.data.dataset import Dataset
from training.data.records import Instance, Part


def chosen(dataset: Dataset, part: Part, settings: Collection[HistorySetting], count: int | None) -> list[Instance]:
    """In an order of which each beginning is a fair sample: setting by setting in turn, each by a hash of the ids.

    So a smaller `count` is a part of a larger one, and a run that was stopped has asked every setting alike.
    `settings`: empty for all. SetupError where there are none.
    """
    instances = [each for each in dataset.of(part) if not settings or each.setting in settings]
    if not instances:
        raise SetupError(f"The benchmark has no instances of the part {part.value} in these settings.")
    by_id = {each.id: each for each in instances}
    queues = [
        shuffled_by_hash([each.id for each in instances if each.setting is setting], "evaluation")
        for setting in HistorySetting
    ]
    return [by_id[name] for name in _in_turn(queues)][:count]


def _in_turn(queues: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, queues))
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]
