"""What goes on beside the requests: background jobs that fail, indexes of another database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.composition import background
from app.db.database import async_url
from app.errors import SetupError
from tests.conftest import running, settings_for
from tests.support.catalogue import TOOLS
from tests.support.servers import new_database


async def test_a_background_job_that_fails_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_RESTART_SECONDS", 0.0)
    outcomes: Iterator[Exception | None] = iter([ValueError("unexpected"), RuntimeError("again"), None])
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        error = next(outcomes)
        if error is not None:
            raise error

    await asyncio.wait_for(background.supervised("job", job), 10)
    assert runs == 3


async def test_an_index_on_disk_of_another_database_is_not_used(postgres: str, tmp_path: Path) -> None:
    for part in (TOOLS[:2], TOOLS[5:]):
        async with new_database(postgres) as url:
            with running(settings_for(url, tmp_path)) as service:
                async with httpx.AsyncClient(base_url=service, timeout=60) as client:
                    imported = await client.put("/tools", json={"format": "rapidapi", "documents": part})
                    assert imported.json()["imported"] == len(part)
                    found = await client.get("/tools/search", params={"q": "anything", "limit": 50})
                    wanted = {".".join((d["category_name"], d["tool_name"], d["api_name"])) for d in part}
                    assert {item["tool_name"] for item in found.json()["items"]} == wanted


def test_the_usual_ssl_option_of_a_database_url_is_understood() -> None:
    assert async_url("postgres://u:p@db/name?sslmode=require") == "postgresql+asyncpg://u:p@db/name?ssl=require"


def test_an_option_that_would_be_ignored_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match="channel_binding"):
        async_url("postgresql://u:p@db/name?channel_binding=require")


def test_demo_mode_answers_only_to_the_machines_own_names(service: str) -> None:
    def status(host: str) -> int:
        return httpx.get(f"{service}/tools", headers={"Host": host}, timeout=30).status_code

    assert (status("localhost:8000"), status("127.0.0.1"), status("[::1]:8000")) == (200, 200, 200)
    assert status("attacker.example") == 403
