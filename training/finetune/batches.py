"""How examples are put together: which ones go into a step, and how they are padded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

_MEGABATCH = 32
"""Number of batches among whose examples those of similar length are put together: more would be less random."""
IGNORED = -100
"""The label of a token that does not count for the loss."""


class LengthGrouped(Sampler[int]):
    """Yields indexes so that the examples of a batch have similar lengths, and batches come in random order.

    The order depends on seed and epoch alone: a run that is resumed, and each of several processes, has the same one.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        places = torch.randperm(len(self._lengths), generator=generator).tolist()
        size = self._batch * _MEGABATCH
        batches: list[list[int]] = []
        rest: list[int] = []
        for start in range(0, len(places), size):
            near = sorted(places[start : start + size], key=lambda place: -self._lengths[place])
            cut = [near[at : at + self._batch] for at in range(0, len(near), self._batch)]
            # Only the last batch of all may be a smaller one.
            batches += [each for each in cut if len(each) == self._batch]
            rest = cut[-1] if len(cut[-1]) < self._batch else rest
        order = torch.randperm(len(batches), generator=generator).tolist()
        for number in order:
            yield from batches[number]
        yield from rest


@dataclass(frozen=True)
class AnswerCollator:
    """Makes tensors (rows, longest), padded on the right, of rows with `prompt`, `answer` and `label`. Cuts nothing.

    `labels` are the answer's tokens with the one that ends it, and `IGNORED` at the places of prompt and padding.
    """

    pad: int
    label_weight: float = 1.0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor([*row["prompt"], *row["answer"]]) for row in rows]
        labels = [torch.tensor([*[IGNORED] * len(row["prompt"]), *row["answer"]]) for row in rows]
        batch = {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attention_mask": pad_sequence([torch.ones_like(each) for each in ids], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }
        if self.label_weight != 1:
            weights = torch.ones(batch["labels"].shape)
            for place, row in enumerate(rows):
                if row["label"] >= 0:
                    weights[place, len(row["prompt"]) + row["label"]] = self.label_weight
            batch["token_weights"] = weights
        return batch
