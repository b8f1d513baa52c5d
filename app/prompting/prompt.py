"""A built prompt, what it is made of, and the order of its candidates."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.domain import Candidate, Json
from app.prompting.documents import Detail


@dataclass(frozen=True)
class PromptUsage:
    """Tokens by part; the five parts add up to `total`, which is never above `budget`."""

    total: int
    template: int
    """The chat template's own."""
    format: int
    """Task, output format and headings."""
    history: int
    candidates: int
    instruction: int
    history_kept: int
    """Interactions in the prompt."""
    history_dropped: int
    documents: Detail
    budget: int

    def as_json(self) -> dict[str, Json]:
        return {**asdict(self), "documents": self.documents.value}


@dataclass(frozen=True)
class Prompt:
    token_ids: tuple[int, ...]
    """Chat template included; what follows them is the answer."""
    messages: tuple[dict[str, str], ...]
    """The same as `role` and `content`, for chat endpoints. Only of `token_ids` it is certain that no data became a
    special token: what a server makes of these texts is its own."""
    labels: tuple[str, ...]
    """Of the candidates, in their order; empty in formats without."""
    label_ids: tuple[int, ...]
    usage: PromptUsage
    stable_tokens: int
    """So many tokens from the start stay as they are while the user's history only grows and all of it fits."""


def prompt_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By a hash of the name: gives away no rank, does not depend on the instruction, and is always the same."""
    return sorted(candidates, key=lambda candidate: (_hash(candidate.tool.name), candidate.tool.name))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
