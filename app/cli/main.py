"""`petool`: run the service and look after it.

The service's parts take seconds to import: each command imports those that it needs.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.adapters import adapters
from app.composition.settings import Settings
from app.domain import Scope, ToolSource
from app.errors import PEToolError, SetupError

if TYPE_CHECKING:
    from app.services.imports import FileImport

cli = typer.Typer(no_args_is_help=True, help="Personalized tool calling: the one call this user would want.")
db = typer.Typer(no_args_is_help=True, help="The database's schema.")
tools = typer.Typer(no_args_is_help=True, help="The tool catalogue.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")
cli.add_typer(db, name="db")
cli.add_typer(tools, name="tools")
cli.add_typer(keys, name="keys")
cli.add_typer(adapters, name="adapters")

T = TypeVar("T")
out = Console()
err = Console(stderr=True)


def main() -> None:
    """Run the command line; what goes wrong is told in a sentence, with exit status 1 (2 for wrong settings)."""
    try:
        cli()
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(["PETOOL", *(str(part) for part in item["loc"])]).upper()
            err.print(f"[red]{name}[/]: {item['msg']}", highlight=False)
        sys.exit(2)
    except PEToolError as error:
        err.print(error.detail, style="red", markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        # How a server is stopped by hand; a command that was cut short says so by its status.
        sys.exit(130)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Instead of PETOOL_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of PETOOL_PORT.")] = None,
) -> None:
    """Run the service in the foreground."""
    import uvicorn

    from app.composition.application import create_app

    settings = _settings(host=host, port=port)
    # Read here and not in a module: settings that are wrong are told before anything starts.
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level=settings.log_level.lower(),
        # Longer than clients and load balancers keep an idle connection: else the server closes one just as a request
        # comes over it.
        timeout_keep_alive=75,
        # Longer than any answer takes: requests that are at work when it is told to stop are finished.
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(1)


@cli.command()
def demo(
    port: Annotated[int, typer.Option(help="Where to serve.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its data.")] = Path(".petool/demo"),
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop after the tour instead of serving on.")] = False,
) -> None:
    """Start with the demo catalogue and its users, show what personalization does, and serve."""
    from app.demo.tour import run

    settings = _settings(
        host="127.0.0.1",
        port=port,
        data_dir=data_dir,
        demo_mode=True,
        log_level="WARNING",
        # Never the database of a configured service: the demo has one of its own.
        database_url="",
        redis_url="",
    )
    run(settings, out, serve=not exit_after)


@db.command("upgrade")
def db_upgrade(revision: str = "head") -> None:
    """Bring the schema up to date (every start does)."""
    from app.composition.resources import open_database
    from app.db import migrate

    async def upgrade(settings: Settings) -> None:
        async with open_database(settings) as database:
            await migrate.upgrade(database, revision)

    _run(upgrade)
    out.print("The schema is up to date.")


@db.command("downgrade")
def db_downgrade(revision: Annotated[str, typer.Argument(help="Such as -1, a revision id, or base.")]) -> None:
    """Go back to an older schema. What only the newer one can hold is lost."""
    from app.composition.resources import open_database
    from app.db import migrate

    async def downgrade(settings: Settings) -> None:
        async with open_database(settings) as database:
            await migrate.downgrade(database, revision)

    _run(downgrade)
    out.print(f"The schema is at {revision}.")


@tools.command("import")
def tools_import(
    path: Annotated[Path, typer.Argument(help="A file or folder: JSON, JSONL or YAML, each perhaps gzipped.")],
    format_: Annotated[
        ToolSource | None, typer.Option("--format", help="Found out for each document if not given.")
    ] = None,
    rejected: Annotated[Path | None, typer.Option(help="Write every rejected document's reason to this file.")] = None,
) -> None:
    """Import tool documents. Run again after an interruption: what is stored already takes no time."""
    if not path.exists():
        raise SetupError(f"There is no file or folder {path}.")
    report = _run(lambda settings: _import(settings, path, format_))
    out.print(
        f"[bold]{report.imported}[/] imported, [bold]{report.updated}[/] updated "
        f"({report.unchanged} of them unchanged), [bold]{len(report.rejected)}[/] rejected."
    )
    for item in report.rejected[:20]:
        out.print(f"  [yellow]{item.location}[/] {item.name or ''}: {item.reason}", highlight=False)
    if len(report.rejected) > 20 and rejected is None:
        out.print(f"  … and {len(report.rejected) - 20} more; --rejected FILE writes all of them.")
    if rejected is not None:
        rejected.write_text("".join(f"{item.location}\t{item.name}\t{item.reason}\n" for item in report.rejected))
    if report.rejected and not report.imported + report.updated:
        sys.exit(1)


async def _import(settings: Settings, path: Path, source: ToolSource | None) -> "FileImport":
    from app.composition.resources import open_parts
    from app.services.imports import import_path

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with open_parts(settings) as parts:
        with Progress(*columns, TimeRemainingColumn(), console=err) as progress:
            task = progress.add_task("Importing tools", total=None)
            return await import_path(
                parts.catalogue,
                path,
                source,
                lambda done, total: progress.update(task, completed=done, total=total),
            )


@tools.command("list")
def tools_list(limit: int = 50) -> None:
    """Show what is in the catalogue."""
    from app.composition.resources import open_parts

    async def read(settings: Settings) -> Table:
        async with open_parts(settings) as parts:
            active, total = await parts.catalogue.counts()
            table = Table("Tool", "Active", title=f"{total} tools, {active} active")
            for stored in await parts.catalogue.page(after=0, limit=limit, category=None, active=None):
                table.add_row(stored.tool.name, "yes" if stored.active else "no")
            return table

    out.print(_run(read))


@keys.command("create")
def keys_create(
    scope: Annotated[
        Scope, typer.Option(help="client: calls and feedback; admin: the catalogue and the adapters as well.")
    ],
    name: Annotated[str, typer.Option(help="What it is for.")] = "unnamed",
) -> None:
    """Make an API key. It is shown once."""
    from app.composition.resources import open_database
    from app.services.keys import KeyService

    async def create(settings: Settings) -> str:
        async with open_database(settings) as database:
            return (await KeyService(database).create(name, scope))[0]

    key = _run(create)
    err.print("Keep this key: it is not stored and cannot be shown again.")
    print(key)


@keys.command("list")
def keys_list() -> None:
    """Show the keys that were made."""
    from app.composition.resources import open_database
    from app.services.keys import KeyService

    async def read(settings: Settings) -> Table:
        table = Table("Id", "Name", "Begins with", "Scope", "Created", "Revoked")
        async with open_database(settings) as database:
            for key in await KeyService(database).all():
                revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
                table.add_row(str(key.id), key.name, key.prefix, key.scope, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
        return table

    out.print(_run(read))


@keys.command("revoke")
def keys_revoke(key_id: int) -> None:
    """Make a key invalid, within seconds and for good."""
    from app.composition.resources import open_database
    from app.services.keys import KeyService

    async def revoke(settings: Settings) -> None:
        async with open_database(settings) as database:
            await KeyService(database).revoke(key_id)

    _run(revoke)
    out.print(f"Key {key_id} is revoked.")


def _settings(**given: Any) -> Settings:
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _run(job: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    # A command's own output is its log.
    os.environ.setdefault("PETOOL_LOG_LEVEL", "WARNING")
    return asyncio.run(job(_settings()))
