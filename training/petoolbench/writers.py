"""The writer that a config asks for."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain import Json
from training.common.stages import digest, file_hash, told
from training.petoolbench.config import BenchmarkConfig

if TYPE_CHECKING:
    from training.generators.openai.writer import OpenAIWriter

CACHE = "openai-cache.sqlite"
_DATA = Path(__file__).parents[1] / "generators"


@contextmanager
def endpoint_writer(
    config: BenchmarkConfig, directory: Path, budget: float | None, runner: asyncio.Runner
) -> Iterator["OpenAIWriter | None"]:
    """The `openai` writer, with its cache in the build's folder; None where templates write, which have to know the
    catalogue first.

    `budget`: dollars for this run. Raises SetupError for settings that cannot be used.
    """
    if config.writer.kind == "template":
        yield None
        return
    # An HTTP client and a database, for those who use them.
    from training.generators.openai.writer import OpenAIWriter
    from training.openai.settings import OpenAISettings

    with told(directory):
        directory.mkdir(parents=True, exist_ok=True)
    values = config.writer.openai.model_dump(exclude={"api_key_variable"})
    key = os.environ.get(config.writer.openai.api_key_variable, "")
    writer = OpenAIWriter(OpenAISettings(**values, api_key=key, budget=budget, cache=directory / CACHE))
    try:
        yield writer
    finally:
        runner.run(writer.aclose())


def template_data() -> Mapping[str, Json]:
    """What templates and catalogue are made from: other words make another benchmark."""
    return {"words": digest({path.name: file_hash(path) for path in sorted(_DATA.rglob("*.yaml"))})}
