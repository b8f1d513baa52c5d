"""The benchmark as Parquet, and the card that describes it."""

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from app.errors import SetupError
from tests.support.published_cases import TOOLS, dataset
from training.data.card import dataset_card
from training.data.dataset import Dataset
from training.data.parquet import read_parquet, write_parquet

FILES = {"train.parquet", "test.parquet", "unseen.parquet", "tools.parquet"}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    ours = dataset(4)
    write_parquet(ours, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    found = read_parquet(tmp_path)
    assert found.tools == ours.tools
    assert found.instances == ours.instances


def test_many_rows_come_back(tmp_path: Path) -> None:
    one = dataset(2).instances[1]
    ours = Dataset(TOOLS, [replace(one, id=f"{number}") for number in range(2_345)])
    write_parquet(ours, tmp_path)
    assert pq.ParquetFile(tmp_path / "train.parquet").num_row_groups == 3
    assert read_parquet(tmp_path).instances == ours.instances


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    write_parquet(dataset(), tmp_path / "here")
    script = (
        "import sys, pathlib; from tests.support.published_cases import dataset; "
        "from training.data.parquet import write_parquet; "
        "write_parquet(dataset(), pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there")], check=True, cwd=root)
    for name in FILES:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_the_order_of_the_tools_does_not_count(tmp_path: Path) -> None:
    ours = dataset(1)
    write_parquet(ours, tmp_path / "one")
    write_parquet(Dataset({name: ours.tools[name] for name in sorted(ours.tools)}, ours.instances), tmp_path / "other")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_columns_are_nested_and_compressed(tmp_path: Path) -> None:
    write_parquet(dataset(1), tmp_path)
    file = pq.ParquetFile(tmp_path / "train.parquet")
    assert str(file.schema_arrow.field("history").type).startswith("list<element: struct<instruction: string")
    assert str(file.schema_arrow.field("asked_at").type) == "timestamp[us, tz=UTC]"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_times_are_the_same_moments_in_utc(tmp_path: Path) -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    ours = dataset(2).instances[1]
    moved = replace(ours, asked_at=ours.asked_at.astimezone(there))
    write_parquet(Dataset(TOOLS, [moved]), tmp_path)
    (found,) = read_parquet(tmp_path).instances
    assert found == moved
    assert found.asked_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_an_error(tmp_path: Path) -> None:
    ours = replace(dataset(1).instances[0], asked_at=datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        write_parquet(Dataset(TOOLS, [ours]), tmp_path)
    assert not (tmp_path / "train.parquet").exists()


def test_half_surrogate_pairs_are_replaced_in_texts_only(tmp_path: Path) -> None:
    ours = dataset(2).instances[1]
    call = replace(ours.answer, parameters={"city": "half \ud800"})
    write_parquet(Dataset(TOOLS, [replace(ours, instruction="half \ud800", answer=call)]), tmp_path)
    (found,) = read_parquet(tmp_path).instances
    assert (found.instruction, found.answer) == ("half \ufffd", call)


def test_a_part_may_be_missing(tmp_path: Path) -> None:
    write_parquet(dataset(1), tmp_path)
    (tmp_path / "unseen.parquet").unlink()
    assert len(read_parquet(tmp_path).instances) == 6


@pytest.mark.parametrize("name", ["tools.parquet", "test.parquet"])
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    write_parquet(dataset(1), tmp_path)
    whole = (tmp_path / name).read_bytes()
    for broken in (b"", b"PAR1 no", whole[: len(whole) // 2]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(SetupError, match=name):
            read_parquet(tmp_path)


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    write_parquet(dataset(1), tmp_path)
    (tmp_path / "train.parquet").write_bytes((tmp_path / "tools.parquet").read_bytes())
    with pytest.raises(SetupError, match=r"train\.parquet"):
        read_parquet(tmp_path)
    (tmp_path / "tools.parquet").unlink()
    with pytest.raises(SetupError, match=r"tools\.parquet"):
        read_parquet(tmp_path)


# ---------------------------------------------------------------- the card


FACTS = {
    "config": "small",
    "seed": 7,
    "writer": "template",
    "tools": 7_454,
    "categories": 46,
    "instances": {
        "train": {"preferred_only": 3_000, "rating_integrated": 3_000, "chronological": 3_000},
        "test": {"preferred_only": 1_000, "rating_integrated": 1_000, "chronological": 999},
        "unseen": {},
    },
    "revision": "abc123",
}


def test_the_card_has_a_config_for_each_form() -> None:
    _, front, body = dataset_card(FACTS).split("---\n", 2)
    values = yaml.safe_load(front)
    configs = {each["config_name"]: each["data_files"] for each in values["configs"]}
    assert configs == {
        "parquet": [{"split": "train", "path": "train.parquet"}, {"split": "test", "path": "test.parquet"}],
        "jsonl": [{"split": "train", "path": "train.jsonl"}, {"split": "test", "path": "test.jsonl"}],
        "tools": "tools.parquet",
    }
    assert values["size_categories"] == ["10K<n<100K"]
    assert body.startswith("\n# PEToolBench, rebuilt (small)\n")
    assert "| `test` | 1,000 | 1,000 | 999 | 2,999 |" in body
    assert "xu2025petoolllm" in body
    assert "`abc123`" in body
    assert "7,454 tools in 46 categories" in body


def test_the_card_says_who_wrote_and_what_it_does_not_know() -> None:
    facts = {**FACTS, "writer": "gpt-4o-mini", "revision": None}
    card = dataset_card(facts)
    assert "by a language model (gpt-4o-mini)" in card
    assert "revision `" not in card
    assert "written by templates" in dataset_card(FACTS)
