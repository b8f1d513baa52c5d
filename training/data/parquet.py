"""The benchmark as Parquet: `<part>.parquet` for each part, and `tools.parquet`."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from app.domain import HistorySetting, Interaction, Json, Rating, Tool, ToolCall
from app.errors import SetupError
from app.json_data.tools import tool_from_json, tool_to_json
from app.prompting.text import json_text, replace_surrogates
from training.data.dataset import Dataset
from training.data.records import Instance, Part

TOOLS = "tools.parquet"
_ROWS = 1_000
"""Of a row group: what memory holds while a file is written or read."""

_T = TypeVar("_T")
_TIME = pa.timestamp("us", tz="UTC")
_CALL = [pa.field("tool_name", pa.string(), nullable=False), pa.field("parameters", pa.string(), nullable=False)]
_INTERACTION = pa.struct(
    [
        pa.field("instruction", pa.string(), nullable=False),
        *_CALL,
        pa.field("rating", pa.string()),
        pa.field("occurred_at", _TIME, nullable=False),
    ]
)
_NAMES = pa.list_(pa.field("element", pa.string(), nullable=False))
_INSTANCES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("history", pa.list_(pa.field("element", _INTERACTION, nullable=False)), nullable=False),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("candidates", _NAMES, nullable=False),
        pa.field("answer", pa.struct(_CALL), nullable=False),
        pa.field("same_function", _NAMES, nullable=False),
        pa.field("asked_at", _TIME, nullable=False),
    ]
)
_PARAMETER = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("schema", pa.string(), nullable=False),
        pa.field("required", pa.bool_(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("default", pa.string()),
    ]
)
_TOOLS = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("name", "category", "provider", "api", "description", "source")
        ),
        pa.field("parameters", pa.list_(pa.field("element", _PARAMETER, nullable=False)), nullable=False),
        pa.field("response_schema", pa.string()),
    ]
)


def write_parquet(dataset: Dataset, directory: Path) -> None:
    """A file for each part, also an empty one, and the tools by name.

    Parameters, schemas and defaults are JSON texts, as the same key holds a number here and a list there. Of one
    dataset the bytes are the same in every process. Half surrogate pairs, which UTF-8 has no bytes for, become U+FFFD
    in instructions. Raises ValueError for a time without a zone, and OSError; no file is there before it is whole.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for part in Part:
        _write(directory / f"{part.value}.parquet", _INSTANCES, map(_instance_row, dataset.of(part)))
    tools = sorted(dataset.tools.values(), key=lambda tool: tool.name)
    _write(directory / TOOLS, _TOOLS, map(_tool_row, tools))


def read_parquet(directory: Path) -> Dataset:
    """What `write_parquet` wrote; times in UTC. A part may be missing. Raises SetupError that names the file."""
    tools = {tool.name: tool for tool in _read(directory / TOOLS, _TOOLS, _tool)}
    paths = [directory / f"{part.value}.parquet" for part in Part]
    instances = [each for path in paths if path.exists() for each in _read(path, _INSTANCES, _instance)]
    return Dataset(tools, instances)


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Json]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(partial, schema, compression="zstd", compression_level=9) as writer:
        while group := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema), row_group_size=_ROWS)
    partial.replace(path)


def _read(path: Path, schema: pa.Schema, of: Callable[[Mapping[str, Json]], _T]) -> Iterator[_T]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=schema.names):
                yield from map(of, batch.cast(schema).to_pylist())
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise SetupError(f"{path} is not a file of the benchmark: {error}. Build it again.") from error


def _call_row(call: ToolCall) -> dict[str, Json]:
    return {"tool_name": call.tool_name, "parameters": json_text(dict(call.parameters))}


def _call(row: Mapping[str, Json]) -> ToolCall:
    return ToolCall(row["tool_name"], json.loads(row["parameters"]))


def _instance_row(instance: Instance) -> dict[str, Json]:
    return {
        **instance.to_json(),
        "history": [_interaction_row(each) for each in instance.history],
        "instruction": replace_surrogates(instance.instruction),
        "answer": _call_row(instance.answer),
        "asked_at": _time(instance.asked_at),
    }


def _instance(row: Mapping[str, Json]) -> Instance:
    return Instance(
        id=row["id"],
        user_id=row["user_id"],
        setting=HistorySetting(row["setting"]),
        part=Part(row["part"]),
        history=tuple(map(_interaction, row["history"])),
        instruction=row["instruction"],
        candidates=tuple(row["candidates"]),
        answer=_call(row["answer"]),
        same_function=tuple(row["same_function"]),
        asked_at=_time(row["asked_at"]),
    )


def _interaction_row(interaction: Interaction) -> dict[str, Json]:
    return {
        "instruction": replace_surrogates(interaction.instruction),
        **_call_row(interaction.tool_call),
        "rating": interaction.rating.value if interaction.rating is not None else None,
        "occurred_at": _time(interaction.occurred_at),
    }


def _interaction(row: Mapping[str, Json]) -> Interaction:
    return Interaction(
        instruction=row["instruction"],
        tool_call=_call(row),
        occurred_at=_time(row["occurred_at"]),
        rating=Rating(row["rating"]) if row["rating"] is not None else None,
    )


def _tool_row(tool: Tool) -> dict[str, Json]:
    document = tool_to_json(tool)
    parameters = [
        {**each, "schema": json_text(each["schema"]), "default": _text_or_null(each["default"])}
        for each in document["parameters"]
    ]
    return {**document, "parameters": parameters, "response_schema": _text_or_null(tool.response_schema)}


def _tool(row: Mapping[str, Json]) -> Tool:
    parameters = [
        {**each, "schema": json.loads(each["schema"]), "default": _value_or_none(each["default"])}
        for each in row["parameters"]
    ]
    return tool_from_json({**row, "parameters": parameters, "response_schema": _value_or_none(row["response_schema"])})


def _text_or_null(value: Json) -> str | None:
    return None if value is None else json_text(value)


def _value_or_none(text: str | None) -> Json:
    return None if text is None else json.loads(text)


def _time(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone")
    return when.astimezone(UTC)
