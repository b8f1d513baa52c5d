"""The dense index against numpy, and its changes."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.retrieval import dense_index
from app.retrieval.dense_index import DenseIndex, IndexKind

DIMENSION = 16
Vectors = NDArray[np.float32]


def unit(n: int, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    vectors: Vectors = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def best(vectors: Vectors, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
    scores = queries @ vectors.T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


class TestSearch:
    @pytest.mark.parametrize("queries", [1, 3, 40])
    def test_flat_finds_what_numpy_finds(self, queries: int) -> None:
        vectors, asked = unit(500), unit(queries, seed=1)
        scores, rows = DenseIndex.build(vectors, kind=IndexKind.FLAT).search(asked, 10)
        expected_scores, expected_rows = best(vectors, asked, 10)
        assert np.array_equal(rows, expected_rows)
        assert np.allclose(scores, expected_scores, atol=1e-6)
        assert scores.dtype == np.float32
        assert rows.dtype == np.int64

    def test_ivf_finds_nearly_all_with_nearly_exact_scores(self) -> None:
        vectors, asked = unit(3000), unit(20, seed=1)
        scores, rows = DenseIndex.build(vectors, kind=IndexKind.IVF).search(asked, 10)
        _, expected = best(vectors, asked, 10)
        assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, expected, strict=True)]) > 0.8
        assert np.allclose(scores, np.take_along_axis(asked @ vectors.T, rows, 1), atol=1e-3)
        assert (np.diff(scores, axis=1) <= 0).all()

    def test_a_vector_finds_itself_first(self) -> None:
        vectors = unit(2000)
        for kind in IndexKind:
            assert DenseIndex.build(vectors, kind=kind).search(vectors[700:701], 3)[1][0, 0] == 700

    @pytest.mark.parametrize("kind", IndexKind)
    @pytest.mark.parametrize("n", [1, 2, 7, 300])
    def test_asking_for_more_than_there_are_gives_each_once(self, kind: IndexKind, n: int) -> None:
        scores, rows = DenseIndex.build(unit(n), kind=kind).search(unit(2, seed=1), n + 50)
        assert scores.shape == rows.shape == (2, n)
        assert all(sorted(found) == list(range(n)) for found in rows.tolist())

    @pytest.mark.parametrize("kind", [None, *IndexKind])
    def test_an_empty_index_finds_nothing(self, kind: IndexKind | None) -> None:
        index = DenseIndex.build(np.empty((0, DIMENSION), np.float32), kind=kind)
        scores, rows = index.search(unit(3), 5)
        assert scores.shape == rows.shape == (3, 0)
        assert len(index) == 0

    def test_no_queries_and_k_zero_give_empty_arrays(self) -> None:
        index = DenseIndex.build(unit(5))
        assert index.search(np.empty((0, DIMENSION), np.float32), 3)[1].shape == (0, 3)
        assert index.search(unit(2), 0)[1].shape == (2, 0)

    @pytest.mark.parametrize("kind", IndexKind)
    def test_equal_vectors_come_in_row_order(self, kind: IndexKind) -> None:
        vectors = np.repeat(unit(1), 40, axis=0)
        scores, rows = DenseIndex.build(vectors, kind=kind).search(vectors[:1], 40)
        assert rows.tolist() == [list(range(40))]
        assert np.allclose(scores, 1, atol=1e-3)

    @pytest.mark.parametrize(
        "vectors", [np.zeros((2, 4)), np.full((2, 4), np.nan), np.full((2, 4), 2.0), np.ones(4)], ids=repr
    )
    def test_vectors_that_are_not_normalised_rows_are_refused(self, vectors: Vectors) -> None:
        with pytest.raises(ValueError):
            DenseIndex.build(vectors)

    def test_queries_of_another_dimension_or_not_finite_and_negative_k_are_refused(self) -> None:
        index = DenseIndex.build(unit(5))
        for queries, k in ((unit(1, dimension=8), 1), (np.full((1, DIMENSION), np.nan, np.float32), 1), (unit(1), -1)):
            with pytest.raises(ValueError):
                index.search(queries, k)

    def test_the_kind_follows_the_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dense_index, "EXACT_UP_TO", 100)
        assert DenseIndex.build(unit(100)).kind is IndexKind.FLAT
        assert DenseIndex.build(unit(101)).kind is IndexKind.IVF

    def test_building_and_searching_leave_the_number_of_threads_as_it_was(self) -> None:
        before = dense_index.faiss.omp_get_max_threads()
        DenseIndex.build(unit(500), kind=IndexKind.IVF, threads=1).search(unit(1), 3)
        assert dense_index.faiss.omp_get_max_threads() == before


class TestChanges:
    @pytest.mark.parametrize("kind", IndexKind)
    def test_a_replaced_row_is_found_by_its_new_vector_only(self, kind: IndexKind) -> None:
        vectors, new = unit(400), unit(1, seed=5)
        before = DenseIndex.build(vectors, kind=kind)
        after = before.with_changes([7], new)
        assert after.search(new, 1)[1].tolist() == [[7]]
        assert (after.search(vectors[7:8], 400)[1] == 7).sum() == 1
        assert len(after) == 400
        assert before.search(vectors[7:8], 1)[1].tolist() == [[7]]

    @pytest.mark.parametrize("kind", IndexKind)
    def test_a_removed_row_is_not_found_and_k_shrinks(self, kind: IndexKind) -> None:
        vectors = unit(300)
        after = DenseIndex.build(vectors, kind=kind).with_changes([], vectors[:0], removed=[3, 4, 4, 999])
        rows = after.search(vectors[3:4], 300)[1]
        assert rows.shape == (1, 298)
        assert not np.isin([3, 4, -1], rows).any()

    def test_all_rows_can_go_and_come_back(self) -> None:
        vectors = unit(20)
        gone = DenseIndex.build(vectors).with_changes([], vectors[:0], removed=range(20))
        assert gone.search(vectors, 5)[1].shape == (20, 0)
        back = gone.with_changes([4], vectors[4:5])
        assert back.search(vectors[:1], 5)[1].tolist() == [[4]]

    @pytest.mark.parametrize(("rows", "removed"), [([1, 1], []), ([1, 2], [2]), ([1], []), ([-1, 2], [])], ids=str)
    def test_contradictory_changes_are_refused(self, rows: list[int], removed: list[int]) -> None:
        with pytest.raises(ValueError):
            DenseIndex.build(unit(5)).with_changes(rows, unit(2), removed=removed)

    def test_a_rebuild_is_due_when_much_has_changed(self) -> None:
        index = DenseIndex.build(unit(100))
        assert not index.with_changes(range(10), unit(10)).needs_rebuild
        assert index.with_changes(range(11), unit(11)).needs_rebuild
        assert index.with_changes(range(200, 211), unit(11)).needs_rebuild
        assert index.with_changes([], unit(0), removed=range(11)).needs_rebuild

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 30),
        st.lists(
            st.tuples(st.sets(st.integers(0, 40), max_size=6), st.sets(st.integers(0, 40), max_size=6)), max_size=5
        ),
        st.integers(0, 60),
        st.sampled_from(IndexKind),
    )
    def test_changes_one_after_another_are_as_if_built_so(
        self, n: int, steps: list[tuple[set[int], set[int]]], k: int, kind: IndexKind
    ) -> None:
        expected = dict(enumerate(unit(n)))
        index = DenseIndex.build(unit(n), kind=kind)
        for seed, (put, removed) in enumerate(steps):
            rows, gone, vectors = sorted(put), removed - put, unit(len(put), seed=100 + seed)
            index = index.with_changes(rows, vectors, removed=sorted(gone))
            expected.update(zip(rows, vectors, strict=True))
            expected = {row: vector for row, vector in expected.items() if row not in gone}
        queries = unit(2, seed=1)
        scores, rows_found = index.search(queries, k)
        assert rows_found.shape == (2, min(k, len(expected)))
        for query, found, said in zip(queries, rows_found.tolist(), scores, strict=True):
            assert len(set(found)) == len(found)
            assert np.allclose([query @ expected[row] for row in found], said, atol=1e-3)
            top = sorted((float(query @ vector) for vector in expected.values()), reverse=True)[: len(found)]
            assert np.allclose(top, said, atol=1e-3)

    def test_searching_goes_on_undisturbed_while_indexes_are_swapped(self) -> None:
        vectors, queries = unit(1000), unit(4, seed=1)
        holder = [DenseIndex.build(vectors, kind=IndexKind.IVF)]
        old, wrong, stop = holder[0], [], threading.Event()
        promised = old.search(queries, 10)

        def search() -> None:
            while not stop.is_set():
                rows = holder[0].search(queries, 10)[1]
                again = old.search(queries, 10)
                if rows.shape != (4, 10) or (rows < 0).any() or not np.array_equal(again[1], promised[1]):
                    wrong.append(rows)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for step in range(30):
            holder[0] = holder[0].with_changes([step, 2000 + step], unit(2, seed=step), removed=[500 + step])
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
