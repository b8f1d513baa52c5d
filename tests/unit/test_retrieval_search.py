"""Texts, sentences, lexical index, fusion and search over a small catalogue, with the real embedding model."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain import Parameter, Tool, ToolSource
from app.retrieval import snapshot as retriever
from app.retrieval.embedders.packaged import PackagedEmbedder
from app.retrieval.lexical import Field, LexicalIndex, terms
from app.retrieval.query import MAX_SENTENCES, Query, split_sentences
from app.retrieval.relevance import Providers, relevance
from app.retrieval.snapshot import CatalogueSnapshot, Retrieved
from app.retrieval.texts import retrieval_text, split_name
from app.retrieval.tool_index import ToolIndex


def _tool(category: str, provider: str, api: str, description: str, *parameters: str) -> Tool:
    named = tuple(Parameter(name, {"type": "string"}) for name in parameters)
    return Tool(".".join((category, provider, api)), category, provider, api, description, named)


TOOLS = [
    _tool("Weather", "SkyCast", "getForecast", "Weather forecast for a city for the coming days", "city"),
    _tool("Weather", "MeteoNow", "getForecast", "Weather forecast for a city for the coming days", "city"),
    _tool("Weather", "SkyCast", "getAirQuality", "Air pollution at a place", "lat", "lon"),
    _tool("Travel", "HotelFinder", "searchHotels", "Find hotels in a city with prices and reviews", "city"),
    _tool("Finance", "TrumpetCoin", "coin/{id}/price", "Current price of a cryptocurrency", "id"),
    _tool("Music", "LyricBox", "song lyrics", "Lyrics of a song by title and artist", "title", "artist"),
    Tool("translate", "", "", "translate", "Translate a text", (), None, ToolSource.OPENAI),
    _tool("Data", "👋 例", "検索", ""),
]


@pytest.fixture(scope="module")
def embedder() -> PackagedEmbedder:
    return PackagedEmbedder()


def _snapshot(embedder: PackagedEmbedder, tools: list[Tool], revision: int = 1) -> CatalogueSnapshot:
    vectors = embedder.encode([retrieval_text(tool) for tool in tools])
    return CatalogueSnapshot.build(tools, vectors, revision)


@pytest.fixture(scope="module")
def snapshot(embedder: PackagedEmbedder) -> CatalogueSnapshot:
    return _snapshot(embedder, TOOLS)


def _find(
    embedder: PackagedEmbedder, snapshot: CatalogueSnapshot, instruction: str, limit: int = 50
) -> list[Retrieved]:
    sentences = split_sentences(instruction)
    return list(snapshot.search(Query(instruction, sentences, embedder.encode(sentences)), limit))


def test_sentences_are_split_at_their_ends_only() -> None:
    text = 'Use v1.2 of example.com, e.g. the docs. Is it "good?" Tell me!\nthen the rest'
    assert split_sentences(text) == (
        "Use v1.2 of example.com, e.g. the docs.",
        'Is it "good?',
        "Tell me!",
        "then the rest",
    )
    assert split_sentences("東京の天気は？教えて。") == ("東京の天気は？", "教えて。")


def test_an_instruction_has_at_least_one_sentence_and_never_too_many() -> None:
    assert split_sentences("  ") == ("",)
    assert split_sentences("?!") == ("?!",)
    many = split_sentences(" ".join(f"Sentence {i}." for i in range(30)))
    assert len(many) == MAX_SENTENCES
    assert many[-1].endswith("Sentence 29.")
    assert split_sentences("Again. Again. Again.") == ("Again.",)


def test_names_are_cut_into_words() -> None:
    assert split_name("stock/getQuoteByISIN_v2") == "stock get Quote By ISIN v2"
    assert terms("getHTTPStatus") == ["http", "status", "gethttpstatus"]
    assert terms("TrumpetBox")[-1] == "trumpetbox"
    assert set(terms("31Events")) > {"31", "event"}


def test_terms_fold_accents_and_accept_any_script() -> None:
    assert terms("Café Zürich") == terms("cafe Zurich")
    assert terms("東京の天気") == list("東京の天気")
    assert terms("한국 👋 ‮\x00") == ["한", "국"]
    assert terms("a" * 100_000)


def test_lexical_scores_weigh_fields_and_rare_words() -> None:
    documents = {"name": [["weather"], ["hotel"], ["city"]], "text": [["city"], ["weather", "city"], ["city"]]}
    index = LexicalIndex.build(documents, {"name": Field(2, 0.5), "text": Field(1, 0.75)})
    weather, city, unknown = index.scores([["weather"], ["city"], ["nothing"]])
    assert weather[0] > weather[1] > weather[2] == 0
    assert weather[1] > city[1] > 0
    assert not unknown.any()
    assert index.scores([]).shape == (0, 3)


def test_rows_taken_from_a_lexical_index_keep_their_scores() -> None:
    index = LexicalIndex.build({"text": [["a", "b"], ["b"], ["c", "a"], ["d"]]}, {"text": Field(1, 0.75)})
    rows = np.array([2, 0])
    np.testing.assert_allclose(index.take(rows).scores([["a", "c"]]), index.scores([["a", "c"]])[:, rows])


def test_an_empty_lexical_index_answers() -> None:
    assert LexicalIndex.build({}, {"text": Field(1, 0.75)}).scores([["a"]]).shape == (1, 0)
    assert LexicalIndex.build({"text": [[], []]}, {"text": Field(1, 0.75)}).scores([["a"]]).tolist() == [[0, 0]]


def test_relevance_is_between_0_and_1_and_equal_for_equal_evidence() -> None:
    random = np.random.default_rng(0)
    dense = random.uniform(-1, 1, (4, 30)).astype(np.float32)
    lexical = random.exponential(5, (4, 30)).astype(np.float32)
    dense[:, 7], lexical[:, 7] = dense[:, 3], lexical[:, 3]
    scores = relevance(dense, lexical, Providers(np.arange(30)))
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[7] == scores[3]


def test_relevance_without_any_evidence_is_zero() -> None:
    nothing = np.zeros((2, 3), np.float32)
    assert relevance(nothing, nothing, Providers(np.arange(3))).tolist() == [0, 0, 0]


def test_tools_of_a_provider_support_each_other() -> None:
    dense = np.array([[0.8, 0.0, 0.4, 0.4], [0.0, 0.8, 0.4, 0.4], [0.4, 0.4, 0.4, 0.4]], np.float32)
    scores = relevance(dense, np.zeros_like(dense), Providers(np.array([0, 0, 0, 1])))
    assert scores[2] > scores[3]


def test_the_tool_that_does_the_job_is_first(embedder: PackagedEmbedder, snapshot: CatalogueSnapshot) -> None:
    assert _find(embedder, snapshot, "Which hotels are there in Rome?")[0].tool.provider == "HotelFinder"
    assert _find(embedder, snapshot, "What is the TrumpetCoin worth today?")[0].tool.provider == "TrumpetCoin"


def test_each_request_of_an_instruction_brings_its_tool(
    embedder: PackagedEmbedder, snapshot: CatalogueSnapshot
) -> None:
    instruction = "I'm off to Oslo. Which hotels does it have? Also, find the lyrics of the song Halo by Beyoncé."
    assert {item.tool.provider for item in _find(embedder, snapshot, instruction)[:2]} == {"HotelFinder", "LyricBox"}


def test_tools_that_do_the_same_job_are_all_found_with_about_equal_relevance(
    embedder: PackagedEmbedder,
) -> None:
    rivals = [replace(TOOLS[1], name=f"Weather.Rival {i}.getForecast", provider=f"Rival {i}") for i in range(30)]
    found = _find(embedder, _snapshot(embedder, [*TOOLS[2:], *rivals]), "How will the weather be in Lyon this week?")
    places = {item.tool.name: place for place, item in enumerate(found)}
    assert {places[tool.name] for tool in rivals} == set(range(30))
    assert found[0].relevance - found[29].relevance < 0.1
    assert found[29].relevance > found[30].relevance


def test_results_are_ordered_bounded_and_say_what_they_rest_on(
    embedder: PackagedEmbedder, snapshot: CatalogueSnapshot
) -> None:
    found = _find(embedder, snapshot, "Weather forecast for Paris, please")
    assert [item.relevance for item in found] == sorted((item.relevance for item in found), reverse=True)
    assert len(found) == len(TOOLS)
    assert all(0 <= item.relevance <= 1 and 0 <= item.lexical <= 1 for item in found)
    assert all(snapshot.tools[item.row] is item.tool for item in found)
    assert len(_find(embedder, snapshot, "weather", 3)) == 3
    assert _find(embedder, snapshot, "weather", 0) == []


@pytest.mark.parametrize("instruction", ["", "?!", "天気", "🚀" * 50, "word " * 5_000, "\x00"])
def test_any_instruction_is_answered(embedder: PackagedEmbedder, snapshot: CatalogueSnapshot, instruction: str) -> None:
    assert len(_find(embedder, snapshot, instruction)) == len(TOOLS)


def test_an_empty_catalogue_finds_nothing(embedder: PackagedEmbedder) -> None:
    empty = CatalogueSnapshot.build([], np.zeros((0, embedder.dimension), np.float32), 0)
    assert _find(embedder, empty, "weather") == []


def test_vectors_of_another_instruction_or_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="5 vectors for 2 sentences"):
        Query("One. Two.", split_sentences("One. Two."), np.zeros((5, 384), np.float32))
    with pytest.raises(ValueError, match="length"):
        CatalogueSnapshot.build(TOOLS, np.zeros((1, 4), np.float32), 1)


def test_a_search_among_named_tools_finds_only_these(embedder: PackagedEmbedder, snapshot: CatalogueSnapshot) -> None:
    names = [TOOLS[3].name, TOOLS[0].name]
    part = snapshot.only(names)
    assert [tool.name for tool in part.tools] == names
    assert [item.tool.name for item in _find(embedder, part, "Weather forecast for Paris")] == names[::-1]
    assert part.revision == snapshot.revision
    with pytest.raises(KeyError):
        snapshot.only(["no such tool"])


def test_through_the_index_the_same_is_found_as_by_scoring_every_tool(
    embedder: PackagedEmbedder, snapshot: CatalogueSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.arange(10, 10 + len(TOOLS) * 3, 3)
    index = ToolIndex.build(ids, snapshot.vectors, 1)
    indexed = CatalogueSnapshot.build(TOOLS, snapshot.vectors, 1, ids=ids, index=index)
    instruction = "Which hotels are there in Rome? Also the air quality."
    exact = [item.tool.name for item in _find(embedder, snapshot, instruction)]
    assert [item.tool.name for item in _find(embedder, indexed, instruction)] == exact
    monkeypatch.setattr(retriever, "POOL", 2)
    assert [item.tool.name for item in _find(embedder, indexed, instruction)][:2] == exact[:2]


def test_a_tool_that_only_the_index_still_has_is_not_found(
    embedder: PackagedEmbedder, snapshot: CatalogueSnapshot
) -> None:
    ids = np.arange(len(TOOLS))
    index = ToolIndex.build(ids, snapshot.vectors, 1)
    fewer = CatalogueSnapshot.build(TOOLS[:-1], snapshot.vectors[:-1], 2, ids=ids[:-1], index=index)
    assert {item.tool.name for item in _find(embedder, fewer, "anything at all")} <= {tool.name for tool in TOOLS[:-1]}


def test_no_tool_is_embedded_as_a_blank_text() -> None:
    for tool in [*TOOLS, Tool("x", "", "", "", "")]:
        assert retrieval_text(tool).strip()
