"""Decisions by the model that the user is assigned to, which a lease keeps loaded meanwhile."""

from dataclasses import replace

from app.adapters.replica import LiveAdapters
from app.decision.decide import decide
from app.decision.fallback import NO_ENGINE, WHY_NO_MODEL, fall_back
from app.decision.policy import Policy
from app.decision.ranking import Ranked
from app.decision.stopwatch import Stopwatch
from app.domain import Decision
from app.errors import AdapterMissing, ModelUnavailable

_RETRY_AFTER_SECONDS = 30


class DecisionService:
    def __init__(self, models: LiveAdapters | None, policy: Policy, *, why_no_model: str = NO_ENGINE) -> None:
        """`policy`: as configured. `why_no_model`: one of `WHY_NO_MODEL`, where `models` is None."""
        self.policy = policy
        self._models = models
        self._why_no_model = why_no_model

    def require_model(self) -> None:
        """Raises `ModelUnavailable` where there is none: for callers who take no degraded answer."""
        if self._models is None:
            raise ModelUnavailable(
                f"{WHY_NO_MODEL[self._why_no_model]} And allow_degraded is false.", retry_after=_RETRY_AFTER_SECONDS
            )

    async def decide(self, ranked: Ranked, policy: Policy, user_id: str, watch: Stopwatch) -> Decision:
        """Laps `hints`, `prompt`, `generate` and `parameters`. Raises `PromptTooLong` (part `instruction`)."""
        if self._models is None:
            return await fall_back(ranked, self._why_no_model, watch)
        decision = await self._decide_once(self._models, ranked, policy, user_id, watch)
        if not isinstance(decision.failure, AdapterMissing):
            return decision
        # The assignment has changed without this replica knowing, or an engine has restarted without the adapter.
        await self._models.look_again()
        return await self._decide_once(self._models, ranked, policy, user_id, watch)

    @staticmethod
    async def _decide_once(
        models: LiveAdapters, ranked: Ranked, policy: Policy, user_id: str, watch: Stopwatch
    ) -> Decision:
        with models.lease(user_id) as lease:
            decision = await decide(ranked, policy, replace(lease.model, user=user_id), watch)
            return replace(decision, asked_adapter=lease.version)
