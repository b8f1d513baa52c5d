"""What the lifespan hands to the routes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.adapters.services import AdapterServices
from app.api.metrics import Metrics
from app.errors import Conflict
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
    adapters: AdapterServices | None
    """None where no model is served."""
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


async def _adapters(request: Request) -> AdapterServices:
    found = services(request).adapters
    if found is None:
        raise Conflict("No language model is served, so there is none to adapt; see PETOOL_ENGINE and /readyz.")
    return found


AdaptersDep = Annotated[AdapterServices, Depends(_adapters)]
ServicesDep = Annotated[Services, Depends(_services)]
