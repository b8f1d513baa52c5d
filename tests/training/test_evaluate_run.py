"""Runs that fail, stop, are killed and go on; what must not go on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import SetupError
from tests.support.evaluate_cases import RANKER, Telling, benchmark, questions, right
from training.data.records import Instance, Part
from training.evaluate.answers import AnswerFile, Identity, Row, score_rows
from training.evaluate.build_system import identity_of
from training.evaluate.metrics import AnsweredCall, score_calls
from training.evaluate.patience import Failed
from training.evaluate.run import GIVE_UP_AFTER, Evaluation, Selection, ask_questions
from training.examples import Question

IDENTITY = Identity({"kind": "ranker"}, {"digest": "d"}, {})


def opened(folder: Path) -> AnswerFile:
    answers = AnswerFile(folder / "system")
    answers.claim(IDENTITY, RANKER)
    return answers


class Failing(Telling):
    """Fails for the instances it is told."""

    def __init__(self, ids: set[str], *, alone: bool = False) -> None:
        super().__init__()
        self.ids = ids
        self._alone = alone

    async def answer(self, question: Question) -> Row:
        row = await super().answer(question)
        if question.instance.id in self.ids:
            raise Failed("it did not answer", alone=self._alone)
        return row


async def test_every_instance_gets_a_row_with_what_was_said(tmp_path: Path) -> None:
    answers, system = opened(tmp_path), Telling()
    ran = await ask_questions(system, questions(), answers, Part.TEST, concurrency=4)
    rows = answers.rows(Part.TEST)
    assert (ran.asked, ran.failed, sorted(rows)) == (9, 0, sorted(each.instance.id for each in questions()))
    scores = score_rows(rows, [each.instance for each in questions()])
    assert [cell.joint.percent for cell in scores.by_setting.values()] == [100.0] * 4


async def test_a_failed_request_is_an_error_of_its_own_and_is_asked_again(tmp_path: Path) -> None:
    answers = opened(tmp_path)
    bad = questions()[2].instance.id
    ran = await ask_questions(Failing({bad}), questions(), answers, Part.TEST, concurrency=1)
    assert ran.failed == 1
    row = answers.rows(Part.TEST)[bad]
    assert (row.failed, row.detail) == (True, "it did not answer")
    await ask_questions(Telling(), questions()[2:3], answers, Part.TEST, concurrency=1)
    assert not answers.rows(Part.TEST)[bad].failed


async def test_a_run_ends_where_nothing_answers_any_more(tmp_path: Path) -> None:
    answers = opened(tmp_path)
    many = [replace(each, instance=replace(each.instance, id=f"{at}")) for at in range(4) for each in questions()]
    everything = {each.instance.id for each in many}
    with pytest.raises(SetupError, match="in a row failed"):
        await ask_questions(Failing(everything), many * 2, answers, Part.TEST, concurrency=1)
    lines = answers.path(Part.TEST).read_text().splitlines()
    assert len(lines) == GIVE_UP_AFTER
    # A prompt that does not fit says nothing of others.
    assert (
        await ask_questions(Failing(everything, alone=True), many, answers, Part.TEST, concurrency=1)
    ).failed == len(many)


async def test_a_last_line_cut_short_is_dropped_and_any_other_told(tmp_path: Path) -> None:
    answers = opened(tmp_path)
    await ask_questions(Telling(), questions()[:3], answers, Part.TEST, concurrency=1)
    path = answers.path(Part.TEST)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert len(answers.rows(Part.TEST)) == 2
    # Another process may be writing it.
    assert path.read_bytes() == whole[:-20]
    await ask_questions(Telling(), questions()[2:3], answers, Part.TEST, concurrency=1)
    assert path.read_bytes().splitlines()[:2] == whole.splitlines()[:2]
    assert len(answers.rows(Part.TEST)) == 3
    path.write_bytes(b'{"id": "x"}\n' + whole)
    with pytest.raises(SetupError, match=r"test\.jsonl:1"):
        answers.rows(Part.TEST)


def test_answers_of_another_config_do_not_go_on(tmp_path: Path) -> None:
    opened(tmp_path).add_run(asked=1, command="x", part="test")
    answers = AnswerFile(tmp_path / "system")
    answers.claim(IDENTITY, RANKER.model_copy(update={"label": "Ranker"}))
    answers.path(Part.TEST).write_text("")
    other = replace(IDENTITY, settings={"kind": "fit"}, files={"base": "b"})
    with pytest.raises(SetupError, match="kind, base changed"):
        answers.claim(other, RANKER)
    assert answers.path(Part.TEST).exists()
    answers.claim(other, RANKER, restart=True)
    assert not answers.path(Part.TEST).exists()


def test_an_evaluation_asks_only_what_is_missing(tmp_path: Path) -> None:
    evaluation = Evaluation(benchmark(tmp_path))
    first = evaluation.evaluate(RANKER, Selection(count=3), command="petool-train evaluate ranker")
    assert (first.kept, first.counts.asked, len(first.scores)) == (0, 3, 3)
    second = evaluation.evaluate(RANKER, Selection())
    assert (second.kept, second.counts.asked, len(second.scores)) == (3, 6, 9)
    again = evaluation.evaluate(RANKER, Selection())
    assert (again.kept, again.counts.asked) == (9, 0)
    manifest = json.loads((first.directory / "manifest.json").read_text())
    assert [run["asked"] for run in manifest["runs"]] == [3, 6]
    assert manifest["runs"][0]["command"] == "petool-train evaluate ranker"


def test_what_is_only_for_show_is_no_part_of_the_identity(tmp_path: Path) -> None:
    made = benchmark(tmp_path)
    shown = RANKER.model_copy(update={"name": "other", "label": "Other", "concurrency": 3})
    assert identity_of(shown, made).digest == identity_of(RANKER, made).digest
    fit = RANKER.model_copy(update={"kind": "fit"})
    assert identity_of(fit, made).digest != identity_of(RANKER, made).digest


def test_errors_are_counted_as_the_paper_does_and_as_parts_of_a_whole() -> None:
    def wrong(instance: Instance) -> AnsweredCall:
        return AnsweredCall(instance.same_function[0], {}) if instance.same_function else right(instance)

    instances = [each.instance for each in questions()]
    scores = score_calls({each.id: wrong(each) for each in instances}, instances)
    errors = {kind.value: share.hits for kind, share in scores.errors().items() if share.hits}
    assert errors == {"tool_preference_mismatch": 3, "parameter_name_mismatch": 3}
    first = {kind and kind.value: share.hits for kind, share in scores.first_errors().items() if share.hits}
    assert first == {None: 6, "tool_preference_mismatch": 3}
