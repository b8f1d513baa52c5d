"""`petool-train matcher fit`: on a benchmark that stands on disk, with its card."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from app.domain import Json
from app.extraction.extract import FEATURES
from app.retrieval.functional_fit import functional_fit
from app.retrieval.matcher import WEIGHTS, Matcher, MatcherWeights
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.ranker_weights import load_weights
from training.common.revision import revision
from training.common.stages import Progress, Workspace, only_here, told, write_json
from training.data.benchmark import OpenedBenchmark, open_benchmark
from training.data.matchers import STAGE, fold_of
from training.data.records import Instance, Part
from training.data.systems import Scene, Scenes, Systems, accuracy
from training.fitting.matcher.fitting import MatcherConfig, fit
from training.fitting.matcher.lists import Lists, UseLists, lists_of, use_lists
from training.pretraining.uses import uses_of

_VERSION = 1


def fit_built(built: Path, out: Path, progress: Progress, config: MatcherConfig | None = None) -> Mapping[str, Json]:
    """Fits on all of the training part, and once without each fold of it; what it counted and measured.

    The folds' weights stay in the benchmark's folder, the whole part's go to `out` with a card. What is finished and
    still fits the benchmark is kept. Test and unseen are looked at once, for the card.
    """
    config = config or MatcherConfig()
    benchmark = open_benchmark(built)

    def produce(folder: Path) -> Mapping[str, Json]:
        return _fitted(benchmark, config, folder, progress)

    with only_here(built / ".matcher"):
        stage = Workspace(built, progress).run(
            STAGE, produce, version=_VERSION, settings={"config": asdict(config), "data": benchmark.data.digest}
        )
    report = stage.report
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stage.path("whole") / WEIGHTS, out / WEIGHTS)
        write_json(out / "matcher.json", report)
        (out / "README.md").write_text(_card(report), "utf-8")
    return report


def _fitted(benchmark: OpenedBenchmark, config: MatcherConfig, folder: Path, progress: Progress) -> dict[str, Json]:
    shared = benchmark.scenes(progress)
    train = benchmark.dataset.of(Part.TRAIN)
    scenes = shared.of(train, progress)
    lists = lists_of(scenes, shared, progress)
    queries = benchmark.intents_of([use.instruction for use in uses_of(train, answers=False)], progress)

    def uses(instances: Sequence[Instance]) -> UseLists:
        return use_lists(instances, queries, shared, benchmark.dataset.tools)

    whole = fit(lists, uses(train), config, progress)
    _save(whole, folder / "whole")
    folds = np.array([fold_of(instance, config.folds) for instance in train])
    cross: list[bool] = []
    for fold in range(config.folds):
        others = [instance for instance, its in zip(train, folds, strict=True) if its != fold]
        weights = fit(
            {name: values[folds != fold] for name, values in lists.items()}, uses(others), config, progress,
            f"Fitting without fold {fold + 1} of {config.folds}",
        )  # fmt: skip
        _save(weights, folder / f"fold-{fold}")
        inside = [scene for scene, its in zip(scenes, folds, strict=True) if its == fold]
        of_fold = {name: values[folds == fold] for name, values in lists.items()}
        chosen = _choices(Matcher(weights), inside, of_fold, shared)
        cross += [chosen[scene.instance.id] == scene.instance.answer.tool_name for scene in inside]
    evaluated = shared.of([*benchmark.dataset.of(Part.TEST), *benchmark.dataset.of(Part.UNSEEN)], progress)
    chosen = _choices(Matcher(whole), evaluated, lists_of(evaluated, shared, progress), shared)
    ranker = Systems(shared, PreferenceRanker(load_weights()))
    return {
        "config": asdict(config),
        "data": asdict(benchmark.data),
        "revision": revision(),
        "instances": len(train),
        "scales": [round(float(each), 3) for each in whole.scales],
        "history": [round(float(each), 3) for each in whole.history],
        "held_out_users": {"accuracy": round(100 * float(np.mean(cross)), 2), "count": len(cross)},
        "accuracy": {
            "matcher": accuracy(lambda scene: chosen[scene.instance.id], evaluated),
            "preference ranker": accuracy(ranker.ranker, evaluated),
        },
    }


def _choices(matcher: Matcher, scenes: Sequence[Scene], lists: Lists, shared: Scenes) -> dict[str, str]:
    """Of each instance the tool with the highest total, by the code that serves."""
    ranker = PreferenceRanker(load_weights())
    found = {}
    for place, scene in enumerate(scenes):
        instance = scene.instance
        profile = ranker.profile(instance.setting, instance.history, shared.signatures)
        relevance, fit = [each.relevance for each in scene.found], functional_fit(scene.found)
        inputs = lists["inputs"][place, :, :FEATURES].tolist()
        match = matcher.match(scene.found.query.vectors, scene.found.vectors, relevance, fit, inputs, profile)
        found[instance.id] = scene.found.tools[int(match.total.argmax())].name
    return found


def _save(weights: MatcherWeights, directory: Path) -> None:
    directory.mkdir(parents=True)
    tensors = {each.name: getattr(weights, each.name).astype(np.float16) for each in fields(weights)}
    save_file(tensors, directory / WEIGHTS)


def _card(report: Mapping[str, Json]) -> str:
    data, held_out = report["data"], report["held_out_users"]
    lines = [
        "# The matcher",
        "",
        f"Fitted by `petool-train matcher fit` on the training part of the benchmark `{data['config']}` (seed "
        f"{data['seed']}, data SHA-256 `{data['digest'][:16]}…`), git revision "
        f"`{report['revision'][:12] or 'unknown'}`. The hints that our own model reads come from it (docs/ranking.md); "
        "it knows tools like those of the benchmark.",
        "",
        f"Tool accuracy, percent: {held_out['accuracy']} on {held_out['count']:,} training instances whose users it "
        "was fitted without; on the parts it never saw:",
    ]
    for part, settings in report["accuracy"]["matcher"].items():
        lines += ["", f"| {part} | " + " | ".join(settings) + " |", "|---|" + "---:|" * len(settings)]
        for system, of_parts in report["accuracy"].items():
            cells = " | ".join(f"{each['accuracy']:.1f} ± {each['plus_minus']:.1f}" for each in of_parts[part].values())
            lines.append(f"| {system} | {cells} |")
    return "\n".join(lines) + "\n"
