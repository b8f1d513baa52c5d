"""All the services of adapters, as routes and background jobs take them."""

from dataclasses import dataclass

from app.adapters.canary import CanaryService
from app.adapters.operations import AdapterOperations
from app.adapters.registry import AdapterRegistry
from app.adapters.replica import LiveAdapters
from app.adapters.status import StatusService
from app.adapters.store import AdapterStore


@dataclass(frozen=True)
class AdapterServices:
    live: LiveAdapters
    store: AdapterStore
    registry: AdapterRegistry
    operations: AdapterOperations
    canary: CanaryService
    status: StatusService
