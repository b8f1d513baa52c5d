"""The report of the evaluations there are, and of those there are not."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.errors import SetupError
from tests.support.evaluate_cases import benchmark
from training.cli import cli
from training.data.benchmark import OpenedBenchmark
from training.data.records import Instance, Part
from training.evaluate.answers import AnswerFile, Identity, Row, append_row, read_evaluation
from training.evaluate.config import SystemConfig, load_system
from training.evaluate.metrics import AnsweredCall, compare_scores
from training.evaluate.report.write import write_evaluation_report

MODEL = {
    "name": "base", "stage": "sft", "prompt_format": "hinted-1", "prompt_tokens": 4000,
    "data": {"config": "other", "seed": 1, "digest": "f" * 64},
}  # fmt: skip


def answered(
    made: OpenedBenchmark, config: SystemConfig, *, right: int, parts: tuple[Part, ...] = (Part.TEST,)
) -> None:
    """Of each part so many right calls; of the others a failed request first, then calls of no candidate."""
    data = {"config": made.data.config, "seed": made.data.seed, "digest": made.data.digest}
    manifests = {"adapter": MODEL} if config.kind == "model" else {}
    answers = AnswerFile(made.directory / "evaluations" / config.name)
    answers.claim(Identity(config.deciding_settings(), data, {}, manifests), config)
    for part in parts:
        with answers.open_to_append(part) as file:
            for at, instance in enumerate(made.dataset.of(part)):
                append_row(file, Row(instance.id, _call(instance, at - right), milliseconds=5.0))
    answers.add_run(command=f"petool-train evaluate {config.name}", revision="abc", part="test", asked=9, failed=0)


def _call(instance: Instance, beyond: int) -> AnsweredCall:
    if beyond < 0:
        return AnsweredCall(instance.answer.tool_name, instance.answer.parameters)
    return AnsweredCall(None, None, "failed_request" if beyond == 0 else "tool_hallucination")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> OpenedBenchmark:
    made = benchmark(tmp_path_factory.mktemp("benchmark"))
    for name, right in (("ranker", 3), ("small", 8), ("small-without-dpo", 6), ("small-without-history", 2)):
        parts = (Part.TEST, Part.UNSEEN) if name in ("ranker", "small") else (Part.TEST,)
        answered(made, load_system(name), right=right, parts=parts)
    return made


def cells(text: str, title: str) -> list[list[str]]:
    """The rows of the tables that begin so."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_report_has_the_figures_and_says_what_is_missing(evaluated: OpenedBenchmark, tmp_path: Path) -> None:
    markdown, html = (path.read_text("utf-8") for path in write_evaluation_report(evaluated, tmp_path))
    # Accuracy: the first three settings' tool and parameters, all, both, n.
    accuracy = cells(markdown, "Small PEToolLLaMA")[0]
    assert accuracy[7:] == ["88.9", "88.9", "88.9", "9"]
    assert cells(markdown, r"*PEToolLLaMA*")[0][:3] == ["*PEToolLLaMA*", "74.3", "87.9"]
    assert cells(markdown, "Small PEToolLLaMA, w/o SFT") == [["Small PEToolLLaMA, w/o SFT", "not evaluated"]]
    difference = cells(markdown, "Small PEToolLLaMA, w/o DPO")[-1]
    assert difference[4].startswith("-22.2 (")
    assert "Shipped systems that were not evaluated: fit, gpt-4o" in markdown
    assert "(other data than this)" in markdown
    assert "1 failed requests" in markdown
    assert "petool-train evaluate small-without-dpo" in markdown
    for word in ("The paper, on its own data", "not evaluated", "Unseen tools", "What history is worth"):
        assert word in html


def test_the_html_holds_everything_and_asks_for_nothing(evaluated: OpenedBenchmark, tmp_path: Path) -> None:
    html = write_evaluation_report(evaluated, tmp_path)[1].read_text("utf-8")
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', html)
    assert len(sources) > 10
    assert all(each.startswith(("data:image/svg+xml;base64,", "#")) for each in sources)
    assert html.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+', html)) > 5
    assert "<script" not in html


def test_the_same_evaluations_give_the_same_report(evaluated: OpenedBenchmark, tmp_path: Path) -> None:
    first, second = (write_evaluation_report(evaluated, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_report_without_evaluations_says_so(tmp_path: Path) -> None:
    markdown = write_evaluation_report(benchmark(tmp_path))[0].read_text("utf-8")
    assert "No system was evaluated on the test part." in markdown
    assert "petool-train evaluate ranker" in markdown


def test_two_systems_are_compared_on_what_both_answered(evaluated: OpenedBenchmark) -> None:
    small, ranker = (read_evaluation(evaluated, name).scores(Part.TEST) for name in ("small", "ranker"))
    test = compare_scores(small, ranker, "joint")
    assert test is not None
    assert (test.only_first, test.only_second, test.count) == (5, 0, 9)
    assert test.p == pytest.approx(2 / 2**5)


def test_the_commands_tell_what_they_found(evaluated: OpenedBenchmark, tmp_path: Path) -> None:
    where = ["--benchmark", str(evaluated.directory)]
    told = CliRunner().invoke(cli, ["compare", "small", "ranker", *where])
    assert told.exit_code == 0
    assert "5 : 0" in told.output
    told = CliRunner().invoke(cli, ["report", *where, "--out", str(tmp_path)])
    assert told.exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("report.*")) == ["report.html", "report.md"]
    nothing = CliRunner().invoke(cli, ["compare", "small", "small-without-dpo", *where, "--part", "unseen"])
    assert isinstance(nothing.exception, SetupError)
    assert "in common" in nothing.exception.detail


def test_an_evaluation_that_is_not_there_or_of_other_data_is_told(evaluated: OpenedBenchmark, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="evaluated are: ranker, small"):
        read_evaluation(evaluated, "fit")
    other = benchmark(tmp_path, 1)
    (tmp_path / "evaluations").symlink_to(evaluated.directory / "evaluations")
    with pytest.raises(SetupError, match="other data"):
        read_evaluation(other, "small")
