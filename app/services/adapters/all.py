"""All the services of adapters, as routes and background jobs take them."""

from dataclasses import dataclass

from app.inference.adapter_store import AdapterStore
from app.services.adapters.canary import CanaryService
from app.services.adapters.live import LiveAdapters
from app.services.adapters.operations import AdapterOperations
from app.services.adapters.registry import AdapterRegistry
from app.services.adapters.status import StatusService


@dataclass(frozen=True)
class AdapterServices:
    live: LiveAdapters
    store: AdapterStore
    registry: AdapterRegistry
    operations: AdapterOperations
    canary: CanaryService
    status: StatusService
