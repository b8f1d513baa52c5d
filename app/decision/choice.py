"""Which candidate is called: the model's choice alone, or the model's and the preference ranker's combined."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.answers.reading import Answer
from app.decision.model import PromptedModel, Written
from app.decision.policy import Policy
from app.decision.ranking import Ranked
from app.domain import Candidate, DecisionRule, Tool

_SCALE = 0.1
"""Ranker scores that differ by this much weigh as much as probabilities that differ by a factor of e."""
_NOISE = 0.05
"""Of log-probabilities that two passes of a model give: the likelier of two by less is not told apart."""


@dataclass(frozen=True)
class Choice:
    tool: Tool | None
    """None where the model wrote no call of a candidate, and nothing else chose."""
    decided_by: DecisionRule
    candidates: tuple[Candidate, ...]
    """Best first by the ranker, with the model's probabilities where the engine tells them; less those that the prompt
    had no room for."""
    written: Written
    """The model's own call, perhaps of another tool."""


async def choose(prompted: PromptedModel, ranked: Ranked, policy: Policy) -> Choice:
    """Ask the model for a call and, where the policy says so, weigh its choice against the ranker's.

    Raises EngineError.
    """
    written = await prompted.write_call()
    tools = [candidate.tool for candidate in prompted.candidates]
    own = written.answer.tool if isinstance(written.answer, Answer) else None
    logprobs = label_logprobs(
        written.generation.label_logprobs, prompted.prompt.label_ids, None if own is None else tools.index(own)
    )
    candidates = _with_probabilities(ranked.candidates, prompted.candidates, logprobs)
    if policy.chooser is not DecisionRule.FUSED or logprobs is None:
        # An engine that tells no probabilities leaves nothing to combine.
        return Choice(own, DecisionRule.MODEL, candidates, written)
    scores = fuse(logprobs, [candidate.score for candidate in prompted.candidates], policy.fusion_weight)
    return Choice(tools[scores.index(max(scores))], DecisionRule.FUSED, candidates, written)


def label_logprobs(
    by_token: Mapping[int, float] | None, labels: Sequence[int], chosen: int | None = None
) -> list[float] | None:
    """The log-probability of each label's token, in their order; None where not all are known, or there are no labels.

    `chosen`: position of the label that the answer names. Where that is not the likeliest, the figures belong to
    another place in the answer that looks like a label, the choice itself having been written in other tokens: None
    too.
    """
    if not by_token or not labels or any(label not in by_token for label in labels):
        return None
    logprobs = [by_token[label] for label in labels]
    if chosen is not None and logprobs[chosen] < max(logprobs) - _NOISE:
        return None
    return logprobs


def probabilities(logprobs: Sequence[float]) -> list[float]:
    """Of log-probabilities over more than these alternatives, the probabilities among these."""
    highest = max(logprobs)
    weights = [math.exp(value - highest) for value in logprobs]
    total = sum(weights)
    return [weight / total for weight in weights]


def fuse(logprobs: Sequence[float], scores: Sequence[float], weight: float) -> list[float]:
    """`(1 - weight) * log p(candidate) + weight * score(candidate) / 0.1`: the highest is the choice.

    `weight` 0 is the model alone, 1 the ranker alone. A product of experts: both are read as log-probabilities up to a
    constant, so that either can veto what it is sure of.
    """
    return [(1 - weight) * logprob + weight * score / _SCALE for logprob, score in zip(logprobs, scores, strict=True)]


def _with_probabilities(
    candidates: Sequence[Candidate], in_prompt: Sequence[Candidate], logprobs: Sequence[float] | None
) -> tuple[Candidate, ...]:
    """Those of `candidates` that are in the prompt, in their own order; `logprobs` in the prompt's."""
    known: Sequence[float | None] = [None] * len(in_prompt) if logprobs is None else probabilities(logprobs)
    by_name = dict(zip((candidate.tool.name for candidate in in_prompt), known, strict=True))
    return tuple(replace(each, probability=by_name[each.tool.name]) for each in candidates if each.tool.name in by_name)
