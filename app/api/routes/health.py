from fastapi import APIRouter, Response

from app.api.problems import responses
from app.api.schemas.common import Model
from app.api.state import ServicesDep

router = APIRouter(tags=["health"])


class Health(Model):
    status: str


class Readiness(Health):
    tools: int
    catalogue_revision: int


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    return Health(status="ok")


@router.get("/readyz", summary="Can it answer?", responses=responses(503))
async def readyz(services: ServicesDep) -> Readiness:
    tools, revision = await services.health.check()
    return Readiness(status="ready", tools=tools, catalogue_revision=revision)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesDep) -> Response:
    tools, revision = services.health.index()
    services.metrics.tools.set(tools)
    services.metrics.revision.set(revision)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
