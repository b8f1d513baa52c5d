"""An operation watched to its end: live on a terminal, a line for each step elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from app.cli import tables
from app.cli.admin_client import AdminClient
from app.domain.adapters import OperationKind, OperationState
from app.errors import Unavailable

_LOOKS_PER_SECOND = 4
_PATIENCE_SECONDS = 60.0
"""With a service that does not answer: another replica takes the operation over meanwhile."""
_MOST_SECONDS_BETWEEN = 10.0
_NEXT = {
    "": "waiting to begin",
    "verify": "comparing its files with what was registered",
    "load": "loading and probing it on every engine",
    "probe": "every engine has it",
    "evaluate": "giving users to it",
    "flip": "waiting until every replica serves so, and requests in flight have ended",
    "drain": "taking off the engines what nobody is served",
    "failed": "taking it off the engines again",
}
"""What goes on after each step."""


def follow(client: AdminClient, operation: Any, out: Console) -> None:
    """Ends with exit status 1 where the operation failed, and with 130 where Ctrl-C ended the watching."""
    try:
        # Rich's own `is_terminal` is true of a log, too, where FORCE_COLOR asks for colours.
        watched = _live if out.file.isatty() and not out.is_dumb_terminal else _plain
        ended = watched(client, operation, out)
    except KeyboardInterrupt:
        out.print(Text(f"No longer watched. The operation goes on: {_how_to_see(operation)}."))
        raise typer.Exit(130) from None
    tell_outcome(ended, out)


def tell_outcome(operation: Any, out: Console) -> None:
    """In a line. Exit status 1 where it failed."""
    took = _after(operation["started_at"], operation["finished_at"])
    if operation["state"] == OperationState.SUCCEEDED:
        out.print(Text(f"{_done(operation)} ({took:.2f} s)", "green"))
        return
    error = str(operation["error"])
    stop = "" if error.endswith((".", "!", "?")) else "."
    out.print(Text(f"{_name(operation)} failed: {error}{stop} What was served before is served on.", "red"))
    raise typer.Exit(1)


def print_steps(operation: Any, out: Console) -> None:
    out.print(Text(f"{_name(operation)} (operation {operation['id']}, by {operation['actor']})", "bold"))
    for step in operation["steps"]:
        out.print(_line(operation, step))


def _name(operation: Any) -> str:
    if operation["kind"] == OperationKind.ROLLBACK:
        return f"rollback to {tables.shown(operation['version'])}"
    return f"{operation['kind']} {tables.shown(operation['version'])}"


def _done(operation: Any) -> str:
    version = tables.shown(operation["version"])
    match operation["kind"]:
        case OperationKind.CANARY:
            return f"{version} is served to its share of the users."
        case OperationKind.ABORT:
            return f"{version} is served to nobody any more."
        case _:
            return f"{version} is served to all users."


def _how_to_see(operation: Any) -> str:
    return f"`petool adapters operation {operation['id']}` shows it"


@dataclass(frozen=True)
class _Look:
    operation: Any
    status: Any
    """None: not asked, or not known yet."""
    trouble: str
    """Why this is not the latest; empty where it is."""


def _looks(client: AdminClient, operation: Any, *, with_status: bool) -> Iterator[_Look]:
    """Until the operation has ended. Raises `Unavailable` where the service stays away."""
    heard = time.monotonic()
    status = None
    while True:
        begun, wait, trouble = time.monotonic(), 1 / _LOOKS_PER_SECOND, ""
        try:
            operation = client.get(f"/admin/operations/{operation['id']}")
            status = client.get("/admin/status") if with_status else None
            heard = time.monotonic()
        except Unavailable as error:
            if begun - heard > _PATIENCE_SECONDS:
                raise Unavailable(f"{error.detail} The operation may go on: {_how_to_see(operation)}.") from error
            trouble = error.detail
            wait = min(error.retry_after or wait, _MOST_SECONDS_BETWEEN)
        yield _Look(operation, status, trouble)
        if operation["state"] != OperationState.RUNNING:
            return
        time.sleep(max(0.0, wait - (time.monotonic() - begun)))


def _plain(client: AdminClient, operation: Any, out: Console) -> Any:
    print_steps(operation, out)
    printed, trouble = len(operation["steps"]), ""
    for look in _looks(client, operation, with_status=False):
        operation = look.operation
        for step in operation["steps"][printed:]:
            out.print(_line(operation, step))
        printed = len(operation["steps"])
        if look.trouble and look.trouble != trouble:
            out.print(Text(f"{look.trouble} Trying again."))
        trouble = look.trouble
    return operation


def _live(client: AdminClient, operation: Any, out: Console) -> Any:
    view = _View(_Look(operation, None, ""))
    with Live(get_renderable=view.shown, console=out, refresh_per_second=_LOOKS_PER_SECOND):
        for look in _looks(client, operation, with_status=True):
            view.look = look
    return view.look.operation


class _View:
    """Drawn by a thread of Rich's, so that the clock goes on while the service is asked."""

    def __init__(self, look: _Look) -> None:
        self.look = look
        self._spinner = Spinner("dots")

    def shown(self) -> Group:
        look = self.look
        parts: list[Any] = [Text(f"{_name(look.operation)} (operation {look.operation['id']})", "bold")]
        parts += [_line(look.operation, step) for step in look.operation["steps"]]
        if look.operation["state"] == OperationState.RUNNING:
            parts.append(self._now(look.operation))
        if look.status is not None:
            parts.append(tables.replicas(look.status["replicas"], tables.style_for(look.operation)))
        if look.trouble:
            parts.append(Text(f"{look.trouble} Trying again.", "yellow"))
        return Group(*parts)

    def _now(self, operation: Any) -> Table:
        steps = operation["steps"]
        # Two machines' clocks may differ; time that goes backwards would confuse more.
        at_least = _after(operation["started_at"], steps[-1]["at"]) if steps else 0.0
        elapsed = max(at_least, _after(operation["started_at"], None))
        what = _NEXT.get(steps[-1]["name"] if steps else "", "")
        line = Table.grid(padding=(0, 1))
        line.add_row(Text(f"{elapsed:8.2f} s", "dim"), self._spinner, Text(what, "dim"))
        return line


def _line(operation: Any, step: Any) -> Text:
    style = {"done": "green", "failed": "red"}.get(step["name"], "")
    elapsed = _after(operation["started_at"], step["at"])
    return Text.assemble((f"{elapsed:8.2f} s", "dim"), "  ", (f"{step['name']:<9}", style), step["detail"])


def _after(start: str, end: str | None) -> float:
    """Seconds; `end`: None for now."""
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (until - datetime.fromisoformat(start)).total_seconds()
