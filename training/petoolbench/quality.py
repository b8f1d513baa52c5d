"""Is it a good benchmark? What systems without a language model score, and what its text is like."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.answers.validation import parameter_problems
from app.domain import Json
from training.common.stages import Progress, write_json
from training.data.dataset import Dataset, tool_names
from training.data.records import Instance, Part
from training.data.systems import Oracle, Scenes, systems_table
from training.data.truth import Truth
from training.petoolbench.leaks import leak
from training.petoolbench.stage_3_group import Group

QUALITY = "quality.json"
EVALUATED = (Part.TEST, Part.UNSEEN)


def measure_quality(
    dataset: Dataset,
    documents: Mapping[str, NDArray[np.float32]],
    non_functional: Mapping[str, NDArray[np.float32]],
    functionality: Mapping[str, str],
    truth: Mapping[str, Truth],
    groups: Sequence[Group],
    directory: Path,
    progress: Progress,
) -> Mapping[str, Json]:
    """Writes `quality.json`: systems, text, overlaps, grouping against the truth."""
    shared = Scenes(dataset.tools, documents)
    evaluated = [instance for part in EVALUATED for instance in dataset.of(part)]
    scenes = shared.of(evaluated, progress)
    oracle = Oracle.of_truth(truth) if truth else Oracle.of_vectors(non_functional)
    progress.start("Measuring", 1)
    report = {
        "systems": systems_table(scenes, shared, oracle, dataset.of(Part.TRAIN)),
        "oracle_knows": "the true attributes" if truth else "the understood non-functional phrases",
        "text": _text(dataset),
        "leaks": _leaks(dataset, groups, functionality),
        "invalid_calls": sum(
            bool(parameter_problems(dataset.tools[each.answer.tool_name], each.answer.parameters))
            for each in dataset.instances
        ),
        "overlap": _overlap(dataset),
        "grouping": _grouping(groups, truth) if truth else {},
    }
    progress.advance(1)
    write_json(directory / QUALITY, report)
    return report


def _text(dataset: Dataset) -> dict[str, Json]:
    texts = [instance.instruction for instance in dataset.instances]
    words = [text.casefold().split() for text in texts]
    folded = Counter(" ".join(each) for each in words)
    pairs = Counter(pair for each in words for pair in pairwise(each))
    lengths = sorted(map(len, words)) or [0]
    return {
        "instructions": len(texts),
        "duplicated_share": round(sum(count - 1 for count in folded.values()) / max(1, len(texts)), 4),
        "distinct_2": round(len(pairs) / max(1, sum(pairs.values())), 4),
        "words": {
            name: lengths[min(len(lengths) - 1, int(share * len(lengths)))] for name, share in _QUANTILES.items()
        },
        "history_length": dict(sorted(Counter(len(each.history) for each in dataset.instances).items())),
    }


_QUANTILES = {"least": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "most": 1.0}


def _leaks(dataset: Dataset, groups: Sequence[Group], functionality: Mapping[str, str]) -> int:
    """Instructions that give their tool away, by the check that the instructions stage makes."""
    of = {name: group for group in groups for name in group.tools}
    found = 0
    for instance in dataset.instances:
        group = of[instance.answer.tool_name]
        tools = [dataset.tools[name] for name in (instance.answer.tool_name, *instance.same_function)]
        found += leak(instance.instruction, tools, [functionality[name] for name in group.tools]) is not None
    return found


def _overlap(dataset: Dataset) -> dict[str, Json]:
    """What the training part shares with the others; of `unseen` also tools, in any role."""
    train, test, unseen = (dataset.of(part) for part in (Part.TRAIN, Part.TEST, Part.UNSEEN))

    def folded(instances: Sequence[Instance]) -> set[str]:
        return {" ".join(each.instruction.casefold().split()) for each in instances}

    def tools(instances: Sequence[Instance]) -> set[str]:
        return {name for each in instances for name in tool_names(each)}

    held = [*test, *unseen]
    return {
        "users": len({each.user_id for each in train} & {each.user_id for each in held}),
        "instances": len({each.id for each in train} & {each.id for each in held}),
        "instructions": len(folded(train) & folded(held)),
        "unseen_tools": len(tools(train) & tools(unseen)),
    }


def _grouping(groups: Sequence[Group], truth: Mapping[str, Truth]) -> dict[str, Json]:
    """How the groups found compare with the functionalities there are."""
    jobs = Counter(each.job for each in truth.values())
    grouped = [name for group in groups for name in group.tools]
    pure = sum(len({truth[name].job for name in group.tools}) == 1 for group in groups)
    same = sum(count * (count - 1) for count in jobs.values())
    found = sum(len(group.tools) * (len(group.tools) - 1) for group in groups)
    right = sum(
        count * (count - 1) for group in groups for count in Counter(truth[name].job for name in group.tools).values()
    )
    return {
        "functionalities": len(jobs),
        "groups": len(groups),
        "groups_of_one_functionality": pure,
        "tools_in_groups": len(grouped),
        "pair_precision": round(right / max(1, found), 4),
        "pair_recall": round(right / max(1, same), 4),
    }
