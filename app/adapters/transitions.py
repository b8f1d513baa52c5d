"""What an operation makes of the assignment; pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from app.domain.adapters import AdapterState, Assignment, Canary, Operation, OperationKind


def flipped(operation: Operation, now: Assignment, at: datetime) -> Assignment:
    """Users are given to the operation's version; in an abort, no more."""
    ready = replace(now, preparing=None)
    match operation.kind:
        case OperationKind.ACTIVATE | OperationKind.ROLLBACK:
            return _active(ready, operation.version)
        case OperationKind.PROMOTE:
            return replace(_active(ready, operation.version), canary=None)
        case OperationKind.ABORT:
            return replace(ready, canary=None, leaving=operation.version)
        case OperationKind.CANARY:
            assert operation.version is not None
            is_running = now.canary is not None and now.canary.version == operation.version
            since = now.canary.since if is_running and now.canary is not None else at
            options = operation.options
            return replace(
                ready,
                canary=Canary(operation.version, float(options["percent"]), frozenset(options["users"]), since),
            )


def _active(now: Assignment, version: str | None) -> Assignment:
    return replace(now, active=version, previous=now.active, has_previous=True, leaving=now.active)


def released(now: Assignment) -> Assignment:
    """The engines are to have what users are given to, and no more."""
    return replace(now, preparing=None, leaving=None)


def states_after(before: Assignment, after: Assignment) -> Mapping[str, AdapterState]:
    """Of the versions whose state a flip changes."""
    states: dict[str, AdapterState] = {}
    if after.leaving is not None:
        states[after.leaving] = AdapterState.DRAINING
    if after.active is not None and after.active != before.active:
        states[after.active] = AdapterState.ACTIVE
    if after.canary is not None:
        states[after.canary.version] = AdapterState.CANARY
    return states
