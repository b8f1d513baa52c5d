"""What the API tells, as Rich shows it."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_NO_VERSION = "what the settings say"
"""Served where no version is."""
_PIPE_WIDTH = 400
_NEW, _OLD = "green", "cyan"

Style = Callable[[str | None], str]


def console() -> Console:
    """Of standard output. What goes to a file or a pipe is not cut to a terminal's width."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def table(columns: Iterable[str], rows: Iterable[Iterable[Text | str]] = (), title: str | None = None) -> Table:
    """No cell is read as Rich's markup."""
    made = Table(title=title)
    for at, column in enumerate(columns):
        # The first is what a command is given next: a version, an id.
        made.add_column(column, overflow="fold", no_wrap=at == 0)
    for row in rows:
        add(made, row)
    return made


def add(to: Table, row: Iterable[Text | str]) -> None:
    to.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))


def shown(version: str | None) -> str:
    return version or _NO_VERSION


def moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}" if text else ""


def size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def adapters(items: Iterable[Any]) -> Table:
    rows = (
        (
            item["version"],
            _state(item["state"]),
            str(item["rank"]),
            item["prompt_format"],
            size(item["size_bytes"]),
            moment(item["registered_at"]),
            item["registered_by"],
        )
        for item in items
    )
    return table(("Version", "State", "Rank", "Format", "Size", "Registered (UTC)", "By"), rows)


def fields(adapter: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in adapter.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value is not None else ""
        add(grid, (Text(name.replace("_", " "), "bold"), moment(text) if name.endswith("_at") else text))
    return grid


def operations(items: Iterable[Any]) -> Table:
    rows = (
        (item["id"], f"{item['kind']} {shown(item['version'])}", _ended(item), moment(item["started_at"]))
        for item in items
    )
    return table(("Operation", "What", "State", "Begun (UTC)"), rows)


def _ended(operation: Any) -> Text:
    state = _state(operation["state"])
    return state if operation["error"] is None else Text.assemble(state, f": {operation['error']}")


def events(items: Iterable[Any]) -> Table:
    rows = (
        (moment(item["at"]), item["actor"], item["action"], item["version"] or "", item["detail"]) for item in items
    )
    return table(("At (UTC)", "Who", "What", "Version", "Detail"), rows)


def style_for(operation: Any) -> Style:
    """Colours: what the operation gives users, and what they had before."""
    goes = operation["kind"] == "abort"
    return lambda version: _NEW if (version == operation["version"]) != goes else _OLD


def replicas(items: Iterable[Any], style: Style = lambda _: "") -> Table:
    """A row for each engine of each replica."""
    rows: list[list[Text | str]] = []
    for item in items:
        rows += _rows(item, style)
    return table(("Replica", "Serves", "In flight", "Engine", "Up", "Loaded"), rows)


def _rows(replica: Any, style: Style) -> list[list[Text | str]]:
    name = f"{replica['host']}:{replica['process']}"
    if not replica["alive"]:
        return [[Text(name, "dim"), Text(f"not seen since {moment(replica['seen_at'])}", "red"), "", "", "", ""]]
    serves = Text(shown(replica["active"]), style(replica["active"]))
    if replica["canary"] is not None:
        serves.append("\n").append(f"{replica['canary']} (canary)", style(replica["canary"]))
    counts = [(version or None, count) for version, count in sorted(replica["in_use"].items())]
    flying = [Text(f"{count} {shown(version)}", style(version)) for version, count in counts]
    of_replica: list[Text | str] = [name, serves, Text("\n").join(flying)]
    rows = [_engine(engine, style) for engine in replica["engines"]] or [["none", "", ""]]
    return [[*(of_replica if at == 0 else ("", "", "")), *row] for at, row in enumerate(rows)]


def _engine(engine: Any, style: Style) -> list[Text | str]:
    up = Text("yes", "green") if engine["up"] else Text("no", "red")
    lines = [Text(version, style(version)) for version in engine["adapters"]]
    lines += [Text(f"{version}: {reason}", "red") for version, reason in sorted(engine["problems"].items())]
    return [engine["place"], up, Text("\n").join(lines)]


def comparison(told: Any) -> Table:
    canary, served = told["canary"], (told["of_canary"], told["of_active"])
    users = f" and {len(canary['users'])} named users" if canary["users"] else ""
    title = f"Canary since {moment(canary['since'])} UTC: {canary['percent']:g} % of users{users}"
    measured: dict[str, Callable[[Any], str]] = {
        "Calls": lambda one: str(one["calls"]),
        "Error rate": lambda one: _rate(one["error_rate"], one["errors"], one["calls"]),
        "Errors by kind": lambda one: _counts(one["errors_by_kind"]),
        "Problems in its answers": lambda one: _counts(one["problems"]),
        "Accept rate": lambda one: _rate(one["accept_rate"], one["liked"], one["liked"] + one["disliked"]),
        "Median of the model's time": lambda one: _milliseconds(one["median_milliseconds"]),
    }
    rows = ((name, *map(measure, served)) for name, measure in measured.items())
    heads = ("", f"{shown(served[0]['version'])} (canary)", f"{shown(served[1]['version'])} (active)")
    return table(heads, rows, title)


def _rate(rate: float | None, count: int, of: int) -> str:
    return "" if rate is None else f"{rate:.1%} ({count} of {of})"


def _counts(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


def _state(state: str) -> Text:
    styles = {"active": _NEW, "canary": "yellow", "failed": "red", "succeeded": _NEW, "running": "yellow"}
    return Text(state, styles.get(state, ""))
