"""What the documents of our own catalogue mean: for oracle, report and tests; nothing is built by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain import Json
from training.data.dataset import read_rows

TRUTH = "truth.jsonl"


@dataclass(frozen=True)
class Truth:
    tool_name: str
    job: str
    """`<category>/<thing>/<action>`."""
    attributes: tuple[str, ...]
    """Keys of those that the document shows, in description or name."""

    def to_json(self) -> dict[str, Json]:
        return {"tool_name": self.tool_name, "job": self.job, "attributes": list(self.attributes)}


def read_truth(path: Path) -> Mapping[str, Truth]:
    return {row["tool_name"]: Truth(row["tool_name"], row["job"], tuple(row["attributes"])) for row in read_rows(path)}
