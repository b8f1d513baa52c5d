"""The benchmark as the published files have it, for code that was written for those."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain import HistorySetting, Interaction, Json, Rating, Tool, ToolCall
from app.errors import SetupError
from app.prompting.text import json_text
from training.common.seeding import rng
from training.common.stages import write_json
from training.data.dataset import Dataset
from training.data.published.documents import is_kept, tool_document
from training.data.published.layout import (
    INFO,
    LETTERS,
    PROMPT_KEYS,
    WITHOUT_HISTORY,
    Kind,
    published_name,
    stem,
)
from training.data.published.texts import prompt
from training.data.records import Instance, Part

_PARTS = {Kind.SFT: Part.TRAIN, Kind.DPO: Part.TRAIN, Kind.TEST: Part.TEST, Kind.UNSEEN: Part.UNSEEN}
_RATINGS = {Rating.LIKED: 1, Rating.DISLIKED: 0}


@dataclass(frozen=True)
class PublishedReport:
    entries: Mapping[str, int]
    """By file name."""
    without_rejected: int
    """Training instances that the DPO files leave out, as no other candidate can do the same."""
    simplified: tuple[str, ...]
    """Tools whose documents say less, or in another order, than the dataset's (see `documents.tool_document`)."""


def export_published(dataset: Dataset, directory: Path) -> PublishedReport:
    """Writes `user_entries_{sft,dpo,test,unseen}_{p,r,c}.json`, also where one is empty, and `dataset_info.json`.

    The rejected call of a DPO entry is not sampled from a model: it is a tool of `same_function`, by chance, with the
    answer's parameters, as far as the tool has them. Dates and users are not in the format. Of one dataset the bytes
    are always the same. Raises SetupError for an instance that the format has no place for, and OSError.
    """
    grouped = _grouped(dataset)
    writer = _Writer(dataset.tools)
    directory.mkdir(parents=True, exist_ok=True)
    entries = {}
    for kind, part in _PARTS.items():
        write: Callable[[Instance], dict[str, Json] | None] = {
            Kind.SFT: writer.sft,
            Kind.DPO: writer.dpo,
            Kind.TEST: writer.test,
            Kind.UNSEEN: writer.test,
        }[kind]
        for setting in LETTERS:
            name = f"{stem(kind, setting)}.json"
            written = (entry for each in grouped[part, setting] if (entry := write(each)) is not None)
            entries[name] = _write_array(directory / name, written)
    write_json(directory / INFO, _dataset_info())
    left_out = sum(not each.same_function for each in dataset.of(Part.TRAIN))
    return PublishedReport(entries, left_out, tuple(sorted(writer.simplified)))


def _grouped(dataset: Dataset) -> Mapping[tuple[Part, HistorySetting], list[Instance]]:
    grouped = defaultdict(list)
    for instance in dataset.instances:
        if instance.setting not in LETTERS:
            raise SetupError(
                f"The instance {instance.id} has the setting {instance.setting.value}, for which there are no "
                f"published files; there are some for {', '.join(LETTERS)}."
            )
        unknown = [name for name in (*instance.candidates, *instance.same_function) if name not in dataset.tools]
        if unknown:
            raise SetupError(f"The instance {instance.id} has a candidate without a document: {unknown[0]}.")
        grouped[instance.part, instance.setting].append(instance)
    return grouped


class _Writer:
    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self.simplified: set[str] = set()
        self._tools = tools
        self._documents: dict[str, str] = {}

    def sft(self, instance: Instance) -> dict[str, Json]:
        return {
            "instruction": self._prompt(instance, instance.setting),
            "input": instance.instruction,
            "output": json_text(self._call(instance.answer)),
        }

    def dpo(self, instance: Instance) -> dict[str, Json] | None:
        if not instance.same_function:
            return None
        # Not the first: they stand in the order of their names, which is nothing to learn.
        other = self._tools[rng("rejected", instance.id).choice(instance.same_function)]
        known = {parameter.name for parameter in other.parameters}
        kept = {name: value for name, value in instance.answer.parameters.items() if name in known}
        return {
            "instruction": self._prompt(instance, instance.setting),
            "input": instance.instruction,
            "chosen": json_text(self._call(instance.answer)),
            "rejected": json_text(self._call(ToolCall(other.name, kept))),
        }

    def test(self, instance: Instance) -> dict[str, Json]:
        return {
            PROMPT_KEYS[instance.setting]: self._prompt(instance, instance.setting),
            WITHOUT_HISTORY: self._prompt(instance, HistorySetting.NONE),
            "query": instance.instruction,
            "api_call_ground_truth": self._call(instance.answer),
            "entry_id": instance.id,
            "history_length": len(instance.history),
        }

    def _prompt(self, instance: Instance, setting: HistorySetting) -> str:
        rated = setting is HistorySetting.RATING_INTEGRATED
        history = (json_text(self._interaction(each, rated)) for each in instance.history)
        return prompt(setting, history, map(self._document, instance.candidates))

    def _interaction(self, interaction: Interaction, rated: bool) -> dict[str, Json]:
        written: dict[str, Json] = {
            "instruction": interaction.instruction,
            "tool_call": self._call(interaction.tool_call),
        }
        if rated and interaction.rating is not None:
            written["rating"] = _RATINGS[interaction.rating]
        return written

    def _call(self, call: ToolCall) -> dict[str, Json]:
        tool = self._tools.get(call.tool_name)
        return {
            "tool_name": call.tool_name if tool is None else published_name(tool),
            "parameters": dict(call.parameters),
        }

    def _document(self, name: str) -> str:
        if name not in self._documents:
            document = tool_document(self._tools[name])
            if not is_kept(self._tools[name], document):
                self.simplified.add(name)
            self._documents[name] = json_text(document)
        return self._documents[name]


def _write_array(path: Path, entries: Iterable[Mapping[str, Json]]) -> int:
    """An entry a line; the file is not there before it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    count = 0
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write("[")
        for entry in entries:
            file.write(("," if count else "") + "\n" + json_text(entry))
            count += 1
        file.write("\n]\n")
    partial.replace(path)
    return count


def _dataset_info() -> dict[str, Json]:
    """What LLaMA-Factory reads; the test files are not for it."""
    return dict(_info_entries())


def _info_entries() -> Iterator[tuple[str, dict[str, Json]]]:
    prompt_columns = {"prompt": "instruction", "query": "input"}
    for setting in LETTERS:
        name = stem(Kind.SFT, setting)
        yield name, {"file_name": f"{name}.json", "columns": {**prompt_columns, "response": "output"}}
    for setting in LETTERS:
        name = stem(Kind.DPO, setting)
        columns = {**prompt_columns, "chosen": "chosen", "rejected": "rejected"}
        yield name, {"file_name": f"{name}.json", "ranking": True, "columns": columns}
