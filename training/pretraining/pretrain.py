"""The base model: impersonal tool calling, from nothing, on two CPU cores in about an hour."""

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from app.answers.reading import write_answer
from app.domain import Candidate, Hints, HistorySetting, Interaction, Json, Rating, Tool
from app.errors import PromptTooLong
from app.prompting.builder import PromptBuilder
from app.prompting.formats import format_named
from app.prompting.tokenizer import PromptTokenizer
from training.common.seeding import shuffled_by_hash
from training.common.stages import Progress
from training.petoolbench.stage_4_preferences import SETTINGS
from training.pretraining.config import SmallConfig
from training.pretraining.network import SmallLlama
from training.pretraining.uses import Drills, Redrawer, Rivals, Use

_POOL = 1_024
"""Examples that are written at a time, and sorted by length into batches."""
_STEP = 32
"""A batch is as long as its longest example, rounded up to a multiple of this."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_WARMUP = 100
"""Steps."""
_CLIP = 1.0


@dataclass(frozen=True)
class Example:
    tokens: Sequence[int]
    """Prompt and answer."""
    start: int
    """Of the answer."""
    label: int
    """Where the answer's label stands."""


@dataclass(frozen=True)
class Batch:
    tokens: Tensor
    """(batch, length)"""
    places: Tensor
    """(n,): of the flat batch, what comes before each token of an answer."""
    wanted: Tensor
    """(n,): those tokens."""
    weights: Tensor
    """(n,)"""
    owners: Tensor
    """(n,): the row each belongs to."""
    labels: Tensor
    """(batch,): which of the n is the label's."""


class Writer:
    """Uses as examples, each time anew. The same number gives the same example, in every process."""

    def __init__(self, config: SmallConfig, tokenizer: PromptTokenizer, tools: dict[str, Tool], uses: Sequence[Use]):
        by_key = {f"{number}": use for number, use in enumerate(uses)}
        order = shuffled_by_hash(by_key, config.seed, "uses")
        held = config.pretraining.held_out
        self.held_out = [by_key[key] for key in order[:held]]
        self._train = [by_key[key] for key in order[held:]]
        self._config = config
        self._tools = tools
        self._tokenizer = tokenizer
        self._builder = PromptBuilder(tokenizer, format_named(config.prompt_format), config.prompt_tokens)
        self._rivals = Rivals(tools)
        self._redrawer = Redrawer(uses)
        self._drills = Drills(tools, uses)
        assert tokenizer.end is not None
        self._end = tokenizer.end

    def pool(self, number: int) -> list[Example]:
        """The examples of one pool; pools follow each other through all uses, again and again."""
        first = number * _POOL
        found = []
        for place in range(first, first + _POOL):
            chance = random.Random(f"{self._config.seed}:{place}")  # noqa: S311 (not a secret)
            example = (
                self._drill(chance) if chance.random() < self._config.pretraining.drills else self._drawn(place, chance)
            )
            if example is not None:
                found.append(example)
        return found

    def evaluation(self) -> list[Example]:
        chance = random.Random(self._config.seed)  # noqa: S311
        return [found for use in self.held_out if (found := self._example(use, chance)) is not None]

    def _drawn(self, place: int, chance: random.Random) -> Example | None:
        use = self._train[place % len(self._train)]
        tool = self._tools[use.call.tool_name]
        return self._example(self._redrawer.redraw(use, tool, chance, self._config.pretraining.redrawn), chance)

    def _history(self, chance: random.Random) -> tuple[HistorySetting, tuple[Interaction, ...]]:
        """None mostly, else uses drawn at random."""
        if chance.random() >= self._config.pretraining.with_history:
            return HistorySetting.NONE, ()
        setting = chance.choice(SETTINGS)
        ratings = list(Rating) if setting is HistorySetting.RATING_INTEGRATED else [None]
        drawn = chance.sample(self._train, min(len(self._train), chance.randint(1, 9)))
        return setting, tuple(Interaction("", each.call, _LONG_AGO, chance.choice(ratings)) for each in drawn)

    def _drill(self, chance: random.Random) -> Example | None:
        use, tool = self._drills.draw(chance)
        return self._written(use, [Candidate(tool, 0.0, 0.0, hints=Hints(9, 9, 9))], HistorySetting.NONE, ())

    def _example(self, use: Use, chance: random.Random) -> Example | None:
        return self._written(use, self._rivals.draw(use, chance), *self._history(chance))

    def _written(
        self,
        use: Use,
        candidates: Sequence[Candidate],
        setting: HistorySetting,
        history: tuple[Interaction, ...],
    ) -> Example | None:
        try:
            prompt = self._builder.build(use.instruction, setting, history, candidates, today=use.day)
        except PromptTooLong:
            # One of very many; no more than a few have so long a text.
            return None
        place = [each.tool.name for each in candidates].index(use.call.tool_name)
        text = write_answer(
            candidates[place].tool, use.call.parameters, prompt.labels[place], self._builder.format.answer
        )
        answer = [*self._tokenizer.encode(text), self._end]
        tokens = [*prompt.token_ids, *answer]
        if len(tokens) > self._config.architecture.context:
            return None
        start = len(prompt.token_ids)
        return Example(tokens, start, answer.index(prompt.label_ids[place]))


def batches(examples: Sequence[Example], step_tokens: int, pad: int, label_weight: float) -> list[Batch]:
    """Examples of about the same length, `step_tokens` of them with the padding (one at least)."""
    found: list[Batch] = []
    waiting: list[Example] = []
    length = 0
    for example in sorted(examples, key=lambda each: len(each.tokens)):
        longer = -(-len(example.tokens) // _STEP) * _STEP
        if waiting and longer * (len(waiting) + 1) > step_tokens:
            found.append(_batch(waiting, length, pad, label_weight))
            waiting = []
        waiting.append(example)
        length = longer
    if waiting:
        found.append(_batch(waiting, length, pad, label_weight))
    return found


def _batch(examples: Sequence[Example], length: int, pad: int, label_weight: float) -> Batch:
    tokens = np.full((len(examples), length), pad, np.int64)
    places: list[int] = []
    wanted: list[int] = []
    weights: list[float] = []
    owners: list[int] = []
    labels: list[int] = []
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = example.tokens
        answer = example.tokens[example.start :]
        labels.append(len(places) + example.label)
        places += [row * length + example.start - 1 + place for place in range(len(answer))]
        wanted += answer
        weights += [label_weight if place == example.label else 1.0 for place in range(len(answer))]
        owners += [row] * len(answer)
    return Batch(
        torch.from_numpy(tokens), torch.tensor(places), torch.tensor(wanted), torch.tensor(weights),
        torch.tensor(owners), torch.tensor(labels),
    )  # fmt: skip


class Pretrainer:
    """Trains, or goes on from the last checkpoint in `directory`: the result is the same either way."""

    def __init__(self, config: SmallConfig, writer: Writer, tokens: int, pad: int, directory: Path) -> None:
        """`tokens`: of the tokenizer."""
        torch.manual_seed(config.seed)
        self._config, self._writer, self._pad, self._directory = config, writer, pad, directory
        self.network = SmallLlama(config.architecture, tokens)
        settings = config.pretraining
        self._muon = torch.optim.Muon(self.network.matrices(), lr=settings.matrix_lr, weight_decay=0.01)
        self._adam = torch.optim.Adam(self.network.others(), lr=settings.embedding_lr, betas=(0.9, 0.95))
        self._rates = (settings.matrix_lr, settings.embedding_lr)
        self._pools = math.ceil(settings.examples / _POOL)
        self._step = self._seen = self._next_pool = 0
        self._log: list[dict[str, Json]] = []

    def train(self, progress: Progress, tell: Callable[[str], None]) -> list[dict[str, Json]]:
        """What was seen on the way: of each checkpoint examples, tokens, losses, accuracies."""
        self._load()
        progress.start("Training the base model (examples)", self._pools * _POOL)
        progress.advance(self._next_pool * _POOL)
        started, losses, since = time.monotonic(), [], self._step
        while self._next_pool < self._pools:
            pool = batches(
                self._writer.pool(self._next_pool), self._config.pretraining.step_tokens, self._pad,
                self._config.pretraining.label_weight,
            )  # fmt: skip
            random.Random(f"{self._config.seed}:order:{self._next_pool}").shuffle(pool)  # noqa: S311
            for number, batch in enumerate(pool):
                losses.append(self._learn(batch, (self._next_pool + number / len(pool)) / self._pools))
            self._next_pool += 1
            progress.advance(_POOL)
            if self._step - since >= self._config.pretraining.checkpoint_every or self._next_pool == self._pools:
                seconds = time.monotonic() - started
                self._look(float(np.mean(losses)), seconds, tell)
                self._save()
                losses, since = [], self._step
        return self._log

    def _learn(self, batch: Batch, done: float) -> float:
        factor = min(1.0, (self._step + 1) / _WARMUP, (1 - done) / self._config.pretraining.decay)
        for optimizer, rate in zip((self._muon, self._adam), self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        logits = self._logits(batch)
        losses = functional.cross_entropy(logits, batch.wanted, reduction="none")
        loss = (losses * batch.weights).sum() / batch.weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.others(), _CLIP)
        for optimizer in (self._muon, self._adam):
            optimizer.step()  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
        self._step += 1
        self._seen += batch.tokens.numel()
        return loss.item()

    def _logits(self, batch: Batch) -> Tensor:
        hidden = self.network(batch.tokens).view(-1, self._config.architecture.width)
        return self.network.logits(hidden[batch.places])

    @torch.no_grad()
    def _look(self, loss: float, seconds: float, tell: Callable[[str], None]) -> None:
        chosen: list[float] = []
        whole: list[float] = []
        for batch in batches(self._writer.evaluation(), self._config.pretraining.step_tokens, self._pad, 1.0):
            right = (self._logits(batch).argmax(-1) == batch.wanted).float()
            wrong = torch.zeros(len(batch.tokens)).index_add_(0, batch.owners, 1 - right)
            # What follows the choice, given the right one: the parameters.
            wrong_label = 1 - right[batch.labels]
            chosen += right[batch.labels].tolist()
            whole += (wrong == wrong_label).float().tolist()
        self._log.append(
            {
                "step": self._step, "examples": self._next_pool * _POOL, "tokens": self._seen, "loss": round(loss, 4),
                "label_accuracy": round(float(np.mean(chosen)), 4),
                "parameter_accuracy": round(float(np.mean(whole)), 4), "seconds": round(seconds),
            }
        )  # fmt: skip
        tell(json.dumps(self._log[-1]))

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(), "muon": self._muon.state_dict(), "adam": self._adam.state_dict(),
            "step": self._step, "seen": self._seen, "next_pool": self._next_pool, "log": self._log,
        }  # fmt: skip
        self._directory.mkdir(parents=True, exist_ok=True)
        partial = self._directory / ".checkpoint.pt"
        torch.save(state, partial)
        partial.replace(self._directory / "checkpoint.pt")

    def _load(self) -> None:
        path = self._directory / "checkpoint.pt"
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
        self._step, self._seen, self._next_pool = state["step"], state["seen"], state["next_pool"]
        self._log = state["log"]
