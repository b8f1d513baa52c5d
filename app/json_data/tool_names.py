"""Names of tools and parameters as they stand in prompts, schemas and answers."""

import hashlib
import re

_UNWRITABLE = re.compile("[\x7f\ud800-\udfff]")
_REFUSED = frozenset({"patternProperties"})
"""Names that vLLM takes for a keyword which its guidance backend does not know, wherever in a schema they stand."""
_DIGITS = 12


def is_writable(name: str) -> bool:
    """Whether every grammar can write the name: no half of a surrogate pair, no DEL, which llguidance writes as it is
    and xgrammar escapes; and vLLM takes it for a name."""
    return name not in _REFUSED and _UNWRITABLE.search(name) is None


def alias(name: str) -> str:
    """The name that stands for a tool or parameter in the prompt, the schema and the answer.

    The name itself, whatever characters it has, except where not every grammar can write it (`is_writable`): then
    its readable part (`[a-zA-Z0-9_-]`, at most 64 characters) and 12 hexadecimal digits of its SHA-256. The way back
    is to compare with the aliases of the names at hand.
    """
    if is_writable(name):
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    readable = re.sub("[^a-zA-Z0-9-]+", "_", name).strip("_")[: 64 - _DIGITS - 1]
    return f"{readable}_{digits}" if readable else f"name_{digits}"
