"""A file or folder is one import, however many batches it takes: on the real store."""

import json
from pathlib import Path

import pytest

from app.composition.resources import open_resources
from app.domain import ToolSource
from app.services import imports
from tests.conftest import settings_for
from tests.support.servers import new_database


async def test_a_name_that_comes_again_in_a_later_batch_or_file_is_rejected_every_time(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_BATCH", 2)
    lines = [json.dumps({"name": f"f{n}", "parameters": {}, "description": "first"}) for n in range(5)]
    again = json.dumps({"name": "f0", "parameters": {}, "description": "second"})
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.jsonl").write_text("\n".join(["no JSON", *lines, again]), "utf-8")
    (documents / "b.jsonl").write_text(again, "utf-8")
    async with new_database(postgres) as url, open_resources(settings_for(url, tmp_path / "data")) as resources:
        for imported, unchanged in ((5, 0), (0, 5)):
            report = await imports.import_path(resources.catalogue, documents, ToolSource.OPENAI)
            assert (report.imported, report.unchanged) == (imported, unchanged)
            assert [(each.location, each.name) for each in report.rejected] == [
                ("a.jsonl:1", ""),
                ("a.jsonl:7", "f0"),
                ("b.jsonl:1", "f0"),
            ]
            assert all("a.jsonl:2" in each.reason for each in report.rejected[1:])
            assert (await resources.catalogue.get("f0")).tool.description == "first"


async def test_progress_is_told_up_to_the_last_document(postgres: str, tmp_path: Path) -> None:
    lines = [json.dumps({"name": f"f{n}", "parameters": {}, "description": ""}) for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), "utf-8")
    told: list[tuple[int, int]] = []
    async with new_database(postgres) as url, open_resources(settings_for(url, tmp_path / "data")) as resources:
        await imports.import_path(resources.catalogue, tmp_path / "a.jsonl", None, lambda *done: told.append(done))
    assert told[-1] == (3, 3)
