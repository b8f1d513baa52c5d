"""Stage 5: the planned histories get their text and their dates (paper, section 3.2.3)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from app.domain import Interaction, Json, Tool, ToolCall
from training.common.seeding import rng
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.data.records import Understanding, interaction_from_json, interaction_to_json
from training.generators.values import TODAY
from training.generators.writer import PlannedInteraction, Writer, WriterRejected
from training.petoolbench.stage_4_preferences import User
from training.petoolbench.writing import write_all

HISTORIES = "histories.jsonl"
_SHORTEST, _LONGEST = 20, 14 * 24 * 60
"""Minutes between two interactions."""


async def write_histories(
    users: Sequence[User],
    tools: Mapping[str, Tool],
    understood: Mapping[str, Understanding],
    writer: Writer,
    seed: int,
    directory: Path,
    progress: Progress,
) -> Mapping[str, Json]:
    """A row a user. Users whose history the writer cannot write are counted and left out."""
    progress.start("Writing histories", len(users))

    async def one(user: User) -> list[Interaction]:
        planned = [
            PlannedInteraction(tools[entry.tool], about.example, about.attributes, user.rating(entry))
            for entry in user.entries
            for about in [understood[entry.tool]]
        ]
        texts = await writer.history(user.setting, planned, user.id)
        dates = interaction_times(len(planned), seed, user.id)
        return [
            Interaction(text.instruction, ToolCall(each.tool.name, text.parameters), date, each.rating)
            for text, each, date in zip(texts, planned, dates, strict=True)
        ]

    results = await write_all(users, one, progress)
    rows = [
        {"user_id": user.id, "history": [interaction_to_json(each) for each in result]}
        for user, result in zip(users, results, strict=True)
        if not isinstance(result, WriterRejected)
    ]
    write_rows(directory / HISTORIES, rows)
    rejected = Counter(result.kind for result in results if isinstance(result, WriterRejected))
    return {"users": len(rows), "rejected": dict(sorted(rejected.items()))}


def asked_at(seed: int, user: str) -> datetime:
    """When the user gives the instruction, UTC."""
    random = rng(seed, "asked at", user)
    return datetime.combine(TODAY, time(random.randint(6, 21), random.randint(0, 59)), UTC)


def interaction_times(count: int, seed: int, user: str) -> list[datetime]:
    """Ascending, all before `asked_at`; minutes to two weeks apart."""
    random = rng(seed, "times", user)
    moment = asked_at(seed, user)
    times = []
    for _ in range(count):
        # Most gaps are hours or days, some are minutes, some weeks.
        moment -= timedelta(minutes=int(_SHORTEST * (_LONGEST / _SHORTEST) ** random.random()))
        times.append(moment)
    return times[::-1]


def read_histories(path: Path) -> dict[str, tuple[Interaction, ...]]:
    """By user."""
    return {row["user_id"]: tuple(map(interaction_from_json, row["history"])) for row in read_rows(path)}
