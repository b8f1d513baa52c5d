"""The embedded PostgreSQL through its accidents."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.db.database import Database
from app.db.embedded import EmbeddedPostgres
from app.errors import SetupError
from tests.support.servers import Postgres, kill

START = """
import sys
from pathlib import Path
from app.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


def process(directory: Path) -> subprocess.Popen[str]:
    """A process that starts or joins the server, and lets go of it when its input ends."""
    command = [sys.executable, "-c", START, str(directory)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[2])


async def tables(url: str, new: str) -> int:
    """Adds one, and counts those there are."""
    database = Database(url)
    await database.run_sync(
        lambda connection: connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {new} (id integer)").close()
    )
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    found: int = await database.run_sync(lambda connection: connection.exec_driver_sql(count).scalar_one())
    await database.close()
    return found


def until_half_way(starting: subprocess.Popen[str], directory: Path) -> None:
    while not list(directory.glob("*/PG_VERSION")):
        assert starting.poll() is None
        time.sleep(0.01)


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_first_start_that_was_killed_half_way_does_not_prevent_the_next(tmp_path: Path) -> None:
    first = process(tmp_path / "postgres")
    until_half_way(first, tmp_path)
    kill([psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)])
    first.communicate()
    server = Postgres(tmp_path / "postgres")
    try:
        assert await tables(server.start(), "one") == 1
        assert names(tmp_path) == ["postgres"]
    finally:
        server.stop()


async def test_a_killed_server_comes_back_on_its_data(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres")
    try:
        assert await tables(server.start(), "one") == 1
        server.kill()
        assert await tables(server.start(), "two") == 2
    finally:
        server.stop()


async def test_the_pid_of_a_killed_server_may_be_another_process_by_now(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres")
    try:
        assert await tables(server.start(), "one") == 1
        server.kill()
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220
        pid_file.write_text("\n".join([str(other.pid), *pid_file.read_text().split("\n")[1:]]))
        try:
            assert await tables(server.start(), "two") == 2
        finally:
            other.communicate()
    finally:
        server.stop()


def test_processes_that_start_at_once_share_one_server_until_the_last_lets_go(tmp_path: Path) -> None:
    processes = [process(tmp_path / "postgres") for _ in range(3)]

    def url(one: subprocess.Popen[str]) -> str:
        assert one.stdout is not None
        return one.stdout.readline()

    try:
        with ThreadPoolExecutor(3) as pool:
            (shared,) = set(pool.map(url, processes))
        assert shared.startswith("postgresql+asyncpg://")
        for one in processes[:2]:
            one.communicate("")
            assert (tmp_path / "postgres" / "postmaster.pid").exists()
        processes[2].communicate("")
        assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    finally:
        for one in processes:
            one.kill()
            one.communicate()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="PETOOL_DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()
