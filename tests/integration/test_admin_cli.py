"""`petool adapters` against a real service; only the engine is scripted."""

import http.server
import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import typer
from rich.console import Console

from app.cli import main as cli
from app.cli.admin_client import AdminClient
from app.cli.operation_view import follow
from app.db import migrate
from app.db.database import Database
from app.domain import Scope
from app.errors import EngineDown, Unavailable
from app.services.keys import KeyService
from tests.conftest import running, settings_for
from tests.support.adapters import engine_choosing, state_of, status, tar_of
from tests.support.catalogue import TOOLS
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import free_port, new_database
from tests.support.signals import interruptible
from tests.support.steps import call, feedback, ok
from tests.support.tiny_model import tiny_adapter

PLACES = {"alpha": 1, "beta": 2, "gamma": 0}
"""Which candidate each chooses; `gamma` what the base model does."""
STEPS = ["verify", "load", "probe", "flip", "drain", "unload", "done"]


@dataclass(frozen=True)
class Told:
    status: int
    out: str
    err: str

    @property
    def steps(self) -> list[str]:
        return re.findall(r"^ *[\d.]+ s  (\w+)", self.out, re.MULTILINE)

    @property
    def version(self) -> str:
        found = re.search(r"\w+@[0-9a-f]{12}", self.out)
        assert found, self
        return found[0]


Petool = Callable[..., Told]


@pytest.fixture
def petool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Petool:
    """Runs `petool adapters …` as a shell does; long lines of its errors are put together again."""

    def run(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["petool", "adapters", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Told(int(ended.value.code or 0), told.out, " ".join(told.err.split()))

    return run


@pytest.fixture(scope="module")
def folder(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One adapter's directory for each of `PLACES`."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(PLACES, 21):
        tiny_adapter(model_dir, folder / name, seed)
    return folder


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    engine: ScriptedEngine = engine_choosing(PLACES, place="http://engine:8001")
    return engine


@pytest.fixture(scope="module")
def service_url(
    engine: ScriptedEngine,
    shared_database_url: str,
    model_dir: Path,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("service")
    settings = settings_for(
        shared_database_url, directory, engine="vllm", model=str(model_dir), adapters_source=str(folder)
    )
    with running(settings, [engine]) as url:
        ok(httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60))
        yield url


@pytest.fixture
def client(
    service_url: str, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, petool: Petool, folder: Path
) -> Iterator[httpx.Client]:
    """The service that `petool` works on; `alpha` and `beta` are registered, nothing is a canary."""
    engine.failure, engine.unloadable, engine.latency = None, "", 0.0
    monkeypatch.setenv("PETOOL_URL", service_url)
    for name in ("alpha", "beta"):
        assert petool("register", folder / name).status == 0
    with httpx.Client(base_url=service_url, timeout=60) as client:
        if status(client)["assignment"]["canary"] is not None:
            assert petool("abort").status == 0
        yield client


@pytest.fixture
def active(client: httpx.Client, petool: Petool) -> str:
    """The version of `alpha`, which is served to all users; `beta` was before."""
    for name in ("beta", "alpha"):
        petool("activate", name)
    version: str = status(client)["assignment"]["active"]
    assert version.startswith("alpha@")
    return version


def test_a_directory_is_registered_once(client: httpx.Client, petool: Petool, folder: Path) -> None:
    first = petool("register", folder / "alpha", "--name", "once")
    assert first.status == 0
    assert "is registered: rank 4, format " in first.out
    assert "is not known" in first.out  # it has no petool.json
    again = petool("register", folder / "alpha", "--name", "once")
    assert (again.status, again.version) == (0, first.version)
    assert "was registered already" in again.out
    listed = petool("list").out
    assert len([line for line in listed.splitlines() if first.version in line and "registered" in line]) == 1
    shown = petool("show", "once").out
    assert first.version in shown
    assert re.search(r"base verified +false", shown)
    assert re.search(r"registered by +demo", shown)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_is_registered_by_its_name(
    client: httpx.Client, petool: Petool, folder: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"Packed-{len(ending)}.{ending}"
    path.write_bytes(tar_of(folder / "alpha", gzipped=ending == "tar.gz"))
    told = petool("register", path, "--prompt-format", "terse-1", "--prompt-tokens", 1000)
    assert (told.status, told.err) == (0, "")
    assert "format terse-1" in told.out
    adapter = ok(client.get(f"/admin/adapters/packed-{len(ending)}"))
    assert adapter["prompt_tokens"] == 1000
    assert adapter["digest"] == ok(client.get("/admin/adapters/alpha"))["digest"]


def test_a_directory_of_the_servers_is_registered_by_its_path(client: httpx.Client, petool: Petool) -> None:
    assert petool("register", "gamma", "--on-server").version.startswith("gamma@")
    wrong = petool("register", "nowhere", "--on-server")
    assert wrong.status == 1
    assert "nowhere" in wrong.err


def test_hidden_files_are_left_out_and_all_else_that_is_no_file_is_refused(
    client: httpx.Client, petool: Petool, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy"
    path.mkdir()
    assert "is empty" in petool("register", path).err
    for file in (folder / "alpha").iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    (path / ".cache").mkdir()
    (path / ".hidden").symlink_to("/etc/passwd")
    assert petool("register", path).status == 0
    (path / "checkpoint-1").mkdir()
    assert "checkpoint-1 is a directory" in petool("register", path).err
    (path / "checkpoint-1").rmdir()
    (path / "link.json").symlink_to(path / "adapter_config.json")
    assert "link.json is a link" in petool("register", path).err
    assert "There is no directory or file" in petool("register", tmp_path / "none").err
    assert "neither an adapter's directory nor a tar" in petool("register", path / "adapter_config.json").err


def test_a_broken_adapter_is_refused_with_the_services_reason(
    client: httpx.Client, petool: Petool, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.mkdir()
    for file in (folder / "alpha").iterdir():
        (path / file.name).write_bytes(file.read_bytes()[:5000])
    told = petool("register", path)
    assert (told.status, told.out) == (1, "")
    assert "adapter_model.safetensors cannot be read" in told.err
    (tmp_path / "no.tar").write_bytes(b"x" * 5_000_000)
    assert "is not a whole tar" in petool("register", tmp_path / "no.tar").err
    assert "is no name for an adapter" in petool("register", folder / "alpha", "--name", "No Name").err


def test_an_activation_shows_every_step_and_its_end(
    client: httpx.Client, petool: Petool, active: str, user: str
) -> None:
    told = petool("activate", "beta")
    assert (told.status, told.steps) == (0, STEPS)
    assert re.search(r"probe +1 engines", told.out)
    assert f"{told.version} is served to all users." in told.out.splitlines()[-1]
    assert call(client, user)["model"] == told.version
    operation = re.search(r"operation ([0-9a-f-]{36})", told.out)
    assert operation
    again = petool("operation", operation[1])
    assert (again.status, again.out) == (0, told.out)
    listed = petool("operation").out
    assert re.search(rf"{operation[1]} .* activate {told.version} .* succeeded", listed)
    trail = petool("audit", "--limit", 1).out
    assert "activate succeeded" in trail
    assert told.version in trail
    assert "is active already" in petool("activate", "beta").err


def test_a_failed_activation_says_why_and_what_is_served(
    client: httpx.Client, petool: Petool, engine: ScriptedEngine, active: str
) -> None:
    petool("register", "gamma", "--on-server")
    told = petool("activate", "gamma")
    assert told.status == 1
    assert told.steps == ["verify", "load", "failed", "unload"]
    assert "as the base model does" in told.out.splitlines()[-1]
    assert "What was served before is served on." in told.out.splitlines()[-1]
    engine.unloadable = "no [/room] left"  # no markup
    assert "no [/room] left" in petool("activate", "beta").out
    assert status(client)["assignment"]["active"] == active


def test_a_rollback_goes_back(client: httpx.Client, petool: Petool, active: str) -> None:
    told = petool("rollback")
    assert told.status == 0
    assert told.version.startswith("beta@")
    assert "is served to all users." in told.out
    assert state_of(client, active) == "retired"


def test_what_the_settings_say_can_be_activated_again(client: httpx.Client, petool: Petool, active: str) -> None:
    told = petool("activate", "configured")
    assert (told.status, told.steps[-1]) == (0, "done")
    assert "what the settings say is served to all users." in told.out.splitlines()[-1]
    assert "Assigned: what the settings say" in petool("status").out
    assert f"rollback to {active}" in petool("rollback").out


def test_without_waiting_the_operation_is_named(client: httpx.Client, petool: Petool, active: str) -> None:
    begun = petool("activate", "beta", "--no-wait")
    operation = re.search(r"petool adapters operation ([0-9a-f-]{36})", begun.out)
    assert begun.status == 0
    assert operation
    followed = petool("operation", operation[1])
    assert (followed.status, followed.steps) == (0, STEPS)


def test_a_canary_is_compared_and_aborted_or_promoted(
    client: httpx.Client, petool: Petool, active: str, user: str
) -> None:
    none = petool("canary")
    assert none.status == 1
    assert "There is no canary" in none.err
    begun = petool("activate", "beta", "--user", user, "--user", "another")
    assert (begun.status, begun.steps) == (0, STEPS)
    feedback(client, call(client, user)["call_id"], "liked")
    call(client, f"{user}-not")
    compared = petool("canary").out
    assert f"{begun.version} (canary)" in compared
    assert f"{active} (active)" in compared
    assert re.search(r"Calls +│ 1 +│ 1 ", compared)
    assert "100.0% (1 of 1)" in compared
    assert "0.0% (0 of 1)" in compared
    assert f"Canary: {begun.version} for 0 % of users, and 2 named users." in petool("status").out
    assert "promote or abort it first" in petool("activate", "beta").err
    assert "is served to nobody any more" in petool("abort").out
    assert petool("activate", "beta", "--percent", 50).status == 0
    assert f"{begun.version} is served to all users." in petool("promote").out
    assert petool("promote").status == 1


def test_the_status_tells_what_every_engine_has_and_fails_where_they_disagree(
    client: httpx.Client, petool: Petool, engine: ScriptedEngine, active: str
) -> None:
    told = petool("status")
    assert told.status == 0
    assert re.search(rf"{active} .* http://engine:8001 .* yes .* {active}", told.out)
    assert "All replicas and engines agree." in told.out
    engine.failure = EngineDown("gone")
    told = until(petool, 1)
    assert re.search(r"http://engine:8001 .* no ", told.out)
    assert "cannot reach the engine http://engine:8001." in told.out
    engine.failure = None
    until(petool, 0)


def until(petool: Petool, exit_status: int) -> Told:
    """What `petool adapters status` tells when it first ends so."""
    deadline = time.monotonic() + 20
    while (told := petool("status")).status != exit_status:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return told


def test_only_what_is_not_in_use_is_deleted_and_only_when_confirmed(
    client: httpx.Client, petool: Petool, active: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    refused = petool("delete", active, "--yes")
    assert refused.status == 1
    assert "cannot be deleted while it is in use" in refused.err
    for answer, exit_status in [("", 1), ("n\n", 1), ("y\n", 0)]:
        petool("register", folder / "beta", "--name", "brief")
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        told = petool("delete", "brief")
        assert (told.status, petool("show", "brief").status) == (exit_status, 1 - exit_status)
        assert "Delete brief@" in told.out
    petool("register", folder / "beta", "--name", "brief")
    assert "is deleted." in petool("delete", "brief", "--yes").out
    assert "There is no adapter" in petool("show", "brief").err


@pytest.mark.parametrize("name", ["canary", "rollback", "configured", "", "..", "a/b", "a?b"])
def test_names_that_no_adapter_has_are_told_at_once(client: httpx.Client, petool: Petool, name: str) -> None:
    told = petool("show", name)
    assert told.status == 1
    assert "There is no adapter" in told.err


def test_without_a_service_it_says_what_to_look_at(petool: Petool) -> None:
    nobody = petool("--url", f"http://127.0.0.1:{free_port()}", "list")
    assert nobody.status == 1
    assert "Is the service running (`petool serve`), and is --url (PETOOL_URL) right?" in nobody.err
    for url in ("localhost:8000", "ftp://localhost", "http://", "nonsense"):
        assert "is no URL of a service" in petool("--url", url, "list").err
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=other.serve_forever)
    thread.start()
    told = petool("--url", f"http://127.0.0.1:{other.server_port}", "list")
    other.shutdown()
    other.server_close()
    thread.join()
    assert told.status == 1
    assert "not as this service does" in told.err


async def _keys(url: str) -> tuple[str, str]:
    database = Database(url)
    await migrate.upgrade(database)
    keys = KeyService(database)
    admin, client = [(await keys.create("test", scope))[0] for scope in (Scope.ADMIN, Scope.CLIENT)]
    await database.close()
    return admin, client


async def test_without_demo_mode_an_admin_key_is_needed(
    postgres: str, model_dir: Path, tmp_path: Path, petool: Petool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_database(postgres) as database:
        admin, client = await _keys(database)
        settings = settings_for(database, tmp_path, engine="vllm", model=str(model_dir), demo_mode=False)
        with running(settings, [ScriptedEngine()]) as url:
            none = petool("--url", url, "list")
            assert none.status == 1
            assert "--key or PETOOL_API_KEY" in none.err
            assert "is not known" in petool("--url", url, "--key", "petool_wrong", "list").err
            assert "no key has" in petool("--url", url, "--key", "pé", "list").err
            refused = petool("--url", url, "--key", client, "status")
            assert refused.status == 1
            assert "admin" in refused.err
            assert petool("--url", url, "--key", admin, "list").status == 0
            monkeypatch.setenv("PETOOL_API_KEY", f"{admin}\n")
            assert petool("--url", url, "list").status == 0
            assert admin not in petool("--help").out


def on_a_terminal(url: str, *arguments: str, stop: Callable[[str], bool] = lambda _: False) -> tuple[int, str]:
    """Exit status and all that was drawn; Ctrl-C as soon as `stop` says so of what is there."""
    ours, its = pty.openpty()
    environment = {**os.environ, "PETOOL_URL": url, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    command = interruptible(sys.executable, "-m", "app", "adapters", *arguments)
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    text, stopped = "", False
    try:
        while piece := os.read(ours, 65536):
            text += piece.decode(errors="replace")
            if not stopped and stop(text):
                process.send_signal(signal.SIGINT)
                stopped = True
    except OSError:
        pass  # how a terminal ends
    os.close(ours)
    return process.wait(timeout=30), text


def test_on_a_terminal_the_view_is_live(
    client: httpx.Client, petool: Petool, active: str, engine: ScriptedEngine, service_url: str
) -> None:
    # Longer than from one look of the view to the next.
    engine.latency = 1.0
    exit_status, drawn = on_a_terminal(service_url, "activate", "beta")
    assert exit_status == 0
    assert "loading and probing it on every engine" in drawn
    assert "http://engine:8001" in drawn
    assert f"\x1b[36m{active}" in drawn  # what users had before
    assert "\x1b[32mbeta@" in drawn
    assert "is served to all users." in drawn.splitlines()[-1]


def test_ctrl_c_ends_the_watching_and_not_the_operation(
    client: httpx.Client, petool: Petool, active: str, engine: ScriptedEngine, service_url: str
) -> None:
    engine.latency = 1.0
    exit_status, drawn = on_a_terminal(service_url, "activate", "beta", stop=lambda text: "on every engine" in text)
    assert exit_status == 130
    last = re.search(r"The operation goes on: `petool adapters operation ([0-9a-f-]{36})`", drawn)
    assert last, drawn
    engine.latency = 0.0
    followed = petool("operation", last[1])
    assert (followed.status, followed.steps) == (0, STEPS)


class Away:
    """A client whose service is away for its first answers."""

    def __init__(self, operation: Any, failures: int) -> None:
        self._operation, self._failures = operation, failures

    def get(self, _: str) -> Any:
        self._failures -= 1
        if self._failures >= 0:
            raise Unavailable("Nothing answers.")
        return self._operation


def test_a_service_that_is_away_for_a_while_is_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = "2026-11-02T10:00:00Z"
    begun = {
        "id": "7", "kind": "activate", "version": "a@1", "state": "running", "steps": [], "flipped": False,
        "error": None, "actor": "demo", "started_at": at, "finished_at": None,
    }  # fmt: skip
    ended = begun | {"state": "succeeded", "finished_at": at, "steps": [{"name": "done", "at": at, "detail": ""}]}
    follow(cast(AdminClient, Away(ended, failures=2)), begun, Console())
    assert capsys.readouterr().out.count("Nothing answers. Trying again.") == 1
    monkeypatch.setattr("app.cli.operation_view._PATIENCE_SECONDS", 0.3)
    with pytest.raises(Unavailable, match="`petool adapters operation 7` shows it"):
        follow(cast(AdminClient, Away(ended, failures=99)), begun, Console())
    with pytest.raises(typer.Exit) as failed:
        follow(cast(AdminClient, Away(ended | {"state": "failed", "error": "no"}, failures=0)), begun, Console())
    assert failed.value.exit_code == 1
