"""The whole benchmark from one config: the stages in their order, each with its output, manifest and report."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import Json
from app.errors import SetupError
from training.common.stages import Progress, Stage, Workspace, file_hash, only_here
from training.data.dataset import Dataset, write_dataset
from training.generators.catalogue.build import DOCUMENTS, write_catalogue
from training.generators.writer import Writer
from training.petoolbench.config import BenchmarkConfig
from training.petoolbench.outputs import Outputs
from training.petoolbench.quality import measure_quality
from training.petoolbench.report import REPORT, write_report
from training.petoolbench.stage_1_prepare import prepare
from training.petoolbench.stage_2_understand import understand
from training.petoolbench.stage_3_group import group
from training.petoolbench.stage_4_preferences import prefer
from training.petoolbench.stage_5_histories import write_histories
from training.petoolbench.stage_6_instructions import Material, write_instructions
from training.petoolbench.stage_7_candidates import choose_candidates
from training.petoolbench.stage_8_split import counts, instance
from training.petoolbench.vectors import write_vectors
from training.petoolbench.writers import endpoint_writer, template_data

_VERSIONS = {
    "catalogue": 1, "prepare": 1, "understand": 1, "vectors": 1, "group": 1, "preferences": 1, "histories": 1,
    "instructions": 1, "candidates": 1, "dataset": 1, "quality": 1, "report": 1,
}  # fmt: skip
"""Raised when a stage's code gives other output for the same input: what stands on disk is then made anew."""


@dataclass(frozen=True)
class Built:
    """A finished benchmark."""

    stages: Mapping[str, Stage]
    """By name, in their order."""
    usage: Mapping[str, Json] | None
    """What an endpoint was asked and paid (`UsageReport`); None where templates wrote."""

    @property
    def dataset(self) -> Path:
        return self.stages["dataset"].directory

    @property
    def report(self) -> Path:
        return self.stages["report"].path(REPORT)


def build(config: BenchmarkConfig, directory: Path, progress: Progress, *, budget: float | None = None) -> Built:
    """Builds what is not there yet. Raises SetupError for what the operator has to put right.

    `budget`: dollars that the `openai` writer may spend in this run.
    """
    with only_here(directory), asyncio.Runner() as runner, endpoint_writer(config, directory, budget, runner) as writer:
        stages = _Build(config, Workspace(directory, progress), writer, runner).run()
        return Built(stages, writer.usage().to_json() if writer is not None else None)


class _Build:
    def __init__(
        self, config: BenchmarkConfig, workspace: Workspace, writer: Writer | None, runner: asyncio.Runner
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._progress = workspace.progress
        self._runner = runner
        self._outputs = Outputs(config, writer)
        self._own = config.catalogue.path is None

    def run(self) -> Mapping[str, Stage]:
        if self._own:
            self._catalogue()
        for step in (
            self._prepare, self._understand, self._vectors, self._group, self._preferences, self._histories,
            self._instructions, self._candidates, self._dataset, self._quality, self._report,
        ):  # fmt: skip
            step()
        return self._outputs.stages

    def _add(
        self,
        name: str,
        produce: Callable[[Path], Mapping[str, Json]],
        settings: Mapping[str, Json],
        after: Sequence[str],
    ) -> None:
        before = [self._outputs.stages[each] for each in after if each in self._outputs.stages]
        self._outputs.stages[name] = self._workspace.run(
            name, produce, version=_VERSIONS[name], settings=settings, after=before
        )

    def _settings(self, *sections: str) -> dict[str, Json]:
        values = self._config.model_dump(mode="json")
        return {"seed": self._config.seed, **{section: values[section] for section in sections}}

    def _written_by(self, **more: Json) -> dict[str, Json]:
        """Settings of a stage that has text written."""
        writer = self._config.writer
        # What of it decides the text; how fast and for how much is another matter.
        of_endpoint = writer.openai.model_dump(mode="json", include={"base_url", "temperature", "max_tokens"})
        data = template_data() if writer.kind == "template" else of_endpoint
        return {"seed": self._config.seed, "writer": self._outputs.writer.name, **data, **more}

    def _catalogue(self) -> None:
        of, seed = self._config.catalogue, self._config.seed
        self._add(
            "catalogue",
            lambda out: write_catalogue(of.tools, of.categories, of.flawed, of.outright, seed, out, self._progress),
            {"seed": seed, **of.model_dump(mode="json", exclude={"path"}), **template_data()},
            after=[],
        )

    def _prepare(self) -> None:
        path = self._config.catalogue.path
        source = path if path is not None else self._outputs.stages["catalogue"].path(DOCUMENTS)
        self._add(
            "prepare",
            lambda out: prepare(source, self._config.prepare, out, self._progress),
            {**self._settings("prepare"), "source": None if path is None else _source_hash(path)},
            after=["catalogue"],
        )

    def _understand(self) -> None:
        of = self._outputs
        self._add(
            "understand",
            lambda out: self._runner.run(understand(list(of.prepared.values()), of.writer, out, self._progress)),
            self._written_by(),
            after=["catalogue", "prepare"],
        )

    def _vectors(self) -> None:
        of = self._outputs
        self._add(
            "vectors",
            lambda out: write_vectors(of.tools, of.understood, out, self._progress),
            {},
            after=["prepare", "understand"],
        )

    def _group(self) -> None:
        of, config = self._outputs, self._config
        self._add(
            "group",
            lambda out: group(
                of.tools,
                [each.attributes.functionality for each in of.understood.values()],
                of.vectors("functionality"),
                config.group,
                config.seed,
                out,
                self._progress,
            ),
            self._settings("group"),
            after=["prepare", "understand", "vectors"],
        )
        if not of.groups:
            raise SetupError(
                "No two tools have the same functionality, category, inputs and outputs, so there is nothing to "
                "prefer. Take a larger catalogue, or a larger group.eps."
            )

    def _preferences(self) -> None:
        config = self._config
        self._add(
            "preferences",
            lambda out: prefer(
                self._outputs.world(), config.preferences, config.instances, config.seed, out, self._progress
            ),
            {**self._settings("preferences", "instances"), "eps": self._outputs.report("group")["chosen"]["eps"]},
            after=["prepare", "vectors", "group"],
        )

    def _histories(self) -> None:
        of, seed = self._outputs, self._config.seed
        self._add(
            "histories",
            lambda out: self._runner.run(
                write_histories(of.users, of.prepared, of.understood, of.writer, seed, out, self._progress)
            ),
            self._written_by(),
            after=["prepare", "understand", "preferences"],
        )

    def _instructions(self) -> None:
        of, attempts = self._outputs, self._config.instances.attempts
        self._add(
            "instructions",
            lambda out: self._runner.run(
                write_instructions(
                    of.users,
                    of.histories,
                    Material(of.prepared, of.understood, of.group_of),
                    of.writer,
                    attempts,
                    out,
                    self._progress,
                )
            ),
            self._written_by(attempts=attempts),
            after=["prepare", "understand", "group", "preferences", "histories"],
        )

    def _candidates(self) -> None:
        of, config = self._outputs, self._config
        self._add(
            "candidates",
            lambda out: choose_candidates(
                [placed.asked for placed in of.placed],
                of.group_of,
                of.tools,
                of.vectors("document"),
                of.vectors("functionality"),
                of.unseen,
                of.shown,
                config.candidates,
                config.seed,
                out,
                self._progress,
            ),
            self._settings("candidates", "instances"),
            after=["prepare", "vectors", "group", "preferences", "histories", "instructions"],
        )

    def _dataset(self) -> None:
        self._add(
            "dataset",
            self._write_dataset,
            {**self._settings("instances"), "name": self._config.name},
            after=["prepare", "preferences", "histories", "instructions", "candidates"],
        )
        if not self._outputs.report("dataset")["instances"]:
            raise SetupError(
                f"No instance came out: {self._outputs.report('preferences')['discarded']}. Take a larger catalogue, "
                "or loosen preferences.margin or preferences.shown."
            )

    def _write_dataset(self, out: Path) -> Mapping[str, Json]:
        of = self._outputs
        instances = [
            instance(
                placed,
                of.histories[placed.user.id],
                of.candidates[placed.user.id, placed.asked.number],
                self._config.seed,
            )
            for placed in of.placed
        ]
        dataset = Dataset.of_instances(of.prepared, instances)
        by_part = counts(instances)
        unseen = sum(by_part["unseen"].values())
        tools, categories = len(dataset.tools), len({tool.category for tool in dataset.tools.values()})
        writer = self._config.writer.kind
        card = {
            "config": self._config.name,
            "seed": self._config.seed,
            "writer": writer if writer == "template" else of.writer.name,
            "tools": tools,
            "categories": categories,
            "instances": by_part,
        }
        write_dataset(dataset, out, card)
        return {
            "counts": by_part,
            "instances": len(instances) - unseen,
            "unseen": unseen,
            "tools": tools,
            "categories": categories,
            "users": len({each.user_id for each in instances}),
        }

    def _quality(self) -> None:
        of = self._outputs

        def measure(out: Path) -> Mapping[str, Json]:
            documents, non_functional = (
                dict(zip(of.understood, of.vectors(kind), strict=True)) for kind in ("document", "non_functional")
            )
            functionality = {name: each.attributes.functionality for name, each in of.understood.items()}
            return measure_quality(
                of.dataset, documents, non_functional, functionality, of.truth, of.groups, out, self._progress
            )

        self._add("quality", measure, {}, after=["catalogue", "understand", "vectors", "group", "dataset"])

    def _report(self) -> None:
        before = list(self._outputs.stages.values())
        self._add(
            "report",
            lambda out: write_report(self._config, before, self._outputs.dataset, out),
            {"config": self._config.model_dump(mode="json", exclude={"catalogue": {"path"}})},
            after=[stage.name for stage in before],
        )


def _source_hash(path: Path) -> Json:
    """Names and contents of the files that tools are taken from: what changed in them makes another benchmark."""
    try:
        if not path.exists():
            return None
    except OSError:
        # Such as a name that is too long: there is no such file, as preparation will tell.
        return None
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path.parent)): file_hash(each) for each in files}
