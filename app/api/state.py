"""What the lifespan hands to the routes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.metrics import Metrics
from app.services.catalogue import CatalogueService
from app.services.feedback import FeedbackService
from app.services.health import HealthService
from app.services.histories import HistoryService
from app.services.idempotency import IdempotencyService
from app.services.keys import KeyService
from app.services.rate_limits import RateLimitService
from app.services.tool_calls import ToolCallService


@dataclass(frozen=True)
class Services:
    tool_calls: ToolCallService
    feedback: FeedbackService
    histories: HistoryService
    catalogue: CatalogueService
    keys: KeyService
    idempotency: IdempotencyService
    rate_limits: RateLimitService
    health: HealthService
    metrics: Metrics
    keys_needed: bool
    """False only in demo mode."""


def services(request: Request) -> Services:
    state: Services = request.state.services
    return state


async def _services(request: Request) -> Services:
    # Async although nothing is awaited: FastAPI takes a plain function to a thread, which costs more than it does.
    return services(request)


ServicesDep = Annotated[Services, Depends(_services)]
