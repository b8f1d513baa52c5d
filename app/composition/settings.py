"""Settings, read once at start from the environment (prefix `PETOOL_`) and from `.env`."""

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Every field is a line of `.env.example`, with the same default."""

    model_config = SettingsConfigDict(
        env_prefix="PETOOL_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # Where
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    data_dir: Path = Path(".petool")
    """Holds the embedded PostgreSQL and the persisted tool index."""

    # Store
    database_url: str = ""
    """postgresql://user:password@host/database. Without it an embedded PostgreSQL runs in `data_dir`."""
    database_pool_size: int = Field(default=10, ge=1, le=200)
    database_timeout_seconds: float = Field(default=10.0, gt=0)
    """For a connection from the pool, and for one statement."""
    redis_url: str = ""
    """Rate limits shared by replicas, and tool-change events between them. Without it: in process."""

    # Who may call
    demo_mode: bool = False
    """No API key needed; refused unless `host` is a loopback address."""
    rate_limit: str = ""
    """Requests per API key, such as `600/minute`; empty for none."""

    # Tools
    embedder: str = ""
    """Path or hub name of a sentence-transformers model; empty for the packaged all-MiniLM-L6-v2."""
    retrieval_width: int = Field(default=50, ge=10, le=500)
    """Tools retrieved before the preference ranker reorders them."""
    ranker_weights: str = ""
    """A file that `petool-train ranker fit` wrote; empty for the shipped one (models/ranker)."""
    catalogue_poll_seconds: float = Field(default=1.0, gt=0)
    """How soon a replica notices a tool change that no event told it of."""

    # The language model
    engine: Literal["local", "vllm", "none"] = "local"
    """`local`: in process; `vllm`: over HTTP; `none`: the preference ranker answers alone."""
    model: str = ""
    """Directory (or hub name) of the model in Hugging Face's layout; for `vllm` its tokenizer files are enough,
    and for adapters its config.json. Empty: the shipped one (models/small), not for `vllm`."""
    adapter: str = ""
    """`vllm`: name of a loaded LoRA adapter; `local`: its directory. Empty: the shipped model's own; of another model
    the base."""
    engine_url: str = "http://127.0.0.1:8001"
    """Where `vllm serve` listens; several servers of the same model, separated by commas."""
    engine_api_key: str = ""
    engine_model_name: str = "base"
    """vLLM's `--served-model-name`."""
    engine_timeout_seconds: float = Field(default=20.0, gt=0, le=100)
    """A model that has not answered by then has not answered; a caller may set less (`timeout_seconds`)."""
    engine_concurrency: int = Field(default=0, ge=0)
    """Requests at the engine at once; 0: 64 for `vllm`, 8 for `local`, which decodes so many together."""
    engine_queue: int = Field(default=128, ge=0)
    """Requests that wait for the engine; beyond, it counts as overloaded."""
    engine_threads: int = Field(default=0, ge=0)
    """`local`: torch's for the model; 0: one for the shipped model, for another as many as there are cores."""
    prompt_format: str = ""
    """The one the adapter was trained on (app/prompting/formats.py). Empty: as its petool.json says, else the model's,
    else `hinted-1`."""
    prompt_tokens: int = Field(default=0, ge=0)
    """0: as petool.json says, else 4,000."""
    completion_tokens: int = Field(default=320, ge=16)
    """Of an answer, and as many more as the instruction has, if prompt and answer together stay within both."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    decision: Literal["", "model", "fused"] = ""
    """Who chooses among the candidates: the model, or the model and the preference ranker together. Empty, as with the
    two below: for the shipped model what its evaluation says is best (models/small/served.json), else `model`."""
    fusion_weight: float | None = Field(default=None, ge=0, le=1)
    """In `fused`: 0 is the model alone, 1 the ranker alone. Empty, for a model of your own: 0.5."""
    parameters: Literal["", "model", "rules", "checked"] = ""
    """Who fills in the parameters: the model; the rules that read them from the instruction (the model where these do
    not find a required one); or, `checked`, the model where the instruction bears it out, else the rules. Empty, for a
    model of your own: `model`."""

    # LoRA adapters, registered and swapped while it runs
    adapters_dir: str = ""
    """Where registered adapters are kept; replicas and vLLM's machines have to see it. Empty: `data_dir`/adapters."""
    engine_adapters_dir: str = ""
    """The same directory as vLLM's machines see it; empty: by the same path."""
    adapters_source: str = ""
    """Adapters may be registered by their path below this directory. Empty: only by upload."""
    adapter_max_rank: int = Field(default=16, ge=1)
    """vLLM's `--max-lora-rank`."""
    max_adapter_bytes: int = Field(default=2048 * MIB, ge=1024)
    """Of an upload, and of the files in it."""
    adapter_poll_seconds: float = Field(default=1.0, gt=0, le=5)
    """How soon a replica notices a swap that no event told it of, and how often it asks the engines what they have."""
    adapter_prepare_seconds: float = Field(default=180.0, gt=0)
    """For all engines to load and probe an adapter; then the activation fails."""
    adapter_evaluation: str = ""
    """A JSON file of cases with the expected calls (docs/operations.md), for `adapter_min_score`."""
    adapter_min_score: float | None = Field(default=None, ge=0, le=1)
    """Share of right tools on these cases without which no adapter is activated. Empty: not evaluated unless asked."""
    canary_max_error_rate: float = Field(default=0.2, ge=0, le=1)
    """Of a canary's calls; above it the canary is aborted. 1: never."""
    canary_min_calls: int = Field(default=50, ge=1)
    """That it has had before it is judged."""

    # Limits
    max_instruction_characters: int = Field(default=8000, ge=100)
    max_body_bytes: int = Field(default=1 * MIB, ge=1024)
    max_import_body_bytes: int = Field(default=64 * MIB, ge=1024)
    """For `PUT /tools` and `POST /users/{user_id}/history`."""
    max_history_interactions: int = Field(default=2000, ge=1)
    """The most recent interactions of a user that a call takes into account."""
    idempotency_hours: float = Field(default=24.0, gt=0)
    """How long an answer is kept for its `Idempotency-Key`."""

    # Watching it
    log_level: str = "INFO"
    otlp_endpoint: str = ""
    """OpenTelemetry traces over HTTP go here; empty for none (needs the extra `otel`)."""

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
