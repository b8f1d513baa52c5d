from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field

from app.adapters.canary import Comparison
from app.adapters.status import Status
from app.api.schemas.common import NO_NUL, Model, is_user_id
from app.domain.adapters import (
    Adapter,
    AdapterState,
    Assignment,
    AuditEvent,
    Canary,
    Operation,
    OperationKind,
    OperationState,
    Replica,
    Served,
)
from app.errors import InvalidRequest

Text = Annotated[str, Field(max_length=512, pattern=NO_NUL)]


class RegisterRequest(Model):
    name: Text = Field(description="The adapter's; with the hash of its files it makes the version.", examples=["sft"])
    path: Text = Field(description="Its directory, below PETOOL_ADAPTERS_SOURCE.", examples=["2026-11/sft"])
    prompt_format: Text | None = Field(None, description="That it was trained on, where it has no petool.json.")
    prompt_tokens: int | None = Field(None, ge=1, le=1_000_000, description="The budget of its prompts, likewise.")


class AdapterModel(Model):
    version: str = Field(examples=["sft@3f2a9c41d07e"])
    name: str
    digest: str = Field(description="SHA-256 of its files; names their directory in the store.")
    state: AdapterState
    base_name: str | None
    base_verified: bool = Field(description="Whether the base's weights were compared with those it was trained for.")
    rank: int
    target_modules: list[str]
    parameters: int
    size_bytes: int
    prompt_format: str
    prompt_tokens: int
    scores: dict[str, Any]
    registered_by: str
    registered_at: datetime
    changed_at: datetime = Field(description="When its state last changed.")

    @classmethod
    def of(cls, adapter: Adapter) -> Self:
        return cls(
            **{
                **vars(adapter),
                "target_modules": list(adapter.target_modules),
                "scores": dict(adapter.scores),
            }
        )


class AdapterList(Model):
    items: list[AdapterModel] = Field(description="The newest first.")


class CanaryRequest(Model):
    percent: float = Field(0.0, ge=0, le=100, description="Of users, by the hash of their id: a user keeps their side.")
    users: list[Text] = Field(default_factory=list, max_length=1_000, description="These users in any case.")

    def checked(self) -> frozenset[str]:
        """The users. Raises InvalidRequest for what is no user's id."""
        wrong = [user for user in self.users if not is_user_id(user)]
        if wrong:
            raise InvalidRequest(f"{wrong[0]!r} is no user's id.")
        return frozenset(self.users)


class ActivateRequest(Model):
    canary: CanaryRequest | None = Field(None, description="For some users only; without, for all.")
    min_score: float | None = Field(
        None, ge=0, le=1, description="The least share of right tools on the evaluation set. Default: as set up."
    )


class StepModel(Model):
    name: str = Field(description="verify, load, probe, evaluate, flip, drain, unload; then done, or failed.")
    at: datetime
    detail: str


class OperationModel(Model):
    id: UUID
    kind: OperationKind
    version: str | None = Field(description="To be served; null: what the settings say.")
    state: OperationState
    steps: list[StepModel]
    flipped: bool = Field(description="Whether it took effect.")
    error: str | None = Field(description="Why it failed; what was served before is served on.")
    actor: str
    started_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, operation: Operation) -> Self:
        return cls(
            id=operation.id,
            kind=operation.kind,
            version=operation.version,
            state=operation.state,
            steps=[StepModel(name=step.name, at=step.at, detail=step.detail) for step in operation.steps],
            flipped=operation.flipped,
            error=operation.error,
            actor=operation.actor,
            started_at=operation.started_at,
            finished_at=operation.finished_at,
        )


class OperationList(Model):
    items: list[OperationModel] = Field(description="The latest first.")


class ServedModel(Model):
    version: str | None = Field(description="null: what the settings say.")
    calls: int
    errors: int = Field(description="Calls that it did not answer with a valid call.")
    error_rate: float | None
    errors_by_kind: dict[str, int] = Field(description="By degraded reason.")
    problems: dict[str, int] = Field(description="The paper's error types in its answers.")
    liked: int
    disliked: int
    accept_rate: float | None = Field(description="liked / (liked + disliked)")
    median_milliseconds: float | None = Field(description="Of the model's time.")

    @classmethod
    def of(cls, served: Served) -> Self:
        return cls(**vars(served), error_rate=served.error_rate, accept_rate=served.accept_rate)


class CanaryModel(Model):
    version: str
    percent: float
    users: list[str]
    since: datetime

    @classmethod
    def of(cls, canary: Canary) -> Self:
        return cls(version=canary.version, percent=canary.percent, users=sorted(canary.users), since=canary.since)


class ComparisonModel(Model):
    canary: CanaryModel
    of_canary: ServedModel
    of_active: ServedModel = Field(description="In the same time, of the other users.")

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        return cls(
            canary=CanaryModel.of(comparison.canary),
            of_canary=ServedModel.of(comparison.of_canary),
            of_active=ServedModel.of(comparison.of_active),
        )


class AssignmentModel(Model):
    generation: int
    active: str | None = Field(description="null: what the settings say.")
    previous: str | None = Field(description="What rollback goes back to.")
    canary: CanaryModel | None
    preparing: str | None
    leaving: str | None
    operation: UUID | None

    @classmethod
    def of(cls, assignment: Assignment) -> Self:
        return cls(
            generation=assignment.generation,
            active=assignment.active,
            previous=assignment.previous,
            canary=CanaryModel.of(assignment.canary) if assignment.canary is not None else None,
            preparing=assignment.preparing,
            leaving=assignment.leaving,
            operation=assignment.operation,
        )


class EngineModel(Model):
    place: str
    up: bool
    adapters: list[str] = Field(description="Loaded and probed.")
    in_flight: int = Field(description="This replica's requests at it.")
    problems: dict[str, str] = Field(description="Why it does not have an adapter that it should have.")


class ReplicaModel(Model):
    id: UUID
    host: str
    process: int
    started_at: datetime
    seen_at: datetime
    alive: bool
    generation: int = Field(description="Of the assignment it serves by.")
    active: str | None
    canary: str | None
    in_use: dict[str, int] = Field(description="Requests at work, by version; the empty one: what the settings say.")
    engines: list[EngineModel]

    @classmethod
    def of(cls, replica: Replica) -> Self:
        report = replica.report
        return cls(
            **{name: value for name, value in vars(replica).items() if name != "report"},
            generation=report.generation,
            active=report.active,
            canary=report.canary,
            in_use=dict(report.in_use),
            engines=[EngineModel(**{**vars(engine), "adapters": list(engine.adapters)}) for engine in report.engines],
        )


class StatusModel(Model):
    assignment: AssignmentModel
    agree: bool = Field(description="Every living replica serves what is assigned, and every engine has it.")
    disagreements: list[str]
    replicas: list[ReplicaModel]

    @classmethod
    def of(cls, status: Status) -> Self:
        return cls(
            assignment=AssignmentModel.of(status.assignment),
            agree=not status.disagreements,
            disagreements=list(status.disagreements),
            replicas=[ReplicaModel.of(replica) for replica in status.replicas],
        )


class EventModel(Model):
    id: int
    at: datetime
    actor: str
    action: str
    version: str | None
    operation: UUID | None
    detail: str

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        return cls(**vars(event))


class EventPage(Model):
    items: list[EventModel] = Field(description="The latest first.")
    next_cursor: str | None
