"""Randomness that depends on names alone: not on the process, the order of work, or the hash seed."""

import hashlib
import random
from collections.abc import Iterable


def rng(*key: object) -> random.Random:
    """A generator of its own for the thing the key names, such as `rng(seed, "user", 17)`.

    Python's Mersenne Twister gives the same numbers on every platform; seeded by a digest, keys that look alike give
    unrelated ones.
    """
    return random.Random(int.from_bytes(_digest(key), "big"))  # noqa: S311 (no secret depends on it)


def shuffled_by_hash(names: Iterable[str], *key: object) -> list[str]:
    """The names in an order that the key decides and no other name does: one more or less moves none of the rest."""
    return sorted(names, key=lambda name: _digest((*key, name)))


def _digest(key: tuple[object, ...]) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")).digest()
