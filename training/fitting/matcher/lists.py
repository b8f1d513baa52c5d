"""What the matcher is fitted on, as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain import Rating, Tool
from app.extraction.extract import input_features
from app.retrieval.functional_fit import functional_fit
from app.retrieval.matcher import relative_inputs, with_mean
from training.common.embedding import Vectors
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Instance
from training.data.systems import Scene, Scenes
from training.petoolbench.stage_4_preferences import SETTINGS
from training.pretraining.uses import uses_of

_HISTORY = 16
"""Interactions of a history that are looked at in fitting, the last."""
_INTENTS = 5

Lists = dict[str, Tensor]
"""Of n scenes: documents (n, 10, d), history (n, h, d) and its mask, signs, ages (n, h); queries (n, i, d) and their
mask; relevance, functional (n, 10); inputs (n, 10, 3 f); setting, answer (n,); able (n, 10)."""


@dataclass(frozen=True)
class UseLists:
    """What instructions were answered by, whoever asked: n uses."""

    queries: Tensor
    """(n, i, d)"""
    asked: Tensor
    """(n, i): 1 where there is a query."""
    documents: Tensor
    """(n, d): of the tool."""
    jobs: Tensor
    """(n,): tools with the same number may do the same."""


def use_lists(
    instances: Sequence[Instance], queries: Mapping[str, Vectors], shared: Scenes, tools: Mapping[str, Tool]
) -> UseLists:
    """Of the instances' histories. `queries`: of each instruction's intents."""
    uses = uses_of(instances, answers=False)
    padded = [_padded(queries[use.instruction]) for use in uses]
    jobs: dict[object, int] = {}
    named = [tools[use.call.tool_name] for use in uses]
    numbers = [
        jobs.setdefault((tool.category, frozenset(each.name for each in tool.parameters)), len(jobs)) for tool in named
    ]
    return UseLists(
        torch.from_numpy(np.stack([each for each, _ in padded])),
        torch.from_numpy(np.stack([mask for _, mask in padded])),
        torch.from_numpy(np.stack([shared.signatures[tool.name].attributes for tool in named])),
        torch.tensor(numbers),
    )


def _padded(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """(i, d) and (i,): the intents with their mean, and where they are."""
    found, asked = np.zeros((_INTENTS, vectors.shape[1]), np.float32), np.zeros(_INTENTS, np.float32)
    vectors = with_mean(vectors)
    found[: len(vectors)], asked[: len(vectors)] = vectors[:_INTENTS], 1
    return found, asked


def lists_of(scenes: Sequence[Scene], shared: Scenes, progress: Progress = NO_PROGRESS) -> Lists:
    progress.start("Reading candidates", len(scenes))
    rows = []
    for scene in scenes:
        rows.append(_row(scene, shared))
        progress.advance(1)
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def _row(scene: Scene, shared: Scenes) -> dict[str, NDArray[np.generic]]:
    instance = scene.instance
    names = [tool.name for tool in scene.found.tools]
    size = scene.found.vectors.shape[1]
    shown = instance.history[-_HISTORY:]
    count = len(shown)
    history, mask, signs, ages = np.zeros((_HISTORY, size), np.float32), *np.zeros((3, _HISTORY), np.float32)
    history[:count] = [shared.signatures[each.tool_call.tool_name].attributes for each in shown]
    mask[:count] = 1
    signs[:count] = [{Rating.LIKED: 1, Rating.DISLIKED: -1, None: 0}[each.rating] for each in shown]
    ages[:count] = np.arange(count - 1, -1, -1) / max(1, count)
    queries, asked = _padded(scene.found.query.vectors)
    inputs = np.array(input_features(instance.instruction, scene.found.tools, now=instance.asked_at), np.float32)
    return {
        "documents": scene.found.vectors.astype(np.float32),
        "history": history, "mask": mask, "signs": signs, "ages": ages,
        "queries": queries, "asked": asked,
        "relevance": np.array([each.relevance for each in scene.found], np.float32),
        "functional": np.array(functional_fit(scene.found), np.float32),
        "inputs": relative_inputs(inputs),
        "setting": np.array(SETTINGS.index(instance.setting)),
        "answer": np.array(names.index(instance.answer.tool_name)),
        "able": np.array([name in scene.group for name in names], np.float32),
    }  # fmt: skip
