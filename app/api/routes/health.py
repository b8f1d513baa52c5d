from fastapi import APIRouter, Response
from pydantic import Field

from app.api.problems import responses
from app.api.schemas.common import Model
from app.api.state import ServicesDep

router = APIRouter(tags=["health"])


class Health(Model):
    status: str


class Readiness(Health):
    tools: int
    catalogue_revision: int
    engine: str = Field(
        description="State of the language model's engine: ready, unavailable (calls are degraded) or none."
    )
    engine_detail: str | None = Field(None, description="Why the shipped model could not be loaded at the start.")


@router.get("/healthz", summary="Liveness: the process runs")
async def healthz() -> Health:
    return Health(status="ok")


@router.get("/readyz", summary="Readiness: this replica can answer", responses=responses(503))
async def readyz(services: ServicesDep) -> Readiness:
    tools, revision = await services.health.check()
    engine = await services.health.engine()
    return Readiness(
        status="ready",
        tools=tools,
        catalogue_revision=revision,
        engine=engine,
        engine_detail=services.health.fault or None,
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesDep) -> Response:
    tools, revision = services.health.index()
    services.metrics.tools.set(tools)
    services.metrics.revision.set(revision)
    services.metrics.engine_ready.set(await services.health.engine() == "ready")
    if services.adapters is not None:
        live = services.adapters.live
        services.metrics.adapters(live.report(), live.assignment.wanted)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
