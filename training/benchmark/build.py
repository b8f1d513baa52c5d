"""The whole benchmark from one config: the stages in their order, each with its output, manifest and report."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.domain import Json, Tool
from app.errors import SetupError
from app.serialization import tool_from_json
from training.benchmark.candidates import CANDIDATES, choose_candidates, read_candidates
from training.benchmark.config import BenchmarkConfig
from training.benchmark.dataset import Dataset, read_dataset, read_rows, write_dataset
from training.benchmark.group import CLUSTERS, GROUPS, Group, group, read_groups
from training.benchmark.histories import HISTORIES, read_histories, write_histories
from training.benchmark.instructions import INSTRUCTIONS, Material, read_instructions, write_instructions
from training.benchmark.preferences import USERS, User, World, prefer, read_users
from training.benchmark.prepare import TOOLS, prepare
from training.benchmark.quality import measure_quality
from training.benchmark.records import Understanding
from training.benchmark.report import write_report
from training.benchmark.split import Placed, counts, instance, split
from training.benchmark.truth import TRUTH, Truth, read_truth
from training.benchmark.understand import UNDERSTOOD, read_understood, understand
from training.benchmark.vectors import vectors_of, write_vectors
from training.generators.catalogue.build import DOCUMENTS, write_catalogue
from training.generators.catalogue.jobs import jobs
from training.generators.template import TemplateWriter
from training.generators.writer import Writer
from training.stages import Progress, Stage, Workspace

_VERSIONS = {
    "catalogue": 1, "prepare": 1, "understand": 1, "vectors": 1, "group": 1, "preferences": 1, "histories": 1,
    "instructions": 1, "candidates": 1, "dataset": 1, "quality": 1, "report": 1,
}  # fmt: skip
"""Raised when a stage's code gives other output for the same input: what stands on disk is then made anew."""


@dataclass(frozen=True)
class Built:
    """A finished benchmark."""

    stages: Sequence[Stage]
    """In their order."""

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def dataset(self) -> Path:
        return self.stage("dataset").directory

    @property
    def report(self) -> Path:
        return self.stage("report").path("report.md")


def build(config: BenchmarkConfig, directory: Path, progress: Progress, *, budget: float | None = None) -> Built:
    """Builds what is not there yet. Raises SetupError for what the operator has to put right.

    `budget`: dollars that the `openai` writer may spend in this run.
    """
    with asyncio.Runner() as runner, _writer(config, directory, budget, runner) as writer:
        return _Build(config, Workspace(directory, progress), writer, runner).run()


@contextmanager
def _writer(
    config: BenchmarkConfig, directory: Path, budget: float | None, runner: asyncio.Runner
) -> Iterator[Writer | None]:
    """None: the template writer, which has to know the catalogue first."""
    if config.writer.kind == "template":
        yield None
        return
    # An HTTP client and a database, for those who use them.
    from training.generators.openai.settings import OpenAISettings
    from training.generators.openai.writer import OpenAIWriter

    of = config.writer.openai
    key = os.environ.get(of.api_key_variable, "")
    settings = OpenAISettings(
        base_url=of.base_url,
        model=of.model,
        api_key=key,
        temperature=of.temperature,
        max_tokens=of.max_tokens,
        timeout=of.timeout,
        concurrency=of.concurrency,
        retries=of.retries,
        budget=budget,
        input_price=of.input_price,
        output_price=of.output_price,
        cache=directory / "openai-cache.sqlite",
    )
    directory.mkdir(parents=True, exist_ok=True)
    writer = OpenAIWriter(settings)
    try:
        yield writer
    finally:
        runner.run(writer.aclose())


class _Build:
    def __init__(
        self, config: BenchmarkConfig, workspace: Workspace, writer: Writer | None, runner: asyncio.Runner
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._given_writer = writer
        self._runner = runner
        self._stages: list[Stage] = []

    def run(self) -> Built:
        for step in (
            self._catalogue, self._prepare, self._understand, self._vectors, self._group, self._preferences,
            self._histories, self._instructions, self._candidates, self._dataset, self._quality, self._report,
        ):  # fmt: skip
            step()
        return Built(self._stages)

    @property
    def _progress(self) -> Progress:
        return self._workspace.progress

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in self._stages if stage.name == name)

    def _settings(self, *sections: str) -> dict[str, Json]:
        values = self._config.model_dump(mode="json")
        return {"seed": self._config.seed, **{section: values[section] for section in sections}}

    # What the stages read of one another, each once.

    @cached_property
    def _prepared(self) -> Mapping[str, Tool]:
        rows = read_rows(self._stage("prepare").path(TOOLS))
        return {tool.name: tool for tool in map(tool_from_json, rows)}

    @cached_property
    def _understood(self) -> Mapping[str, Understanding]:
        return read_understood(self._stage("understand").path(UNDERSTOOD))

    @cached_property
    def _tools(self) -> Sequence[Tool]:
        """Those that were understood, in the order of the vectors."""
        return [self._prepared[name] for name in self._understood]

    @cached_property
    def _truth(self) -> Mapping[str, Truth]:
        """Empty for tools that are not ours."""
        if self._config.catalogue.path is not None:
            return {}
        return read_truth(self._stage("catalogue").path(TRUTH))

    @cached_property
    def _writer(self) -> Writer:
        if self._given_writer is not None:
            return self._given_writer
        known = jobs() if self._truth else {}
        return TemplateWriter(self._config.seed, {name: known[truth.job] for name, truth in self._truth.items()})

    @cached_property
    def _groups(self) -> Sequence[Group]:
        return read_groups(self._stage("group").path(GROUPS))

    @cached_property
    def _group_of(self) -> Mapping[str, Group]:
        return {name: each for each in self._groups for name in each.tools}

    @cached_property
    def _unseen(self) -> set[str]:
        return {row["tool_name"] for row in read_rows(self._stage("group").path(CLUSTERS)) if row["unseen"]}

    @cached_property
    def _users(self) -> Sequence[User]:
        return read_users(self._stage("preferences").path(USERS))

    # The stages.

    def _catalogue(self) -> None:
        of = self._config.catalogue
        if of.path is None:
            self._add(
                "catalogue",
                lambda out: write_catalogue(
                    of.tools, of.categories, of.flawed, of.outright, self._config.seed, out, self._progress
                ),
                settings={"seed": self._config.seed, **of.model_dump(mode="json", exclude={"path"})},
            )

    def _prepare(self) -> None:
        path = self._config.catalogue.path
        if path is None:
            source, settings = self._stage("catalogue").path(DOCUMENTS), self._settings("prepare")
        else:
            source, settings = path, {**self._settings("prepare"), "source": _source_hash(path)}
        self._add(
            "prepare",
            lambda out: prepare(source, self._config.prepare, out, self._progress),
            settings=settings,
            after=["catalogue"] if path is None else [],
        )

    def _understand(self) -> None:
        self._add(
            "understand",
            lambda out: self._runner.run(understand(list(self._prepared.values()), self._writer, out, self._progress)),
            settings={"seed": self._config.seed, "writer": self._writer.name},
            after=["prepare"],
        )

    def _vectors(self) -> None:
        self._add(
            "vectors",
            lambda out: write_vectors(self._tools, self._understood, out, self._progress),
            settings={},
            after=["prepare", "understand"],
        )

    def _group(self) -> None:
        self._add(
            "group",
            lambda out: group(
                self._tools,
                vectors_of(self._stage("vectors"), "functionality"),
                self._config.group,
                self._config.seed,
                out,
                self._progress,
            ),
            settings=self._settings("group"),
            after=["prepare", "vectors"],
        )
        if not self._groups:
            raise SetupError(
                "No two tools have the same functionality, category, inputs and outputs, so there is nothing to "
                "prefer. Take a larger catalogue, or a larger group.eps."
            )

    def _preferences(self) -> None:
        self._add(
            "preferences",
            lambda out: prefer(
                self._world(), self._config.preferences, self._config.instances, self._config.seed, out, self._progress
            ),
            settings=self._settings("preferences", "instances"),
            after=["vectors", "group"],
        )

    def _world(self) -> World:
        vectors = self._stage("vectors")
        names = [tool.name for tool in self._tools]
        eps: float = self._stage("group").report["chosen"]["eps"]
        return World.of(
            names,
            self._groups,
            vectors_of(vectors, "functionality"),
            vectors_of(vectors, "non_functional"),
            self._unseen,
            eps,
        )

    def _histories(self) -> None:
        self._add(
            "histories",
            lambda out: self._runner.run(
                write_histories(
                    self._users, self._prepared, self._understood, self._writer, self._config.seed, out, self._progress
                )
            ),
            settings={"seed": self._config.seed, "writer": self._writer.name},
            after=["understand", "preferences"],
        )

    def _instructions(self) -> None:
        self._add(
            "instructions",
            lambda out: self._runner.run(
                write_instructions(
                    self._users,
                    read_histories(self._stage("histories").path(HISTORIES)),
                    Material(self._prepared, self._understood, self._group_of),
                    self._writer,
                    self._config.instances.attempts,
                    out,
                    self._progress,
                )
            ),
            settings={"attempts": self._config.instances.attempts, "writer": self._writer.name},
            after=["understand", "group", "histories"],
        )

    @cached_property
    def _placed(self) -> Sequence[Placed]:
        """The instructions that go into the dataset: candidates are for these, so that every tool is one of some."""
        asked = read_instructions(self._stage("instructions").path(INSTRUCTIONS))
        return split(self._users, asked, self._config.instances, self._config.seed)

    def _candidates(self) -> None:
        self._add(
            "candidates",
            lambda out: choose_candidates(
                [placed.asked for placed in self._placed],
                self._group_of,
                self._tools,
                vectors_of(self._stage("vectors"), "document"),
                self._unseen,
                self._config.candidates,
                self._config.seed,
                out,
                self._progress,
            ),
            settings=self._settings("candidates", "instances"),
            after=["vectors", "group", "preferences", "instructions"],
        )

    def _dataset(self) -> None:
        def produce(out: Path) -> Mapping[str, Json]:
            histories = read_histories(self._stage("histories").path(HISTORIES))
            chosen = read_candidates(self._stage("candidates").path(CANDIDATES))
            instances = [
                instance(
                    placed, histories[placed.user.id], chosen[placed.user.id, placed.asked.number], self._config.seed
                )
                for placed in self._placed
            ]
            dataset = Dataset.of_instances(self._prepared, instances)
            facts = {
                "counts": counts(instances),
                "instances": sum(each.part.value != "unseen" for each in instances),
                "unseen": sum(each.part.value == "unseen" for each in instances),
                "tools": len(dataset.tools),
                "categories": len({tool.category for tool in dataset.tools.values()}),
                "users": len({each.user_id for each in instances}),
            }
            write_dataset(dataset, out, self._card_facts(facts))
            return facts

        self._add(
            "dataset",
            produce,
            settings={**self._settings("instances"), "name": self._config.name},
            after=["prepare", "preferences", "histories", "instructions", "candidates"],
        )
        if not self._stage("dataset").report["instances"]:
            raise SetupError(
                "No instance came out: " + str(self._stage("preferences").report["discarded"]) + ". Take a larger "
                "catalogue, or loosen preferences.margin or preferences.shown."
            )

    def _card_facts(self, facts: Mapping[str, Json]) -> dict[str, Json]:
        writer = self._config.writer.kind
        return {
            "config": self._config.name,
            "seed": self._config.seed,
            "writer": writer if writer == "template" else self._writer.name,
            "tools": facts["tools"],
            "categories": facts["categories"],
            "instances": facts["counts"],
        }

    @cached_property
    def _built_dataset(self) -> Dataset:
        return read_dataset(self._stage("dataset").directory)

    def _quality(self) -> None:
        self._add(
            "quality",
            lambda out: measure_quality(
                self._built_dataset,
                dict(zip(self._understood, vectors_of(self._stage("vectors"), "document"), strict=True)),
                dict(zip(self._understood, vectors_of(self._stage("vectors"), "non_functional"), strict=True)),
                {name: each.attributes.functionality for name, each in self._understood.items()},
                self._truth,
                self._groups,
                out,
                self._progress,
            ),
            settings={},
            after=["vectors", "group", "dataset"],
        )

    def _report(self) -> None:
        before = list(self._stages)
        self._add(
            "report",
            lambda out: write_report(self._config, before, self._built_dataset, out),
            settings={"config": self._config.model_dump(mode="json", exclude={"catalogue": {"path"}})},
            after=[stage.name for stage in before],
        )

    def _add(
        self,
        name: str,
        produce: "object",
        *,
        settings: Mapping[str, Json],
        after: Sequence[str] = (),
    ) -> None:
        stages = [self._stage(each) for each in after]
        self._stages.append(
            self._workspace.run(name, produce, version=_VERSIONS[name], settings=settings, after=stages)  # type: ignore[arg-type]
        )


def _source_hash(path: Path) -> Json:
    """Names and contents of the files that tools are taken from: what changed in them makes another benchmark."""
    from training.stages import file_hash

    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)) if each != path else each.name: file_hash(each) for each in files}
