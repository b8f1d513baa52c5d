"""Settings, read once at start from the environment (prefix `PETOOL_`) and from `.env`."""

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """What an operator can set. Each field's description stands in `.env.example` too, with the same default."""

    model_config = SettingsConfigDict(
        env_prefix="PETOOL_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    # Server
    host: str = "127.0.0.1"
    """Address to listen on. API keys are required on any address; only demo mode, on a loopback address, needs none."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port to listen on. 0 lets the operating system choose one."""
    data_dir: Path = Path(".petool")
    """Directory of the embedded PostgreSQL and of the saved tool index."""

    # Database and Redis
    database_url: str = ""
    """PostgreSQL to use: postgresql://user:password@host:5432/database. Empty runs an embedded one in the data
    directory."""
    database_pool_size: int = Field(default=10, ge=1, le=200)
    """Maximum database connections of one replica. A request beyond that waits for one to become free."""
    database_timeout_seconds: float = Field(default=10.0, gt=0)
    """Maximum seconds to wait for a database connection, and for one statement. Beyond, the request gets status 503."""
    redis_url: str = ""
    """Redis that replicas share rate limits and change events through: redis://host:6379/0. Empty: each replica counts
    by itself and finds changes by polling PostgreSQL."""

    # Access
    demo_mode: bool = False
    """Accept requests without an API key. The service refuses to start so on an address that is not loopback."""
    rate_limit: str = ""
    """Maximum requests of one API key per period, such as 600/minute or 20/second. Beyond, a request gets status 429.
    Empty means no limit."""

    # Tools
    embedder: str = ""
    """Path or hub name of the sentence-transformers model that embeds instructions and tools. Empty means the packaged
    all-MiniLM-L6-v2."""
    retrieval_width: int = Field(default=50, ge=10, le=500)
    """Number of tools retrieved for an instruction, before the user's preferences reorder them."""
    ranker_weights: str = ""
    """File with the preference ranker's weights, as `petool-train ranker fit` writes it. Empty means the shipped
    weights."""
    catalogue_poll_seconds: float = Field(default=1.0, gt=0)
    """Seconds between two looks into PostgreSQL for changed tools. An event through Redis makes it look at once."""

    # Language model
    engine: Literal["local", "vllm", "none"] = "local"
    """Engine that runs the language model: local (in this process), vllm (over HTTP), or none (the preference ranker
    answers alone)."""
    model: str = ""
    """Directory or hub name of the model, in Hugging Face's layout. For vllm the tokenizer's files are enough, plus
    config.json if adapters are registered. Empty means the shipped model, which vllm cannot serve."""
    adapter: str = ""
    """LoRA adapter to answer with: for local its directory, for vllm the name it is loaded under. Empty means the
    shipped model's own adapter; with a model of yours, no adapter."""
    engine_url: str = "http://127.0.0.1:8001"
    """URL of the vLLM server. Several servers of the same model are separated by commas."""
    engine_api_key: str = ""
    """API key that the vLLM server asks for. Empty sends none."""
    engine_model_name: str = "base"
    """Name of the base model at the vLLM server, as its --served-model-name says."""
    engine_timeout_seconds: float = Field(default=20.0, gt=0, le=100)
    """Maximum seconds to wait for the model, at most 100. A request may ask for less. Beyond, the preference ranker
    answers."""
    engine_concurrency: int = Field(default=0, ge=0)
    """Maximum requests that one engine works on at a time. 0 means 64 for vllm and 8 for local, which decodes that many
    together."""
    engine_queue: int = Field(default=128, ge=0)
    """Maximum requests that wait for one engine. Beyond, it counts as overloaded and the preference ranker answers."""
    engine_threads: int = Field(default=0, ge=0)
    """Threads that the local engine computes with. 0 means one for the shipped model, and one a core for a model of
    yours."""
    prompt_format: str = ""
    """Prompt format that the model was trained on: published-1, labelled-1, hinted-1, brief-1 or terse-1. Empty means
    what the petool.json of the adapter or the model says, else hinted-1."""
    prompt_budget: int = Field(default=0, ge=0)
    """Maximum tokens of a prompt, chat template included, counted by the model's own tokenizer. What does not fit is
    left out, least useful first. 0 means what petool.json says, else 4000."""
    completion_tokens: int = Field(default=320, ge=16)
    """Maximum tokens of an answer. The instruction's length is added, as long as prompt plus answer fit the prompt
    budget plus this number. vLLM's --max-model-len has to be at least that sum."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature of the model. 0 always takes the likeliest token."""
    decision: Literal["", "model", "fused"] = ""
    """Who chooses the tool: model, or fused (the model and the preference ranker together). Empty means the best for
    the shipped model by its evaluation, and model for a model of yours."""
    fusion_weight: float | None = Field(default=None, ge=0, le=1)
    """Weight of the preference ranker in a fused decision: 0 is the model alone, 1 the ranker alone. Empty means the
    best for the shipped model by its evaluation, and 0.5 for a model of yours."""
    parameters: Literal["", "model", "rules", "checked"] = ""
    """Who fills in the parameters: model; rules (read from the instruction, with the model as a fallback if a required
    one is not found); or checked (the model's values that the instruction supports, else as rules). Empty means the
    best for the shipped model by its evaluation, and model for a model of yours."""

    # LoRA adapters, registered and activated while the service runs
    adapters_dir: str = ""
    """Directory of the registered adapters, which all replicas and vLLM servers have to see. Empty means the folder
    `adapters` in the data directory."""
    engine_adapters_dir: str = ""
    """Path of the same directory on the machines of the vLLM servers. Empty means the same path."""
    adapters_source: str = ""
    """Directory below which an adapter may be registered by its path. Empty allows registration by upload only."""
    adapter_max_rank: int = Field(default=16, ge=1)
    """Maximum LoRA rank of an adapter, as vLLM's --max-lora-rank says. Beyond, registration is refused."""
    max_adapter_bytes: int = Field(default=2048 * MIB, ge=1024)
    """Maximum bytes of an uploaded adapter, and of the files in it. Beyond, registration is refused."""
    adapter_poll_seconds: float = Field(default=1.0, gt=0, le=5)
    """Seconds, at most 5, between two looks into PostgreSQL for a changed assignment of adapters, and between two
    looks at what the engines have loaded."""
    adapter_prepare_seconds: float = Field(default=180.0, gt=0)
    """Maximum seconds for all engines to load and probe an adapter. Beyond, the activation fails."""
    adapter_evaluation: str = ""
    """JSON file of cases with their expected calls, which an adapter is evaluated on before it is activated
    (docs/operations.md). Empty means no evaluation."""
    adapter_min_score: float | None = Field(default=None, ge=0, le=1)
    """Minimum share of these cases, 0 to 1, for which an adapter has to choose the right tool. Below, it is not
    activated. Empty means no evaluation, unless an activation asks for a score of its own."""
    canary_max_error_rate: float = Field(default=0.2, ge=0, le=1)
    """Maximum share of a canary's calls, 0 to 1, that may fail. Above, the canary is aborted. 1 never aborts it."""
    canary_min_calls: int = Field(default=50, ge=1)
    """Number of calls that a canary has to have answered before its error rate is judged."""

    # Limits
    max_instruction_characters: int = Field(default=8000, ge=100)
    """Maximum characters of an instruction. Beyond, the request gets status 422."""
    max_body_bytes: int = Field(default=1 * MIB, ge=1024)
    """Maximum bytes of a request's body. Beyond, the request gets status 413."""
    max_import_body_bytes: int = Field(default=64 * MIB, ge=1024)
    """Maximum bytes of the body of PUT /tools and POST /users/{user_id}/history. Beyond, the request gets status
    413."""
    max_history_interactions: int = Field(default=2000, ge=1)
    """Maximum interactions of a user that a call takes into account. Older ones are stored and left out."""
    idempotency_hours: float = Field(default=24.0, gt=0)
    """Hours for which an answer is kept for its Idempotency-Key. After that the key counts as new."""

    # Logs and traces
    log_level: str = "INFO"
    """Least severe log events to write: DEBUG, INFO, WARNING or ERROR."""
    otlp_endpoint: str = ""
    """URL to send OpenTelemetry traces to over HTTP, such as http://localhost:4318. Empty sends none. Needs: pip
    install 'petool[otel]'."""

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        # Not pydantic's PostgresDsn: that knows no Unix sockets, which have no host.
        if value and value.split("://", 1)[0] not in {"postgresql", "postgres", "postgresql+asyncpg"}:
            raise ValueError("a PostgreSQL URL looks like postgresql://user:password@host:5432/database")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and value.split("://", 1)[0] not in {"redis", "rediss", "unix"}:
            raise ValueError("a Redis URL looks like redis://host:6379/0")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("log_level is one of DEBUG, INFO, WARNING, ERROR")
        return value.upper()

    @field_validator("engine_url")
    @classmethod
    def _http(cls, value: str) -> str:
        urls = [url.strip().rstrip("/") for url in value.split(",") if url.strip()]
        if not urls or any(url.split("://", 1)[0] not in {"http", "https"} for url in urls):
            raise ValueError("an engine's URL looks like http://host:8001; several are separated by commas")
        if len(set(urls)) < len(urls):
            raise ValueError("the same engine is named twice")
        return ",".join(urls)

    @property
    def engine_urls(self) -> list[str]:
        return self.engine_url.split(",")

    @property
    def adapters_path(self) -> Path:
        return Path(self.adapters_dir) if self.adapters_dir else self.data_dir / "adapters"

    @model_validator(mode="after")
    def _score_has_cases(self) -> Self:
        if self.adapter_min_score is not None and not self.adapter_evaluation:
            raise ValueError("adapter_min_score needs cases: set PETOOL_ADAPTER_EVALUATION to their file.")
        return self

    @model_validator(mode="after")
    def _engine_has_a_model(self) -> Self:
        if self.engine == "vllm" and not self.model:
            raise ValueError(
                "engine='vllm' needs a model: set PETOOL_MODEL to a directory with the served model's tokenizer files."
            )
        return self

    @model_validator(mode="after")
    def _demo_is_local(self) -> Self:
        if self.demo_mode and not is_loopback(self.host):
            raise ValueError(
                f"demo_mode needs no API keys, so it runs on a loopback address only, not on {self.host!r}. "
                "Unset PETOOL_DEMO_MODE and create keys with `petool keys create`, or set PETOOL_HOST=127.0.0.1."
            )
        return self


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
