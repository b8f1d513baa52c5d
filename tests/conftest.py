"""The real parts, started once a session: PostgreSQL, Redis, the embedding model, the service over HTTP."""

import asyncio
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.composition.application import create_app
from app.composition.served_model import MODELS
from app.composition.settings import Settings
from app.db import migrate
from app.db.database import Database
from app.db.embedded import EmbeddedPostgres
from app.inference.engine import AdapterEngine
from tests.support import rapidapi
from tests.support.catalogue import TOOLS
from tests.support.tiny_model import tiny_adapter, tiny_model


def pytest_configure(config: pytest.Config) -> None:
    # A folder of this run's own: pytest's common one is closed to other users by every run that starts, and as root
    # PostgreSQL is another user.
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="petool-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


@pytest.fixture(scope="session", params=rapidapi.FOLDERS, ids=rapidapi.name_of_folder)
def documents_folder(request: pytest.FixtureRequest) -> Path:
    """`tools.jsonl` and `queries.jsonl`: the sample, and the real ones where they are present."""
    folder: Path = request.param
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A developer's own `.env` and environment must not change what is tested."""
    for name in [name for name in os.environ if name.startswith("PETOOL_") and name != "PETOOL_SHARED"]:
        del os.environ[name]
    Settings.model_config["env_file"] = None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server with an empty database."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("store") / "postgres")
    yield server.start()
    server.stop()


@pytest.fixture
async def empty_database(postgres: str) -> AsyncIterator[Database]:
    """A new database without a schema."""
    async with _new_database(postgres) as url:
        database = Database(url)
        yield database
        await database.close()


@pytest.fixture
async def database(empty_database: Database) -> Database:
    """A new database with the schema of today."""
    await migrate.upgrade(empty_database)
    return empty_database


class _new_database:  # noqa: N801 (used as a with-statement's verb)
    def __init__(self, server: str) -> None:
        self._server = server
        self._name = f"test_{uuid.uuid4().hex}"

    async def __aenter__(self) -> str:
        await self._execute(f'CREATE DATABASE "{self._name}"')
        return self._server.replace("/postgres?", f"/{self._name}?")

    async def __aexit__(self, *_: object) -> None:
        await self._execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._server.replace("+asyncpg", ""))
        await connection.execute(statement)
        await connection.close()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight Llama in Hugging Face's layout."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def adapter_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter for it."""
    return tiny_adapter(model_dir, tmp_path_factory.mktemp("adapter"), seed=1)


@contextmanager
def running(settings: Settings, engines: Sequence[AdapterEngine] = (), models: Path = MODELS) -> Iterator[str]:
    """The service over HTTP, in a thread of its own; its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", settings.port))
    app = create_app(settings, engines=engines, models=models)
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="error"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the service did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def settings(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(postgres, tmp_path_factory.mktemp("data"))


def settings_for(postgres: str, data_dir: Path, **given: Any) -> Settings:
    url = postgres.replace("+asyncpg", "")
    # Without a model, which takes seconds to load, where a test does not ask for one.
    values: dict[str, Any] = {"demo_mode": True, "port": 0, "log_level": "ERROR", "engine": "none"}
    return Settings(database_url=url, data_dir=data_dir, **(values | given))


@pytest.fixture(scope="session")
def service(settings: Settings) -> Iterator[str]:
    """One service for tests that keep to users and tools of their own; its tools are `tests.support.catalogue`."""
    with running(settings) as url:
        answer = httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60)
        assert answer.json()["rejected"] == []
        yield url


@pytest.fixture
def client(service: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service, timeout=30) as client:
        yield client


@pytest.fixture
def user() -> str:
    """The id of a user nobody has seen."""
    return f"user-{uuid.uuid4().hex}"
