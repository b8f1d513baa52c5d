"""Which matcher an instance's hints come from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import SetupError
from app.retrieval.matcher import SHIPPED, WEIGHTS, Matcher
from training.data.records import Instance, Part

STAGE = "matcher"
"""Its folder in a benchmark's."""


@dataclass(frozen=True)
class Matchers:
    whole: Matcher
    """Fitted on all of the training part: what is served."""
    folds: Sequence[Matcher]
    """Each fitted without the users of one fold."""

    @classmethod
    def load(cls, benchmark: Path, shipped: Path = SHIPPED) -> "Matchers":
        """The shipped matcher, and the folds' in the benchmark's folder. SetupError where one is missing."""
        files = matcher_files(benchmark)
        return cls(Matcher.load(shipped), [Matcher.load(file.parent) for file in files])

    def of(self, instance: Instance) -> Matcher:
        """One that never saw the instance's user."""
        if instance.part is Part.TRAIN:
            return self.folds[fold_of(instance, len(self.folds))]
        return self.whole


def matcher_files(benchmark: Path) -> list[Path]:
    """Of the folds, in their order. SetupError where there are none."""
    files = sorted((benchmark / STAGE).glob(f"fold-*/{WEIGHTS}"))
    if not files:
        raise SetupError(
            f"{benchmark} has no matchers for its training part, whose hints must not come from weights that were "
            f"fitted on it: run petool-train matcher fit --benchmark {benchmark} first."
        )
    return files


def fold_of(instance: Instance, folds: int) -> int:
    """By a hash of the user: none is in two."""
    return int.from_bytes(hashlib.sha256(instance.user_id.encode()).digest()[:8]) % folds
