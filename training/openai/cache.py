"""Answers on disk: what was paid for once is not asked for again."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from app.errors import SetupError
from training.openai.costs import CacheTotals, TokenUsage
from training.openai.wire import Answer

_APPLICATION: Final = 0x50455741
"""SQLite's application_id of these files ("PEWA")."""
_VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    told INTEGER NOT NULL,
    cost REAL,
    created_at REAL NOT NULL
) WITHOUT ROWID
"""
_COLUMNS = "text, finish_reason, prompt_tokens, cached_prompt_tokens, completion_tokens, told"


class Cache:
    """One SQLite file. Every write is a transaction of its own, so a killed process loses nothing that it stored, and
    several processes may share the file. All methods raise SetupError where the file cannot be used.

    Calls block, for well under a millisecond: between an answer's last byte and its row there is then no point at
    which a cancelled task could lose it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def get(self, key: str) -> Answer | None:
        with self._explained():
            row = self._connection.execute(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else _answer(row)

    def put(self, key: str, model: str, answer: Answer, cost: float | None) -> Answer:
        """Stores the answer and gives what is stored: another process's, if that was first, so that all go on alike."""
        usage = answer.usage
        numbers = (usage.prompt, usage.cached_prompt, usage.completion, usage.told, cost, time.time())
        with self._explained():
            self._connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (key, model, answer.text, answer.finish_reason, *numbers),
            )
        return self.get(key) or answer

    def totals(self) -> CacheTotals:
        query = (
            "SELECT count(*), ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0), ifnull(sum(cost), 0.0),"
            " count(*) - count(cost) FROM answers"
        )
        with self._explained():
            answers, prompt, completion, cost, unpriced = self._connection.execute(query).fetchone()
        return CacheTotals(answers, prompt, completion, None if unpriced else cost)

    def close(self) -> None:
        with self._explained():
            self._connection.close()

    def _prepare(self) -> None:
        # In this order: another process may be making the file just now.
        tables = self._number("SELECT count(*) FROM sqlite_schema")
        application, version = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if application not in (0, _APPLICATION) or (application == 0 and tables):
            raise SetupError(f"{self._path} is another program's database: give the writer's cache another path.")
        if application and version != _VERSION:
            raise SetupError(f"{self._path} is another version's cache: delete it, or give another path.")
        self._turn_to_wal()
        # A crash of the machine may cost the last answers, never the file; a killed process not even those.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if application == 0:
            # The table comes first, together with the marks: two processes may both be here.
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLE}; PRAGMA application_id = {_APPLICATION};"
                f" PRAGMA user_version = {_VERSION}; COMMIT;"
            )

    def _turn_to_wal(self) -> None:
        """SQLite does not wait for others here as it does elsewhere, so this does."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _number(self, query: str) -> int:
        number: int = self._connection.execute(query).fetchone()[0]
        return number

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise SetupError(
                    f"The cache {self._path} is damaged ({error}): delete it, with {self._path.name}-wal and "
                    f"{self._path.name}-shm beside it. Its answers are then asked for again."
                ) from error
            raise SetupError(f"The cache {self._path} cannot be used: {error}.") from error
        except OSError as error:
            raise SetupError(f"The cache {self._path} cannot be used: {error}.") from error


def _primary(error: sqlite3.Error) -> int:
    """The error's code without what is special about it (SQLITE_BUSY_RECOVERY is SQLITE_BUSY)."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _answer(row: tuple[Any, ...]) -> Answer:
    text, finish_reason, prompt, cached, completion, told = row
    return Answer(text, finish_reason, TokenUsage(prompt, completion, cached, bool(told)))
