"""What the commands print to, and their progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from training.common.stages import Progress

out = Console()
err = Console(stderr=True)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=err) as bars:

        def start(label: str, total: int | None) -> None:
            bars.add_task(label, total=total)
            if not err.is_terminal:
                # In a log no bar moves.
                err.print(label if total is None else f"{label} ({total:,})", highlight=False)

        def advance(count: int) -> None:
            bars.advance(bars.task_ids[-1], count)

        try:
            yield Progress(start, advance)
        except KeyboardInterrupt:
            bars.stop()
            err.print("Stopped. Run the same command again: what was finished is kept.")
            raise typer.Exit(130) from None
