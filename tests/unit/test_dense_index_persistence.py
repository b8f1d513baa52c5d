"""What a restart finds of a saved dense index: the whole old one, the whole new one, or nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.retrieval.dense_index import DenseIndex, IndexKind

DIMENSION = 16
Vectors = NDArray[np.float32]


def unit(n: int, seed: int = 0) -> Vectors:
    vectors: Vectors = np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def same(left: DenseIndex, right: DenseIndex) -> bool:
    queries = unit(5, seed=99)
    (scores, rows), (other_scores, other_rows) = left.search(queries, 20), right.search(queries, 20)
    return len(left) == len(right) and np.array_equal(scores, other_scores) and np.array_equal(rows, other_rows)


def loaded(directory: Path, fingerprint: str = "one") -> DenseIndex:
    index = DenseIndex.load(directory, fingerprint=fingerprint)
    assert index is not None
    return index


@pytest.mark.parametrize("kind", IndexKind)
@pytest.mark.parametrize("n", [0, 1, 600])
def test_what_is_saved_is_loaded(kind: IndexKind, n: int, tmp_path: Path) -> None:
    index = DenseIndex.build(unit(n), kind=kind)
    index.save(tmp_path / "new" / "folder", fingerprint="one")
    again = loaded(tmp_path / "new" / "folder")
    assert again.kind is index.kind
    assert same(index, again)


def test_changes_are_saved_without_writing_the_base_again(tmp_path: Path) -> None:
    index = DenseIndex.build(unit(600), kind=IndexKind.IVF)
    index.save(tmp_path, fingerprint="one")
    (base,) = tmp_path.glob("base-*")
    written = base.stat()
    for step in range(3):  # the second and third on what a restart has loaded
        index = index.with_changes([5, 700 + step], unit(2, seed=step), removed=[9 + step])
        index.save(tmp_path, fingerprint=str(step))
        assert same(index, loaded(tmp_path, str(step)))
        index = loaded(tmp_path, str(step))
    assert base.stat() == written
    assert len(list(tmp_path.iterdir())) == 3


def test_another_fingerprint_or_nothing_there_loads_nothing(tmp_path: Path) -> None:
    assert DenseIndex.load(tmp_path / "absent", fingerprint="one") is None
    DenseIndex.build(unit(5)).save(tmp_path, fingerprint="one")
    assert DenseIndex.load(tmp_path, fingerprint="two") is None
    assert DenseIndex.load(tmp_path, fingerprint="") is None


def test_saving_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".base-x.faiss.y.tmp").write_bytes(b"left by a process that died")
    (tmp_path / "notes.txt").write_text("somebody else's")
    DenseIndex.build(unit(5)).save(tmp_path, fingerprint="one")
    DenseIndex.build(unit(9)).save(tmp_path, fingerprint="two")
    assert len(loaded(tmp_path, "two")) == 9
    assert DenseIndex.load(tmp_path, fingerprint="one") is None
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == [
        "base",
        "changes",
        "manifest.json",
        "notes.txt",
    ]


@pytest.mark.parametrize("pattern", ["base-*", "changes-*", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete", "extend"])
def test_a_damaged_file_loads_nothing(pattern: str, damage: str, tmp_path: Path) -> None:
    DenseIndex.build(unit(50)).with_changes([1, 70], unit(2)).save(tmp_path, fingerprint="one")
    (path,) = tmp_path.glob(pattern)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    changed = {"flip": flipped, "truncate": content[:middle], "empty": b"", "extend": content + b"x"}
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert DenseIndex.load(tmp_path, fingerprint="one") is None


@pytest.mark.parametrize(
    "manifest", [[], "x", {}, {"format": 0}, {"format": 1, "fingerprint": "one"}, {"format": 1, "base": 3}], ids=str
)
def test_a_manifest_of_another_shape_loads_nothing_and_can_be_replaced(manifest: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert DenseIndex.load(tmp_path, fingerprint="one") is None
    DenseIndex.build(unit(5)).save(tmp_path, fingerprint="one")
    assert len(loaded(tmp_path)) == 5


@pytest.mark.parametrize("survived", range(9))
def test_a_process_that_dies_while_saving_leaves_the_old_index_or_the_new(
    survived: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = DenseIndex.build(unit(30)), DenseIndex.build(unit(40, seed=1))
    old.save(tmp_path, fingerprint="old")
    steps = [0]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            steps[0] += 1
            if steps[0] > survived:
                raise KeyboardInterrupt
            return real(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # the dead do not tidy up
        with pytest.raises(KeyboardInterrupt):
            new.save(tmp_path, fingerprint="new")
    found = [DenseIndex.load(tmp_path, fingerprint=which) for which in ("old", "new")]
    whole = [index for index in found if index is not None]
    assert len(whole) == 1
    assert same(whole[0], old if found[0] else new)
    new.save(tmp_path, fingerprint="new")
    assert same(loaded(tmp_path, "new"), new)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_disk_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        DenseIndex.build(unit(5)).save(tmp_path / "file" / "below", fingerprint="one")
