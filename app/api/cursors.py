"""Opaque page marks."""

import base64
import binascii

import orjson

from app.errors import InvalidRequest


def encode(*values: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode(cursor: str, *types: type) -> list[str | int]:
    """The values put in. Raises `InvalidRequest` for anything that `encode` did not make."""
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
        raise InvalidRequest("This cursor was not made by this service; take next_cursor as it came, or none.")
    return values
