import json
from collections.abc import Mapping

from fastapi import APIRouter, Request

from app.api.auth import Client
from app.api.idempotency import IdempotentRoute
from app.api.middleware import disconnected
from app.api.problems import responses
from app.api.schemas.common import ToolCallModel, UserId
from app.api.schemas.tool_calls import (
    AnswerProblemModel,
    CandidateModel,
    DegradedModel,
    EvidenceModel,
    FeedbackRequest,
    FeedbackResponse,
    OpenAIFunction,
    OpenAIToolCall,
    PromptUsageModel,
    ToolCallRequest,
    ToolCallResponse,
    UsageModel,
)
from app.api.state import ServicesDep
from app.catalogue.openai import openai_name
from app.decision.fallback import DEGRADED
from app.domain import Decision, Json, ToolCall
from app.services.tool_calls import CallRequest

router = APIRouter(tags=["tool calls"], route_class=IdempotentRoute, dependencies=[Client])


@router.post(
    "/users/{user_id}/tool-call",
    summary="Choose the tool and fill in its parameters",
    responses=responses(400, 401, 409, 413, 415, 422, 429, 502, 503),
)
async def tool_call(
    user_id: UserId, request: ToolCallRequest, services: ServicesDep, http: Request
) -> ToolCallResponse:
    """Chooses, among the tools that can do what the instruction asks, the one that this user prefers by their history,
    and fills in its parameters.
    """
    decision = await services.tool_calls.call(
        CallRequest(
            user_id=user_id,
            instruction=request.instruction,
            history_setting=request.history_setting,
            candidate_names=request.candidates,
            inline_tools=request.tools,
            n_candidates=request.n_candidates,
            allow_degraded=request.allow_degraded,
            dry_run=request.dry_run,
            decision=request.decision,
            timeout=request.timeout_seconds,
            abandoned=lambda: disconnected(http),
        )
    )
    services.metrics.tool_call(decision)
    return _response(decision, request.dry_run)


@router.post(
    "/feedback",
    summary="Rate or correct a call",
    responses=responses(400, 401, 404, 409, 413, 422, 503),
)
async def feedback(request: FeedbackRequest, services: ServicesDep) -> FeedbackResponse:
    """Stores the rating, and the corrected call if there is one, and adds both to the user's history at once. Sent
    again for the same call, it replaces what was stored.
    """
    corrected = request.corrected_tool_call
    receipt = await services.feedback.put(
        request.call_id,
        request.rating,
        comment=request.comment,
        corrected=ToolCall(corrected.tool_name, corrected.parameters) if corrected is not None else None,
    )
    services.metrics.feedback(receipt.rating.value)
    return FeedbackResponse(call_id=receipt.call_id, user_id=receipt.user_id, rating=receipt.rating)


def _response(decision: Decision, dry_run: bool) -> ToolCallResponse:
    # Built without validation, to save time: every value comes from typed objects.
    return ToolCallResponse.model_construct(
        call_id=decision.call_id,
        user_id=decision.user_id,
        tool_call=_call(decision.tool_call),
        tool_calls=[_openai(decision)],
        missing_parameters=list(decision.missing_parameters),
        candidates=[
            CandidateModel.model_construct(
                tool_name=candidate.tool.name,
                score=round(candidate.score, 4),
                relevance=round(candidate.relevance, 4),
                preference=round(candidate.preference, 4),
                probability=round(candidate.probability, 4) if candidate.probability is not None else None,
            )
            for candidate in decision.candidates
        ],
        evidence=[
            EvidenceModel.model_construct(
                interaction_id=item.interaction.id,
                tool_name=item.interaction.tool_call.tool_name,
                instruction=item.interaction.instruction,
                rating=item.interaction.rating,
                occurred_at=item.interaction.occurred_at,
                effect=round(item.effect, 4),
                reason=item.reason,
            )
            for item in decision.evidence
        ],
        history_setting=decision.history_setting,
        decided_by=decision.decided_by,
        engine=decision.engine,
        model=decision.adapter,
        problems=[
            AnswerProblemModel.model_construct(kind=item.kind, parameter=item.parameter, reason=item.reason)
            for item in decision.problems
        ],
        usage=_usage(decision.usage),
        timings=dict(decision.timings),
        degraded=decision.degraded_reason is not None,
        degraded_reason=_degraded(decision.degraded_reason),
        dry_run=dry_run,
        created_at=decision.created_at,
    )


def _usage(usage: Mapping[str, Json]) -> UsageModel:
    prompt = usage.get("prompt")
    parts = PromptUsageModel.model_construct(**prompt) if prompt is not None else None
    return UsageModel.model_construct(**{**usage, "prompt": parts})


def _call(call: ToolCall) -> ToolCallModel:
    return ToolCallModel.model_construct(tool_name=call.tool_name, parameters=dict(call.parameters))


def _openai(decision: Decision) -> OpenAIToolCall:
    return OpenAIToolCall.model_construct(
        id=f"call_{decision.call_id.hex}",
        type="function",
        function=OpenAIFunction.model_construct(
            name=openai_name(decision.tool_call.tool_name),
            arguments=json.dumps(dict(decision.tool_call.parameters), ensure_ascii=False),
        ),
    )


def _degraded(reason: str | None) -> DegradedModel | None:
    return DegradedModel.model_construct(reason=reason, detail=DEGRADED[reason]) if reason is not None else None
