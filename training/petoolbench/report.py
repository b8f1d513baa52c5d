"""The report of a build: Markdown with the tables, PNG beside it, and instances to read."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from app.domain import Json
from training.common.plots import BLUE, GREY, SKY, draw_bars, draw_estimates, draw_lines, save_png, themed
from training.common.seeding import shuffled_by_hash
from training.common.stages import Stage
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.petoolbench.config import BenchmarkConfig
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
    _write_charts(reports, dataset, directory)
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


class _Accuracy(NamedTuple):
    percent: float
    interval: tuple[float, float]


def _write_charts(reports: Mapping[str, Mapping[str, Json]], dataset: Dataset, directory: Path) -> None:
    with themed():
        save_png(_category_chart(dataset), directory / "categories.png")
        save_png(_history_chart(dataset), directory / "histories.png")
        save_png(_eps_chart(reports["group"]), directory / "eps.png")
        for part in (Part.TEST, Part.UNSEEN):
            if dataset.of(part):
                chart = _accuracy_chart(reports["quality"]["systems"], part)
                save_png(chart, directory / f"systems-{part.value}.png")


def _category_chart(dataset: Dataset) -> Figure:
    """Instances and tools by category, the one of most instances first (the paper's figure 4)."""
    instances = Counter(dataset.tools[each.answer.tool_name].category for each in dataset.instances)
    tools = Counter(tool.category for tool in dataset.tools.values())
    names = sorted(tools, key=lambda name: (-instances[name], name))
    figure = Figure(figsize=(9, max(3.0, 0.2 * len(names) + 1)))
    left, right = figure.subplots(1, 2, sharey=True)
    title = "instances (category of the right tool)"
    draw_bars(left, {name: instances[name] for name in names}, colour=BLUE, title=title)
    draw_bars(right, {name: tools[name] for name in names}, colour=SKY, title="tools")
    return figure


def _history_chart(dataset: Dataset) -> Figure:
    """Instances by number of interactions in the history, a line a setting (the paper's figure 3)."""
    figure = Figure(figsize=(7, 3))
    lengths: dict[str, Counter[int]] = {setting.value: Counter() for setting in SETTINGS}
    for instance in dataset.instances:
        lengths[instance.setting.value][len(instance.history)] += 1
    lines = {name.replace("_", "-"): sorted(counts.items()) for name, counts in lengths.items()}
    draw_lines(figure.subplots(), lines, xlabel="interactions in the history", ylabel="instances")
    return figure


def _eps_chart(grouping: Mapping[str, Json]) -> Figure:
    """What each eps gives: tools in groups, and how often tools that are near are of one category."""
    figure = Figure(figsize=(9, 3))
    panels = (("grouped_tools", "tools in groups", (0, None)), ("agreement", "agreement", (0, 1.05)))
    for axes, (key, title, limits) in zip(figure.subplots(1, 2), panels, strict=True):
        points = [(each["eps"], each[key]) for each in grouping["tried"]]
        draw_lines(axes, {title: points}, title=title, xlabel="eps (cosine distance)", ylim=limits)
        axes.axvline(grouping["chosen"]["eps"], color=GREY, lw=0.8, ls=":")
    return figure


def _accuracy_chart(systems: Mapping[str, Json], part: Part) -> Figure:
    """Tool accuracy of each system by setting, with 95% intervals."""
    rows = {
        name: {key.replace("_", "-"): _estimate(cell) for key, cell in of_parts[part.value].items()}
        for name, of_parts in systems.items()
        if part.value in of_parts
    }
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.2))
    settings = [setting.value.replace("_", "-") for setting in SETTINGS]
    draw_estimates(figure.subplots(), rows, settings, title="tool accuracy, percent")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _estimate(cell: Mapping[str, float]) -> _Accuracy:
    percent, width = cell["accuracy"], cell["plus_minus"]
    return _Accuracy(percent, (percent - width, percent + width))
