"""The report's sections in their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.data.dataset import Dataset
from training.data.records import Part
from training.evaluate import pictures, tables
from training.evaluate.config import load_system, shipped_systems
from training.evaluate.evaluations import EvaluatedSystem
from training.evaluate.paper import TABLE_1
from training.evaluate.pictures import Picture
from training.evaluate.scores import SETTINGS
from training.evaluate.tables import AblationRow, Table

BASELINE = "ranker"
"""What every system is tested against."""
_UNHISTORIED = "history"
_OF_TABLE_1 = ("DPO", "SFT")
"""Ablations that stand among the systems, as in the paper."""
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class Section:
    title: str
    text: str
    blocks: Sequence[Table | Picture] = ()
    folded: bool = False
    """The tables are long: shown on demand."""


@dataclass(frozen=True)
class Material:
    dataset: Dataset
    systems: Sequence[EvaluatedSystem]
    """Those with answers."""

    def on(self, part: Part, *, whole: bool = False) -> list[EvaluatedSystem]:
        """Those with answers on the part. `whole`: not the ablations of others."""
        return [each for each in self.systems if len(each.scores(part)) and not (whole and each.config.ablation)]

    def of_table_1(self, part: Part) -> list[EvaluatedSystem]:
        return [
            each for each in self.on(part) if not each.config.ablation or each.config.ablation.without in _OF_TABLE_1
        ]

    @property
    def baseline(self) -> EvaluatedSystem | None:
        return next((each for each in self.systems if each.name == BASELINE), None)


def in_order(systems: Sequence[EvaluatedSystem]) -> list[EvaluatedSystem]:
    """Without a model, the paper's baselines in its order, our models; each followed by its ablations."""
    rows = list(TABLE_1)

    def place(system: EvaluatedSystem) -> tuple[int, int, str]:
        config = system.config
        kind = ("retrieval", "fit", "ranker", "chat", "model").index(config.kind)
        return kind, rows.index(config.paper) if config.paper in rows else len(rows), config.name

    whole = sorted((each for each in systems if each.config.ablation is None), key=place)
    of = {each.name for each in whole}
    ordered = []
    for system in whole:
        ordered.append(system)
        ordered += sorted(
            (each for each in systems if each.config.ablation and each.config.ablation.of == system.name), key=place
        )
    return [
        *ordered,
        *sorted((each for each in systems if each.config.ablation and each.config.ablation.of not in of), key=place),
    ]


def sections(material: Material) -> Iterator[Section]:
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
        [pictures.instances_picture(material.dataset)],
    )


def _accuracy(material: Material) -> Iterator[Section]:
    text = (
        "The paper's table 1. Tool Acc: the right one of ten candidates; Param Acc: exactly the right call's "
        "parameters, whichever tool was called, as the paper counts; both: the right call. Percent of the instances."
    )
    if systems := material.of_table_1(Part.TEST):
        table = tables.accuracy_table(systems, Part.TEST, paper=True)
        yield Section("Accuracy", text, [pictures.accuracy_picture(systems, Part.TEST), table])
    else:
        yield Section("Accuracy", "No system was evaluated on the test part.")


def _errors(material: Material) -> Iterator[Section]:
    systems = material.of_table_1(Part.TEST)
    if not systems:
        return
    yield Section(
        "First errors",
        "One kind an instance, in the order invalid format (IF), tool hallucination (TH), tool functionality mismatch "
        "(TFM: it cannot do the job), tool preference mismatch (TPM: it could, but is not this user's), parameter name "
        "mismatch (PNM), parameter value mismatch (PVM).",
        [pictures.error_picture(systems, Part.TEST)],
    )
    for setting in SETTINGS:
        name = tables.NAMES[setting]
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
        table = tables.significance_table(material.on(part), baseline, part)
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
    if systems := material.of_table_1(Part.UNSEEN):
        table = tables.accuracy_table(systems, Part.UNSEEN, paper=False)
        yield Section("Unseen tools", text, [pictures.accuracy_picture(systems, Part.UNSEEN), table])
    else:
        yield Section("Unseen tools", f"{text} No system was evaluated on them (`--part unseen`).")


def _ablations(material: Material) -> Iterator[Section]:
    evaluated = {each.name: each for each in material.on(Part.TEST)}
    shipped = [load_system(name) for name in shipped_systems()]
    for system in material.on(Part.TEST, whole=True):
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
    by_name = {each.name: each for each in material.on(Part.TEST)}
    pairs = [
        (by_name[each.config.ablation.of], each)
        for each in by_name.values()
        if each.config.ablation and each.config.ablation.without == _UNHISTORIED and each.config.ablation.of in by_name
    ]
    title, text = "What history is worth", "The paper's figure 5: the same system with and without the user's history."
    if pairs:
        yield Section(title, text, [pictures.history_picture(pairs, Part.TEST)])
    else:
        yield Section(title, f"{text} No system was evaluated without history.")


def _lengths(material: Material) -> Iterator[Section]:
    if systems := material.on(Part.TEST, whole=True):
        yield Section(
            "By length of the history",
            "The paper's figure 6 (preferred-only; of many systems the best), and tool accuracy in every setting, with "
            "the number of instances.",
            [pictures.length_picture(systems, Part.TEST), tables.length_table(systems, Part.TEST)],
        )


def _categories(material: Material) -> Iterator[Section]:
    systems = pictures.leading(material.on(Part.TEST, whole=True), Part.TEST, _MOST_COLUMNS)
    if systems:
        yield Section(
            "By category",
            "Of the right tool; the paper's figure 4 beside tool accuracy. With so few instances each, no ranking.",
            [
                pictures.category_picture(systems, material.dataset, Part.TEST),
                tables.category_table(systems, material.dataset, Part.TEST),
            ],
            folded=True,
        )
