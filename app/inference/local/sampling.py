"""Choosing the next tokens from logits, within what the grammars allow."""

from collections.abc import Sequence

import numpy as np
import torch
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from app.inference.local.rows import Row


def choose(rows: Sequence[Row], rows_logits: Sequence[torch.Tensor], generator: torch.Generator) -> list[int]:
    """One token a row from its logits (vocabulary,): the most probable, or drawn where the temperature is above 0.

    The generator is the CPU's.
    """
    if not rows:
        return []
    logits = torch.stack(list(rows_logits))
    allowed = _allowed(rows, logits.shape[1])
    if allowed is not None:
        logits = logits.masked_fill(~allowed.to(logits.device), -torch.inf)
    tokens: list[int] = logits.argmax(-1).tolist()
    for index, row in enumerate(rows):
        if row.request.temperature > 0:
            # In double precision and from 0 down, so that no temperature, however small, makes it overflow.
            own = logits[index].double().cpu()
            weights = torch.softmax((own - own.max()) / row.request.temperature, -1)
            tokens[index] = int(torch.multinomial(weights, 1, generator=generator))
    return tokens


def _allowed(rows: Sequence[Row], vocabulary: int) -> torch.Tensor | None:
    """(rows, vocabulary), True for what may come next; None where no row has a grammar."""
    if all(row.ticket.matcher is None for row in rows):
        return None
    bits = allocate_token_bitmask(len(rows), vocabulary)
    for index, row in enumerate(rows):
        if row.ticket.matcher is not None:
            fill_next_token_bitmask(row.ticket.matcher, bits, index)
    return torch.from_numpy(np.unpackbits(bits.view(np.uint8), axis=1, count=vocabulary, bitorder="little")).bool()
