"""Names under which prompts, schemas and answers call tools and parameters."""

import hashlib
import re

_UNWRITABLE = re.compile("[\x7f\ud800-\udfff]")
_REFUSED = frozenset({"patternProperties"})
"""Names that vLLM takes for a keyword that its guidance backend lacks, wherever they stand in a schema."""
_DIGITS = 12


def is_writable(name: str) -> bool:
    """Whether every grammar can write the name, and vLLM takes it for one.

    None can write half of a surrogate pair; DEL is escaped by xgrammar and not by llguidance.
    """
    return name not in _REFUSED and _UNWRITABLE.search(name) is None


def alias(name: str) -> str:
    """The name that stands for a tool or parameter in the prompt, the schema and the answer.

    It is the name itself, whatever its characters, if every grammar can write it (`is_writable`); else the name's
    readable part (`[a-zA-Z0-9_-]`) with 12 hexadecimal digits of its SHA-256, at most 64 characters. To get back,
    compare with the aliases of the names at hand.
    """
    if is_writable(name):
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    readable = re.sub("[^a-zA-Z0-9-]+", "_", name).strip("_")[: 64 - _DIGITS - 1]
    return f"{readable}_{digits}" if readable else f"name_{digits}"
