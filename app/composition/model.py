"""Opens the configured model, with its engines."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import structlog

from app.adapters.registry import ServedBase
from app.composition.served_model import MODELS, ServedModel, is_default, select_model
from app.composition.settings import Settings
from app.decision.model import ModelFactory
from app.decision.policy import Policy
from app.errors import SetupError
from app.inference.engine import AdapterEngine
from app.inference.pool import EnginePool
from app.inference.vllm import VllmEngine
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer
from app.retrieval.matcher import Matcher

_VLLM_CONCURRENCY, _LOCAL_CONCURRENCY = 64, 8
log = structlog.get_logger("petool")


@dataclass(frozen=True)
class BaseModel:
    """The base model, its engines, and what makes a `Model` with an adapter of it."""

    pool: EnginePool
    models: ModelFactory
    base: ServedBase


@dataclass(frozen=True)
class OpenModel:
    model: BaseModel | None = None
    """None if no model is served."""
    policy: Policy = field(default_factory=Policy)
    """The configured policy of decisions."""
    fault: str = ""
    """Why the shipped model could not be loaded; empty if there was no such failure."""


@asynccontextmanager
async def open_model(
    settings: Settings, dimension: int, engines: Sequence[AdapterEngine] = (), models: Path = MODELS
) -> AsyncIterator[OpenModel]:
    """Open the model, and close its engines afterwards. `dimension` is the length of the embedder's vectors.

    `engines` replace the configured ones; `models` is the folder of shipped models. Raises SetupError for a model that
    cannot be served. Only if the shipped model fails, without another being configured, the service runs without a
    model: the preference ranker answers as a fallback, and `fault` says why.
    """
    opened = await asyncio.to_thread(_open_or_report, settings, dimension, engines, models)
    try:
        yield opened
    finally:
        if opened.model is not None:
            await opened.model.pool.close()


def _open_or_report(settings: Settings, dimension: int, engines: Sequence[AdapterEngine], models: Path) -> OpenModel:
    if settings.engine == "none" and not engines:
        return OpenModel()
    try:
        return _open_model(settings, dimension, engines, models)
    except (SetupError, ImportError, OSError) as error:
        if engines or not is_default(settings):
            raise
        fault = error.detail if isinstance(error, SetupError) else f"The local engine cannot start: {error}"
    log.error("model_not_loaded", reason=fault, consequence="the preference ranker answers, marked as degraded")
    return OpenModel(fault=fault)


def _open_model(settings: Settings, dimension: int, engines: Sequence[AdapterEngine], shipped: Path) -> OpenModel:
    model = select_model(settings, shipped)
    tokenizer = PromptTokenizer.load(model.model)
    matcher = cache(lambda: _load_matcher(shipped / "matcher", dimension))
    # Checked at the start, not at the first request, and before engines are opened that would have to be closed.
    if model.prompt_format.labels:
        tokenizer.labels(MAX_LABELS)
    if model.prompt_format.matched:
        matcher()
    pool = EnginePool(engines or _make_engines(settings, model), [model.adapter] if model.adapter is not None else [])
    models = ModelFactory(
        pool,
        tokenizer,
        matcher,
        adapter=model.adapter,
        prompt_format=model.prompt_format,
        prompt_budget=model.prompt_budget,
    )
    log.info(
        "model_loaded",
        model=model.model,
        adapter=model.adapter,
        prompt_format=model.prompt_format.name,
        decision=model.decision.value,
        parameters=model.parameters.value,
    )
    base = ServedBase(model.model, model.prompt_format, model.prompt_budget, settings.adapter_max_rank)
    policy = Policy(
        chooser=model.decision,
        fusion_weight=model.fusion_weight,
        filler=model.parameters,
        max_tokens=settings.completion_tokens,
        temperature=settings.temperature,
        timeout=settings.engine_timeout_seconds,
    )
    return OpenModel(BaseModel(pool, models, base), policy)


def _load_matcher(directory: Path, dimension: int) -> Matcher:
    matcher = Matcher.load(directory)
    if matcher.dimension != dimension:
        raise SetupError(
            f"Prompts of this format have hints by the matcher, which knows the packaged embedder's vectors of "
            f"{matcher.dimension} numbers, and PETOOL_EMBEDDER gives {dimension}: leave it empty, or serve a model of "
            "another format."
        )
    return matcher


def _make_engines(settings: Settings, model: ServedModel) -> list[AdapterEngine]:
    if settings.engine == "vllm":
        return [
            VllmEngine(
                url,
                base_model=settings.engine_model_name,
                api_key=settings.engine_api_key or None,
                max_concurrency=settings.engine_concurrency or _VLLM_CONCURRENCY,
                max_waiting=settings.engine_queue,
            )
            for url in settings.engine_urls
        ]
    return [_local_engine(settings, model)]


def _local_engine(settings: Settings, model: ServedModel) -> AdapterEngine:
    # Torch and transformers take seconds to import, so only the local engine imports them.
    from app.inference.local import LocalEngine

    adapters = {}
    if model.adapter is not None and model.adapter_directory is not None:
        adapters[model.adapter] = model.adapter_directory
    engine = LocalEngine(
        model.model,
        adapters=adapters,
        # The shipped model's matrices are small: a second thread is no gain, and slows it down on busy cores.
        threads=settings.engine_threads or (None if settings.model else 1),
        max_batch=settings.engine_concurrency or _LOCAL_CONCURRENCY,
        max_waiting=settings.engine_queue,
    )
    needed = model.prompt_budget + settings.completion_tokens
    if engine.context < needed:
        raise SetupError(
            f"The model {model.model} has a context of {engine.context} tokens, and the prompt's "
            f"{model.prompt_budget} + PETOOL_COMPLETION_TOKENS come to {needed}: lower PETOOL_PROMPT_BUDGET or "
            "PETOOL_COMPLETION_TOKENS, or take a model with a longer context."
        )
    return engine
