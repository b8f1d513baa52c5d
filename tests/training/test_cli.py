"""`petool-train`: the published format from the command line, and what cannot be done said in a sentence."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.published_cases import dataset
from training.data.dataset import read_dataset, write_dataset
from training.data.records import Part

CARD = {"config": "cases", "seed": 1, "writer": "template", "tools": 5, "categories": 4, "instances": {}}


def petool_train(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from training.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def built(folder: Path) -> Path:
    (folder / "dataset").mkdir(parents=True)
    write_dataset(dataset(), folder / "dataset", CARD)
    return folder


def test_a_benchmark_goes_out_in_the_published_format_and_comes_back(tmp_path: Path) -> None:
    benchmark, published, again = built(tmp_path / "built"), tmp_path / "published", tmp_path / "again"
    ran = petool_train("benchmark", "export", published, "--benchmark", benchmark)
    assert ran.returncode == 0, ran.stderr
    assert "user_entries_sft_p.json" in ran.stdout
    ran = petool_train("benchmark", "import", published, "--out", again)
    assert ran.returncode == 0, ran.stderr
    before, after = read_dataset(benchmark / "dataset"), read_dataset(again / "dataset")
    for part in Part:
        told = [[(each.instruction, each.answer, each.candidates) for each in of.of(part)] for of in (before, after)]
        assert sorted(map(repr, told[0])) == sorted(map(repr, told[1]))


def test_entries_that_cannot_be_imported_are_named(tmp_path: Path) -> None:
    benchmark, published = built(tmp_path / "built"), tmp_path / "published"
    petool_train("benchmark", "export", published, "--benchmark", benchmark)
    file = published / "user_entries_test_p.json"
    entries = json.loads(file.read_text("utf-8"))
    entries[0]["api_call_ground_truth"] = "nothing"
    file.write_text(json.dumps(entries), "utf-8")
    ran = petool_train("benchmark", "import", published, "--out", tmp_path / "again")
    assert ran.returncode == 0, ran.stderr
    assert "user_entries_test_p.json[0]" in ran.stderr
    assert "1 of" in ran.stderr


def test_what_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    for arguments, said in (
        (("benchmark", "export", tmp_path / "out", "--benchmark", tmp_path), "tools.jsonl"),
        (("benchmark", "import", tmp_path), "user_entries"),
        (("benchmark", "build", "--config", "none-such"), "paper-scale"),
        (("ranker", "fit", "--benchmark", tmp_path), "run the build first"),
    ):
        ran = petool_train(*arguments)
        assert ran.returncode == 1
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr
