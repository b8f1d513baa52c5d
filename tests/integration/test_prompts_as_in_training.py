"""That the service asks a model exactly what training showed it: the same prompt, token by token."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.catalogue.parse import parse
from app.domain import HistorySetting, Interaction, Rating, Tool, ToolCall, ToolSource
from app.prompting.formats import format_named
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.matcher import Matcher
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.query import Query, split_sentences
from app.retrieval.ranker_weights import load_weights
from app.retrieval.snapshot import CatalogueSnapshot
from app.retrieval.texts import retrieval_text
from tests.conftest import running, settings_for
from tests.support.catalogue import (
    MIRANDEX_SEARCH,
    QUIET_SEARCH,
    QUIET_TRANSLATE,
    TINKLE_SEARCH,
    TINKLE_TRANSLATE,
    TOOLS,
)
from tests.support.scripted_engine import ScriptedEngine
from tests.support.shipped import random_matcher
from tests.support.steps import ok
from training.data.records import Instance, Part
from training.data.systems import Scenes
from training.examples import Examples, Question, Questions

SETTINGS = [HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL]
ASKED = "What is the weather forecast for Lisbon? I also want 20 euros in yen."
CATALOGUE: list[Tool] = [tool for _, tool in parse(ToolSource.RAPIDAPI, TOOLS).tools]
_START = datetime(2026, 5, 1, tzinfo=UTC)
_USED = [QUIET_SEARCH, TINKLE_TRANSLATE, MIRANDEX_SEARCH, QUIET_TRANSLATE, TINKLE_SEARCH]


def instance(setting: HistorySetting) -> Instance:
    ratings = [None] * 5 if setting is not HistorySetting.RATING_INTEGRATED else [Rating.LIKED, Rating.DISLIKED] * 3
    history = tuple(
        Interaction(f"Something {number}", ToolCall(name, {}), _START + timedelta(days=number), rating)
        for number, (name, rating) in enumerate(zip(_USED, ratings, strict=False))
    )
    names = tuple(tool.name for tool in CATALOGUE)
    answer = ToolCall(names[0], {"city": "Lisbon"})
    return Instance("1", "u", setting, Part.TEST, history, ASKED, names, answer, (), datetime.now(UTC))


@pytest.fixture(scope="module")
def matcher_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_matcher(tmp_path_factory.mktemp("models") / "matcher")


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """With the vectors that the service computes."""
    embedder = PackagedEmbedder()
    vectors = embedder.encode([retrieval_text(tool) for tool in CATALOGUE])
    documents = {tool.name: vector for tool, vector in zip(CATALOGUE, vectors, strict=True)}
    return Scenes({tool.name: tool for tool in CATALOGUE}, documents, {ASKED: embedder.encode(split_sentences(ASKED))})


class Service:
    def __init__(self, url: str, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.client = httpx.Client(base_url=url, timeout=30)

    def prompt(self, user: str, of: Instance, **given: Any) -> tuple[int, ...]:
        """What the engine is asked after the user's history is there."""
        items = [
            {
                "instruction": each.instruction,
                "tool_call": {"tool_name": each.tool_call.tool_name, "parameters": {}},
                "rating": each.rating,
                "occurred_at": each.occurred_at.isoformat(),
            }
            for each in of.history
        ]
        ok(self.client.post(f"/users/{user}/history", json={"interactions": items}))
        asked = {"instruction": of.instruction, "history_setting": of.setting.value, **given}
        ok(self.client.post(f"/users/{user}/tool-call", json=asked))
        return tuple(self.engine.requests[-1].prompt)


@pytest.fixture(scope="module", params=["terse-1", "hinted-1"])
def service(
    request: pytest.FixtureRequest, postgres: str, model_dir: Path, matcher_dir: Path, tmp_path_factory: Any
) -> Iterator[tuple[str, Service]]:
    engine = ScriptedEngine()
    settings = settings_for(
        postgres, tmp_path_factory.mktemp("data"), engine="vllm", model=str(model_dir), prompt_format=request.param
    )
    with running(settings, [engine], matcher_dir.parent) as url:
        ok(httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60))
        one = Service(url, engine)
        with one.client:
            yield request.param, one


def question(scenes: Scenes, matcher_dir: Path, name: str, of: Instance) -> Question:
    matched = format_named(name).matched
    matcher_of = (lambda _: Matcher.load(matcher_dir)) if matched else None
    return Questions(scenes, PreferenceRanker(load_weights()), matcher_of).of([of])[0]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_prompt_in_service_is_the_one_in_training(
    service: tuple[str, Service], scenes: Scenes, matcher_dir: Path, model_dir: Path, user: str, setting: HistorySetting
) -> None:
    name, running_service = service
    of = instance(setting)
    expected = Examples(PromptTokenizer.load(model_dir), format_named(name)).prompt(
        question(scenes, matcher_dir, name, of)
    )
    # Named, or found in the catalogue, which has no others.
    assert running_service.prompt(f"{user}-named", of, candidates=list(of.candidates)) == expected.token_ids
    assert running_service.prompt(f"{user}-found", of) == expected.token_ids


def test_the_matchers_hints_are_its_own_and_tell_candidates_apart(scenes: Scenes, matcher_dir: Path) -> None:
    for setting in SETTINGS:
        of = instance(setting)
        by_format = {
            name: [each.hints for each in question(scenes, matcher_dir, name, of).ordered]
            for name in ("terse-1", "hinted-1")
        }
        assert by_format["terse-1"] != by_format["hinted-1"]
        told = [hints for hints in by_format["terse-1"] if hints is not None]
        assert len(told) == len(CATALOGUE)
        assert len({hints.fit for hints in told}) > 2
        assert len({hints.liked for hints in told}) > 2
        assert (len({hints.disliked for hints in told}) > 1) is (setting is not HistorySetting.PREFERRED_ONLY)


def test_tools_among_others_are_as_relevant_as_alone(scenes: Scenes) -> None:
    """A model sees ten candidates in training, and what the service found among thousands."""
    vectors = np.stack([scenes.signatures[tool.name].attributes for tool in CATALOGUE])
    sentences = split_sentences(ASKED)
    query = Query(ASKED, sentences, PackagedEmbedder().encode(sentences))
    snapshot = CatalogueSnapshot.build(CATALOGUE, vectors, 1)
    rows = [7, 0, 2, 5]
    alone = snapshot.only([CATALOGUE[row].name for row in rows]).search(query)
    found = snapshot.search(query)
    positions = {item.row: position for position, item in enumerate(found)}
    among = found.among([positions[row] for row in rows])
    assert [(each.tool.name, each.relevance, each.lexical) for each in among] == [
        (each.tool.name, each.relevance, each.lexical) for each in alone
    ]
    assert [each.row for each in among] == [rows[each.row] for each in alone]
    whole = {each.row: each.relevance for each in found}
    assert any(each.relevance != whole[each.row] for each in among)
