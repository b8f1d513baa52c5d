"""`make soak-adapters`: hundreds of swaps under load on real vLLM, then faults; a report with a picture.

    PETOOL_VLLM_PYTHON=.venv-vllm/bin/python python -m performance.soak.soak --swaps 200 --clients 16

Ctrl-C ends the swaps early; what was done until then is reported.
"""

import asyncio
import itertools
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
from rich.console import Console
from rich.progress import Progress

from performance.soak.faults import FAULTS, Outcome
from performance.soak.load import Sample, Seen, calling, middle, percentile, wrong_answers
from tests.support.tiny_model import tiny_model
from tests.vllm.cluster import LABELS, Cluster

mpl.use("Agg")
out = Console()
_CALM_SECONDS, _CALM_EVERY = 20.0, 40
"""So often, in swaps, there is none for so long: calls with swaps and without are measured side by side."""


@dataclass
class Soak:
    clients: int
    pause: float
    seen: Seen = field(default_factory=Seen)
    warm_from: float = 0.0
    swaps: list[tuple[float, float]] = field(default_factory=list)
    """When each began and ended."""
    failed_swaps: list[str] = field(default_factory=list)
    wrong: int = 0
    checked: int = 0
    faults: list[Outcome] = field(default_factory=list)

    @property
    def calm(self) -> list[float]:
        warm = (sample for sample in self.seen.samples if sample.began > self.warm_from)
        return [sample.seconds for sample in warm if not self._overlaps(sample)]

    @property
    def during(self) -> list[float]:
        return [sample.seconds for sample in self.seen.samples if self._overlaps(sample)]

    def _overlaps(self, sample: Sample) -> bool:
        return any(began < sample.ended and sample.began < ended for began, ended in self.swaps)


async def soak(python: str, swaps: int, clients: int, pause: float, into: Path, *, faults: bool) -> None:
    """What was found is written after each part: a later one that goes wrong loses nothing."""
    done = Soak(clients, pause)
    with tempfile.TemporaryDirectory(prefix="petool-soak-") as folder:
        directory = Path(folder)
        with out.status("Starting two vLLM servers and two API replicas …"):
            model = tiny_model(directory / "model", hidden=128)
            cluster = Cluster(python, model, directory)
        async with cluster:
            await cluster.activate("alpha")
            await _swap(cluster, done, swaps)
            done.wrong, done.checked = await wrong_answers(cluster)
            write(done, into)
            if faults and len(done.swaps) == swaps:
                await _faults(cluster, done, into)


async def _swap(cluster: Cluster, done: Soak, swaps: int) -> None:
    names = itertools.cycle(list(LABELS)[1:] + list(LABELS)[:1])
    async with calling(cluster, done.clients, done.pause) as seen:
        done.seen = seen
        await asyncio.sleep(_CALM_SECONDS)
        done.warm_from = time.monotonic()
        with Progress(console=out) as progress:
            task = progress.add_task("Swapping", total=swaps)
            try:
                for number, name in zip(range(swaps), names, strict=False):
                    if number % _CALM_EVERY == 0:
                        await asyncio.sleep(_CALM_SECONDS)
                    began = time.monotonic()
                    operation = await cluster.activate(name, replica=number % 2)
                    done.swaps.append((began, time.monotonic()))
                    if operation["state"] != "succeeded":
                        done.failed_swaps.append(str(operation["error"]))
                    progress.update(task, advance=1, description=f"Swapping ({seen.failed} failed calls)")
            except (KeyboardInterrupt, asyncio.CancelledError):
                out.print("Ended early.")


async def _faults(cluster: Cluster, done: Soak, into: Path) -> None:
    active = (await asyncio.to_thread(cluster.status))["assignment"]["active"]
    names = [name for name in LABELS if cluster.versions[name] != active]
    for number, fault in enumerate(FAULTS):
        done.faults.append(await fault(cluster, names[number % 2], done.clients))
        done.wrong, done.checked = await wrong_answers(cluster)
        write(done, into)


def report(done: Soak) -> str:
    took = [ended - began for began, ended in done.swaps]
    calm, during = done.calm, done.during
    lines = [
        "# Adapters swapped under load",
        "",
        f"{len(took)} swaps between three adapters on two vLLM servers and two API replicas under {done.clients} "
        f"clients, each of which calls again {done.pause:g} s after its answer (`make soak-adapters`, all on one "
        "machine).",
        "",
        "| | |",
        "|---|---|",
        f"| calls | {len(done.seen.samples)} |",
        f"| failed calls | {done.seen.failed}{_failures(done.seen)} |",
        f"| failed swaps | {len(done.failed_swaps)} |",
        f"| answers of another adapter than recorded | {done.wrong} of {done.checked} |",
        f"| activation, median / p95 | {middle(took):.2f} / {percentile(took, 95):.2f} s |",
        f"| a call without swaps, median / p95 | {middle(calm):.2f} / {percentile(calm, 95):.2f} s |",
        f"| a call during swaps, median / p95 | {middle(during):.2f} / {percentile(during, 95):.2f} s |",
        f"| ratio of the medians / of the p95 | {middle(during) / middle(calm):.2f} / "
        f"{percentile(during, 95) / percentile(calm, 95):.2f} |",
    ]
    if done.faults:
        lines += ["", "| in the middle of a swap | calls | what users saw | the swap | agreed again after |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {fault.fault} | {fault.calls} | "
            f"{', '.join(f'{count} {outcome}' for outcome, count in fault.outcomes.most_common())} | "
            f"{fault.operation['state']} | {fault.recovery_seconds:.1f} s |"
            for fault in done.faults
        ]
    return "\n".join(lines) + "\n"


def _failures(seen: Seen) -> str:
    kinds = [f"{count} {outcome}" for outcome, count in seen.outcomes.most_common() if outcome != "ok"]
    return f" ({', '.join(kinds)})" if kinds else ""


def write(done: Soak, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    draw(done, into / "soak.png")
    text = report(done)
    (into / "report.md").write_text(text + "\n![Calls and swaps over time](soak.png)\n", "utf-8")
    out.print(text, markup=False)


def draw(done: Soak, path: Path) -> None:
    """Each call's time over the time it ended, with the swaps behind."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4), layout="constrained")
    start = done.seen.samples[0].began
    for began, ended in done.swaps:
        axes.axvspan(began - start, ended - start, color="0.9", linewidth=0)
    for good, colour, label in ((True, "tab:blue", "answered"), (False, "tab:red", "failed")):
        chosen = [sample for sample in done.seen.samples if (sample.outcome == "ok") is good]
        axes.scatter(
            [sample.ended - start for sample in chosen],
            [sample.seconds for sample in chosen],
            s=3,
            color=colour,
            label=f"{label}: {len(chosen)}",
        )
    axes.set_xlabel("seconds (grey: a swap is at work)")
    axes.set_ylabel("seconds of a call")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(
    swaps: int = 200,
    clients: int = 16,
    pause: Annotated[float, typer.Option(help="Seconds from a client's answer to its next call.")] = 2.0,
    *,
    faults: bool = True,
    into: Annotated[Path, typer.Option(help="Where report.md and soak.png go.")] = Path("docs/reports/adapters"),
) -> None:
    python = os.environ["PETOOL_VLLM_PYTHON"]
    asyncio.run(soak(python, swaps, clients, pause, into, faults=faults))


if __name__ == "__main__":
    typer.run(main)
