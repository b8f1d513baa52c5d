"""An instruction often asks for several things, a sentence each: the texts that are searched for."""

import re

MAX_SENTENCES = 8
"""Sentences searched for on their own; what follows them still counts in the instruction as a whole."""

# After the end of a sentence, a new line, or a semicolon. A full stop inside "v1.2", "example.com" or "e.g. this" is none.
_BORDER = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\da-z_])|(?<=[。！？])|[\r\n]+")
_WORD = re.compile(r"[^\W_]")


def sentences(instruction: str) -> list[str]:
    """The instruction's sentences that hold a letter or a digit, in order."""
    return [part.strip() for part in _BORDER.split(instruction) if _WORD.search(part)]


def intents(instruction: str) -> tuple[str, ...]:
    """Texts to embed and search for: each sentence, then the whole instruction; only the whole if it is one sentence.

    Never empty; at most `MAX_SENTENCES + 1`, without repetitions.
    """
    parts = list(dict.fromkeys(sentences(instruction)))
    if len(parts) < 2:
        return (instruction.strip(),)
    return (*parts[:MAX_SENTENCES], instruction.strip())
