"""The report's sections in their order: what each says, and the tables and charts it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.data.dataset import Dataset
from training.data.records import Part
from training.evaluate.answers import EvaluatedSystem
from training.evaluate.config import load_system, shipped_systems
from training.evaluate.metrics import SETTINGS
from training.evaluate.report import charts, tables
from training.evaluate.report.charts import Chart
from training.evaluate.report.paper import TABLE_1
from training.evaluate.report.tables import AblationRow, Table

_BASELINE = "ranker"
"""Name of the system that every other one is tested against."""
_TABLE_1_ABLATIONS = ("DPO", "SFT")
"""What those ablations lack that stand among the systems, as in the paper."""
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class Section:
    title: str
    text: str
    blocks: Sequence[Table | Chart] = ()
    folded: bool = False
    """Its tables are long, and shown on demand."""


@dataclass(frozen=True)
class Material:
    """What the report is made of."""

    dataset: Dataset
    systems: Sequence[EvaluatedSystem]
    """Those with answers."""

    def evaluated_on(self, part: Part, *, ablations: bool = True) -> list[EvaluatedSystem]:
        """The systems with answers on the part, with or without the ablations of others."""
        return [each for each in self.systems if len(each.scores(part)) and (ablations or not each.config.ablation)]

    def table_1_systems(self, part: Part) -> list[EvaluatedSystem]:
        """The systems with answers on the part that the paper's table 1 would list."""
        return [
            each
            for each in self.evaluated_on(part)
            if not each.config.ablation or each.config.ablation.without in _TABLE_1_ABLATIONS
        ]

    @property
    def baseline(self) -> EvaluatedSystem | None:
        return next((each for each in self.systems if each.name == _BASELINE), None)


def sort_systems(systems: Sequence[EvaluatedSystem]) -> list[EvaluatedSystem]:
    """Those without a model, the paper's baselines in its order, our models; each followed by its ablations.

    Ablations of systems that were not evaluated come last.
    """
    ordered = sorted(systems, key=_sort_key)
    whole = [each for each in ordered if each.config.ablation is None]
    ablations: dict[str, list[EvaluatedSystem]] = {each.name: [] for each in whole}
    rest: list[EvaluatedSystem] = []
    for each in ordered:
        if each.config.ablation is not None:
            ablations.get(each.config.ablation.of, rest).append(each)
    return [*(each for system in whole for each in (system, *ablations[system.name])), *rest]


def _sort_key(system: EvaluatedSystem) -> tuple[int, int, str]:
    config, rows = system.config, list(TABLE_1)
    kind = ("retrieval", "fit", "ranker", "chat", "model").index(config.kind)
    return kind, rows.index(config.paper) if config.paper in rows else len(rows), config.name


def build_sections(material: Material) -> Iterator[Section]:
    yield from _accuracy(material)
    yield from _errors(material)
    yield from _significance(material)
    yield from _unseen(material)
    yield from _ablations(material)
    yield from _history(material)
    yield from _lengths(material)
    yield from _categories(material)
    yield Section(
        "The instances",
        "The paper's figure 3, for this benchmark.",
        [charts.instances_chart(material.dataset)],
    )


def _accuracy(material: Material) -> Iterator[Section]:
    text = (
        "The paper's table 1. Tool Acc: the right one of ten candidates; Param Acc: exactly the right call's "
        "parameters, whichever tool was called, as the paper counts; both: the right call. Percent of the instances."
    )
    if systems := material.table_1_systems(Part.TEST):
        table = tables.accuracy_table(systems, Part.TEST, paper=True)
        yield Section("Accuracy", text, [charts.accuracy_chart(systems, Part.TEST), table])
    else:
        yield Section("Accuracy", "No system was evaluated on the test part.")


def _errors(material: Material) -> Iterator[Section]:
    systems = material.table_1_systems(Part.TEST)
    if not systems:
        return
    yield Section(
        "First errors",
        "One kind an instance, in the order invalid format (IF), tool hallucination (TH), tool functionality mismatch "
        "(TFM: it cannot do the job), tool preference mismatch (TPM: it could, but is not this user's), parameter name "
        "mismatch (PNM), parameter value mismatch (PVM).",
        [charts.error_chart(systems, Part.TEST)],
    )
    for setting in SETTINGS:
        name = tables.setting_name(setting)
        yield Section(
            f"Errors, {name}",
            "The paper's table 2 and its counting: PNM and PVM are of all instances, whichever tool was called. So the "
            "tool's errors (IF to TPM) add up to 100 less Tool Acc, and IF, PNM and PVM to 100 less Param Acc.",
            [tables.error_table(systems, Part.TEST, setting)],
        )


def _significance(material: Material) -> Iterator[Section]:
    baseline = material.baseline
    if baseline is None:
        yield Section("Against the ranker", "The ranker was not evaluated: `petool-train evaluate ranker`.")
        return
    blocks = []
    for part in (Part.TEST, Part.UNSEEN):
        table = tables.significance_table(material.evaluated_on(part), baseline, part)
        if table.lines:
            blocks.append(table)
    if blocks:
        yield Section(
            "Against the ranker",
            f"Percentage points over {baseline.config.title}, on the instances of both (first the test part, then "
            "unseen), with 95% intervals by resampling the instances, and p of McNemar's exact test.",
            blocks,
        )


def _unseen(material: Material) -> Iterator[Section]:
    text = "Test instances whose tools and functionalities occur in no role in training. Not in the paper."
    if systems := material.table_1_systems(Part.UNSEEN):
        table = tables.accuracy_table(systems, Part.UNSEEN, paper=False)
        yield Section("Unseen tools", text, [charts.accuracy_chart(systems, Part.UNSEEN), table])
    else:
        yield Section("Unseen tools", f"{text} No system was evaluated on them (`--part unseen`).")


def _ablations(material: Material) -> Iterator[Section]:
    evaluated = {each.name: each for each in material.evaluated_on(Part.TEST)}
    shipped = [load_system(name) for name in shipped_systems()]
    for system in material.evaluated_on(Part.TEST, ablations=False):
        own = [each.config for each in evaluated.values() if each.config.ablation]
        configs = {each.name: each for each in [*shipped, *own] if each.ablation and each.ablation.of == system.name}
        # Of others' models there is only one without history: that is the next section's.
        if system.config.kind != "model" or not any(name in evaluated for name in configs):
            continue
        rows = [AblationRow(each.title, evaluated.get(name), each.paper) for name, each in configs.items()]
        yield Section(
            f"Ablations of {system.config.title}",
            "Over all settings; differences on the instances of both.",
            [tables.ablation_table(system, rows, Part.TEST)],
        )


def _history(material: Material) -> Iterator[Section]:
    by_name = {each.name: each for each in material.evaluated_on(Part.TEST)}
    pairs = [
        (by_name[each.config.ablation.of], each)
        for each in by_name.values()
        if each.config.ablation and each.config.ablation.without == "history" and each.config.ablation.of in by_name
    ]
    title, text = "What history is worth", "The paper's figure 5: the same system with and without the user's history."
    if pairs:
        yield Section(title, text, [charts.history_chart(pairs, Part.TEST)])
    else:
        yield Section(title, f"{text} No system was evaluated without history.")


def _lengths(material: Material) -> Iterator[Section]:
    if systems := material.evaluated_on(Part.TEST, ablations=False):
        yield Section(
            "By length of the history",
            "The paper's figure 6 (preferred-only; of many systems the best), and tool accuracy in every setting, with "
            "the number of instances.",
            [charts.length_chart(systems, Part.TEST), tables.length_table(systems, Part.TEST)],
        )


def _categories(material: Material) -> Iterator[Section]:
    systems = charts.leading(material.evaluated_on(Part.TEST, ablations=False), Part.TEST, _MOST_COLUMNS)
    if systems:
        yield Section(
            "By category",
            "Of the right tool; the paper's figure 4 beside tool accuracy. With so few instances each, no ranking.",
            [
                charts.category_chart(systems, material.dataset, Part.TEST),
                tables.category_table(systems, material.dataset, Part.TEST),
            ],
            folded=True,
        )
