"""Every error that this service raises on purpose, as one tree.

    PEToolError
    ├── RequestError                a mistake of the caller: 4xx
    │   ├── MalformedRequest        400  not JSON, or not readable at all
    │   ├── Unauthenticated         401  no key, or one that is not valid
    │   ├── Forbidden               403  a valid key that lacks the scope
    │   ├── NotFound                404  no such tool, call, user or interaction
    │   ├── Conflict                409  the service's state does not allow it
    │   │   └── EmptyCatalogue      409  there is no tool to call yet
    │   ├── BodyTooLarge            413
    │   ├── InvalidRequest          422  readable, but its content is not acceptable
    │   │   ├── UnknownTools        422  names that are not in the catalogue
    │   │   ├── InvalidAdapter      422  a LoRA adapter that cannot be served, with the reason
    │   │   └── PromptTooLong       422  instruction or candidates do not fit the prompt's budget
    │   ├── RateLimited             429  (retry_after)
    │   └── CallerGone              499  the connection was closed before the answer was there
    ├── Unavailable                 503  (retry_after) a part that the service needs is not reachable
    │   ├── ModelUnavailable        503  no engine is configured, and the caller wants no degraded answer
    │   └── EngineError             503  an engine gave no answer; `reason` is the answer's degraded_reason
    │       ├── EngineDown           not reachable, or the connection broke
    │       │   └── EngineFailed     it answered with an error of its own
    │       ├── EngineOverloaded     too many requests wait already
    │       ├── EngineTimeout        the deadline passed
    │       └── EngineRefused        it does not accept this request, for its schema or length
    │           └── AdapterMissing   the engine has not loaded the adapter
    ├── InvalidAnswer               502  the model answered, but not with a valid call; `text` is the answer
    ├── DocumentError               one tool document that cannot be imported, with the reason
    └── SetupError                  a mistake of the operator: settings, files, data directory

`status` and `type` are the HTTP status and the stable problem type (RFC 9457) of the class; `extra` holds
members that the problem document carries beside `detail`.
"""

from typing import Any, ClassVar


class PEToolError(Exception):
    """Base of all errors raised on purpose. `detail` says what happened and what to do about it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which a retry makes sense; None if a retry does not help."""
        self.extra = extra


class RequestError(PEToolError):
    status = 400
    type = "bad-request"
    title = "Bad request"


class MalformedRequest(RequestError):
    type = "malformed-request"
    title = "Malformed request"


class Unauthenticated(RequestError):
    status = 401
    type = "unauthenticated"
    title = "A valid API key is needed"


class Forbidden(RequestError):
    status = 403
    type = "forbidden"
    title = "This API key may not do that"


class NotFound(RequestError):
    status = 404
    type = "not-found"
    title = "Not found"


class Conflict(RequestError):
    status = 409
    type = "conflict"
    title = "Conflict"


class EmptyCatalogue(Conflict):
    type = "empty-catalogue"
    title = "The catalogue has no tools"


class BodyTooLarge(RequestError):
    status = 413
    type = "body-too-large"
    title = "Request body too large"


class InvalidRequest(RequestError):
    status = 422
    type = "invalid-request"
    title = "Invalid request"


class UnknownTools(InvalidRequest):
    type = "unknown-tools"
    title = "Unknown tools"


class InvalidAdapter(InvalidRequest):
    type = "invalid-adapter"
    title = "This adapter cannot be served"


class PromptTooLong(InvalidRequest):
    """Instruction or candidates do not fit the prompt budget.

    `extra` has `part` (`instruction` or `candidates`), its number of `tokens`, and the `budget` in tokens.
    """

    type = "prompt-too-long"
    title = "The prompt would exceed its budget"


class RateLimited(RequestError):
    status = 429
    type = "rate-limited"
    title = "Too many requests"


class CallerGone(RequestError):
    """The caller closed the connection before the answer was ready. The status appears in the log only."""

    status = 499
    type = "caller-gone"
    title = "The caller closed the connection"


class Unavailable(PEToolError):
    status = 503
    type = "unavailable"
    title = "Temporarily unavailable"


class ModelUnavailable(Unavailable):
    type = "model-unavailable"
    title = "No model can answer"


class EngineError(Unavailable):
    type = "model-unavailable"
    title = "No model can answer"
    reason: ClassVar[str] = "engine_unavailable"
    wait: ClassVar[int] = 1
    """Seconds: the `retry_after` of an error that was raised without one."""

    def __init__(self, detail: str, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail, retry_after=self.wait if retry_after is None else retry_after, **extra)


class EngineDown(EngineError):
    """The engine is not reachable, or the connection to it broke."""


class EngineFailed(EngineDown):
    """The engine answered with an error. The cause may be the request or the engine; the error does not tell which."""


class EngineOverloaded(EngineError):
    reason = "engine_overloaded"


class EngineTimeout(EngineError):
    reason = "engine_timeout"


class EngineRefused(EngineError):
    reason = "engine_refused"
    # A retry does not help before an operator changes the engine's configuration.
    wait = 30


class AdapterMissing(EngineRefused):
    """The engine has not loaded the adapter. Reconciliation loads it within seconds; another engine may have it."""

    reason = "engine_unavailable"
    wait = 1


class InvalidAnswer(PEToolError):
    """The model's answer is not a valid call.

    `kind` is one of the paper's error types, such as `tool_hallucination`; `text` is what the model wrote.
    """

    status = 502
    type = "invalid-answer"
    title = "The model's answer is not a valid call"
    reason: ClassVar[str] = "invalid_answer"

    def __init__(self, detail: str, *, kind: str, text: str) -> None:
        super().__init__(detail, error_type=kind)
        self.kind = kind
        self.text = text


class DocumentError(PEToolError):
    """One tool document that cannot be imported; `detail` is the reason shown to whoever imports it."""

    status = 422
    type = "invalid-document"
    title = "Invalid tool document"


class SetupError(PEToolError):
    """The operator has to correct a setting or a file before the service can run."""
