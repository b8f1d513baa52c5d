"""`petool.json`: written whole, read with care, and files that are not what it says."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import SetupError
from app.model_files import manifest as manifests
from app.model_files.manifest import (
    BaseWeights,
    Manifest,
    TrainingData,
    file_digests,
    read_manifest,
    verify_files,
    weights_digest,
    write_manifest,
)

HASH = "0123456789abcdef" * 4


def manifest(**given: Any) -> Manifest:
    whole = Manifest(
        kind="adapter",
        name="taste-sft",
        stage="sft",
        base=BaseWeights("small", HASH),
        prompt_format="hinted-1",
        prompt_tokens=4000,
        data=TrainingData("paper-scale", 7, HASH),
        config={"lora": {"r": 8}, "lr": 1e-4},
        revision="abc",
        scores={"eval_loss": 0.25},
    )
    return replace(whole, **given)


def directory(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "inner/plot.png", "README.md"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    for each in (manifest(), manifest(kind="model", stage="base", base=None, scores={})):
        write_manifest(tmp_path, each)
        assert read_manifest(tmp_path) == each


def test_a_directory_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "missing") is None


def test_every_file_is_listed_but_the_manifest_and_the_card(tmp_path: Path) -> None:
    write_manifest(directory(tmp_path), manifest())
    names = ["adapter_config.json", "adapter_model.safetensors", "inner/plot.png"]
    assert file_digests(tmp_path) == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


def test_a_file_that_differs_or_is_missing_is_named(tmp_path: Path) -> None:
    whole = manifest(files=file_digests(directory(tmp_path)))
    verify_files(tmp_path, whole)
    (tmp_path / "README.md").write_text("a better card")
    verify_files(tmp_path, whole)
    (tmp_path / "inner" / "plot.png").write_bytes(b"another")
    with pytest.raises(SetupError, match=r"inner/plot\.png is not the file"):
        verify_files(tmp_path, whole)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(SetupError, match=r"adapter_config\.json cannot be read"):
        verify_files(tmp_path, whole)


def test_a_manifest_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    with pytest.raises(ValueError, match="Out of range"):
        write_manifest(tmp_path, manifest(scores={"loss": float("nan")}))
    with pytest.raises(UnicodeEncodeError):
        write_manifest(tmp_path, manifest(name="\ud800"))
    assert read_manifest(tmp_path) == manifest()
    assert [path.name for path in tmp_path.iterdir()] == [manifests.MANIFEST]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "version None"),
        ({"kind": "ranker"}, "kind"),
        ({"stage": None}, "stage"),
        ({"base": None}, "names its base"),
        ({"kind": "model"}, "names its base"),
        ({"base": {"name": "small", "digest": "short"}}, r"base\.digest"),
        ({"prompt_tokens": 0}, "prompt_tokens"),
        ({"data": {"config": "tiny"}}, "data"),
        ({"files": {"../outside": HASH}}, "outside"),
        ({"files": {"/etc/passwd": HASH}}, "outside"),
        ({"files": {"a": "b"}}, r"files\.a"),
    ],
)
def test_a_broken_manifest_is_told_in_a_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_manifest(tmp_path, manifest())
    path = tmp_path / manifests.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(SetupError, match=said):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "1", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_told_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / manifests.MANIFEST).write_text(text)
    with pytest.raises(SetupError, match=r"petool\.json"):
        read_manifest(tmp_path)


def test_one_weights_file_has_its_own_digest(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_digest(tmp_path) == hashlib.sha256(b"weights").hexdigest()


def test_shards_are_digested_as_sha256sum_lists_them(tmp_path: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    # Of a conversion: not what the index tells of.
    (tmp_path / "consolidated.safetensors").write_bytes(b"the same again")
    index = {"weight_map": {"b": names[1], "a": names[0], "c": names[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    listed = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    assert weights_digest(tmp_path) == hashlib.sha256(listed).hexdigest()
    (tmp_path / names[0]).unlink()
    with pytest.raises(SetupError, match="00001-of-00002"):
        weights_digest(tmp_path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": "../x"}}', '{"weight_map": [1]}'])
def test_a_broken_index_of_weights_is_told(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(SetupError, match="copy the model again"):
        weights_digest(tmp_path)


def test_a_directory_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"model\.safetensors"):
        weights_digest(tmp_path)
