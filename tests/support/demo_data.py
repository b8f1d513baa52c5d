"""What tests and benchmarks know of the demo's data and the service does not: which tools do which job, which tool each
user should get."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[1] / "data" / "demo"


def load_expectations() -> list[dict[str, Any]]:
    """Instructions of the demo's users, each with the tools that would do and the one that the user would want."""
    expectations: list[dict[str, Any]] = json.loads((_FOLDER / "expectations.json").read_text("utf-8"))
    return expectations


def load_jobs() -> dict[str, Any]:
    """`jobs`: the tools that do each job; `tools`: the attributes of each tool."""
    jobs: dict[str, Any] = json.loads((_FOLDER / "jobs.json").read_text("utf-8"))
    return jobs
