"""The finished benchmark on disk: `tools.jsonl`, a JSON Lines and a Parquet file a part, `README.md` (the card)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import Json, Tool
from app.errors import SetupError
from app.json_data.tools import tool_from_json, tool_to_json
from training.common.stages import write_rows
from training.data.records import Instance, Part

TOOLS = "tools.jsonl"


@dataclass(frozen=True)
class Dataset:
    tools: Mapping[str, Tool]
    """By name: every tool that an instance names."""
    instances: Sequence[Instance]

    @classmethod
    def of_instances(cls, tools: Mapping[str, Tool], instances: Sequence[Instance]) -> "Dataset":
        """The instances and the tools, of those given, that they name in any role."""
        named = {name for instance in instances for name in tool_names(instance)}
        return cls({name: tool for name, tool in tools.items() if name in named}, instances)

    def of(self, part: Part) -> list[Instance]:
        return [instance for instance in self.instances if instance.part is part]


def tool_names(instance: Instance) -> set[str]:
    """Every tool that the instance names: candidates and history."""
    return {*instance.candidates, *(item.tool_call.tool_name for item in instance.history)}


def read_dataset(directory: Path) -> Dataset:
    """Raises SetupError, with file and line, for what is missing or broken."""
    tools = {tool.name: tool for tool in map(tool_from_json, read_rows(directory / TOOLS))}
    instances: list[Instance] = []
    for part in Part:
        path = directory / f"{part.value}.jsonl"
        if path.exists():
            instances.extend(_instances(path))
    return Dataset(tools, instances)


def _instances(path: Path) -> Iterator[Instance]:
    for number, row in enumerate(read_rows(path), 1):
        try:
            yield Instance.from_json(row)
        except (KeyError, TypeError, ValueError) as error:
            raise SetupError(
                f"{path}:{number} is not an instance of the benchmark: {error!r}. Build it again."
            ) from error


def read_rows(path: Path) -> Iterator[dict[str, Json]]:
    """The objects of a JSON Lines file that a stage wrote. Raises SetupError, with file and line."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise SetupError(
                        f"{path}:{number} is not JSON ({error}). Delete the file and build again."
                    ) from error
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error


def write_dataset(dataset: Dataset, directory: Path, facts: Mapping[str, Json]) -> None:
    """All the files of a benchmark. `facts` go into the card (`training.data.card`)."""
    # Both read this module.
    from training.data.card import dataset_card
    from training.data.parquet import write_parquet

    write_rows(directory / TOOLS, map(tool_to_json, dataset.tools.values()))
    for part in Part:
        if instances := dataset.of(part):
            write_rows(directory / f"{part.value}.jsonl", (instance.to_json() for instance in instances))
    write_parquet(dataset, directory)
    (directory / "README.md").write_text(dataset_card(facts), "utf-8")
