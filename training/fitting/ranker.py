"""The preference ranker's weights, fitted on a benchmark's training part.

Maximum a posteriori: the ranker's scores through a softmax, whose temperature is fitted along, over three lists of
tools for each instruction: its ten candidates, as evaluation has them; the fifty tools that the service would retrieve
for it; and these again under the history of another user, where any tool that does the job is right (a taste must not
talk the service into a tool that does something else). The prior is normal on the logarithms of the weights, around
the defaults, which were checked on other data: our benchmark has its own ways, and the service has to work elsewhere
too.

Not fitted, because the benchmark has nothing to tell of them: what became of the very tool before, or of others of its
provider (the tool asked for is never in the history, nor is its provider), and use without a rating among rated use.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from app.domain import Json
from app.errors import SetupError
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, RankerWeights
from training.common.revision import revision
from training.common.seeding import shuffled_by_hash
from training.common.stages import Progress, told, write_json
from training.data.benchmark import open_benchmark
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.data.systems import Scene, Scenes, Systems, accuracy

WEIGHTS = "weights.json"
CARD = "README.md"
FITTED = ("preference", "attribute_scale", "half_life")
_START_TEMPERATURE = 0.05
_EVALUATIONS = 120
_PRIOR = 0.03
"""Nats that a weight e times its default, or a fraction of e of it, has to earn, for each list."""


@dataclass(frozen=True)
class Fitted:
    weights: RankerWeights
    before: float
    """Mean negative log-likelihood of the default weights, in nats, at their best temperature."""
    after: float
    lists: int
    evaluations: int


@dataclass(frozen=True)
class Listed:
    """A scene and which of its tools are right; at least one of them was found."""

    scene: Scene
    right: frozenset[str]


def lists(candidates: Sequence[Scene], retrieved: Sequence[Scene]) -> list[Listed]:
    """The three kinds; `retrieved` are the scenes of the same instances as `candidates`, in their order."""
    wanted = [Listed(scene, frozenset({scene.instance.answer.tool_name})) for scene in (*candidates, *retrieved)]
    half = len(retrieved) // 2
    strangers = [*retrieved[half:], *retrieved[:half]]
    able = [
        Listed(
            replace(scene, instance=replace(scene.instance, setting=other.setting, history=other.history)),
            frozenset(scene.group),
        )
        for scene, other in zip(retrieved, (each.instance for each in strangers), strict=True)
        if other.user_id != scene.instance.user_id
    ]
    return [each for each in (*wanted, *able) if each.right & {item.tool.name for item in each.scene.found}]


class _Likelihood:
    def __init__(self, listed: Sequence[Listed], systems: Callable[[PreferenceRanker], Systems]) -> None:
        self._listed = listed
        self._fit = [functional_fit(each.scene.found) for each in listed]
        self._systems = systems
        self.evaluations = 0

    def scores(self, weights: RankerWeights) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Of each list the scores, and which of them are right."""
        ranker = PreferenceRanker(weights)
        systems = self._systems(ranker)
        found = []
        for listed, fit in zip(self._listed, self._fit, strict=True):
            scene = listed.scene
            profile = systems.profile(scene.instance.setting, scene.instance.history)
            ranked = ranker.rank(fit, scene.found.tools, scene.found.vectors, profile)
            right = np.array([each.tool.name in listed.right for each in ranked])
            found.append((np.array([each.score for each in ranked]), right))
        self.evaluations += 1
        return found

    def negative(self, weights: RankerWeights, temperature: float) -> float:
        return self.of_scores(self.scores(weights), temperature)

    @staticmethod
    def of_scores(scores: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]], temperature: float) -> float:
        total = 0.0
        for values, right in scores:
            scaled = (values - values.max()) / temperature
            total += float(np.logaddexp.reduce(scaled) - np.logaddexp.reduce(scaled[right]))
        return total / len(scores)


def fit(listed: Sequence[Listed], systems: Callable[[PreferenceRanker], Systems], progress: Progress) -> Fitted:
    """Nelder-Mead on the logarithms of the weights, from the defaults. Raises SetupError without lists."""
    if not listed:
        raise SetupError("There is nothing to fit on: no training instance's right tool is among the tools found.")
    likelihood = _Likelihood(listed, systems)
    defaults = RankerWeights()
    start = np.log([*(getattr(defaults, name) for name in FITTED), _START_TEMPERATURE])
    progress.start("Fitting", _EVALUATIONS)

    def objective(free: NDArray[np.float64]) -> float:
        progress.advance(1)
        moved = float(np.square(free[:-1] - start[:-1]).sum())
        return likelihood.negative(_weights(free), float(np.exp(free[-1]))) + _PRIOR * moved

    found = minimize(
        objective, start, method="Nelder-Mead",
        options={"maxfev": _EVALUATIONS, "xatol": 0.01, "fatol": 1e-4, "adaptive": True},
    )  # fmt: skip
    scores = likelihood.scores(defaults)
    coolest = minimize_scalar(lambda log: likelihood.of_scores(scores, float(np.exp(log))), bounds=np.log([0.003, 1]))
    before = float(coolest.fun)
    after = likelihood.negative(_weights(found.x), float(np.exp(found.x[-1])))
    return Fitted(_rounded(_weights(found.x)), before, after, len(listed), likelihood.evaluations)


def _weights(free: NDArray[np.float64]) -> RankerWeights:
    values = {name: float(np.exp(value)) for name, value in zip(FITTED, free, strict=False)}
    return replace(RankerWeights(), **values)


def _rounded(weights: RankerWeights) -> RankerWeights:
    return replace(weights, **{name: float(f"{getattr(weights, name):.3g}") for name in FITTED})


def fit_ranker(
    dataset: Dataset,
    shared: Scenes,
    directory: Path,
    progress: Progress,
    *,
    about: Mapping[str, Json],
    largest: int = 2000,
) -> Mapping[str, Json]:
    """Writes `weights.json` and its card; what they say. `shared`: of the dataset's tools.

    At most `largest` training instances are used; test and unseen are looked at once, for the card.
    """

    def systems(ranker: PreferenceRanker) -> Systems:
        return Systems(shared, ranker)

    train = {instance.id: instance for instance in dataset.of(Part.TRAIN)}
    chosen = [train[name] for name in shuffled_by_hash(train, "fit ranker")[:largest]]
    fitted = fit(lists(shared.of(chosen, progress), shared.retrieved(chosen, progress)), systems, progress)
    evaluated: list[Instance] = [*dataset.of(Part.TEST), *dataset.of(Part.UNSEEN)]
    sets = {"candidates": shared.of(evaluated, progress), "retrieved": shared.retrieved(evaluated, progress)}
    report: dict[str, Json] = {
        "weights": asdict(fitted.weights),
        "defaults": asdict(RankerWeights()),
        "fitted": list(FITTED),
        "likelihood": {
            "before": round(fitted.before, 4), "after": round(fitted.after, 4), "lists": fitted.lists,
            "evaluations": fitted.evaluations,
        },
        "accuracy": {
            name: {
                "defaults": accuracy(systems(PreferenceRanker()).ranker, scenes),
                "fitted": accuracy(systems(PreferenceRanker(fitted.weights)).ranker, scenes),
            }
            for name, scenes in sets.items()
        },
        "data": dict(about),
        "revision": revision(),
    }  # fmt: skip
    with told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / CARD).write_text(_card(report), "utf-8")
        # The service reads it at its start: whole or as it was.
        write_json(directory / f".{WEIGHTS}", report)
        (directory / f".{WEIGHTS}").replace(directory / WEIGHTS)
    return report


def fit_built(built: Path, directory: Path, progress: Progress, *, largest: int = 2000) -> Mapping[str, Json]:
    """`fit_ranker` on the benchmark in a folder that `benchmark build` filled. SetupError where it is not whole."""
    benchmark = open_benchmark(built)
    shared, about = benchmark.scenes(progress), asdict(benchmark.data)
    return fit_ranker(benchmark.dataset, shared, directory, progress, about=about, largest=largest)


def _card(report: Mapping[str, Json]) -> str:
    lines = [
        "# The preference ranker's weights",
        "",
        f"Fitted by `petool-train ranker fit` on the training part of the benchmark `{report['data']['config']}` "
        f"(seed {report['data']['seed']}, data SHA-256 `{report['data']['digest'][:16]}…`), git revision "
        f"`{report['revision'][:12] or 'unknown'}`. `training/fitting/ranker.py` tells how; the service reads "
        f"`{WEIGHTS}`.",
        "",
        "| weight | default | here | |",
        "|---|---:|---:|---|",
        *(
            f"| {name} | {report['defaults'][name]:g} | {value:g} | "
            f"{'' if name in report['fitted'] else 'not fitted'} |"
            for name, value in report["weights"].items()
        ),
        "",
        f"Negative log-likelihood {report['likelihood']['before']} to {report['likelihood']['after']} nats "
        f"({report['likelihood']['lists']} lists of tools).",
    ]
    for name, systems in report["accuracy"].items():
        what = "of the ten candidates" if name == "candidates" else "of the fifty tools the service retrieves"
        for part in systems["defaults"]:
            settings = list(systems["defaults"][part])
            lines += ["", f"Tool accuracy, percent, part `{part}`, {what}:", ""]
            lines += ["| | " + " | ".join(settings) + " |", "|---|" + "---:|" * len(settings)]
            for which in ("defaults", "fitted"):
                row = systems[which][part]
                cells = " | ".join(f"{row[each]['accuracy']:.1f} ± {row[each]['plus_minus']:.1f}" for each in settings)
                lines.append(f"| {which} | {cells} |")
    return "\n".join(lines) + "\n"
