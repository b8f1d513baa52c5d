"""A file is one import, however many batches it takes."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from app.catalogue.parse import parse
from app.domain import Json, ToolSource
from app.services import imports
from app.services.catalogue import CatalogueService, ImportReport, Progress


class Store:
    """Keeps descriptions by name, as the catalogue does."""

    def __init__(self) -> None:
        self.tools: dict[str, str] = {}

    async def store_documents(
        self, source: ToolSource | None, documents: Sequence[Json], _progress: Progress | None = None
    ) -> ImportReport:
        parsed = await asyncio.to_thread(parse, source, documents)
        self.tools |= {tool.name: tool.description for _, tool in parsed.tools}
        return ImportReport(len(parsed.tools), rejected=list(parsed.rejections))

    async def publish(self) -> None:
        pass


async def test_a_name_that_comes_again_in_a_later_batch_or_file_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_BATCH", 2)
    lines = [json.dumps({"name": f"f{n}", "parameters": {}, "description": "first"}) for n in range(5)]
    again = json.dumps({"name": "f0", "parameters": {}, "description": "second"})
    (tmp_path / "a.jsonl").write_text("\n".join(["no JSON", *lines, again]), "utf-8")
    (tmp_path / "b.jsonl").write_text(again, "utf-8")
    store = Store()
    for _ in range(2):
        report = await imports.import_path(cast(CatalogueService, store), tmp_path, ToolSource.OPENAI)
        assert [(each.location, each.name) for each in report.rejected[1:]] == [
            ("a.jsonl:7", "f0"),
            ("b.jsonl:1", "f0"),
        ]
        assert all("a.jsonl:2" in each.reason for each in report.rejected[1:])
        assert set(store.tools.values()) == {"first"}
