"""Who may do what."""

from enum import StrEnum


class Scope(StrEnum):
    """Of an API key."""

    CLIENT = "client"
    """Calls, feedback, users' histories, reading the catalogue."""
    ADMIN = "admin"
    """All of that, and changing the catalogue and the adapters."""
