"""The services that routes use, and how a route gets them."""

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
    """All services of the application, made when it starts."""

    tool_calls: ToolCallService
    feedback: FeedbackService
    histories: HistoryService
    catalogue: CatalogueService
    adapters: AdapterServices | None
    """None if no language model is served."""
    keys: KeyService
    idempotency: IdempotencyService
    rate_limits: RateLimitService
    health: HealthService
    metrics: Metrics
    keys_needed: bool
    """False only in demo mode."""


def services(request: Request) -> Services:
    """The services of the application that received the request."""
    state: Services = request.state.services
    return state


async def _services(request: Request) -> Services:
    # Async although nothing is awaited: FastAPI would run a plain function in a thread, which costs more than the call.
    return services(request)


async def _adapters(request: Request) -> AdapterServices:
    found = services(request).adapters
    if found is None:
        raise Conflict(
            "No language model is served, so adapters are not available. Set PETOOL_ENGINE; /readyz shows the "
            "engine's state."
        )
    return found


AdaptersDep = Annotated[AdapterServices, Depends(_adapters)]
ServicesDep = Annotated[Services, Depends(_services)]
