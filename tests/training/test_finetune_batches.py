"""Which examples go into a step, and how they are padded."""

import itertools
import random

import torch

from training.finetune.batches import IGNORED, AnswerCollator, LengthGrouped

LENGTHS = random.Random(5).choices(range(100, 2000), k=1003)


def order(seed: int, epoch: int, batch: int = 8) -> list[int]:
    sampler = LengthGrouped(LENGTHS, batch, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_example_comes_once() -> None:
    assert sorted(order(1, 0)) == list(range(len(LENGTHS)))
    assert len(LengthGrouped(LENGTHS, 8, 1)) == len(LENGTHS)
    assert sorted(LengthGrouped([5, 6, 7], 8, 1)) == [0, 1, 2]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed, epoch in itertools.product((1, 2), (0, 1))}) == 4
    torch.manual_seed(1)
    one = order(1, 0)
    torch.manual_seed(2)
    assert order(1, 0) == one


def test_batches_hold_like_lengths_and_come_in_no_order() -> None:
    places = order(1, 0)
    batches = [[LENGTHS[place] for place in places[start : start + 8]] for start in range(0, 1000, 8)]
    padding = sum(max(batch) * len(batch) - sum(batch) for batch in batches) / sum(map(sum, batches))
    assert padding < 0.06
    means = [sum(batch) / 8 for batch in batches]
    ups = sum(later > earlier for earlier, later in itertools.pairwise(means))
    assert 40 < ups < 85


ROWS = [
    {"prompt": [5, 6, 7], "answer": [8, 9, 1], "label": 1},
    {"prompt": [5], "answer": [9, 1], "label": 0},
    {"prompt": [5, 6], "answer": [4], "label": -1},
]


def test_the_loss_is_on_the_answers_tokens_only() -> None:
    batch = AnswerCollator(pad=3)(ROWS)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 1], [5, 9, 1, 3, 3, 3], [5, 6, 4, 3, 3, 3]]
    x = IGNORED
    assert batch["labels"].tolist() == [[x, x, x, 8, 9, 1], [x, 9, 1, x, x, x], [x, x, 4, x, x, x]]
    assert batch["attention_mask"].sum(1).tolist() == [6, 3, 3]
    assert "token_weights" not in batch


def test_the_labels_token_is_weighted_where_there_is_one() -> None:
    weights = AnswerCollator(pad=3, label_weight=4.0)(ROWS)["token_weights"]
    assert weights.tolist() == [[1, 1, 1, 1, 4, 1], [1, 4, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]


def test_an_empty_list_has_no_order() -> None:
    assert list(LengthGrouped([], 4, 1)) == []
