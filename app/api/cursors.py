"""Cursors: opaque texts that mark where a list's next page begins."""

import base64
import binascii

import orjson

from app.errors import InvalidRequest


def encode(*values: str | int) -> str:
    """The values as a cursor, in characters that a URL allows."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode(cursor: str, *types: type) -> list[str | int]:
    """The values of a cursor. Raises `InvalidRequest` for a text that `encode` did not make of such values."""
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if (
        not isinstance(values, list)
        or len(values) != len(types)
        or not all(type(value) is kind for value, kind in zip(values, types, strict=True))
        # What PostgreSQL's bigint holds.
        or not all(0 <= value < 2**63 for value in values if isinstance(value, int))
    ):
        raise InvalidRequest("This cursor was not made by this service; send next_cursor unchanged, or leave it out.")
    return values
