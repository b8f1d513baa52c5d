"""What an API key allows."""

from enum import StrEnum


class Scope(StrEnum):
    """Scope of an API key."""

    CLIENT = "client"
    """Allows calls, feedback, users' histories and reading the catalogue."""
    ADMIN = "admin"
    """Allows everything, also changing the catalogue and the adapters."""
