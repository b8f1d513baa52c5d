"""Fitting the preference ranker where attributes decide, and what is written of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from app.domain import Json, ToolCall
from app.errors import SetupError
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, RankerWeights
from app.retrieval.ranker_weights import load_weights
from tests.training.test_quality import benchmark, documents, shared
from training.common.seeding import rng
from training.common.stages import NO_PROGRESS, Progress, Workspace, digest, write_rows
from training.data.dataset import Dataset, write_dataset
from training.data.records import Instance, Part
from training.data.systems import Scene, Scenes, Systems, accuracy
from training.fitting.ranker import CARD, FITTED, WEIGHTS, Fitted, Listed, fit, fit_built, fit_ranker, lists
from training.petoolbench.stage_2_understand import UNDERSTOOD
from training.petoolbench.stage_4_preferences import SETTINGS
from training.petoolbench.vectors import save_vectors


def read_report(directory: Path) -> Mapping[str, Json]:
    return dict(json.loads((directory / WEIGHTS).read_text("utf-8")))


ABOUT = {"config": "by-hand", "seed": 7, "digest": "0123456789abcdef" * 4}


def systems(ranker: PreferenceRanker) -> Systems:
    return Systems(shared(), ranker)


def mistaken(instances: Sequence[Instance], share: float) -> list[Instance]:
    """In some of them the user wants another of the group: so it is with people, and no weights can foresee it."""
    found = []
    for each in instances:
        random = rng("mistaken", each.id)
        if random.random() < share:
            right, *others = random.sample(each.same_function, len(each.same_function))
            answer = ToolCall(right, each.answer.parameters)
            each = replace(each, answer=answer, same_function=(each.answer.tool_name, *others))
        found.append(each)
    return found


def scenes_of(data: Dataset) -> Scenes:
    return Scenes(data.tools, documents())


@lru_cache
def noisy() -> Dataset:
    return Dataset(benchmark().tools, mistaken(benchmark().instances, 0.15))


@lru_cache
def listed() -> Sequence[Listed]:
    train = noisy().of(Part.TRAIN)
    return lists(shared().of(train), shared().retrieved(train))


@lru_cache
def fitted() -> Fitted:
    return fit(listed(), systems, NO_PROGRESS)


def likelihood(weights: RankerWeights, of: Sequence[Listed]) -> float:
    """Mean negative log-likelihood, by the definition, at the best of many temperatures."""
    scores = []
    for each in of:
        profile = systems(PreferenceRanker(weights)).profile(each.scene.instance.setting, each.scene.instance.history)
        ranked = PreferenceRanker(weights).rank(
            functional_fit(each.scene.found), each.scene.found.tools, each.scene.found.vectors, profile
        )
        scores.append([(candidate.score, candidate.tool.name in each.right) for candidate in ranked])

    def at(temperature: float) -> float:
        total = 0.0
        for pairs in scores:
            odds = np.exp([(score - pairs[0][0]) / temperature for score, _ in pairs])
            total -= np.log(odds[[right for _, right in pairs]].sum() / odds.sum())
        return total / len(scores)

    return min(at(float(temperature)) for temperature in np.geomspace(0.01, 1, 120))


# ---------------------------------------------------------------- what is fitted on


def test_each_instruction_is_three_lists() -> None:
    train = noisy().of(Part.TRAIN)[:6]
    candidates, retrieved = shared().of(train), shared().retrieved(train)
    found = lists(candidates, retrieved)
    assert [each.scene for each in found[:12]] == [*candidates, *retrieved]
    assert [each.right for each in found[:12]] == [{each.answer.tool_name} for each in train] * 2
    for place, each in enumerate(found[12:]):
        own, other = train[place], train[(place + 3) % 6]
        assert each.right == {own.answer.tool_name, *own.same_function}
        assert each.scene.instance.instruction == own.instruction
        assert each.scene.instance.history == other.history
        assert each.scene.instance.setting is other.setting
        assert each.scene.found == retrieved[place].found


def test_nobody_is_a_stranger_to_themselves() -> None:
    first, second, *_ = noisy().of(Part.TRAIN)
    one_user = [first, replace(second, user_id=first.user_id)]
    assert len(lists(shared().of(one_user), shared().retrieved(one_user))) == 4


def test_nothing_to_fit_on_is_told() -> None:
    with pytest.raises(SetupError, match="nothing to fit on"):
        fit([], systems, NO_PROGRESS)


def without(scene: Scene, names: set[str]) -> Scene:
    rows = [row for row, item in enumerate(scene.found) if item.tool.name not in names]
    found = scene.found
    return replace(scene, found=replace(found, items=[found[row] for row in rows], lexical=found.lexical[:, rows]))


def test_lists_without_a_right_tool_are_left_out() -> None:
    train = noisy().of(Part.TRAIN)[:3]
    candidates, retrieved = shared().of(train), shared().retrieved(train)
    # The first found nothing of its group, the second all but the right tool.
    retrieved = [
        without(retrieved[0], retrieved[0].group),
        without(retrieved[1], {train[1].answer.tool_name}),
        retrieved[2],
    ]
    found = lists(candidates, retrieved)
    assert [each.scene for each in found[:4]] == [*candidates, retrieved[2]]
    assert [each.scene.instance.id for each in found[4:]] == [train[1].id, train[2].id]
    assert fit(found, systems, NO_PROGRESS).lists == 6


# ---------------------------------------------------------------- the fit


def test_the_fit_raises_the_likelihood() -> None:
    assert fitted().after < fitted().before - 0.01
    assert fitted().lists == len(listed()) == 108
    assert fitted().before == pytest.approx(likelihood(RankerWeights(), listed()), abs=0.005)


def test_the_weights_that_are_returned_are_as_good_as_told() -> None:
    found = likelihood(fitted().weights, listed())
    assert found <= fitted().after + 0.002
    assert found < likelihood(RankerWeights(), listed()) - 0.01


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_never_worse_than_the_defaults_they_start_from(seed: int) -> None:
    """On a handful of lists, in which half the answers are chance."""
    train = mistaken(rng("sample", seed).sample(benchmark().of(Part.TRAIN), 8), 0.5)
    of = lists(shared().of(train), shared().retrieved(train))
    found = fit(of, systems, NO_PROGRESS)
    assert found.after <= found.before
    assert likelihood(found.weights, of) <= likelihood(RankerWeights(), of) + 1e-3


def test_only_what_the_benchmark_tells_of_is_fitted() -> None:
    before, after = asdict(RankerWeights()), asdict(fitted().weights)
    assert FITTED == ("preference", "attribute_scale", "half_life")
    assert {name for name in before if before[name] != after[name]} == set(FITTED)
    assert all(value > 0 for value in after.values())
    # Three digits: more would be noise.
    assert all(value == float(f"{value:.3g}") for value in after.values())


def test_where_the_history_decides_it_gets_more_weight() -> None:
    """All relevances are alike, so with a low weight the taste is hard to tell from chance."""
    train = [each for each in noisy().of(Part.TRAIN) if each.setting is SETTINGS[0]]
    against = mistaken(train, 1)
    found = [
        fit(
            [Listed(scene, frozenset({scene.instance.answer.tool_name})) for scene in shared().of(of)],
            systems,
            NO_PROGRESS,
        )
        for of in (train, against)
    ]
    assert found[0].weights.preference > 2 * found[1].weights.preference


def test_where_the_lists_tell_nothing_the_defaults_stay() -> None:
    whatever = [replace(each, right=frozenset(tool.name for tool in each.scene.found.tools)) for each in listed()[:6]]
    found = fit(whatever, systems, NO_PROGRESS)
    assert found.weights == RankerWeights()
    assert found.before == found.after == pytest.approx(0)


def test_the_same_lists_give_the_same_weights() -> None:
    again = fit(listed()[::3], systems, NO_PROGRESS)
    assert fit(listed()[::3], systems, NO_PROGRESS) == again


def test_progress_is_told_by_evaluation() -> None:
    started: list[int | None] = []
    steps: list[int] = []
    progress = Progress(lambda _, total: started.append(total), steps.append)
    found = fit(listed()[::9], systems, progress)
    assert started[0] is not None
    assert 0 < sum(steps) <= started[0]
    # For the comparison it looks at the weights once more.
    assert sum(steps) <= found.evaluations <= sum(steps) + 2


# ---------------------------------------------------------------- what is written


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ranker") / "new" / "folder"
    fit_ranker(noisy(), scenes_of(noisy()), directory, NO_PROGRESS, about=ABOUT)
    return directory


def test_weights_are_written_with_what_they_score(written: Path) -> None:
    report = read_report(written)
    assert {path.name for path in written.iterdir()} == {WEIGHTS, CARD}
    assert report["weights"] == asdict(load_weights(written / WEIGHTS))
    assert report["defaults"] == asdict(RankerWeights())
    assert report["fitted"] == list(FITTED)
    assert report["data"] == ABOUT
    assert report["likelihood"]["lists"] == 108
    assert report["likelihood"]["after"] < report["likelihood"]["before"]


def test_accuracy_before_and_after_is_told_by_setting_and_part(written: Path) -> None:
    found = read_report(written)["accuracy"]
    evaluated = [*noisy().of(Part.TEST), *noisy().of(Part.UNSEEN)]
    for name, scenes in {"candidates": shared().of(evaluated), "retrieved": shared().retrieved(evaluated)}.items():
        for which, weights in {"defaults": RankerWeights(), "fitted": load_weights(written / WEIGHTS)}.items():
            assert found[name][which] == accuracy(systems(PreferenceRanker(weights)).ranker, scenes)
            assert set(found[name][which]) == {"test", "unseen"}
            assert set(found[name][which]["test"]) == {"all", *(setting.value for setting in SETTINGS)}


def test_the_card_shows_weights_and_scores_and_names_the_data(written: Path) -> None:
    card = (written / CARD).read_text("utf-8")
    report = read_report(written)
    assert "`by-hand` (seed 7, data SHA-256 `0123456789abcdef…`)" in card
    for name, value in report["weights"].items():
        mark = "" if name in FITTED else "not fitted"
        assert f"| {name} | {report['defaults'][name]:g} | {value:g} | {mark} |" in card
    for part in ("test", "unseen"):
        for what in ("of the ten candidates", "of the fifty tools the service retrieves"):
            assert f"part `{part}`, {what}:" in card
    assert card.count("| | all | chronological | preferred_only | rating_integrated |") == 4
    assert card.count("| defaults | ") == card.count("| fitted | ") == 4
    cell = report["accuracy"]["candidates"]["fitted"]["test"]["chronological"]
    assert f"{cell['accuracy']:.1f} ± {cell['plus_minus']:.1f}" in card
    assert f"{report['likelihood']['before']} to {report['likelihood']['after']} nats" in card


def test_the_training_part_alone_decides(written: Path, tmp_path: Path) -> None:
    others = mistaken([each for each in noisy().instances if each.part is not Part.TRAIN], 1)
    data = Dataset(noisy().tools, [*others[::-1], *noisy().of(Part.TRAIN)[::-1]])
    report = fit_ranker(data, scenes_of(data), tmp_path, NO_PROGRESS, about=ABOUT)
    assert report["weights"] == read_report(written)["weights"]
    assert report["likelihood"] == read_report(written)["likelihood"]
    assert report["accuracy"] != read_report(written)["accuracy"]


def test_at_most_so_many_instances_are_used(tmp_path: Path) -> None:
    report = fit_ranker(noisy(), scenes_of(noisy()), tmp_path, NO_PROGRESS, about=ABOUT, largest=5)
    assert report["likelihood"]["lists"] == 15


def test_a_benchmark_without_unseen_tools_has_a_card_too(tmp_path: Path) -> None:
    data = Dataset(noisy().tools, [each for each in noisy().instances if each.part is not Part.UNSEEN])
    fit_ranker(data, scenes_of(data), tmp_path, NO_PROGRESS, about=ABOUT, largest=5)
    assert "`unseen`" not in (tmp_path / CARD).read_text("utf-8")


# ---------------------------------------------------------------- on a benchmark that was built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages that fitting reads."""
    directory = tmp_path_factory.mktemp("built")
    names = sorted(noisy().tools)
    facts = {
        "config": "small",
        "seed": 3,
        "writer": "template",
        "tools": len(names),
        "categories": 8,
        "instances": {part.value: {SETTINGS[0].value: len(noisy().of(part))} for part in Part},
    }

    def dataset(folder: Path) -> Mapping[str, Json]:
        write_dataset(noisy(), folder, facts)
        return {}

    def vectors(folder: Path) -> Mapping[str, Json]:
        save_vectors(folder / "document.npy", np.stack([documents()[name] for name in names]))
        return {}

    def understand(folder: Path) -> Mapping[str, Json]:
        write_rows(folder / UNDERSTOOD, ({"tool_name": name} for name in names))
        return {}

    def report(folder: Path) -> Mapping[str, Json]:
        (folder / "report.md").write_text("# Report\n", "utf-8")
        return {}

    workspace, config = Workspace(directory), {"name": "small", "seed": 3}
    for stage in (dataset, vectors, understand, report):
        workspace.run(stage.__name__, stage, version=1, settings=config)
    return directory


def test_a_built_benchmark_is_fitted_on_and_named_by_its_digest(built: Path, tmp_path: Path) -> None:
    report = fit_built(built, tmp_path, NO_PROGRESS, largest=5)
    outputs = json.loads((built / "dataset" / "manifest.json").read_text("utf-8"))["outputs"]
    assert report["data"] == {"config": "small", "seed": 3, "digest": digest(outputs)}
    assert f"data SHA-256 `{digest(outputs)[:16]}…`" in (tmp_path / CARD).read_text("utf-8")
    assert report["likelihood"]["lists"] == 15
    assert load_weights(tmp_path / WEIGHTS) == RankerWeights(**report["weights"])


def test_what_is_no_built_benchmark_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        fit_built(tmp_path, tmp_path / "out", NO_PROGRESS)
    assert not (tmp_path / "out").exists()
