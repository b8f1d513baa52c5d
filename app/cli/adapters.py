"""The commands of `petool adapters`."""

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn
from rich.text import Text

from app.cli import tables
from app.cli.adapter_archives import archive, name_for
from app.cli.admin_client import AdminClient, path_of
from app.cli.operation_view import follow, print_steps, tell_outcome
from app.domain.adapters import CONFIGURED, OperationState

adapters = typer.Typer(no_args_is_help=True, help="LoRA adapters of a running service, over its HTTP API.")

Name = Annotated[str, typer.Argument(help="A version (name@hash), or a name for its newest version.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return when it has begun, not when it has ended.")]


@adapters.callback()
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="PETOOL_URL", help="Where the service is.")] = "http://127.0.0.1:8000",
    key: Annotated[
        str,
        # Not shown: a key in the environment is no default for a help page to print.
        typer.Option(envvar="PETOOL_API_KEY", help="An admin key; demo mode needs none.", show_default=False),
    ] = "",
) -> None:
    client = AdminClient(url, key)
    context.call_on_close(client.close)
    context.obj = client


@adapters.command()
def register(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="An adapter's directory, or a tar of it (.tar, .tar.gz, .tgz).")],
    name: Annotated[str, typer.Option(help="Of the adapter. Default: the directory's or the tar's.")] = "",
    prompt_format: Annotated[str, typer.Option(help="That it was trained on, where it has no petool.json.")] = "",
    prompt_tokens: Annotated[int | None, typer.Option(min=1, help="Budget of its prompts, likewise.")] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="PATH is one below the server's PETOOL_ADAPTERS_SOURCE.")
    ] = False,
) -> None:
    """Check an adapter against the base model, and store it. The same files again are the same version."""
    given = {"prompt_format": prompt_format or None, "prompt_tokens": prompt_tokens}
    given = {field: value for field, value in given.items() if value is not None}
    if on_server:
        named = name or PurePosixPath(path).name.lower()
        adapter, is_new = _client(context).register({"name": named, "path": path, **given})
    else:
        adapter, is_new = _uploaded(_client(context), Path(path), {"name": name or name_for(Path(path)), **given})
    out = tables.console()
    new = "is registered" if is_new else "was registered already"
    out.print(Text(f"{adapter['version']} {new}: rank {adapter['rank']}, format {adapter['prompt_format']}."))
    base = adapter["base_name"] or "the base model"
    if adapter["base_verified"]:
        out.print(Text(f"It was trained for the weights that are served ({base})."))
    else:
        out.print(Text(f"Whether it was trained for the weights that are served is not known ({base}): the adapter or "
                       "the model has no petool.json to compare.", "yellow"))  # fmt: skip


def _uploaded(client: AdminClient, path: Path, query: dict[str, Any]) -> tuple[Any, bool]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    err = Console(stderr=True)
    with archive(path) as file, Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        size = os.fstat(file.fileno()).st_size
        task = progress.add_task("Uploading", total=size)

        def sent(count: int) -> None:
            progress.advance(task, count)
            if progress.tasks[0].finished:
                progress.update(task, description="Being checked")

        return client.upload(file, size, query, sent)


@adapters.command("list")
def list_(context: typer.Context) -> None:
    """Show what is registered, the newest first."""
    tables.console().print(tables.adapters(_client(context).get("/admin/adapters")["items"]))


@adapters.command()
def show(context: typer.Context, name: Name) -> None:
    """Show all that is known of an adapter."""
    tables.console().print(tables.fields(_client(context).get(path_of(name))))


@adapters.command()
def delete(
    context: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a version and its files."""
    client = _client(context)
    # The version that was shown is deleted, even if a newer one of its name is registered meanwhile.
    version = client.get(path_of(name))["version"]
    if not yes:
        typer.confirm(f"Delete {version} and its files?", abort=True)
    client.delete(path_of(version))
    tables.console().print(Text(f"{version} is deleted."))


@adapters.command()
def activate(
    context: typer.Context,
    name: Name,
    percent: Annotated[float | None, typer.Option(min=0, max=100, help="For this share of users: a canary.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="For this user: a canary. May be repeated.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Share of right tools it must reach, 0 to 1.")] = None,
    no_wait: NoWait = False,
) -> None:
    """Serve an adapter to all users, or to some as a canary. Whatever fails, what was served before is served on.

    The name `configured` stands for what the settings say.
    """
    body: dict[str, Any] = {}
    if percent is not None or user:
        body["canary"] = {"percent": percent or 0.0, "users": user or []}
    if min_score is not None:
        body["min_score"] = min_score
    # The one name that is reserved and can be activated.
    path = f"/admin/adapters/{CONFIGURED}/activate" if name == CONFIGURED else path_of(name, "activate")
    _begin(context, path, no_wait, body)


@adapters.command()
def rollback(context: typer.Context, no_wait: NoWait = False) -> None:
    """Serve what was served before."""
    _begin(context, "/admin/adapters/rollback", no_wait)


@adapters.command()
def promote(context: typer.Context, no_wait: NoWait = False) -> None:
    """Serve the canary to all users."""
    _begin(context, "/admin/adapters/canary/promote", no_wait)


@adapters.command()
def abort(context: typer.Context, no_wait: NoWait = False) -> None:
    """Serve the canary to nobody any more."""
    _begin(context, "/admin/adapters/canary/abort", no_wait)


@adapters.command()
def canary(context: typer.Context) -> None:
    """Compare how users fare with the canary and without."""
    tables.console().print(tables.comparison(_client(context).get("/admin/adapters/canary")))


@adapters.command()
def status(context: typer.Context) -> None:
    """Show what each replica and engine serves. Exit status 1 where they disagree."""
    told = _client(context).get("/admin/status")
    now, out = told["assignment"], tables.console()
    out.print(Text(f"Assigned: {tables.shown(now['active'])} (generation {now['generation']})."))
    if now["canary"] is not None:
        users = f", and {len(now['canary']['users'])} named users" if now["canary"]["users"] else ""
        out.print(Text(f"Canary: {now['canary']['version']} for {now['canary']['percent']:g} % of users{users}."))
    if now["operation"] is not None:
        out.print(Text(f"At work: `petool adapters operation {now['operation']}` follows it.", "yellow"))
    out.print(tables.replicas(told["replicas"]))
    for line in told["disagreements"]:
        out.print(Text(line, "red"))
    if not told["agree"]:
        raise typer.Exit(1)
    out.print(Text("All replicas and engines agree.", "green"))


@adapters.command()
def operation(
    context: typer.Context,
    operation_id: Annotated[UUID | None, typer.Argument(metavar="[ID]", help="Without: the latest are listed.")] = None,
) -> None:
    """Follow an operation, or show one that has ended. Exit status 1 where it failed."""
    client, out = _client(context), tables.console()
    if operation_id is None:
        out.print(tables.operations(client.get("/admin/operations")["items"]))
        return
    found = client.get(f"/admin/operations/{operation_id}")
    if found["state"] == OperationState.RUNNING:
        follow(client, found, out)
    else:
        print_steps(found, out)
        tell_outcome(found, out)


@adapters.command()
def audit(context: typer.Context, limit: Annotated[int, typer.Option(min=1, max=200)] = 50) -> None:
    """Show who did what when, the latest first."""
    tables.console().print(tables.events(_client(context).get("/admin/audit", limit=limit)["items"]))


def _client(context: typer.Context) -> AdminClient:
    client: AdminClient = context.obj
    return client


def _begin(context: typer.Context, path: str, no_wait: bool, body: Any = None) -> None:
    client, out = _client(context), tables.console()
    begun = client.post(path, body)
    if no_wait:
        out.print(Text(f"Begun: `petool adapters operation {begun['id']}` follows it."))
    else:
        follow(client, begun, out)
