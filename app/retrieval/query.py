"""An instruction often asks for several things, a sentence each: the texts that are searched for."""

import re

MAX_INTENTS = 8
"""Texts embedded for one instruction. What follows goes with the last of them."""

# The end of a sentence, with what closes it, before something that can start one; or a new line. The full stop
# in "v1.2", "example.com" or "e.g. this" is no end.
_BORDER = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\da-z_])|(?<=[。！？])|[\r\n]+")
_WORD = re.compile(r"[^\W_]")


def intents(instruction: str) -> tuple[str, ...]:
    """The instruction's sentences, in order and without repetitions: 1 to `MAX_INTENTS` texts.

    The instruction itself where it has no letter or digit.
    """
    parts = [part.strip() for part in _BORDER.split(instruction) if _WORD.search(part)]
    sentences = list(dict.fromkeys(parts))
    if len(sentences) > MAX_INTENTS:
        sentences[MAX_INTENTS - 1 :] = [" ".join(sentences[MAX_INTENTS - 1 :])]
    return tuple(sentences) or (instruction.strip(),)
