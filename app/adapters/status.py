"""What each replica and engine serves, and whether they agree."""

from dataclasses import dataclass
from uuid import UUID

from app.adapters.operation_steps import GONE
from app.db.database import Database
from app.domain.adapters import Assignment, Replica


@dataclass(frozen=True)
class Status:
    assignment: Assignment
    replicas: tuple[Replica, ...]
    disagreements: tuple[str, ...]
    """Empty where every replica that is alive serves what is assigned, and every engine has it."""


class StatusService:
    def __init__(self, database: Database, replica: UUID) -> None:
        """`replica`: this one's id."""
        self._database = database
        self.replica = replica

    async def status(self) -> Status:
        async with self._database.statement() as work:
            assignment = await work.adapters.assignment()
            replicas = await work.replicas.all(GONE)
        # One that is gone serves nobody: without PostgreSQL it could not, either.
        living = [replica for replica in replicas if replica.alive]
        disagreements = [line for replica in living for line in _disagreements(assignment, replica)]
        return Status(assignment, tuple(replicas), tuple(disagreements))


def _disagreements(assignment: Assignment, replica: Replica) -> list[str]:
    name = f"{replica.host}:{replica.process}"
    found: list[str] = []
    report = replica.report
    canary = assignment.canary.version if assignment.canary is not None else None
    if (report.active, report.canary) != (assignment.active, canary):
        found.append(
            f"{name} serves {_shown(report.active)} (canary {_shown(report.canary)}), "
            f"not {_shown(assignment.active)} (canary {_shown(canary)})."
        )
    for engine in report.engines:
        if not engine.up:
            found.append(f"{name} cannot reach the engine {engine.place}.")
            continue
        for version in sorted(assignment.wanted - set(engine.adapters)):
            reason = engine.problems.get(version, "it is being loaded")
            found.append(f"{engine.place} does not serve {version} to {name}: {reason}")
    return found


def _shown(version: str | None) -> str:
    return version or "what the settings say"
