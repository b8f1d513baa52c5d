"""LoRA adapters as the service knows them: versions, who is served which, operations, what replicas report."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain import Json

NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
"""Of an adapter, without `@` and the hash that make it a version."""
CONFIGURED = "configured"
"""Stands for what the settings say: the model, or adapter, that is served while no registered one is active."""
RESERVED = frozenset({CONFIGURED, "canary", "rollback"})
"""Names that paths of the API have."""
_VERSION = re.compile(rf"{NAME}@[0-9a-f]{{12}}")
_SHARES = 10_000


class AdapterState(StrEnum):
    REGISTERED = "registered"
    """Checked and stored."""
    LOADED = "loaded"
    """On the engines, or on the way there; not asked by users."""
    CANARY = "canary"
    """Some users' answers are its."""
    ACTIVE = "active"
    DRAINING = "draining"
    """Nobody is newly given to it; requests in flight end."""
    RETIRED = "retired"
    """Off the engines, and may be activated again."""


@dataclass(frozen=True)
class Adapter:
    """One immutable version of an adapter."""

    version: str
    """`name@hash12`: the engines' name for it, never given to other weights."""
    name: str
    digest: str
    """Of its files (`app.adapters.store`): its directory's name."""
    state: AdapterState
    base_name: str | None
    base_verified: bool
    """Whether the base's weights were compared by their hash; False where manifest or weights were not there."""
    rank: int
    target_modules: tuple[str, ...]
    parameters: int
    size_bytes: int
    prompt_format: str
    prompt_tokens: int
    scores: Mapping[str, Json]
    """What its manifest tells of its evaluation."""
    registered_by: str
    registered_at: datetime
    changed_at: datetime
    """Of its state."""


def version_of(name: str, digest: str) -> str:
    return f"{name}@{digest[:12]}"


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


@dataclass(frozen=True)
class Canary:
    """A version that some users are served, to be compared with the active one."""

    version: str
    percent: float
    """Of users, 0 to 100, by the hash of version and user id: whoever is in stays in when it is raised."""
    users: frozenset[str]
    """These in any case."""
    since: datetime

    def serves(self, user_id: str) -> bool:
        if user_id in self.users:
            return True
        digest = hashlib.sha256(f"{self.version}\0{user_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % _SHARES < self.percent * _SHARES / 100


@dataclass(frozen=True)
class Assignment:
    """Who is to be served what: one row in PostgreSQL, followed by every replica."""

    generation: int = 0
    """Goes up with every change."""
    active: str | None = None
    """None: what the settings say."""
    previous: str | None = None
    """What rollback goes back to."""
    has_previous: bool = False
    canary: Canary | None = None
    preparing: str | None = None
    """To be loaded and probed everywhere before anyone is served it."""
    leaving: str | None = None
    """To be served to nobody, and kept on the engines until all requests for it have ended."""
    operation: UUID | None = None
    """The one that is at work; no other begins before it ends."""

    def version_for(self, user_id: str) -> str | None:
        return self.canary.version if self.canary is not None and self.canary.serves(user_id) else self.active

    @property
    def wanted(self) -> frozenset[str]:
        """What the engines are to have."""
        canary = self.canary.version if self.canary is not None else None
        given = (self.active, canary, self.preparing, self.leaving)
        return frozenset(version for version in given if version is not None)

    def uses(self, version: str) -> bool:
        return version in self.wanted


class OperationKind(StrEnum):
    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    CANARY = "canary"
    PROMOTE = "promote"
    ABORT = "abort"


class OperationState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """What was served before is served on."""


@dataclass(frozen=True)
class Step:
    name: str
    """verify, load, probe, evaluate, flip, drain, unload; then done or failed."""
    at: datetime
    detail: str = ""


@dataclass(frozen=True)
class Operation:
    """A change of what is served, from its claim to its end."""

    id: UUID
    kind: OperationKind
    version: str | None
    """To be served; None: what the settings say."""
    state: OperationState
    steps: tuple[Step, ...]
    actor: str
    started_at: datetime
    options: Mapping[str, Json] = field(default_factory=dict)
    flipped: bool = False
    """Whether users are given to `version` (in an abort: no more): from here on it is finished, not undone."""
    error: str | None = None
    finished_at: datetime | None = None
    replica: UUID | None = None
    """Who works on it, for as long as its lease lasts."""


@dataclass(frozen=True)
class EngineReport:
    """An engine as one replica sees it."""

    place: str
    up: bool
    adapters: tuple[str, ...]
    """Loaded and probed, by the replica's own looking."""
    in_flight: int
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why it does not have an adapter that it should have, by version."""


@dataclass(frozen=True)
class ReplicaReport:
    """What one replica serves; it tells this in PostgreSQL every second, and at every change."""

    generation: int
    """Of the assignment it serves by."""
    active: str | None
    canary: str | None
    in_use: Mapping[str, int]
    """Requests at work by version."""
    engines: tuple[EngineReport, ...]


@dataclass(frozen=True)
class Replica:
    id: UUID
    host: str
    process: int
    started_at: datetime
    seen_at: datetime
    alive: bool
    """Seen within the time after which it counts as gone."""
    report: ReplicaReport


@dataclass(frozen=True)
class AuditEvent:
    id: int
    at: datetime
    actor: str
    action: str
    version: str | None
    operation: UUID | None
    detail: str


@dataclass(frozen=True)
class Served:
    """How users fared with one version."""

    version: str | None
    calls: int
    errors: int
    """Calls that the version did not answer with a valid call: `errors_by_kind` added up."""
    errors_by_kind: Mapping[str, int]
    """By `degraded_reason`; faults of the engine that say nothing of an adapter are left out."""
    problems: Mapping[str, int]
    """The paper's error types in its answers."""
    liked: int
    disliked: int
    median_milliseconds: float | None
    """Of the model's time."""

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.calls if self.calls else None

    @property
    def accept_rate(self) -> float | None:
        rated = self.liked + self.disliked
        return self.liked / rated if rated else None
