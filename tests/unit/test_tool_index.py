"""The dense index under tool ids: changes, and what is kept on disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.retrieval.tool_index import ToolIndex

IDS = np.array([7, 11, 40], np.int64)


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).normal(size=(count, 8))
    unit: NDArray[np.float32] = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_a_search_answers_with_tool_ids() -> None:
    own = vectors(3)
    assert ToolIndex.build(IDS, own, 1).search(own, 1).ravel().tolist() == [7, 11, 40]


def test_changed_added_and_removed_tools_are_found_where_they_are_now() -> None:
    own, new = vectors(3), vectors(2, seed=1)
    index = ToolIndex.build(IDS, own, 1).with_changes([11, 99], new, [40], 2)
    assert index.revision == 2
    assert index.search(new, 1).ravel().tolist() == [11, 99]
    assert 40 not in index.search(own, 3)


def test_a_removed_tool_comes_back() -> None:
    own = vectors(3)
    index = ToolIndex.build(IDS, own, 1).with_changes([], own[:0], [40], 2).with_changes([40], own[2:], [], 3)
    assert index.search(own[2:], 1).ravel().tolist() == [40]


def test_removing_a_tool_that_is_not_there_changes_nothing() -> None:
    own = vectors(3)
    index = ToolIndex.build(IDS, own, 1).with_changes([], own[:0], [5], 2)
    assert sorted(index.search(own[:1], 3).ravel().tolist()) == [7, 11, 40]


def test_what_was_saved_is_loaded_with_its_revision(tmp_path: Path) -> None:
    own = vectors(3)
    ToolIndex.build(IDS, own, 5).save(tmp_path, space="a")
    loaded = ToolIndex.load(tmp_path, space="a")
    assert loaded is not None
    assert loaded.revision == 5
    assert loaded.search(own, 1).ravel().tolist() == [7, 11, 40]


def test_an_index_of_another_embedder_is_not_loaded(tmp_path: Path) -> None:
    ToolIndex.build(IDS, vectors(3), 5).save(tmp_path, space="a")
    assert ToolIndex.load(tmp_path, space="b") is None


def test_ids_that_do_not_belong_to_the_index_are_noticed(tmp_path: Path) -> None:
    ToolIndex.build(IDS, vectors(3), 5).save(tmp_path, space="a")
    np.savez(tmp_path / "tools.npz", ids=IDS[::-1], revision=5)
    assert ToolIndex.load(tmp_path, space="a") is None


def test_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "tools.npz").write_bytes(b"PK\x03\x04 not really")
    assert ToolIndex.load(tmp_path, space="a") is None
