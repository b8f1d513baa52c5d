"""Generated requests against the OpenAPI document: every answer is one that the document tells of."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.db import migrate
from app.db.database import Database
from app.domain import Scope
from app.services.keys import KeyService
from tests.conftest import running, settings_for
from tests.support.catalogue import TOOLS
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import new_database

NOT_CHECKED = {
    # A schema cannot say that a cursor must have been given out, that a tool must be in the catalogue, that an
    # instruction may not be blank, or that a text may not hold NUL: such requests are rightly refused.
    "positive_data_acceptance",
    # `/tools/search` is a path of its own and the path of a tool of that name, which has a PATCH: `Allow` says so.
    # tests/integration/test_errors.py checks the header.
    "allow_header_conformance",
}


@pytest.fixture
async def authorization_and_database(postgres: str) -> AsyncIterator[tuple[str, str]]:
    async with new_database(postgres) as url:
        database = Database(url)
        await migrate.upgrade(database)
        key, _ = await KeyService(database).create("schemathesis", Scope.ADMIN)
        await database.close()
        yield f"Bearer {key}", url


def test_no_request_gets_a_server_error_or_an_answer_outside_the_schema(
    authorization_and_database: tuple[str, str], model_dir: Path, tmp_path: Path
) -> None:
    authorization, database = authorization_and_database
    # With an engine: without one a request that takes no degraded answer gets 503, and that counts as a server error.
    settings = settings_for(database, tmp_path / "data", demo_mode=False, engine="vllm", model=str(model_dir))
    with running(settings, [ScriptedEngine(max_waiting=1000, shared=False)]) as url:
        with httpx.Client(base_url=url, headers={"Authorization": authorization}, timeout=60) as client:
            client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}).raise_for_status()
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: {authorization}"),
            *("--checks", "all", "--exclude-checks", ",".join(sorted(NOT_CHECKED))),
            *("--max-examples", "10", "--generation-deterministic"),
            *("--continue-on-failure", "--warnings", "off", "--no-color"),
        ]
        report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert report.returncode == 0, report.stdout[-20_000:] + report.stderr[-2000:]
    selected = re.search(r"Selected: (\d+)/\1\n\s*Tested: \1\n", report.stdout)
    assert selected is not None, report.stdout[-3000:]
