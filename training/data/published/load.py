"""The published files as a dataset: PEToolBench as its authors have it, for our training and evaluation."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from app.domain import HistorySetting, Interaction, Json, Tool, ToolCall
from app.errors import DocumentError, SetupError
from training.data.dataset import Dataset
from training.data.published.documents import tool_of, undocumented
from training.data.published.entries import Broken, read_entries
from training.data.published.layout import LETTERS, PROMPT_KEYS, Kind, name_parts, own_name, stem
from training.data.published.reading import Call, Unreadable, read_call, read_prompt, read_rating
from training.data.records import Instance, Part, call_to_json

ASKED_AT = datetime(2025, 1, 1, tzinfo=UTC)
"""Of every imported instance: the format has no dates."""
_STEP = timedelta(hours=1)
_PARTS = {Kind.SFT: Part.TRAIN, Kind.TEST: Part.TEST, Kind.UNSEEN: Part.UNSEEN}
_FOLDERS = (".", "dataset_sft", "dataset_dpo", "dataset_test")
"""Where the published code wants the files, below the folder itself."""


@dataclass(frozen=True)
class EntryProblem:
    file: str
    entry: int
    """From 0."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}[{self.entry}]: {self.reason}"


@dataclass(frozen=True)
class RejectedCall:
    """An entry of a DPO file, but for its prompt."""

    file: str
    entry: int
    setting: HistorySetting
    instruction: str
    chosen: ToolCall
    rejected: ToolCall

    def to_json(self) -> dict[str, Json]:
        return {
            "file": self.file,
            "entry": self.entry,
            "setting": self.setting.value,
            "instruction": self.instruction,
            "chosen": call_to_json(self.chosen),
            "rejected": call_to_json(self.rejected),
        }


@dataclass(frozen=True)
class ImportReport:
    entries: Mapping[str, int]
    """By file name: how many were found, with those that were not imported."""
    problems: tuple[EntryProblem, ...]
    """One for each entry that was not imported."""
    remarks: tuple[EntryProblem, ...]
    """What is odd about entries that were."""
    rejected_calls: tuple[RejectedCall, ...]
    undocumented: tuple[str, ...]
    """Tools that only histories name: the dataset has them without description and parameters."""


@dataclass(frozen=True)
class _File:
    path: Path
    kind: Kind
    setting: HistorySetting


def import_published(
    directory: Path, progress: Callable[[int, int | None], None] = lambda _done, _total: None
) -> tuple[Dataset, ImportReport]:
    """Whatever of `user_entries_{sft,dpo,test,unseen}_{p,r,c}.json` is in the folder, or in its `dataset_*` folders.

    An entry becomes an instance whole or not at all; the report has the reasons. What the format does not tell is
    made up or left empty: `asked_at` is `ASKED_AT` for all and the interactions lie an hour apart before it; the user
    and the id are the file's name and the entry's id (its number in SFT files); `same_function` is empty. Ratings
    count only in the rating-integrated files. A tool is read where it first occurs; entries in which its document
    differs get a remark. `progress` is told the bytes read, and of how many. Raises SetupError where there are no
    such files, or one is no JSON array.
    """
    files = list(_files(directory))
    if not files:
        raise SetupError(
            f"{directory} has none of PEToolBench's files: user_entries_sft_p.json, user_entries_test_p.json and the "
            "like (sft, dpo, test; p, r, c), there or in the folders dataset_sft, dataset_dpo and dataset_test."
        )
    total = sum(file.path.stat().st_size for file in files)
    importer = _Importer()
    before = 0
    for file in files:
        importer.file(file, partial(_tell, progress, before, total))
        before += file.path.stat().st_size
    progress(total, total)
    return importer.result()


def _tell(progress: Callable[[int, int | None], None], before: int, total: int, read: int) -> None:
    progress(before + read, total)


def _files(directory: Path) -> Iterator[_File]:
    for kind in Kind:
        for setting in LETTERS:
            name = f"{stem(kind, setting)}.json"
            places = [directory / folder / name for folder in _FOLDERS]
            if path := next((each for each in places if each.is_file()), None):
                yield _File(path, kind, setting)


@dataclass
class _Importer:
    _instances: list[Instance] = field(default_factory=list)
    _entries: dict[str, int] = field(default_factory=dict)
    _problems: list[EntryProblem] = field(default_factory=list)
    _remarks: list[EntryProblem] = field(default_factory=list)
    _rejected: list[RejectedCall] = field(default_factory=list)
    _documents: "_Documents" = field(default_factory=lambda: _Documents())
    _ids: set[str] = field(default_factory=set)

    def file(self, file: _File, read: Callable[[int], None]) -> None:
        name = file.path.name
        self._entries[name] = 0
        for found in read_entries(file.path, read):
            self._entries[name] += 1
            try:
                if isinstance(found, Broken):
                    raise Unreadable(found.reason)  # noqa: TRY301 (all of an entry's problems are told in one place)
                self._entry(file, found.index, found.value)
            except Unreadable as error:
                self._problems.append(EntryProblem(name, found.index, str(error)))

    def result(self) -> tuple[Dataset, ImportReport]:
        named = {name for each in self._instances for name in _names(each)}
        tools, without = self._documents.tools(named)
        report = ImportReport(
            self._entries, tuple(self._problems), tuple(self._remarks), tuple(self._rejected), without
        )
        return Dataset(tools, self._instances), report

    def _entry(self, file: _File, index: int, value: Json) -> None:
        if not isinstance(value, dict):
            raise Unreadable("it is not a JSON object")
        instruction = value.get("input" if file.kind in (Kind.SFT, Kind.DPO) else "query")
        if not isinstance(instruction, str) or not instruction.strip():
            raise Unreadable("it has no text of the user")
        if file.kind is Kind.DPO:
            calls = (self._documents.call(_call(value, key)) for key in ("chosen", "rejected"))
            self._rejected.append(RejectedCall(file.path.name, index, file.setting, instruction, *calls))
            return
        self._instances.append(self._instance(file, index, value, instruction))

    def _instance(self, file: _File, index: int, value: Mapping[str, Json], instruction: str) -> Instance:
        answer = self._documents.call(_call(value, "output" if file.kind is Kind.SFT else "api_call_ground_truth"))
        prompt = read_prompt(_prompt_of(file, value))
        candidates, remarks = self._documents.candidates(prompt.tools)
        if answer.tool_name not in candidates:
            raise Unreadable(f"its answer {answer.tool_name} is none of its {len(candidates)} tools")
        rated = file.setting is HistorySetting.RATING_INTEGRATED
        history = self._documents.history(prompt.history, rated)
        length = value.get("history_length")
        if isinstance(length, int) and length != len(history):
            remarks.append(f"its history_length is {length}, but its history has {len(history)} interactions")
        instance_id = f"{file.path.stem}/{value.get('entry_id', index)}"
        if instance_id in self._ids:
            remarks.append(f"another entry has the entry_id {value.get('entry_id')}")
            instance_id = f"{instance_id}#{index}"
        self._ids.add(instance_id)
        self._remarks.extend(EntryProblem(file.path.name, index, remark) for remark in remarks)
        return Instance(
            id=instance_id,
            user_id=instance_id,
            setting=file.setting,
            part=_PARTS[file.kind],
            history=history,
            instruction=instruction,
            candidates=candidates,
            answer=answer,
            same_function=(),
            asked_at=ASKED_AT,
        )


def _names(instance: Instance) -> Iterator[str]:
    yield from instance.candidates
    yield from (each.tool_call.tool_name for each in instance.history)


def _prompt_of(file: _File, value: Mapping[str, Json]) -> str:
    keys = ("instruction",) if file.kind is Kind.SFT else (PROMPT_KEYS[file.setting], "instruction")
    text = next((value[key] for key in keys if key in value), None)
    if not isinstance(text, str):
        raise Unreadable(f"it has no prompt ({keys[0]})")
    return text


def _call(value: Mapping[str, Json], key: str) -> Call:
    try:
        return read_call(value.get(key))
    except Unreadable as error:
        raise Unreadable(f"{key} is no readable call: {error}") from None


class _Documents:
    """The tools of all prompts, each read once, and the names that calls have for them."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Mapping[str, Json], Tool | DocumentError]] = {}
        self._named: dict[str, str] = {}
        """Our names by published ones: one text for each, however often it comes."""

    def candidates(self, documents: list[Mapping[str, Json]]) -> tuple[tuple[str, ...], list[str]]:
        """Names in the prompt's order, and remarks. Raises Unreadable where one is no tool."""
        names: dict[str, None] = {}
        remarks = []
        for document in documents:
            published = document.get("tool_name")
            name = self._own(published) if isinstance(published, str) else ""
            if name in names:
                remarks.append(f"its tool {name} comes twice; the first counts")
                continue
            if self._tool(name, document) != document:
                remarks.append(f"its tool {name} has another document than in an earlier entry, which counts")
            names[name] = None
        return tuple(names), remarks

    def history(self, interactions: list[Mapping[str, Json]], rated: bool) -> tuple[Interaction, ...]:
        start = ASKED_AT - _STEP * len(interactions)
        return tuple(
            self._interaction(number, each, rated, start + _STEP * number) for number, each in enumerate(interactions)
        )

    def call(self, call: Call) -> ToolCall:
        return ToolCall(self._own(call.tool_name), call.parameters)

    def tools(self, names: Set[str]) -> tuple[dict[str, Tool], tuple[str, ...]]:
        """The tools of these names, in the order in which they came, and the names of those without a document."""
        published = {own: name for name, own in self._named.items() if own in names}
        tools, without = {}, []
        for name, written in published.items():
            tool = self._read[name][1] if name in self._read else None
            if not isinstance(tool, Tool):
                tool = undocumented(name, name_parts(written))
                without.append(name)
            tools[name] = tool
        return tools, tuple(sorted(without))

    def _interaction(self, number: int, value: Mapping[str, Json], rated: bool, when: datetime) -> Interaction:
        instruction = value.get("instruction")
        if not isinstance(instruction, str):
            raise Unreadable(f"interaction {number} of its history has no instruction")
        try:
            call = self.call(read_call(value.get("tool_call")))
            return Interaction(instruction, call, when, read_rating(value.get("rating")) if rated else None)
        except Unreadable as error:
            raise Unreadable(f"interaction {number} of its history cannot be read: {error}") from None

    def _own(self, published: str) -> str:
        if published not in self._named:
            self._named[published] = own_name(published)
        return self._named[published]

    def _tool(self, name: str, document: Mapping[str, Json]) -> Mapping[str, Json]:
        """The document that counts for the name."""
        first, tool = self._read.get(name, (None, None))
        if first is None or (isinstance(tool, DocumentError) and document != first):
            first, tool = self._read[name] = document, _tool_or_error(document)
        if isinstance(tool, DocumentError):
            raise Unreadable(f"its tool {name or '(without a name)'} cannot be read: {tool.detail}")
        return first


def _tool_or_error(document: Mapping[str, Json]) -> Tool | DocumentError:
    try:
        return tool_of(document)
    except DocumentError as error:
        return error
