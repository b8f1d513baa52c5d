"""How fast the local engine is, and what its choices are worth: `python -m performance.local [--threads 1]`.

The model has the size of the one that is served by default (5.6M parameters) and random weights: its answers mean
nothing, but cost what real ones cost. Prompts are text of the demo catalogue; answers are under a schema of ten
candidates, with strings of bounded length, since random weights never end one.

- **Prefix reuse**: milliseconds until the first token, which is reading the prompt: nothing stored, the same prompt
  again, and one that differs in its last quarter (the same user's next call).
- **Batching**: answers a second when so many requests come at once, prompts of 500 to 3,500 tokens: one at a time, or
  together with so many tokens of prompts a pass; with nothing stored, and with all prompts stored, where decoding is
  all there is to do. `padded batch` is transformers' own `generate` on all of them at once, without a schema, for as
  many tokens as the engine's answers have: what batching costs without packing and without forced tokens.
- **Forced tokens**: share of a plausible answer's tokens that the grammar left no choice about.

Each number is the best of --rounds: on a machine that others use too, the least disturbed one.
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.inference.engine import GenerationRequest
from app.inference.local import LocalEngine
from tests.support.tiny_model import tiny_adapter, tiny_model

LENGTHS = (500, 1500, 3500)
CONCURRENT = (1, 4, 8)
STEPS = (128, 512, 4096)
SECONDS = 600.0


def schema() -> dict[str, Any]:
    """An answer for ten candidates: a label and a name, then the parameters of just that one."""
    options = [
        {
            "type": "object",
            "properties": {
                "tool_name": {"const": f"{label} Weather.Provider {label}.Forecast for {label.lower()}"},
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "maxLength": 12},
                        f"days_{label}": {"type": "integer", "minimum": 1, "maximum": 14},
                        "units": {"enum": ["metric", "imperial"]},
                    },
                    "required": ["city", f"days_{label}", "units"],
                    "additionalProperties": False,
                },
            },
            "required": ["tool_name", "parameters"],
            "additionalProperties": False,
        }
        for label in "ABCDEFGHIJ"
    ]
    return {"anyOf": options}


def prompts(directory: Path) -> Iterator[list[int]]:
    """Prompts that share no beginning, each long enough to be cut to any length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    files = sorted((Path(__file__).parents[1] / "app" / "demo" / "catalogue").glob("*.json"))
    text = " ".join(json.dumps(json.loads(file.read_text("utf-8"))) for file in files)
    tokens = tokenizer.encode(text).ids
    for start in range(0, len(tokens) - max(LENGTHS), 997):
        yield tokens[start : start + max(LENGTHS)]


def request(prompt: Sequence[int]) -> GenerationRequest:
    return GenerationRequest(prompt, schema(), 160, SECONDS)


async def prefix_table(engine: LocalEngine, texts: Iterator[list[int]], rounds: int) -> Table:
    async def first_token(prompt: list[int], adapter: str | None) -> float:
        started = time.perf_counter()
        await engine.generate(GenerationRequest(prompt, None, 1, SECONDS, adapter=adapter))
        return 1000 * (time.perf_counter() - started)

    table = Table("tokens", "weights", "nothing stored", "same prompt", "last quarter new", title="Prefix reuse, ms")
    for adapter, length in product((None, "adapter"), LENGTHS):
        times: list[list[float]] = [[], [], []]
        for _ in range(rounds):
            prompt, other = next(texts)[:length], next(texts)
            near = [*prompt[: 3 * length // 4], *other[: length - 3 * length // 4]]
            for column, each in zip(times, (prompt, prompt, near), strict=True):
                column.append(await first_token(each, adapter))
        table.add_row(f"{length:,}", adapter or "base", *(f"{min(column):.0f}" for column in times))
    return table


async def all_at_once(engine: LocalEngine, chosen: list[list[int]]) -> tuple[float, float]:
    """Seconds for all, and tokens of an answer."""
    started = time.perf_counter()
    found = await asyncio.gather(*[engine.generate(request(prompt)) for prompt in chosen])
    seconds = time.perf_counter() - started
    return seconds, sum(generation.completion_tokens for generation in found) / len(found)


async def batching(directory: Path, texts: list[list[int]], threads: int, rounds: int) -> Table:
    table = Table("at once", "how", "nothing stored", "all stored", "tokens/answer", title="Batching, answers/s")
    mixed = [text[: 500 + 3000 * index // (len(texts) - 1)] for index, text in enumerate(texts)]
    parts = {count: mixed[:: len(mixed) // count][:count] for count in CONCURRENT}
    ways = [("one by one", 1, 512)] + [(f"together, {step}", 8, step) for step in STEPS]
    answer = 0.0
    for (name, most, step), (count, chosen) in product(ways, parts.items()):
        rates = []
        for stored in (0, 1024):
            engine = await asyncio.to_thread(
                LocalEngine, directory, threads=threads, max_batch=most, step_tokens=step, prefix_cache_mb=stored
            )
            if stored:
                await all_at_once(engine, chosen)
            measured = [await all_at_once(engine, chosen) for _ in range(rounds)]
            rates.append(f"{count / min(seconds for seconds, _ in measured):.2f}")
            answer = measured[0][1]
            await engine.close()
        table.add_row(str(count), name, *rates, f"{answer:.0f}")
    for count, chosen in parts.items():
        seconds = padded(directory, chosen, round(answer), threads, rounds)
        table.add_row(str(count), "padded batch", f"{count / seconds:.2f}", "", f"{answer:.0f}")
    return table


def padded(directory: Path, chosen: list[list[int]], answer: int, threads: int, rounds: int) -> float:
    """Seconds that transformers' `generate` takes for the prompts as one left-padded batch."""
    import torch
    from transformers import AutoModelForCausalLM

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    model: Any = AutoModelForCausalLM.from_pretrained(directory)
    longest = max(map(len, chosen))
    ids = torch.tensor([[3] * (longest - len(prompt)) + prompt for prompt in chosen])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chosen])
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.generate(ids, attention_mask=mask, do_sample=False, min_new_tokens=answer, max_new_tokens=answer)
        times.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return min(times)


def forced_share(directory: Path) -> float:
    from app.inference.local.grammars import Grammars
    from app.inference.local.model import CausalModel

    parameters = {"city": "Porto", "days_C": 3, "units": "metric"}
    answer = json.dumps({"tool_name": "C Weather.Provider C.Forecast for c", "parameters": parameters})
    model = CausalModel(directory, device="cpu")
    matcher = Grammars(model.tokenizer, model.vocabulary, model.eos).matcher(schema())
    forced, tokens = 0, list[int]()
    while not matcher.is_stopped():
        following = matcher.compute_ff_tokens()
        forced += len(following)
        if not following:
            rest = answer[len(model.text(tokens)) :]
            following = model.tokenizer.encode(rest, add_special_tokens=False)[:1]
        tokens += following
        assert matcher.consume_tokens(following)
    assert model.text(tokens) == answer
    return forced / len(tokens)


async def measure(threads: int, rounds: int) -> None:
    logging.disable()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        directory = tiny_model(Path(folder) / "model", vocabulary=4000, hidden=256, layers=6)
        adapter = tiny_adapter(directory, Path(folder) / "adapter", seed=1, rank=16)
        texts = prompts(directory)
        engine = await asyncio.to_thread(LocalEngine, directory, adapters={"adapter": adapter}, threads=threads)
        console.print(await prefix_table(engine, texts, rounds))
        await engine.close()
        console.print(await batching(directory, [next(texts) for _ in range(8)], threads, rounds))
        console.print(f"Forced tokens: {forced_share(directory):.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the local engine on a model of the default one's size.")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is told")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.threads, arguments.rounds))


if __name__ == "__main__":
    main()
