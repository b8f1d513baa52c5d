"""API keys and rate limits, over HTTP, without the demo mode."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.composition.settings import Settings
from app.db import migrate
from app.db.database import Database
from app.domain import Scope
from app.errors import NotFound, RateLimited, SetupError
from app.services.keys import KeyService
from app.services.rate_limits import RateLimitService
from tests.conftest import running, settings_for
from tests.support.catalogue import TOOLS
from tests.support.servers import RedisServer, new_database
from tests.support.steps import ASK, ok, problem

IMPORT = {"format": "rapidapi", "documents": TOOLS}


@dataclass
class Guarded:
    """A service that wants keys."""

    settings: Settings
    url: str
    admin: str
    client: str

    def __call__(self, key: str | None = None, **headers: str) -> httpx.Client:
        authorization = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return httpx.Client(base_url=self.url, headers=authorization | headers, timeout=30)


@pytest.fixture(scope="module")
async def guarded(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with new_database(postgres) as url:
        database = Database(url)
        await migrate.upgrade(database)
        keys = KeyService(database)
        admin, client = [(await keys.create("test", scope))[0] for scope in (Scope.ADMIN, Scope.CLIENT)]
        await database.close()
        settings = settings_for(url, tmp_path_factory.mktemp("guarded"), demo_mode=False)
        with running(settings) as service:
            guarded = Guarded(settings, service, admin, client)
            with guarded(admin) as http:
                ok(http.put("/tools", json=IMPORT))
            yield guarded


@pytest.fixture
async def keys(guarded: Guarded) -> AsyncIterator[KeyService]:
    """The keys of the guarded service's database, as `petool keys` sees them."""
    database = Database(guarded.settings.database_url.replace("postgresql://", "postgresql+asyncpg://"))
    yield KeyService(database)
    await database.close()


ROUTES: list[tuple[str, str, Any]] = [
    ("POST", "/users/ada/tool-call", {"instruction": ASK}),
    ("POST", "/feedback", {"call_id": str(uuid.uuid4()), "rating": "liked"}),
    ("POST", "/users/ada/history", {"interactions": [1]}),
    ("GET", "/users/ada/history", None),
    ("DELETE", "/users/ada/history/1", None),
    ("GET", "/users/ada/export", None),
    ("DELETE", "/users/nobody", None),
    ("GET", "/tools", None),
    ("GET", "/tools/search?q=weather", None),
    ("GET", "/tools/x", None),
    ("PUT", "/tools", IMPORT),
    ("PATCH", "/tools/x", {"active": True}),
]
ADMIN = [route for route in ROUTES if route[0] in ("PUT", "PATCH")]
CLIENT = [route for route in ROUTES if route not in ADMIN]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_without_a_valid_key_every_route_is_401(guarded: Guarded, method: str, path: str, body: Any) -> None:
    for authorization in ("", "Bearer", "Basic YTpi", "Bearer petool_wrong", "Bearer é", guarded.admin):
        headers = [(b"Authorization", authorization.encode())] if authorization else []
        with guarded() as http:
            answer = http.request(method, path, json=body, headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_without_a_key_nothing_is_told_of_the_body_nor_kept_of_it(guarded: Guarded) -> None:
    with guarded(None, **{"Idempotency-Key": "x"}) as http:
        for content in (b"{", b"{}", b"\xff", b"x" * 100_000):
            answer = http.post("/users/ada/tool-call", content=content, headers={"Content-Type": "application/json"})
            problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize(("method", "path", "body"), ADMIN)
def test_a_client_key_may_not_change_the_catalogue(guarded: Guarded, method: str, path: str, body: Any) -> None:
    with guarded(guarded.client) as http:
        assert "admin" in problem(http.request(method, path, json=body), 403, "forbidden")["detail"]


@pytest.mark.parametrize(("method", "path", "body"), CLIENT)
def test_a_client_key_may_do_all_the_rest(guarded: Guarded, method: str, path: str, body: Any) -> None:
    for key in (guarded.client, guarded.admin):
        with guarded(key) as http:
            assert http.request(method, path, json=body).status_code in (200, 404)


def test_an_admin_key_may_change_the_catalogue(guarded: Guarded) -> None:
    with guarded(guarded.admin) as http:
        assert ok(http.put("/tools", json=IMPORT))["unchanged"] == len(TOOLS)


def test_the_scheme_may_be_written_in_small_letters(guarded: Guarded) -> None:
    with guarded(None, Authorization=f"bearer {guarded.client}") as http:
        ok(http.get("/tools"))


def test_health_metrics_and_the_document_need_no_key(guarded: Guarded) -> None:
    with guarded() as http:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert http.get(path).status_code == 200


async def test_a_new_key_works_at_once_and_a_revoked_one_within_seconds_no_more(
    guarded: Guarded, keys: KeyService
) -> None:
    key, stored = await keys.create("for a while", Scope.CLIENT)
    with guarded(key) as http:
        ok(http.get("/tools"))
        await keys.revoke(stored.id)
        deadline = time.monotonic() + 15
        while http.get("/tools").status_code == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.25)
        problem(http.get("/tools"), 401, "unauthenticated")


async def test_a_key_that_was_revoked_is_refused_by_whoever_did_not_know_it(keys: KeyService) -> None:
    key, stored = await keys.create("gone", Scope.CLIENT)
    await keys.revoke(stored.id)
    assert await keys.authenticate(key) is None
    with pytest.raises(NotFound):
        await keys.revoke(stored.id)
    with pytest.raises(NotFound):
        await keys.revoke(10**6)
    (listed,) = [item for item in await keys.all() if item.id == stored.id]
    assert listed.revoked_at is not None


async def test_of_a_key_only_its_hash_and_first_characters_are_stored(guarded: Guarded, keys: KeyService) -> None:
    key, stored = await keys.create("secret", Scope.ADMIN)
    connection = await asyncpg.connect(guarded.settings.database_url)
    row = await connection.fetchrow("SELECT * FROM api_keys WHERE id = $1", stored.id)
    await connection.close()
    assert row["key_hash"] == hashlib.sha256(key.encode()).digest()
    assert key not in str(dict(row))
    assert key.startswith(row["prefix"])
    assert len(key) - len(row["prefix"]) >= 39


def test_two_callers_may_use_the_same_idempotency_key(guarded: Guarded) -> None:
    header = {"Idempotency-Key": "the same"}
    answers = []
    for key in (guarded.client, guarded.admin, guarded.client):
        with guarded(key, **header) as http:
            answers.append(http.post("/users/ada/tool-call", json={"instruction": ASK}))
    first, other, again = answers
    assert ok(first)["call_id"] == ok(again)["call_id"] != ok(other)["call_id"]
    assert "Idempotency-Replayed" in again.headers
    assert "Idempotency-Replayed" not in other.headers


@contextmanager
def limited(guarded: Guarded, tmp_path: Path, **given: Any) -> Iterator[str]:
    """A replica of the guarded service that takes three requests an hour."""
    given = {"rate_limit": "3/hour", "data_dir": tmp_path, "demo_mode": False} | given
    with running(guarded.settings.model_copy(update=given)) as url:
        yield url


def statuses(url: str, key: str, number: int) -> list[int]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http:
        answers = [http.get("/tools", params={"limit": 1}) for _ in range(number)]
    for answer in answers:
        if answer.status_code == 429:
            problem(answer, 429, "rate-limited")
            assert int(answer.headers["Retry-After"]) > 0
    return [answer.status_code for answer in answers]


def test_a_key_that_asks_too_often_is_429_and_the_others_go_on(guarded: Guarded, tmp_path: Path) -> None:
    with limited(guarded, tmp_path) as url:
        assert statuses(url, guarded.client, 5) == [200, 200, 200, 429, 429]
        assert statuses(url, guarded.admin, 1) == [200]
        with httpx.Client(base_url=url) as http:
            assert [http.get("/healthz").status_code for _ in range(5)] == [200] * 5


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    await server.start()
    yield server
    server.close()


def test_replicas_share_one_count_in_redis_and_each_counts_for_itself_without_it(
    guarded: Guarded, tmp_path: Path, redis: RedisServer
) -> None:
    with (
        limited(guarded, tmp_path / "one", redis_url=redis.url) as one,
        limited(guarded, tmp_path / "two", redis_url=redis.url) as two,
    ):
        assert statuses(one, guarded.client, 2) == [200, 200]
        assert statuses(two, guarded.client, 2) == [200, 429]
        assert statuses(one, guarded.client, 1) == [429]
        redis.kill()
        for url in (one, two):
            assert statuses(url, guarded.client, 4) == [200, 200, 200, 429]
            assert statuses(url, guarded.admin, 1) == [200]


async def test_redis_is_found_on_a_unix_socket_too(redis: RedisServer) -> None:
    by_socket, by_port = services = [RateLimitService("1/hour", url) for url in (redis.socket_url, redis.url)]
    await by_socket.count("ada")
    for service in services:
        with pytest.raises(RateLimited):
            await service.count("ada")
    await by_port.count("bob")
    for service in services:
        await service.close()


@pytest.mark.parametrize("limit", ["often", "3", "3/fortnight", "/minute"])
def test_a_limit_that_is_none_is_told_at_the_start(limit: str) -> None:
    with pytest.raises(SetupError, match="PETOOL_RATE_LIMIT"):
        RateLimitService(limit, "")
