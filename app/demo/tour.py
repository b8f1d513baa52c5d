"""`petool demo`: starts the service, loads the demo data through its API, and shows what personalization does."""

import asyncio
import json
import socket
from importlib.resources import files
from typing import Any

import httpx
import uvicorn
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.composition.application import create_app
from app.composition.settings import Settings
from app.errors import SetupError

_DATA = files("app.demo")
SHOWN_USERS = ("amelie", "lindqvist-family", "marcus-bell")
INSTRUCTION = "What will the weather be like in Bergen over the next five days?"


def load(name: str) -> Any:
    return json.loads(_DATA.joinpath(name).read_text("utf-8"))


def catalogue() -> list[Any]:
    """The demo's tools as RapidAPI documents."""
    folder = sorted(_DATA.joinpath("catalogue").iterdir(), key=lambda file: file.name)
    return [document for file in folder for document in json.loads(file.read_text("utf-8"))]


def run(settings: Settings, console: Console, *, serve: bool) -> None:
    """Run the demo until Ctrl-C, or without `serve` until the tour ends. Raises `SetupError` if the port is in use."""
    # The port is opened first and passed to the server, so that no other process can take it in between.
    listener = _listen(settings)
    asyncio.run(_run(settings, listener, console, serve))


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"Port {settings.port} is taken ({error.strerror}). Stop what runs there, or choose another: "
            "make demo PORT=8001"
        ) from error
    return listener


async def _run(settings: Settings, listener: socket.socket, console: Console, serve: bool) -> None:
    config = uvicorn.Config(create_app(settings), access_log=False, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    url = "http://{}:{}".format(*listener.getsockname())
    with console.status("Starting PostgreSQL, the embedding model, the language model and the service …"):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if serving.done():
                await serving
                raise SetupError("The service did not start; its error is above.")
            await asyncio.sleep(0.05)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=300) as client:
            await _load(client, console)
            await _show(client, console)
        if serve:
            _print_usage(console, url)
            await serving
    finally:
        server.should_exit = True
        await serving


async def _load(client: httpx.AsyncClient, console: Console) -> None:
    documents, users = catalogue(), load("users.json")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        tools = progress.add_task("Importing the demo catalogue", total=len(documents))
        # In batches, so that the progress is visible.
        for start in range(0, len(documents), 50):
            part = documents[start : start + 50]
            report = _checked(await client.put("/tools", json={"format": "rapidapi", "documents": part}))
            if report["rejected"]:
                raise SetupError(f"The demo catalogue does not import: {report['rejected'][0]}")
            progress.advance(tools, len(part))
        histories = progress.add_task("Loading the users' histories", total=len(users))
        for user in users:
            body = {"interactions": user["history"]}
            _checked(await client.post(f"/users/{user['user_id']}/history", json=body))
            progress.advance(histories)


async def _show(client: httpx.AsyncClient, console: Console) -> None:
    about = {user["user_id"]: user["about"] for user in load("users.json")}
    table = Table("User", "Gets", "Because of", title=f"“{INSTRUCTION}”", show_lines=True, title_style="bold")
    for user_id in SHOWN_USERS:
        answer = await _call(client, user_id)
        table.add_row(f"[bold]{user_id}[/]\n{about[user_id]}", _call_text(answer), _evidence_text(answer))
    console.print(table)
    if answer["degraded"]:
        console.print(f"[yellow]{answer['degraded_reason']['detail']}[/]")
    await _show_dislike(client, console, SHOWN_USERS[-1])


async def _show_dislike(client: httpx.AsyncClient, console: Console, user_id: str) -> None:
    before = await _call(client, user_id)
    feedback = {"call_id": before["call_id"], "rating": "disliked"}
    _checked(await client.post("/feedback", json=feedback))
    after = await _call(client, user_id)
    console.print(
        Panel(
            f"[bold]{user_id}[/] dislikes {before['tool_call']['tool_name']}.\n"
            f"The same question now gets [bold]{after['tool_call']['tool_name']}[/].",
            title="Feedback counts at once",
        )
    )
    # The dislike is taken back, so that the tour shows the same the next time.
    page = _checked(await client.get(f"/users/{user_id}/history"))
    own = next(item["id"] for item in page["items"] if item["call_id"] == before["call_id"])
    (await client.delete(f"/users/{user_id}/history/{own}")).raise_for_status()


async def _call(client: httpx.AsyncClient, user_id: str) -> Any:
    return _checked(await client.post(f"/users/{user_id}/tool-call", json={"instruction": INSTRUCTION}))


def _checked(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise SetupError(f"{answer.request.method} {answer.request.url.path}: {answer.json()['detail']}")
    return answer.json()


def _call_text(answer: Any) -> str:
    call = answer["tool_call"]
    by = {"model": f"the language model {answer['model']}", "fused": f"{answer['model']} and the preference ranker"}
    return (
        f"[bold green]{call['tool_name']}[/]\n{json.dumps(call['parameters'], ensure_ascii=False)}\n"
        f"[dim]chosen by {by.get(answer['decided_by'], 'the preference ranker')}{_sure(answer)}[/]"
    )


def _sure(answer: Any) -> str:
    """The model's probability of its choice, as text."""
    chosen = [item for item in answer["candidates"] if item["tool_name"] == answer["tool_call"]["tool_name"]]
    shares = [item["probability"] for item in chosen if item["probability"] is not None]
    return f", {shares[0]:.0%} sure" if shares else ""


def _evidence_text(answer: Any) -> str:
    lines = [f"{item['effect']:+.2f} {item['rating'] or 'used'} {item['tool_name']}" for item in answer["evidence"][:3]]
    return "\n".join(lines) or "no history"


def _print_usage(console: Console, url: str) -> None:
    usage = f"""
[bold]The service runs at {url}[/]  ·  in the browser: {url}/docs  ·  stop it with Ctrl-C

curl -s {url}/users/dara/tool-call -H 'Content-Type: application/json' \\
  -d '{{"instruction": "Can you find me a book about volcanoes?"}}'
curl -s {url}/feedback -H 'Content-Type: application/json' \\
  -d '{{"call_id": "CALL_ID_OF_THE_ANSWER", "rating": "disliked"}}'
curl -s '{url}/tools/search?q=translate+a+letter&limit=3'
"""
    console.print(usage, highlight=False, soft_wrap=True)
