"""What is served without any setting: the shipped model, as its files say; the ladder where it cannot be."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.composition.model import OpenModel, open_model
from app.composition.served_model import ServedModel, select_model
from app.composition.settings import Settings
from app.errors import SetupError
from tests.conftest import running, settings_for
from tests.support.catalogue import QUIET_SEARCH, QUIET_TRANSLATE, QUIET_WEATHER, TOOLS
from tests.support.shipped import BUDGET, manifest, random_matcher, shipped_models
from tests.support.steps import add_history, call, interaction, ok
from tests.support.tiny_model import tiny_model
from training.evaluate.config import ModelConfig, load_system

DIMENSION = 384


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shipped_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def service_by_default(models: Path, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_for(postgres, tmp_path_factory.mktemp("data"), engine="local")
    with running(settings, models=models) as url:
        ok(httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60))
        yield url


@pytest.fixture
def client(service_by_default: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service_by_default, timeout=60) as client:
        yield client


async def opened(models: Path, dimension: int = DIMENSION, **given: Any) -> OpenModel:
    async with open_model(Settings(**given), dimension, models=models) as model:
        return model


def changed(models: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def test_the_shipped_model_answers(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(QUIET_SEARCH, "liked", query="x"))
    answer = call(client, user)
    assert (answer["engine"], answer["model"], answer["decided_by"]) == ("local", "dpo", "model")
    assert answer["usage"]["prompt"]["budget"] == BUDGET
    assert sum(item["probability"] for item in answer["candidates"]) == pytest.approx(1, abs=1e-3)
    assert "hints" in answer["timings"]
    assert ok(client.get("/readyz"))["engine"] == "ready"


def test_it_answers_from_tools_of_the_callers_own(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(QUIET_TRANSLATE, None, text="x", target_language="fi"))
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [
        {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}
        for name in ("meteo_one", "meteo_two", "meteo_three")
    ]
    answer = call(client, user, tools=tools)
    assert answer["decided_by"] == "model"
    assert answer["tool_call"]["tool_name"] in {item["tool_name"] for item in answer["candidates"]}


def test_what_is_recommended_holds_for_the_shipped_model_until_settings_say_otherwise(tmp_path: Path) -> None:
    models = shipped_models(tmp_path, adapter="sft", decision="fused", fusion_weight=0.25, parameters="rules")
    of: dict[str, ServedModel] = {
        "default": select_model(Settings(), models),
        "set": select_model(Settings(decision="model", fusion_weight=0.0, parameters="model"), models),
        "base": select_model(Settings(model=str(models / "small" / "base")), models),
        "own": select_model(Settings(adapter=str(models / "small" / "dpo")), models),
    }
    told = {
        name: (each.adapter, str(each.decision), each.fusion_weight, str(each.parameters)) for name, each in of.items()
    }
    assert told == {
        "default": ("sft", "fused", 0.25, "rules"),
        "set": ("sft", "model", 0.0, "model"),
        "base": (None, "model", 0.5, "model"),
        "own": ("dpo", "model", 0.5, "model"),
    }
    assert {(each.prompt_format.name, each.prompt_budget) for each in of.values()} == {("terse-1", BUDGET)}


def test_the_format_and_the_budget_are_the_adapters_else_the_models_else_the_default(
    models: Path, model_dir: Path, tmp_path: Path
) -> None:
    small = changed(models, tmp_path) / "small"
    (small / "sft" / "petool.json").unlink()
    manifest(small / "dpo", "dpo", small / "base", "brief-1")
    base = str(small / "base")

    def of(**given: Any) -> tuple[str, int]:
        found = select_model(Settings(**given))
        return found.prompt_format.name, found.prompt_budget

    assert of(model=base, adapter=str(small / "dpo")) == ("brief-1", BUDGET)
    assert of(model=base, adapter=str(small / "sft")) == ("terse-1", BUDGET)
    assert of(model=base, adapter=str(small / "sft"), prompt_format="labelled-1", prompt_budget=800) == (
        "labelled-1",
        800,
    )
    assert of(model=base) == ("terse-1", BUDGET)
    assert of(model=str(model_dir)) == ("hinted-1", 4_000)
    assert of(model=str(model_dir), prompt_format="terse-1") == ("terse-1", 4_000)
    # vLLM knows its adapters by name.
    assert of(engine="vllm", model=base, adapter="mine", prompt_format="brief-1") == ("brief-1", BUDGET)


@pytest.mark.parametrize("given", [{}, {"adapter": "dpo"}, {"model": "base"}])
def test_another_format_than_it_was_trained_on_is_refused(models: Path, given: dict[str, str]) -> None:
    paths: dict[str, Any] = {name: str(models / "small" / value) for name, value in given.items()}
    with pytest.raises(SetupError, match="trained on terse-1"):
        select_model(Settings(prompt_format="hinted-1", **paths), models)
    assert select_model(Settings(prompt_format="terse-1", **paths), models).prompt_format.matched


def test_an_adapter_of_another_base_is_refused(models: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=7)
    with pytest.raises(SetupError, match="other weights"):
        select_model(Settings(model=str(other), adapter=str(models / "small" / "dpo")), models)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("small", "not there"),
        ("small/served.json", "not there"),
        ("small/base/model.safetensors", "cannot be read"),
        ("small/base/tokenizer.json", "tokenizer"),
        ("small/dpo/adapter_model.safetensors", "cannot be read"),
        ("matcher", "matcher"),
    ],
)
async def test_without_its_files_the_service_has_no_model_and_says_why(
    models: Path, tmp_path: Path, lost: str, said: str
) -> None:
    broken = changed(models, tmp_path)
    shutil.rmtree(broken / lost) if (broken / lost).is_dir() else (broken / lost).unlink()
    model = await opened(broken)
    assert model.model is None
    assert said in model.fault


async def test_a_model_that_was_asked_for_and_cannot_be_loaded_is_an_error(models: Path, tmp_path: Path) -> None:
    broken = changed(models, tmp_path)
    (broken / "small" / "base" / "model.safetensors").write_bytes(b"nothing")
    base = str(broken / "small" / "base")
    assert (await opened(broken)).fault
    for given in ({"model": base}, {"adapter": str(broken / "small" / "dpo")}, {"prompt_budget": 1_000}):
        with pytest.raises(SetupError):
            await opened(broken, **given)


async def test_another_embedder_is_told_where_hints_are_the_matchers(models: Path) -> None:
    with pytest.raises(SetupError, match="PETOOL_EMBEDDER gives 768"):
        await opened(models, 768, model=str(models / "small" / "base"))
    assert "PETOOL_EMBEDDER gives 768" in (await opened(models, 768)).fault


def test_the_ladder_answers_where_the_shipped_model_is_missing(postgres: str, tmp_path: Path, user: str) -> None:
    models = tmp_path / "models"
    random_matcher(models / "matcher")
    settings = settings_for(postgres, tmp_path, engine="local")
    with running(settings, models=models) as url, httpx.Client(base_url=url, timeout=30) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        answer = call(client, user)
        refused = client.post(f"/users/{user}/tool-call", json={"instruction": "Rain?", "allow_degraded": False})
        ready = ok(client.get("/readyz"))
    assert (answer["decided_by"], answer["degraded_reason"]["reason"]) == ("ranker", "model_not_loaded")
    assert refused.status_code == 503
    assert "could not be loaded" in refused.json()["detail"]
    assert ready["engine"] == "unavailable"
    assert "served.json" in ready["engine_detail"]


def test_where_the_rules_fill_the_parameters_the_model_chooses_the_tool(
    models: Path, postgres: str, tmp_path: Path, user: str
) -> None:
    recommended = changed(models, tmp_path)
    (recommended / "small" / "served.json").write_text(json.dumps({"adapter": "dpo", "parameters": "rules"}))
    settings = settings_for(postgres, tmp_path, engine="local")
    with running(settings, models=recommended) as url, httpx.Client(base_url=url, timeout=60) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        answer = call(client, user, "What is the weather forecast for Lisbon?", n_candidates=3)
        unsaid = call(client, user, "Please convert my savings.", candidates=["Finance.Currency Corner.Convert"])
        # Whatever the model wrote of it is not what counts.
        strict = call(client, user, "Will it rain in Oslo?", candidates=[QUIET_WEATHER], allow_degraded=False)
    assert answer["decided_by"] == "model"
    assert answer["tool_call"]["parameters"] == {"city": "Lisbon"}
    assert not answer["degraded"]
    assert answer["problems"] == []
    assert strict["tool_call"]["parameters"] == {"city": "Oslo"}
    # The rules find no number.
    assert list(unsaid["tool_call"]["parameters"]) == ["amount"]
    assert (unsaid["missing_parameters"], unsaid["degraded"]) == ([], False)


def test_the_model_that_ships_answers_as_its_evaluation_says(postgres: str, tmp_path: Path, user: str) -> None:
    evaluated = load_system("small-shipped")
    recommended = select_model(Settings())
    assert isinstance(evaluated, ModelConfig)
    assert recommended.adapter_directory is not None
    assert evaluated.adapter is not None
    assert recommended.adapter_directory == evaluated.adapter.resolve()
    assert (recommended.decision, recommended.fusion_weight) == (evaluated.decision, evaluated.fusion_weight)
    assert recommended.parameters is evaluated.parameters
    settings = settings_for(postgres, tmp_path, engine="local")
    with running(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        add_history(client, user, interaction(QUIET_SEARCH, "liked", query="x"))
        answer = call(client, user, "What is the weather forecast for Lisbon?", allow_degraded=False)
    assert (answer["engine"], answer["model"], answer["decided_by"]) == ("local", "sft", "fused")
    assert answer["tool_call"]["tool_name"] == QUIET_WEATHER
    assert answer["tool_call"]["parameters"]["city"] == "Lisbon"
