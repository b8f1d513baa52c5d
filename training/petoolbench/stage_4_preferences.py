"""Stage 4: what each user prefers, and which tools the history will show of it (paper, section 3.2.2).

A user has one or more tastes. For a taste a functionality group is sampled and one of its tools chosen as preferred,
so the others are not: it is the one that the user will ask for, and is kept out of the history. The five tools whose
non-functional phrase is most similar are preferred too, and the history shows some of them. For the settings with
unwanted tools, a rival from the group of the tool asked for stands for what the user does not want (or no longer
wants), and the five tools most similar to it are shown as such.

A tool whose functionality overlaps with one selected before is discarded, so a job has exactly one preferred tool, and
none of the history's tools could do what the instruction will ask for. The tool asked for is drawn evenly from its
group, and kept while histories are tried for it: were it drawn from the similar ones, a tool with many of them would be
right more often than its rivals, which a system without history could learn. And the history shows no tool of a
provider that the group has too (but for `own_provider`): its name would tell what only attributes should.

A user is kept only if the choice is well-posed by what was understood of the tools: weighted by rating or time, the
history must be nearer to the tool asked for than to any other of its group.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from app.domain import HistorySetting, Json, Rating, Tool
from app.retrieval.preferences import provider_key
from training.common.embedding import Vectors
from training.common.seeding import rng, shuffled_by_hash
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.petoolbench.config import InstanceConfig, PreferenceConfig
from training.petoolbench.interface import Inputs, inputs
from training.petoolbench.stage_3_group import Group

USERS = "users.jsonl"
SETTINGS = (HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL)
HALF_LIFE = 0.25
"""`chronological`: an entry this share of the history older than another counts half as much."""
_WIDE = 80
"""Tools looked at before a retrieval gives up."""
_TRIES = 20
"""Users tried for one that is wanted, at most."""
_ATTEMPTS = 6
"""Histories tried for what one user will ask for."""


@dataclass(frozen=True)
class Entry:
    """One place in a user's history."""

    tool: str
    wanted: bool
    """What the user thinks of it, or, in a slip, seems to think."""
    slip: bool = False


@dataclass(frozen=True)
class User:
    id: str
    setting: HistorySetting
    unseen: bool
    targets: tuple[str, ...]
    """Preferred tools, one a taste, that the history does not show and the instructions ask for."""
    entries: tuple[Entry, ...]
    """Oldest first."""

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "setting": self.setting.value,
            "unseen": self.unseen,
            "targets": list(self.targets),
            "entries": [vars(entry) for entry in self.entries],
        }

    def rating(self, entry: Entry) -> Rating | None:
        if self.setting is not HistorySetting.RATING_INTEGRATED:
            return None
        return Rating.LIKED if entry.wanted else Rating.DISLIKED


class Unsuitable(Exception):
    """This sampling gives no user; the message is the reason that is counted."""


@dataclass(frozen=True, eq=False)
class World:
    """What users are made from: tools by row, seen and unseen apart."""

    names: Sequence[str]
    groups: Sequence[Group]
    functionality: Vectors
    """(n, d)."""
    non_functional: Vectors
    """(n, d)."""
    unseen: NDArray[np.bool_]
    """(n,)."""
    overlap: float
    """Cosine of functionality phrases from which two tools count as doing the same."""
    inputs: Sequence[Inputs]
    """Of each tool: those with the same count as doing the same, too."""
    providers: Sequence[str]

    @classmethod
    def of(
        cls,
        tools: Sequence[Tool],
        groups: Sequence[Group],
        functionality: Vectors,
        non_functional: Vectors,
        unseen: set[str],
        eps: float,
    ) -> "World":
        """`eps`: the distance of functionality phrases that grouping took for the same."""
        return cls(
            [tool.name for tool in tools],
            groups,
            functionality,
            non_functional,
            np.array([tool.name in unseen for tool in tools]),
            1 - eps,
            [inputs(tool) for tool in tools],
            [provider_key(tool.provider or tool.name) for tool in tools],
        )

    @cached_property
    def row(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def group_of(self) -> Mapping[int, Group]:
        return {self.row[name]: group for group in self.groups for name in group.tools}

    def groups_of(self, unseen: bool) -> list[Group]:
        return [group for group in self.groups if group.unseen is unseen]

    def similar(self, row: int, key: tuple[object, ...]) -> Iterator[int]:
        """Rows of the tools with the most similar non-functional phrase, the most similar first, from the same side of
        the seen and the unseen. Equally similar ones come in an order that the key decides."""
        similarity = self.non_functional @ self.non_functional[row]
        similarity[self.unseen != self.unseen[row]] = -2
        similarity[row] = -2
        least = np.partition(similarity, -_WIDE)[-_WIDE] if len(similarity) > _WIDE else -2
        rows = np.flatnonzero((similarity >= least) & (similarity > -2)).tolist()
        by_name = {self.names[each]: each for each in rows}
        order = {name: place for place, name in enumerate(shuffled_by_hash(by_name, *key))}
        yield from sorted(rows, key=lambda each: (-float(similarity[each]), order[self.names[each]]))

    def overlaps(self, row: int, others: Sequence[int]) -> bool:
        """Whether the tool does what one of the others does."""
        group = self.group_of.get(row)
        if group is not None and any(self.group_of.get(other) is group for other in others):
            return True
        if any(self.inputs[row] == self.inputs[other] for other in others):
            return True
        return bool(others) and bool((self.functionality[list(others)] @ self.functionality[row] >= self.overlap).any())


class UserSampler:
    def __init__(self, world: World, config: PreferenceConfig, seed: int) -> None:
        self._world = world
        self._config = config
        self._seed = seed

    def sample(self, setting: HistorySetting, unseen: bool, number: int, attempt: int = 0) -> User:
        """What the user will ask for depends on `number` alone, what the history shows of it on `attempt` too. Raises
        Unsuitable."""
        user = (self._seed, "user", setting.value, unseen, number)
        targets = self._targets(unseen, rng(*user, "targets"))
        key = (*user, attempt)
        random = rng(*key)
        wanted: list[list[int]] = []
        for place, target in enumerate(targets):
            wanted.append(self._shown(target, targets, wanted, random, (*key, place)))
        unwanted = []
        if setting is not HistorySetting.PREFERRED_ONLY:
            unwanted = [self._rivals(target, targets, wanted, random, key) for target in targets]
        entries = self._ordered(setting, wanted, unwanted, random)
        slipped = self._with_slip(setting, entries, targets, unseen, random)
        if self._margin(setting, entries, targets) < self._config.margin:
            raise Unsuitable("not_well_posed")
        if slipped is not None and self._margin(setting, slipped, targets) >= self._config.margin:
            entries = slipped
        names = self._world.names
        side = "u" if unseen else "s"
        return User(
            f"{setting.value[0]}{side}{number:05d}",
            setting,
            unseen,
            tuple(names[target] for target in targets),
            tuple(entries),
        )

    def _targets(self, unseen: bool, random: Random) -> list[int]:
        """The tools asked for, one a taste."""
        world, groups = self._world, self._world.groups_of(unseen)
        tastes = random.choices(range(1, len(self._config.tastes) + 1), self._config.tastes)[0]
        targets: list[int] = []
        for _ in range(tastes):
            target = world.row[random.choice(random.choice(groups).tools)]
            if world.overlaps(target, targets):
                raise Unsuitable("functional_overlap")
            targets.append(target)
        return targets

    def _shown(
        self,
        target: int,
        targets: Sequence[int],
        wanted: Sequence[Sequence[int]],
        random: Random,
        key: tuple[object, ...],
    ) -> list[int]:
        """Of the tools most similar to the one asked for, those that the history shows."""
        world, before = self._world, [*targets, *(row for rows in wanted for row in rows)]
        telling = self._telling(targets)

        def may_show(row: int, found: Sequence[int]) -> bool:
            return world.providers[row] not in telling and not world.overlaps(row, [*before, *found])

        return self._similar(target, key, may_show, self._config.shown, random)

    def _rivals(
        self,
        target: int,
        targets: Sequence[int],
        wanted: Sequence[Sequence[int]],
        random: Random,
        key: tuple[object, ...],
    ) -> list[int]:
        """Tools like another tool of the group, which the user does not want."""
        world = self._world
        group = [world.row[name] for name in world.group_of[target].tools]
        rival = random.choice([row for row in group if row != target])
        taken = {row for rows in wanted for row in rows}
        telling = self._telling(targets)

        def may_show(row: int, _: Sequence[int]) -> bool:
            return row not in taken and world.providers[row] not in telling and not world.overlaps(row, targets)

        return self._similar(rival, (*key, "rival"), may_show, self._config.rivals_shown, random)

    def _similar(
        self,
        row: int,
        key: tuple[object, ...],
        may_show: Callable[[int, Sequence[int]], bool],
        shown: tuple[int, int],
        random: Random,
    ) -> list[int]:
        """Some of the most similar tools that may be shown, as many as `shown` allows; `may_show` is told those found
        before. Raises Unsuitable where there are too few."""
        found: list[int] = []
        for other in self._world.similar(row, key):
            if len(found) == self._config.similar:
                break
            if may_show(other, found):
                found.append(other)
        few, many = shown
        if len(found) < few:
            raise Unsuitable("too_few_similar_tools")
        return random.sample(found, random.randint(few, min(many, len(found))))

    def _telling(self, targets: Sequence[int]) -> set[str]:
        """Providers whose mere presence in the history would tell who is meant."""
        if self._config.own_provider:
            return set()
        world = self._world
        return {world.providers[world.row[name]] for target in targets for name in world.group_of[target].tools}

    def _ordered(
        self,
        setting: HistorySetting,
        wanted: Sequence[Sequence[int]],
        unwanted: Sequence[Sequence[int]],
        random: Random,
    ) -> list[Entry]:
        names = self._world.names
        new = [Entry(names[row], True) for rows in wanted for row in rows]
        seen = {entry.tool for entry in new}
        # Two tastes may have rivals that resemble the same tool: once is enough.
        old_names = dict.fromkeys(names[row] for rows in unwanted for row in rows)
        old = [Entry(name, False) for name in old_names if name not in seen]
        random.shuffle(new)
        random.shuffle(old)
        if setting is not HistorySetting.CHRONOLOGICAL:
            entries = old + new
            random.shuffle(entries)
            return entries
        entries = old + new
        # Tastes do not turn overnight: around the turn old and new may alternate.
        if old and random.random() < 0.4:
            turn = len(old)
            entries[turn - 1], entries[turn] = entries[turn], entries[turn - 1]
        return entries

    def _with_slip(
        self, setting: HistorySetting, entries: Sequence[Entry], targets: Sequence[int], unseen: bool, random: Random
    ) -> list[Entry] | None:
        """The history with one entry that goes against the taste: a tool of chance, or a rating given in error."""
        if random.random() >= self._config.slips:
            return None
        changed = list(entries)
        if setting is HistorySetting.RATING_INTEGRATED and random.random() < 0.5:
            place = random.randrange(len(changed))
            changed[place] = Entry(changed[place].tool, not changed[place].wanted, slip=True)
            return changed
        pool = np.flatnonzero(self._world.unseen == unseen)
        row = int(random.choice(pool.tolist()))
        known = any(entry.tool == self._world.names[row] for entry in entries)
        if known or self._world.overlaps(row, targets) or self._world.providers[row] in self._telling(targets):
            return None
        changed.insert(random.randint(0, len(changed)), Entry(self._world.names[row], True, slip=True))
        return changed

    def _margin(self, setting: HistorySetting, entries: Sequence[Entry], targets: Sequence[int]) -> float:
        """By how much of weighted mean cosine the worst-off target leads its group."""
        world = self._world
        shown = world.non_functional[[world.row[entry.tool] for entry in entries]].astype(np.float64)
        weights = history_weights(setting, [entry.wanted for entry in entries])
        # Rounded: sums of products with such weights are no longer exact.
        margins = []
        for target in targets:
            group = [world.row[name] for name in world.group_of[target].tools if world.row[name] != target]
            score = (
                weights @ (shown @ world.non_functional[[target, *group]].T.astype(np.float64)) / np.abs(weights).sum()
            )
            margins.append(round(float(score[0] - score[1:].max()), 6))
        return min(margins)


def history_weights(setting: HistorySetting, wanted: Sequence[bool]) -> NDArray[np.float64]:
    """(n,): what each entry of a history, oldest first, says of the user: by rating, or by time."""
    count = len(wanted)
    if setting is HistorySetting.RATING_INTEGRATED:
        return np.array([1.0 if each else -1.0 for each in wanted])
    if setting is HistorySetting.CHRONOLOGICAL:
        return np.array(np.exp2(-np.arange(count - 1, -1, -1) / max(1.0, count * HALF_LIFE)))
    return np.ones(count)


def prefer(
    world: World, config: PreferenceConfig, instances: InstanceConfig, seed: int, directory: Path, progress: Progress
) -> Mapping[str, Json]:
    """Plans users until each setting has the instances that are wanted and some to spare, or cannot have them."""
    sampler = UserSampler(world, config, seed)
    wanted = {False: instances.train + instances.test, True: instances.unseen}
    goals = {
        (setting, unseen): round(total / len(SETTINGS) * (1 + instances.spare))
        for unseen, total in wanted.items()
        for setting in SETTINGS
        if world.groups_of(unseen)
    }
    progress.start("Building preferences", sum(goals.values()))
    users: list[User] = []
    discarded: Counter[str] = Counter()
    for (setting, unseen), goal in goals.items():
        have = number = 0
        while have < goal and number < _TRIES * goal:
            user = _tried(sampler, setting, unseen, number, discarded)
            if user is not None:
                users.append(user)
                have += len(user.targets)
                progress.advance(len(user.targets))
            number += 1
    write_rows(directory / USERS, (user.to_json() for user in users))
    return {
        "users": len(users),
        "instructions": sum(len(user.targets) for user in users),
        "tastes": dict(sorted(Counter(len(user.targets) for user in users).items())),
        "with_slip": sum(any(entry.slip for entry in user.entries) for user in users),
        "discarded": dict(sorted(discarded.items())),
    }


def _tried(
    sampler: UserSampler, setting: HistorySetting, unseen: bool, number: int, discarded: Counter[str]
) -> User | None:
    for attempt in range(_ATTEMPTS):
        try:
            return sampler.sample(setting, unseen, number, attempt)
        except Unsuitable as reason:
            discarded[str(reason)] += 1
    return None


def read_users(path: Path) -> list[User]:
    return [
        User(
            row["id"],
            HistorySetting(row["setting"]),
            row["unseen"],
            tuple(row["targets"]),
            tuple(Entry(**entry) for entry in row["entries"]),
        )
        for row in read_rows(path)
    ]
