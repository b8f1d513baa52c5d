"""What the stages read of those before them, each file once."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from app.domain import Interaction, Json, Tool
from app.json_data.tools import tool_from_json
from training.common.embedding import Vectors
from training.common.stages import Stage
from training.data.dataset import Dataset, read_dataset, read_rows
from training.data.records import Understanding
from training.data.truth import TRUTH, Truth, read_truth
from training.generators.catalogue.jobs import jobs
from training.generators.template import TemplateWriter
from training.generators.writer import Writer
from training.petoolbench.config import BenchmarkConfig
from training.petoolbench.stage_1_prepare import TOOLS
from training.petoolbench.stage_2_understand import UNDERSTOOD, read_understood
from training.petoolbench.stage_3_group import CLUSTERS, GROUPS, Group, read_groups
from training.petoolbench.stage_4_preferences import USERS, User, World, read_users
from training.petoolbench.stage_5_histories import HISTORIES, read_histories
from training.petoolbench.stage_6_instructions import INSTRUCTIONS, read_instructions
from training.petoolbench.stage_7_candidates import CANDIDATES, Chosen, read_candidates
from training.petoolbench.stage_8_split import Placed, split
from training.petoolbench.vectors import vectors_of


class Outputs:
    """Of a build whose stages are added as they finish. A property may be read once its stage is there."""

    def __init__(self, config: BenchmarkConfig, writer: Writer | None) -> None:
        """`writer`: None for the template writer."""
        self._config = config
        self._given_writer = writer
        self.stages: dict[str, Stage] = {}

    def report(self, stage: str) -> dict[str, Json]:
        return self.stages[stage].report

    @cached_property
    def prepared(self) -> Mapping[str, Tool]:
        rows = read_rows(self.stages["prepare"].path(TOOLS))
        return {tool.name: tool for tool in map(tool_from_json, rows)}

    @cached_property
    def truth(self) -> Mapping[str, Truth]:
        """Empty for tools that are not ours."""
        return read_truth(self.stages["catalogue"].path(TRUTH)) if "catalogue" in self.stages else {}

    @cached_property
    def writer(self) -> Writer:
        if self._given_writer is not None:
            return self._given_writer
        known = jobs() if self.truth else {}
        return TemplateWriter(self._config.seed, {name: known[truth.job] for name, truth in self.truth.items()})

    @cached_property
    def understood(self) -> Mapping[str, Understanding]:
        return read_understood(self.stages["understand"].path(UNDERSTOOD))

    @cached_property
    def tools(self) -> Sequence[Tool]:
        """Those that were understood, in the order of the vectors."""
        return [self.prepared[name] for name in self.understood]

    def vectors(self, kind: str) -> Vectors:
        """(n, d): of `training.petoolbench.vectors.KINDS`."""
        return vectors_of(self.stages["vectors"], kind)

    @cached_property
    def groups(self) -> Sequence[Group]:
        return read_groups(self.stages["group"].path(GROUPS))

    @cached_property
    def group_of(self) -> Mapping[str, Group]:
        """By the name of each tool that is in one."""
        return {name: each for each in self.groups for name in each.tools}

    @cached_property
    def unseen(self) -> set[str]:
        """Names of the tools that only `unseen` may use."""
        return {row["tool_name"] for row in read_rows(self.stages["group"].path(CLUSTERS)) if row["unseen"]}

    def world(self) -> World:
        eps: float = self.report("group")["chosen"]["eps"]
        functionality, non_functional = self.vectors("functionality"), self.vectors("non_functional")
        return World.of(self.tools, self.groups, functionality, non_functional, self.unseen, eps)

    @cached_property
    def users(self) -> Sequence[User]:
        return read_users(self.stages["preferences"].path(USERS))

    @cached_property
    def histories(self) -> Mapping[str, tuple[Interaction, ...]]:
        return read_histories(self.stages["histories"].path(HISTORIES))

    @cached_property
    def placed(self) -> Sequence[Placed]:
        """The instructions that go into the dataset: candidates are for these, so that every tool is one of some."""
        asked = read_instructions(self.stages["instructions"].path(INSTRUCTIONS))
        return split(self.users, asked, self._config.instances, self._config.seed)

    @cached_property
    def shown(self) -> set[str]:
        """Tools that the dataset has anyway: those of its histories and of its answers' groups."""
        answers = {name for placed in self.placed for name in self.group_of[placed.asked.answer.tool_name].tools}
        return answers | {item.tool_call.tool_name for placed in self.placed for item in self.histories[placed.user.id]}

    @cached_property
    def candidates(self) -> Mapping[tuple[str, int], Chosen]:
        return read_candidates(self.stages["candidates"].path(CANDIDATES))

    @cached_property
    def dataset(self) -> Dataset:
        return read_dataset(self.stages["dataset"].directory)
