"""The command `petool`: run the service, and manage its schema, tools, keys and adapters.

The service's libraries take seconds to import, so each command imports only those that it needs.
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

cli = typer.Typer(no_args_is_help=True, help="Personalized tool calling: the one call that this user would want.")
db = typer.Typer(no_args_is_help=True, help="Manage the database schema.")
tools = typer.Typer(no_args_is_help=True, help="Manage the tool catalogue.")
keys = typer.Typer(no_args_is_help=True, help="Manage API keys.")
cli.add_typer(db, name="db")
cli.add_typer(tools, name="tools")
cli.add_typer(keys, name="keys")
cli.add_typer(adapters, name="adapters")

T = TypeVar("T")
out = Console()
err = Console(stderr=True)


def main() -> None:
    """Run the command line. An error is printed as a sentence; the exit status is 1, or 2 for invalid settings."""
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
        # Ctrl-C stops the server, and cuts other commands short: 130 is the usual status for it.
        sys.exit(130)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: PETOOL_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: PETOOL_PORT.")] = None,
) -> None:
    """Run the service in the foreground."""
    import uvicorn

    from app.composition.application import create_app

    settings = _settings(host=host, port=port)
    # The settings are validated before anything starts.
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level=settings.log_level.lower(),
        # Longer than clients and load balancers keep an idle connection. Otherwise the server could close one just as
        # a request arrives on it.
        timeout_keep_alive=75,
        # Longer than any answer takes, so that requests in progress are finished before the server stops.
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(1)


@cli.command()
def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Directory for the demo's data.")] = Path(".petool/demo"),
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop after the tour instead of serving.")] = False,
) -> None:
    """Load the demo catalogue and its users, show what personalization changes, and serve."""
    from app.demo.tour import run

    settings = _settings(
        host="127.0.0.1",
        port=port,
        data_dir=data_dir,
        demo_mode=True,
        log_level="WARNING",
        # The demo has its own database and never uses that of a configured service.
        database_url="",
        redis_url="",
    )
    run(settings, out, serve=not exit_after)


@db.command("upgrade")
def db_upgrade(revision: str = "head") -> None:
    """Migrate the schema to the newest version. Every start of the service does so too."""
    from app.composition.resources import open_database
    from app.db import migrate

    async def upgrade(settings: Settings) -> None:
        async with open_database(settings) as database:
            await migrate.upgrade(database, revision)

    _run(upgrade)
    out.print("The schema is up to date.")


@db.command("downgrade")
def db_downgrade(
    revision: Annotated[str, typer.Argument(help="Revision to go back to: -1, a revision id, or base.")],
) -> None:
    """Go back to an older schema. Data that only the newer schema can hold is lost."""
    from app.composition.resources import open_database
    from app.db import migrate

    async def downgrade(settings: Settings) -> None:
        async with open_database(settings) as database:
            await migrate.downgrade(database, revision)

    _run(downgrade)
    out.print(f"The schema is at {revision}.")


@tools.command("import")
def tools_import(
    path: Annotated[Path, typer.Argument(help="File or folder of JSON, JSONL or YAML; gzipped files too.")],
    format_: Annotated[
        ToolSource | None,
        typer.Option("--format", help="Format of the documents. Default: detected for each document."),
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option(help="File to write every rejected document and its reason to.")
    ] = None,
) -> None:
    """Import tool documents. After an interruption, run it again: documents stored before are skipped quickly."""
    if not path.exists():
        raise SetupError(
            f"There is no file or folder {path}: give the path of a tool document, or of a folder with some."
        )
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
    from app.composition.resources import open_resources
    from app.services.imports import import_path

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with open_resources(settings) as resources:
        with Progress(*columns, TimeRemainingColumn(), console=err) as progress:
            task = progress.add_task("Importing tools", total=None)
            return await import_path(
                resources.catalogue,
                path,
                source,
                lambda done, total: progress.update(task, completed=done, total=total),
            )


@tools.command("list")
def tools_list(limit: int = 50) -> None:
    """List the tools in the catalogue."""
    from app.composition.resources import open_resources

    async def read(settings: Settings) -> Table:
        async with open_resources(settings) as resources:
            active, total = await resources.catalogue.counts()
            table = Table("Tool", "Active", title=f"{total} tools, {active} active")
            for stored in await resources.catalogue.page(after=0, limit=limit, category=None, active=None):
                table.add_row(stored.tool.name, "yes" if stored.active else "no")
            return table

    out.print(_run(read))


@keys.command("create")
def keys_create(
    scope: Annotated[
        Scope,
        typer.Option(
            help="What the key allows. client: calls, feedback and histories; admin: also the catalogue and adapters."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name that tells what the key is for.")] = "unnamed",
) -> None:
    """Create an API key. It is shown only once."""
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
    """List the API keys."""
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
    """Revoke a key for good. All replicas refuse it within seconds."""
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
    # A command shows its own output; log events below WARNING would clutter it.
    os.environ.setdefault("PETOOL_LOG_LEVEL", "WARNING")
    return asyncio.run(job(_settings()))
