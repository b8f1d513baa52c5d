"""What the prompt's order is worth to vLLM's prefix cache: `make bench-prefix`.

A real vLLM server on the CPU with a tiny random-weight model, and ten calls of each of 12 users, one at a time: all
first calls, then all second ones. Each has an instruction of its own, the ten candidates that the service would give it
(retrieval, preference ranker, hints) and the user's history, in the format `hinted-1`, and is asked in two orders:

- history first, as the formats have it: task and format, history, candidates, instruction;
- candidates first: task and format, candidates, history, instruction; the same tokens, which is checked.

Hit rates are differences of vLLM's own counters around each call, both in tokens: `vllm:prefix_cache_hits_total` over
`vllm:prefix_cache_queries_total`. The cache keeps whole blocks (on the CPU 128 tokens, on GPUs 16); `shared` is the
part that stood at the beginning of an earlier prompt too, token by token: what no cache can exceed. Histories that do
not fit as a `whole` are selected for each instruction. Times are medians: to the first token by vLLM's clock, and of an
answer of eight tokens by the client's.

Documents and instructions (the longest sentence of each) are the real ones that `PETOOL_SHARED` names (../shared by
default), else the demo's; the tokenizer is trained on them.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product, takewhile
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from app.catalogue.parse import parse
from app.decision.ranking import rank
from app.domain import Candidate, HistorySetting, Interaction, Rating, Tool, ToolCall, ToolSource
from app.model_files.text_files import read_model_files
from app.prompting.builder import PromptBuilder
from app.prompting.formats import Section, format_named
from app.prompting.prompt import Prompt, prompt_order
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.preferences import PreferenceRanker, ToolSignature
from app.retrieval.query import Query, split_sentences
from app.retrieval.ranker_weights import load_weights
from app.retrieval.snapshot import CatalogueSnapshot
from app.retrieval.texts import retrieval_text
from performance.prompt import VOCABULARY
from performance.service import documents_and_instructions
from tests.support.tiny_model import CONTEXT, tiny_model, trained_tokenizer
from tests.vllm.server import BASE, VllmServer
from training.pretraining.tokenizer import save_tokenizer

USERS, CALLS, CANDIDATES, WIDTH = 12, 10, 10, 50
SETTING, RATINGS = HistorySetting.RATING_INTEGRATED, (Rating.LIKED, Rating.LIKED, Rating.DISLIKED, None)
START = datetime(2026, 1, 1, tzinfo=UTC)
FORMAT = format_named("hinted-1")
MOVED = (Section.CANDIDATES, Section.HISTORY, Section.INSTRUCTION)
ORDERS = {"history first": FORMAT, "candidates first": replace(FORMAT, user=MOVED)}
VARIANTS = {"30 interactions": (30, False), "30, one more a call": (30, True), "200, not all fit": (200, False)}
"""Interactions at the first call, and whether each call's, liked, comes to them before the next."""


class Asked(NamedTuple):
    tokens: float
    whole: float
    shared: float
    hits: float
    first_token: float
    latency: float


Histories = list[list[Interaction]]
Built = dict[str, Prompt]  # by order
Measured = dict[tuple[str, str], list[Asked]]  # by variant and order


class Retrieval:
    """What the service does before a prompt, without its database."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        embedder = PackagedEmbedder()
        self._query = cache(lambda text: Query(text, split_sentences(text), embedder.encode(split_sentences(text))))
        self._ranker = PreferenceRanker(load_weights())
        stored = embedder.encode([retrieval_text(tool) for tool in tools])
        self._snapshot = CatalogueSnapshot.build(tools, stored, 1)
        self._signatures = {
            tool.name: ToolSignature(tool.name, tool.provider, vector)
            for tool, vector in zip(tools, stored, strict=True)
        }

    def candidates(self, instruction: str, history: Sequence[Interaction]) -> tuple[list[Candidate], list[float]]:
        """Best first, with hints, and how much each interaction has to do with them: as `ToolCallService` does it."""
        profile = self._ranker.profile(SETTING, history, self._signatures)
        found = self._snapshot.search(self._query(instruction), WIDTH)
        ranked = rank(found, profile, self._ranker, CANDIDATES).with_hints()
        return list(ranked.candidates), ranked.interaction_relevance


def interaction(instruction: str, tool: Tool, number: int, rating: Rating | None = Rating.LIKED) -> Interaction:
    """Parameters as the document's defaults have them."""
    parameters = {each.name: each.default for each in tool.parameters if each.default is not None}
    return Interaction(instruction, ToolCall(tool.name, parameters), START + timedelta(hours=number), rating)


def history(retrieval: Retrieval, texts: Sequence[str], user: int) -> list[Interaction]:
    """As long as any variant needs it: instructions from all over, each with the tool that is found first."""
    chance = random.Random(user)
    return [
        interaction(text, retrieval.candidates(text, ())[0][0].tool, number, chance.choice(RATINGS))
        for number, text in enumerate(chance.choices(texts, k=max(size for size, _ in VARIANTS.values())))
    ]


def prompts(
    name: str, retrieval: Retrieval, builders: dict[str, PromptBuilder], users: Histories, texts: list[str]
) -> Iterator[Built]:
    """Of one variant, by order: everyone's first call, then everyone's second. No user repeats one."""
    size, grows = VARIANTS[name]
    of_user = [tuple(history[:size]) for history in users]
    for number, user in track(list(product(range(CALLS), range(USERS))), f"Prompts: {name}"):
        text, history = texts[(number * USERS + user) % len(texts)], of_user[user]
        ranked, relevance = retrieval.candidates(text, history)
        given = text, SETTING, history, prompt_order(ranked)
        built = {
            order: builder.build(*given, relevance=relevance, today=START.date()) for order, builder in builders.items()
        }
        assert len({tuple(sorted(prompt.token_ids)) for prompt in built.values()}) == 1
        yield built
        if grows:
            of_user[user] = (*history, interaction(text, ranked[0].tool, size + number))


def common(one: Prompt, other: Prompt) -> int:
    """Tokens of the beginning that both have."""
    pairs = zip(one.token_ids, other.token_ids, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def ask(server: VllmServer, client: httpx.Client, prompt: Prompt, shared: int, salt: str) -> Asked:
    tokens = list(prompt.token_ids)
    body = {"model": BASE, "prompt": tokens, "max_tokens": 8, "temperature": 0, "ignore_eos": True, "cache_salt": salt}
    before = server.metrics()
    started = time.perf_counter()
    usage = client.post("/v1/completions", json=body).raise_for_status().json()["usage"]
    latency = 1000 * (time.perf_counter() - started)
    after = server.metrics()
    queries, hits, first = (
        after[f"vllm:{name}"] - before[f"vllm:{name}"]
        for name in ("prefix_cache_queries_total", "prefix_cache_hits_total", "time_to_first_token_seconds_sum")
    )
    assert queries == len(tokens), "other requests were counted too, or this one not yet"
    assert hits == ((usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0)
    return Asked(len(tokens), prompt.usage.history_dropped == 0, shared, hits, 1000 * first, latency)


def measure(server: VllmServer, conversations: dict[str, list[Built]]) -> Measured:
    """One server for all, and a salt for each variant and order: vLLM takes from its cache only what came with the same
    salt, so each finds it as empty as on a server of its own, and the same prompts can go both ways in turns: what else
    happens on the machine meets both. All users have the same salt: they share the task and the format, as in service.
    """
    measured: Measured = defaultdict(list)
    with httpx.Client(base_url=server.url, timeout=300, trust_env=False) as client:
        for name, calls in conversations.items():
            for at, built in enumerate(track(calls, f"Asking: {name}")):
                for order in ORDERS if at % 2 == 0 else reversed(ORDERS):
                    shared = max((common(built[order], earlier[order]) for earlier in calls[:at]), default=0)
                    measured[name, order].append(ask(server, client, built[order], shared, f"{name}, {order}"))
    return measured


def by_call(measured: Measured) -> Table:
    table = Table("call", title=f"Prompt tokens from the prefix cache, %, mean of {USERS} users")
    for name, order in measured:
        table.add_column(f"{name}: {order}", justify="right")
    for number in range(CALLS):
        of_all = [calls[number * USERS : (number + 1) * USERS] for calls in measured.values()]
        rates = (statistics.mean(100 * one.hits / one.tokens for one in calls) for calls in of_all)
        table.add_row(str(number + 1), *(f"{rate:.1f}" for rate in rates))
    return table


def overall(measured: Measured) -> Table:
    table = Table("history", "order", "tokens", "whole %", "shared %", "cached %", title="Calls 2 to 10")
    for column in ("cached %, whole", "first token ms", "latency ms"):
        table.add_column(column)
    for name in VARIANTS:
        values = []
        for order in ORDERS:
            calls = np.array(measured[name, order][USERS:])
            whole = calls[calls[:, 1] > 0].sum(axis=0)
            tokens, fitted, shared, hits = calls.mean(axis=0)[:4]
            first, latency = np.median(calls, axis=0)[4:]
            values.append((hits, first, latency))
            shares = fitted, shared / tokens, hits / tokens, whole[3] / max(whole[0], 1)
            cells = (f"{100 * share:.1f}" if share else "-" for share in shares)
            table.add_row(name, order, f"{tokens:.0f}", *cells, f"{first:.0f}", f"{latency:.0f}")
        ratios = [f"{one / other:.2f}" for one, other in zip(*values, strict=True)]
        table.add_row(name, "ratio", "", "", "", ratios[0], "", *ratios[1:], end_section=True)
    return table


def tiny(directory: Path, texts: list[str]) -> tuple[Path, PromptTokenizer]:
    """The tiny model, with a tokenizer of these texts in place of its own."""
    from transformers import LlamaForCausalLM

    # vLLM's attention on the CPU has heads of 32 and more only.
    model = LlamaForCausalLM.from_pretrained(tiny_model(directory, hidden=128))
    trained = trained_tokenizer(texts, VOCABULARY)
    model.resize_token_embeddings(trained.get_vocab_size(), mean_resizing=False)
    model.save_pretrained(directory)
    save_tokenizer(trained, directory, CONTEXT)
    return directory, PromptTokenizer(read_model_files(directory))


def main() -> None:
    python = os.environ.get("PETOOL_VLLM_PYTHON")
    if not python:
        sys.exit("PETOOL_VLLM_PYTHON names the Python of a virtualenv with vLLM; `make bench-prefix` sets it.")
    raw, instructions = documents_and_instructions()
    texts = list(dict.fromkeys(max(split_sentences(text), key=len) for text in instructions))
    random.Random(0).shuffle(texts)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        documents = [json.dumps(each, ensure_ascii=False) for each in raw]
        model, tokenizer = tiny(Path(folder) / "model", documents + instructions)
        builders = {order: PromptBuilder(tokenizer, ordered) for order, ordered in ORDERS.items()}
        retrieval = Retrieval([of for _, of in parse(ToolSource.RAPIDAPI, raw).tools])
        users = [history(retrieval, texts, user) for user in track(range(USERS), "Making histories")]
        conversations = {name: list(prompts(name, retrieval, builders, users, texts)) for name in VARIANTS}
        with VllmServer(python, model, Path(folder)) as server:
            measured = measure(server, conversations)
    Console(width=max(Console().width, 150)).print(by_call(measured), overall(measured), sep="\n")


if __name__ == "__main__":
    main()
