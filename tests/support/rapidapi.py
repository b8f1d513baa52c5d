"""RapidAPI documents that tests try themselves on: a sample of our own, and real ones where they are present."""

import json
import os
from pathlib import Path

from app.domain import Json

_ROOT = Path(__file__).parents[2]
SAMPLE = _ROOT / "tests" / "data" / "rapidapi"
REAL = Path(os.environ.get("PETOOL_SHARED", _ROOT.parent / "shared")) / "data" / "rapidapi"
# Folders with `tools.jsonl` and `queries.jsonl`.
FOLDERS = [SAMPLE, REAL] if REAL.exists() else [SAMPLE]


def name_of_folder(folder: Path) -> str:
    """The test's id for it."""
    return "sample" if folder == SAMPLE else "real"


def read_documents(folder: Path) -> list[dict[str, Json]]:
    return _read(folder / "tools.jsonl")


def read_queries(folder: Path) -> list[dict[str, Json]]:
    """Each with `query` and `relevant_apis`: category, tool and API of one or more documents."""
    return _read(folder / "queries.jsonl")


def _read(path: Path) -> list[dict[str, Json]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
