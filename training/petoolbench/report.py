"""The report of a build: Markdown with the tables, PNG beside it, and instances to read."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from app.domain import Json
from training.common.seeding import shuffled_by_hash
from training.common.stages import Stage
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.petoolbench.config import BenchmarkConfig
from training.petoolbench.plots import plot_categories, plot_eps, plot_histories, plot_systems
from training.petoolbench.stage_4_preferences import SETTINGS

REPORT = "report.md"
SAMPLES = "samples.md"
_SAMPLES = 20
"""Of each setting."""
_ORDER = (
    "catalogue",
    "prepare",
    "understand",
    "vectors",
    "group",
    "preferences",
    "histories",
    "instructions",
    "candidates",
)


def write_report(
    config: BenchmarkConfig, stages: Sequence[Stage], dataset: Dataset, directory: Path
) -> Mapping[str, Json]:
    """Nothing in it depends on when or how fast it was built: the same benchmark has the same report."""
    reports = {stage.name: stage.report for stage in stages}
    quality = reports["quality"]
    plot_categories(*_by_category(dataset), directory / "categories.png")
    plot_histories(_lengths(dataset), directory / "histories.png")
    grouping = reports["group"]
    plot_eps(grouping["tried"], grouping["chosen"]["eps"], directory / "eps.png")
    for part in (Part.TEST, Part.UNSEEN):
        if dataset.of(part):
            plot_systems(quality["systems"], part.value, directory / f"systems-{part.value}.png")
    (directory / REPORT).write_text("\n".join(_lines(config, reports, quality, dataset)) + "\n", "utf-8")
    (directory / SAMPLES).write_text("\n".join(_sample_lines(dataset, config.seed)) + "\n", "utf-8")
    return {"report": REPORT, "samples": SAMPLES}


def _lines(
    config: BenchmarkConfig, reports: Mapping[str, Mapping[str, Json]], quality: Mapping[str, Json], dataset: Dataset
) -> Iterator[str]:
    facts = reports["dataset"]
    yield f"# PEToolBench rebuilt: `{config.name}`"
    yield ""
    yield (
        f"**{facts['instances']:,} instances** ({len(dataset.of(Part.TRAIN)):,} train, "
        f"{len(dataset.of(Part.TEST)):,} test) over **{facts['tools']:,} tools** in "
        f"**{facts['categories']} categories**, {facts['users']:,} users; and "
        f"{facts['unseen']:,} instances of `unseen`, whose tools never occur in training. Written by "
        f"`{reports['understand']['writer']}`, seed {config.seed}. [Instances to read]({SAMPLES})."
    )
    yield ""
    yield "| part | " + " | ".join(setting.value for setting in SETTINGS) + " |"
    yield "|---|" + "---:|" * len(SETTINGS)
    for part, row in facts["counts"].items():
        yield f"| {part} | " + " | ".join(f"{row[setting.value]:,}" for setting in SETTINGS) + " |"
    yield from _systems_lines(quality)
    yield from _text_lines(quality)
    yield from _grouping_lines(reports["group"], quality["grouping"])
    yield ""
    yield "## Stages"
    for name in _ORDER:
        if name in reports:
            shown = {key: value for key, value in reports[name].items() if key not in ("tried", "examples", "chosen")}
            yield f"- **{name}**: {json.dumps(shown, ensure_ascii=False)}"
    yield ""
    yield "Examples of what preparation dropped:"
    for reason, example in reports["prepare"]["examples"].items():
        yield f"- {reason}: {example}"
    yield ""
    yield "![categories](categories.png)"


def _systems_lines(quality: Mapping[str, Json]) -> Iterator[str]:
    yield ""
    yield "## What systems without a language model score"
    yield ""
    yield (
        f"Tool accuracy in percent, 95% intervals. The oracle knows {quality['oracle_knows']}, and of the user what "
        "the history shows. *Job known*: told which candidates can do the job, so that only the preference is left."
    )
    columns = [*(setting.value for setting in SETTINGS), "all"]
    for part in (Part.TEST.value, Part.UNSEEN.value):
        rows = {name: of[part] for name, of in quality["systems"].items() if part in of}
        if not rows:
            continue
        yield ""
        yield f"| {part} | " + " | ".join(columns) + " |"
        yield "|---|" + "---:|" * len(columns)
        for name, row in rows.items():
            cells = [f"{row[c]['accuracy']:.1f} ± {row[c]['plus_minus']:.1f}" if c in row else "" for c in columns]
            yield f"| {name} | " + " | ".join(cells) + " |"
        yield ""
        yield f"![systems](systems-{part}.png)"


def _text_lines(quality: Mapping[str, Json]) -> Iterator[str]:
    text, overlap = quality["text"], quality["overlap"]
    yield ""
    yield "## Text and overlap"
    yield ""
    yield "| | |"
    yield "|---|---:|"
    yield f"| duplicated instructions | {text['duplicated_share']:.2%} |"
    yield f"| distinct-2 of the instructions | {text['distinct_2']:.3f} |"
    words = text["words"]
    yield f"| words an instruction: least / p10 / median / p90 / most | {' / '.join(str(words[k]) for k in words)} |"
    yield f"| instructions that give their tool away | {quality['leaks']} |"
    yield f"| right calls that their tool's document does not allow | {quality['invalid_calls']} |"
    shared = ", ".join(str(overlap[what]) for what in ("users", "instances", "instructions"))
    yield f"| users, instances, instructions in training and test | {shared} |"
    yield f"| tools of `unseen` in training | {overlap['unseen_tools']} |"
    yield ""
    yield "![history lengths](histories.png)"


def _grouping_lines(report: Mapping[str, Json], against: Mapping[str, Json]) -> Iterator[str]:
    chosen = report["chosen"]
    yield ""
    yield "## Grouping by functionality"
    yield ""
    yield (
        f"DBSCAN, eps {chosen['eps']}: {chosen['clusters']} clusters, {chosen['noise']} tools of noise; after the "
        f"filter (same category, inputs and outputs, other providers) {chosen['groups']} groups of "
        f"{chosen['grouped_tools']} tools in {report['categories']} categories. eps is the one with the highest score "
        "= share of tools in groups x agreement, where agreement is the share of one category among the pairs of "
        "different providers within eps."
    )
    yield ""
    yield "| eps | clusters | noise | groups | tools in groups | agreement | score |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for each in report["tried"]:
        yield (
            f"| {each['eps']} | {each['clusters']} | {each['noise']} | {each['groups']} | {each['grouped_tools']} | "
            f"{each['agreement']:.3f} | {each['score']:.3f} |"
        )
    yield ""
    yield "Group sizes: " + ", ".join(f"{count} of {size}" for size, count in report["sizes"].items()) + "."
    if against:
        yield (
            f"Against the catalogue's {against['functionalities']} true functionalities: "
            f"{against['groups_of_one_functionality']} of {against['groups']} groups hold one only; of pairs "
            f"{against['pair_precision']:.1%} are right, {against['pair_recall']:.1%} are found."
        )
    yield ""
    yield "![eps](eps.png)"


def _by_category(dataset: Dataset) -> tuple[dict[str, int], dict[str, int]]:
    instances = Counter(dataset.tools[each.answer.tool_name].category for each in dataset.instances)
    return dict(instances), dict(Counter(tool.category for tool in dataset.tools.values()))


def _lengths(dataset: Dataset) -> dict[str, dict[int, int]]:
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for instance in dataset.instances:
        found[instance.setting.value][len(instance.history)] += 1
    return {setting.value: dict(found[setting.value]) for setting in SETTINGS}


def _sample_lines(dataset: Dataset, seed: int) -> Iterator[str]:
    yield f"# {_SAMPLES} instances of each setting"
    test = {instance.id: instance for instance in dataset.of(Part.TEST)}
    for setting in SETTINGS:
        yield ""
        yield f"## {setting.value}"
        ids = [each for each in shuffled_by_hash(test, seed, "samples") if test[each].setting is setting]
        for each in ids[:_SAMPLES]:
            yield from _sample(test[each], dataset)


def _sample(instance: Instance, dataset: Dataset) -> Iterator[str]:
    yield ""
    yield f"### {instance.id}"
    for item in instance.history:
        rating = f" *{item.rating.value}*" if item.rating is not None else ""
        yield f"- {item.occurred_at:%Y-%m-%d} “{item.instruction}” → `{item.tool_call.tool_name}`{rating}"
    yield ""
    yield f"> {instance.instruction}"
    yield ""
    call = json.dumps(dict(instance.answer.parameters), ensure_ascii=False)
    yield f"Right: `{instance.answer.tool_name}` `{call}`"
    for name in (instance.answer.tool_name, *instance.same_function):
        mark = "**wanted**" if name == instance.answer.tool_name else "could do it"
        yield f"- {mark} `{name}`: {dataset.tools[name].description}"
