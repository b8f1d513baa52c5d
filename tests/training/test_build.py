"""The whole benchmark: the same on every machine and after every interruption, sound, and told in clear words."""

import asyncio
import copy
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.answers.validation import parameter_problems
from app.catalogue.parse import parse
from app.domain import HistorySetting, Json, Tool
from app.errors import SetupError
from tests.support.catalogue import TOOLS, document
from tests.support.fake_openai import FakeOpenAI, proper, saying
from tests.support.signals import interruptible
from tests.training.test_embedding import OTHER_MACHINE
from training.cli import main
from training.common.stages import LOCK, MANIFEST, NO_PROGRESS, only_here
from training.data.dataset import Dataset, read_dataset, read_rows, tool_names
from training.data.parquet import read_parquet
from training.data.records import Instance, Part
from training.generators.catalogue.build import DOCUMENTS
from training.openai.costs import BudgetSpent
from training.petoolbench.build import Built, build
from training.petoolbench.config import BenchmarkConfig, load_config
from training.petoolbench.interface import inputs
from training.petoolbench.stage_2_understand import UNDERSTOOD
from training.petoolbench.stage_3_group import read_groups
from training.petoolbench.stage_4_preferences import SETTINGS, read_users
from training.petoolbench.vectors import load_vectors

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Json] = {
    "name": "small",
    "seed": 3,
    "catalogue": {"tools": 80, "categories": 2, "flawed": 10},
    "instances": {"train": 30, "test": 15, "unseen": 6},
    "group": {"unseen": 0.35},
    "preferences": {"margin": 0.02, "shown": [2, 5]},
}
WANTED = {Part.TRAIN: 10, Part.TEST: 5, Part.UNSEEN: 2}
"""Instances in each setting."""
FEW = {"train": 12, "test": 6, "unseen": 0}
"""Instances for the tools of `tests.support.catalogue`."""


def config_of(**sections: Json) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate(CONFIG | sections)


def from_documents(path: Path, **sections: Json) -> BenchmarkConfig:
    values = {"seed": 3, "catalogue": {"path": str(path)}, "group": {"unseen": 0}, "instances": FEW}
    return config_of(**values | sections)


def write_lines(path: Path, documents: Iterable[Json]) -> Path:
    path.write_text("".join(f"{json.dumps(each)}\n" for each in documents))
    return path


def hashes(directory: Path, without: str = "/") -> dict[str, str]:
    """SHA-256 by name of every file in the folder, hidden ones too."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    found = {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: each for name, each in found.items() if not name.startswith(without)}


def kept(built: Built) -> set[str]:
    return {stage.name for stage in built.stages.values() if stage.kept}


def read_tools(built: Built) -> list[Tool]:
    parsed = parse(None, list(read_rows(built.stages["catalogue"].path(DOCUMENTS))))
    return [tool for _, tool in parsed.tools]


class Command:
    """`petool-train benchmark build` in a process of its own, and a group of its own as a terminal gives it."""

    def __init__(self, directory: Path, **sections: Json) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.yaml"
        config.write_text(yaml.safe_dump(CONFIG | sections))
        self.out = directory / "out"
        self._arguments = ["benchmark", "build", "--config", str(config), "--out", str(self.out)]
        self._process: subprocess.Popen[str] | None = None

    def start(self, environment: Mapping[str, str] | None = None, full: bool = False) -> None:
        """`full`: no file may grow beyond 20,480 bytes, as if the disk had no more room."""
        # Not through Python, which has threads here. -B: it would take byte code that is cut short for whole.
        limit = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh"] if full else []
        self._process = subprocess.Popen(
            interruptible(*limit, sys.executable, "-B", "-m", "training.cli", *self._arguments),
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ended(self) -> tuple[int, str, str]:
        """Exit status, standard output and error."""
        assert self._process is not None
        try:
            output, errors = self._process.communicate(timeout=120)
        finally:
            if self._process.poll() is None:
                self.signal(signal.SIGKILL)
        return self._process.returncode, output, errors

    def run(self, **given: Any) -> tuple[int, str, str]:
        self.start(**given)
        return self.ended()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def at(self, stage: str) -> None:
        """Returns when the stage has begun, and perhaps ended."""
        assert self._process is not None
        paths = (self.out / f".{stage}.partial", self.out / stage)
        while not any(path.exists() for path in paths):
            assert self._process.poll() is None, self._process.communicate()
            time.sleep(0.001)


# ---------------------------------------------------------------- builds that several tests look at


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The same build on another machine; it runs beside the others."""
    command = Command(tmp_path_factory.mktemp("elsewhere"))
    command.start(environment=OTHER_MACHINE)
    yield command
    command.ended()


@pytest.fixture(scope="module")
def elsewhere_ended(elsewhere: Command, built: Built) -> tuple[int, str, str]:
    return elsewhere.ended()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("built")


@pytest.fixture(scope="module")
def built(elsewhere: Command, out: Path) -> Built:
    return build(config_of(), out, NO_PROGRESS)


@pytest.fixture(scope="module")
def undisturbed(built: Built, out: Path) -> Mapping[str, str]:
    return hashes(out)


@pytest.fixture(scope="module")
def dataset(built: Built) -> Dataset:
    return read_dataset(built.dataset)


@pytest.fixture
def copied(out: Path, undisturbed: object, tmp_path: Path) -> Path:
    """The finished build, to be changed."""
    return Path(shutil.copytree(out, tmp_path / "copied"))


KILLED_AT = ("catalogue", "vectors", "preferences", "instructions", "quality")


def run_killed(command: Command) -> Command:
    """Runs on a full disk, killed at one stage after another, until one is left alone."""
    status, output, errors = command.run(full=True)
    assert (status, output) == (1, "")
    assert re.search(r"catalogue\.partial cannot be read or written: .*make room .*run the same command again", errors)
    assert "Traceback" not in errors
    assert [path.name for path in command.out.iterdir()] == [LOCK]
    for stage in KILLED_AT:
        command.start()
        command.at(stage)
        if stage == "vectors":
            time.sleep(0.5)
        command.signal(signal.SIGKILL)
        assert command.ended()[0] == -signal.SIGKILL
    status, _, errors = command.run()
    assert status == 0, errors
    return command


Interrupted = tuple[Command, tuple[int, str, str]]


def run_interrupted(command: Command) -> Interrupted:
    """Ctrl-C at the embedding, and then a run to the end."""
    command.start()
    command.at("vectors")
    time.sleep(0.5)
    command.signal(signal.SIGINT)
    ended = command.ended()
    assert not (command.out / "vectors").exists()
    status, _, errors = command.run()
    assert status == 0, errors
    return command, ended


@pytest.fixture(scope="module")
def disturbed(
    tmp_path_factory: pytest.TempPathFactory, elsewhere_ended: object
) -> Iterator[tuple[Future[Command], Future[Interrupted]]]:
    """Both at once, after those that are not disturbed."""
    with ThreadPoolExecutor(2) as pool:
        yield (
            pool.submit(run_killed, Command(tmp_path_factory.mktemp("killed"))),
            pool.submit(run_interrupted, Command(tmp_path_factory.mktemp("interrupted"), seed=4)),
        )


@pytest.fixture(scope="module")
def killed(disturbed: tuple[Future[Command], Future[Interrupted]]) -> Command:
    return disturbed[0].result()


@pytest.fixture(scope="module")
def interrupted(disturbed: tuple[Future[Command], Future[Interrupted]]) -> Interrupted:
    return disturbed[1].result()


# ---------------------------------------------------------------- the same again


def test_another_machine_builds_the_same_bytes(
    elsewhere: Command, elsewhere_ended: tuple[int, str, str], undisturbed: Mapping[str, str]
) -> None:
    status, _, errors = elsewhere_ended
    assert status == 0, errors
    assert hashes(elsewhere.out) == undisturbed


def test_a_build_that_was_killed_at_every_stage_ends_as_one_that_was_not(
    killed: Command, undisturbed: Mapping[str, str]
) -> None:
    expected = {name: each for name, each in undisturbed.items() if not name.startswith("report/")}
    assert hashes(killed.out, without="report/") == expected


def test_a_build_that_was_killed_at_every_stage_has_the_same_report(
    killed: Command, undisturbed: Mapping[str, str]
) -> None:
    assert hashes(killed.out) == undisturbed


def test_ctrl_c_is_told_in_a_sentence(interrupted: Interrupted) -> None:
    _, (status, output, errors) = interrupted
    assert status == 130
    assert output.strip() == ""
    assert errors.count("Stopped. Run the same command again: what was finished is kept.") == 1
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors


def test_another_seed_builds_another_benchmark(interrupted: Interrupted, undisturbed: Mapping[str, str]) -> None:
    other = hashes(interrupted[0].out)
    assert set(other) == set(undisturbed)
    the_same = {name for name in other if other[name] == undisturbed[name] and not name.endswith("rejected.jsonl")}
    assert the_same == {LOCK}


def test_a_second_run_keeps_every_stage(copied: Path, undisturbed: Mapping[str, str]) -> None:
    again = build(config_of(), copied, NO_PROGRESS)
    assert kept(again) == set(again.stages)
    assert hashes(copied) == undisturbed


def test_a_report_that_is_made_again_is_the_same(copied: Path, undisturbed: Mapping[str, str]) -> None:
    shutil.rmtree(copied / "report")
    again = build(config_of(), copied, NO_PROGRESS)
    assert kept(again) == set(again.stages) - {"report"}
    assert hashes(copied) == undisturbed


def test_other_candidates_keep_the_stages_before(copied: Path, dataset: Dataset) -> None:
    again = build(config_of(candidates={"n": 8, "retrieved": 3}), copied, NO_PROGRESS)
    assert set(again.stages) - kept(again) == {"candidates", "dataset", "quality", "report"}
    changed = read_dataset(again.dataset)
    assert {len(each.candidates) for each in changed.instances} == {8}
    assert [(each.id, each.answer) for each in changed.instances] == [
        (each.id, each.answer) for each in dataset.instances
    ]


def test_a_damaged_stage_is_made_anew_alone(copied: Path, undisturbed: Mapping[str, str]) -> None:
    with (copied / "histories" / "histories.jsonl").open("ab") as file:
        file.write(b"{}\n")
    (copied / "dataset" / "test.parquet").unlink()
    again = build(config_of(), copied, NO_PROGRESS)
    assert set(again.stages) - kept(again) == {"histories", "dataset"}
    assert hashes(copied) == undisturbed


def test_of_two_builds_in_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    first, second = Command(tmp_path), Command(tmp_path)
    first.start()
    try:
        first.at("catalogue")
        # It stands still in the midst of its work, so the second cannot come too late.
        first.signal(signal.SIGSTOP)
        before = hashes(first.out)
        status, output, errors = second.run()
        assert (status, output.strip()) == (1, "")
        said = f"Another process is building in {second.out}: wait for it, or choose another --out."
        assert said in " ".join(errors.split())
        assert "Traceback" not in errors
        with pytest.raises(SetupError, match="Another process is building in"):
            build(config_of(), first.out, NO_PROGRESS)
        assert hashes(first.out) == before
    finally:
        first.signal(signal.SIGKILL)
        first.ended()
    # Whoever was killed holds nothing.
    with only_here(first.out):
        pass


def test_builds_in_two_folders_do_not_hinder_each_other(copied: Path, tmp_path: Path) -> None:
    with only_here(tmp_path / "other"):
        again = build(config_of(), copied, NO_PROGRESS)
        # Nor is the folder held when the build has ended.
        assert kept(build(config_of(), copied, NO_PROGRESS)) == kept(again) == set(again.stages)


def test_a_changed_document_builds_what_a_first_run_would(tmp_path: Path) -> None:
    def documents(kind: str) -> Path:
        changed = copy.deepcopy(TOOLS)
        for number, each in enumerate(changed):
            type_ = kind if number == 0 else "STRING"
            each["optional_parameters"] = [{"name": "amount", "type": type_, "description": "", "default": "5"}]
        return write_lines(tmp_path / "tools.jsonl", changed)

    config = from_documents(documents("STRING"), instances={"train": 30, "test": 15, "unseen": 0})
    build(config, tmp_path / "again", NO_PROGRESS)
    documents("NUMBER")
    build(config, tmp_path / "again", NO_PROGRESS)
    build(config, tmp_path / "first", NO_PROGRESS)
    assert hashes(tmp_path / "again" / "dataset") == hashes(tmp_path / "first" / "dataset")


# ---------------------------------------------------------------- what comes out


def test_counts_are_as_configured(built: Built, dataset: Dataset) -> None:
    found = Counter((each.part, each.setting) for each in dataset.instances)
    assert found == {(part, setting): count for part, count in WANTED.items() for setting in SETTINGS}
    assert len({each.id for each in dataset.instances}) == len(dataset.instances)
    assert built.stages["dataset"].report["counts"] == {
        part.value: {setting.value: count for setting in SETTINGS} for part, count in WANTED.items()
    }


def test_candidates_are_ten_with_one_right_tool(dataset: Dataset) -> None:
    for each in dataset.instances:
        assert len(set(each.candidates)) == len(each.candidates) == 10
        assert each.answer.tool_name in each.candidates
        assert set(each.same_function) < set(each.candidates)
        assert each.answer.tool_name not in each.same_function
        assert tool_names(each) <= set(dataset.tools)


def test_nothing_but_the_group_can_do_the_job(built: Built, dataset: Dataset) -> None:
    group_of = {name: each for each in read_groups(built.stages["group"].path("groups.jsonl")) for name in each.tools}
    for each in dataset.instances:
        group = set(group_of[each.answer.tool_name].tools)
        assert {each.answer.tool_name, *each.same_function} == group & set(each.candidates)
        assert group.isdisjoint(item.tool_call.tool_name for item in each.history)


def test_of_a_group_a_user_wants_one_tool(built: Built) -> None:
    group_of = {name: each for each in read_groups(built.stages["group"].path("groups.jsonl")) for name in each.tools}
    for user in read_users(built.stages["preferences"].path("users.jsonl")):
        wanted = {*user.targets, *(entry.tool for entry in user.entries if entry.wanted and not entry.slip)}
        groups = Counter(group_of[name].id for name in wanted if name in group_of)
        assert max(groups.values()) == 1, user.id


def test_no_user_is_in_two_parts(dataset: Dataset) -> None:
    parts: dict[str, set[Part]] = {}
    for each in dataset.instances:
        parts.setdefault(each.user_id, set()).add(each.part)
    assert {len(each) for each in parts.values()} == {1}


def test_unseen_tools_never_occur_in_training(built: Built, dataset: Dataset) -> None:
    unseen = {row["tool_name"] for row in read_rows(built.stages["group"].path("clusters.jsonl")) if row["unseen"]}

    def named(part: Part) -> set[str]:
        return {name for each in dataset.of(part) for name in tool_names(each)}

    assert named(Part.UNSEEN) <= unseen
    assert unseen.isdisjoint(named(Part.TRAIN) | named(Part.TEST))


def test_no_category_and_inputs_are_both_seen_and_unseen(built: Built) -> None:
    tools = {tool.name: tool for tool in read_tools(built)}
    rows = list(read_rows(built.stages["group"].path("clusters.jsonl")))
    sides = {side: {inputs(tools[row["tool_name"]]) for row in rows if row["unseen"] is side} for side in (True, False)}
    assert sides[True]
    assert sides[True].isdisjoint(sides[False])


def test_no_history_shows_a_provider_of_the_job(built: Built, dataset: Dataset) -> None:
    group_of = {name: each for each in read_groups(built.stages["group"].path("groups.jsonl")) for name in each.tools}
    tools = {tool.name: tool for tool in read_tools(built)}
    for each in dataset.instances:
        shown = {tools[item.tool_call.tool_name].provider for item in each.history}
        assert shown.isdisjoint(tools[name].provider for name in group_of[each.answer.tool_name].tools)


def test_no_candidate_beside_the_group_says_nearly_the_same_as_the_right_tool(built: Built, dataset: Dataset) -> None:
    names = [row["tool_name"] for row in read_rows(built.stages["understand"].path(UNDERSTOOD))]
    vectors = load_vectors(built.stages["vectors"].path("functionality.npy"))
    of, looked_at = dict(zip(names, vectors, strict=True)), 0
    for each in dataset.instances:
        right = of[each.answer.tool_name]
        others = set(each.candidates) - {each.answer.tool_name, *each.same_function}
        looked_at += len(others)
        assert all(float(of[name] @ right) < 0.85 for name in others)
    assert looked_at > 100


def test_every_call_is_valid(dataset: Dataset) -> None:
    for each in dataset.instances:
        for call in (each.answer, *(item.tool_call for item in each.history)):
            assert parameter_problems(dataset.tools[call.tool_name], call.parameters) == []


def test_histories_are_in_order_before_the_question(dataset: Dataset) -> None:
    for each in dataset.instances:
        times = [item.occurred_at for item in each.history]
        assert times
        assert sorted(set(times)) == times
        assert times[-1] < each.asked_at


def test_ratings_are_where_the_setting_has_them(dataset: Dataset) -> None:
    for each in dataset.instances:
        is_rated = each.setting is HistorySetting.RATING_INTEGRATED
        assert {item.rating is not None for item in each.history} == {is_rated}


def test_texts_are_there_once(dataset: Dataset) -> None:
    instructions = [each.instruction for each in dataset.instances]
    assert len(set(instructions)) == len(instructions)
    assert all(text.strip() for each in dataset.instances for text in [each.instruction, *_asked(each)])


def _asked(instance: Instance) -> list[str]:
    return [item.instruction for item in instance.history]


def test_parquet_holds_what_json_lines_hold(built: Built, dataset: Dataset) -> None:
    parquet = read_parquet(built.dataset)
    assert parquet.instances == dataset.instances
    assert parquet.tools == dataset.tools


def test_every_stage_has_a_manifest_with_its_outputs(built: Built, out: Path) -> None:
    for name, stage in built.stages.items():
        files = hashes(out / name)
        del files[MANIFEST]
        assert stage.manifest["outputs"] == files
    assert {path.name for path in out.iterdir()} == {*built.stages, LOCK}


# ---------------------------------------------------------------- what is told


def test_the_output_names_the_numbers_and_where_the_report_is(
    elsewhere: Command, elsewhere_ended: tuple[int, str, str], dataset: Dataset
) -> None:
    _, output, errors = elsewhere_ended
    found = re.search(r"([\d,]+) instances over ([\d,]+) tools in (\d+) categories \((\d+) more of unseen", output)
    assert found is not None, output
    categories = {tool.category for tool in dataset.tools.values()}
    assert [int(each.replace(",", "")) for each in found.groups()] == [45, len(dataset.tools), len(categories), 6]
    (report,) = re.findall(r"^Report: +(.+)$", output, re.M)
    assert Path(report) == elsewhere.out / "report" / "report.md"
    assert Path(report).exists()
    assert "Traceback" not in errors


def test_the_reports_numbers_are_those_of_the_dataset(built: Built, dataset: Dataset) -> None:
    report = built.report.read_text("utf-8")
    head = re.sub(r"[*`]", "", report.split("\n")[2])
    assert head.startswith(
        f"45 instances (30 train, 15 test) over {len(dataset.tools)} tools in "
        f"{len({tool.category for tool in dataset.tools.values()})} categories, "
        f"{len({each.user_id for each in dataset.instances})} users; and 6 instances of unseen"
    )
    rows = [re.findall(r"[^|\s]+", line) for line in report.split("\n") if re.match(r"\| (train|test|unseen) \|", line)]
    counted = [row for row in rows if row[1].isdigit()]
    assert counted == [[part.value, *[str(count)] * 3] for part, count in WANTED.items()]
    words = sorted(len(each.instruction.split()) for each in dataset.instances)
    assert (
        f"least / p10 / median / p90 / most | {words[0]} / {words[5]} / {words[25]} / {words[45]} / {words[-1]} |"
        in (report)
    )
    for label in ("duplicated instructions | 0.00%", "give their tool away | 0", "does not allow | 0"):
        assert f"{label} |" in report
    assert "in training and test | 0, 0, 0 |" in report
    assert "`unseen` in training | 0 |" in report


def test_the_report_shows_what_the_systems_score(built: Built) -> None:
    quality = json.loads(built.stages["quality"].path("quality.json").read_text("utf-8"))
    report = built.report.read_text("utf-8")
    for name, parts in quality["systems"].items():
        for part, count in ((Part.TEST, 15), (Part.UNSEEN, 6)):
            score = parts[part.value]["all"]
            assert score["count"] == count
            assert re.search(
                rf"^\| {re.escape(name)} \|.* {score['accuracy']:.1f} ± {score['plus_minus']:.1f} \|$", report, re.M
            )


def test_samples_show_every_test_instance_of_a_small_benchmark(built: Built, dataset: Dataset) -> None:
    samples = built.stages["report"].path("samples.md").read_text("utf-8")
    assert set(re.findall(r"^### (.+)$", samples, re.M)) == {each.id for each in dataset.of(Part.TEST)}
    for each in dataset.of(Part.TEST):
        assert f"\n> {each.instruction}\n" in samples


def test_pictures_of_the_report_are_there(built: Built) -> None:
    names = re.findall(r"!\[[^\]]+\]\((.+?)\)", built.report.read_text("utf-8"))
    assert set(names) == {"categories.png", "histories.png", "eps.png", "systems-test.png", "systems-unseen.png"}
    for name in names:
        content = built.stages["report"].path(name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert content.endswith(b"IEND\xaeB`\x82")


# ---------------------------------------------------------------- real documents


def test_real_documents_become_a_benchmark_and_broken_ones_are_named(documents_folder: Path, tmp_path: Path) -> None:
    every = (documents_folder / "tools.jsonl").read_text("utf-8").splitlines()
    lines = [line for line in every if '"Sports"' in line][:150]
    broken, rest = len(lines) * 7 // 15, len(lines) * 2 // 3
    nameless = {name: value for name, value in json.loads(lines[0]).items() if name != "api_name"}
    source = tmp_path / "tools"
    source.mkdir()
    (source / "one.jsonl").write_text("\n".join([*lines[:broken], lines[broken][:-40], *lines[broken:rest]]), "utf-8")
    (source / "two.jsonl").write_text("\n".join([*lines[rest:], json.dumps(nameless)]), "utf-8")
    instances = {"train": 60, "test": 30, "unseen": 6}
    preferences = {"own_provider": True, "shown": [2, 5], "margin": 0.05}
    config = from_documents(source, group={"unseen": 0.2}, instances=instances, preferences=preferences)
    built = build(config, tmp_path / "out", NO_PROGRESS)

    dropped = {row["location"]: row for row in read_rows(built.stages["prepare"].path("dropped.jsonl"))}
    assert dropped[f"one.jsonl:{broken + 1}"]["reason"] == "unreadable"
    unnamed = dropped[f"two.jsonl:{len(lines) - rest + 1}"]
    assert unnamed["reason"] == "not_importable"
    assert "api_name" in unnamed["detail"]
    assert built.stages["prepare"].report["documents"] == len(lines) + 2
    assert built.stages["group"].report["chosen"]["groups"] > 0
    assert built.stages["preferences"].report["users"] > 0
    found = read_dataset(built.dataset)
    assert found.of(Part.TRAIN)
    assert found.of(Part.TEST)
    for each in found.instances:
        assert parameter_problems(found.tools[each.answer.tool_name], each.answer.parameters) == []
    assert "catalogue" not in built.stages


# ---------------------------------------------------------------- what the operator has to put right

Told = Callable[..., str]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """What the command says on standard error when it ends with status 1."""

    def run(config: str | bytes | Path, *arguments: object) -> str:
        path = tmp_path / "config.yaml" if not isinstance(config, Path) else config
        if not isinstance(config, Path):
            path.write_bytes(config if isinstance(config, bytes) else config.encode())
        command = ["petool-train", "benchmark", "build", "--config", str(path), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*command, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        output, errors = capsys.readouterr()
        assert output.strip() == ""
        assert "Traceback" not in errors
        return errors

    return run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "is not YAML"),
        ("name: 'open", "is not YAML"),
        ("name: a\n\tseed: 1", "is not YAML"),
        (b"name: \xff\xfe", "is not YAML"),
        (b"name: a\x00", "is not YAML"),
        ("", "is not a mapping of settings"),
        ("- name", "is not a mapping of settings"),
        ("just text", "is not a mapping of settings"),
        ("seed: 1", "name: Field required"),
        ("name: Not a name", "name: String should match"),
        ("name: a\nsed: 1", "sed: Extra inputs are not permitted"),
        ("name: a\ngroup: {epsilon: 1}", "group.epsilon: Extra inputs"),
        ("name: a\nseed: one", "seed: Input should be a valid integer"),
        ("name: a\ncatalogue: 5", "catalogue: Input should be a valid dictionary"),
        ("name: a\ncatalogue: {tools: 1.5}", "catalogue.tools: Input should be a valid integer"),
        ("name: a\ninstances: {train: -1}", "instances.train: Input should be greater than or equal to 0"),
        ("name: a\ngroup: {unseen: .nan}", "group.unseen: Input should be"),
        ("name: a\nwriter: {kind: poet}", "writer.kind: Input should be 'template' or 'openai'"),
        ("name: a\npreferences: {shown: [1, 2, 3]}", "preferences.shown"),
        ("name: a\nseed: x\ncandidates: {n: 1}", "candidates.n: Input should be greater"),
        ("name: a\ncandidates: {n: 4, retrieved: 4}", "at most n - 1"),
    ],
)
def test_a_config_that_is_not_valid_is_told(told: Told, text: str | bytes, said: str) -> None:
    errors = told(text)
    assert said in errors
    assert "config.yaml" in errors


@pytest.mark.parametrize("text", ["name: 2024-13-45", "seed: 0x_", "[" * 3000], ids=["date", "number", "deep"])
def test_yaml_that_cannot_be_read_is_told(told: Told, text: str) -> None:
    assert "is not YAML" in told(text)


@pytest.mark.parametrize(
    "values",
    [
        {"preferences": {"tastes": []}},
        {"preferences": {"tastes": [0.0]}},
        {"preferences": {"tastes": [-1.0, 2.0]}},
        {"preferences": {"shown": [5, 3]}},
        {"preferences": {"shown": [0, 0]}},
        {"preferences": {"shown": [-3, 3]}},
        {"preferences": {"rivals_shown": [4, 2]}},
        pytest.param({"group": {"eps_grid": []}}),
        pytest.param({"group": {"eps_grid": [-0.1]}}),
        pytest.param({"instances": {"spare": float("inf")}}),
    ],
    ids=str,
)
def test_a_config_that_cannot_be_built_is_told_at_once(tmp_path: Path, values: dict[str, Json]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG | values))
    with pytest.raises(SetupError, match="is not valid"):
        load_config(str(path))


@pytest.mark.parametrize("catalogue", ["5", "[1]", "text"])
def test_a_config_that_is_not_valid_is_told_where_tools_are_given(told: Told, catalogue: str) -> None:
    assert "catalogue: Input should be a valid" in told(f"name: a\ncatalogue: {catalogue}", "--tools", "tools.jsonl")


def test_a_config_that_is_not_there_is_told(told: Told, tmp_path: Path) -> None:
    errors = told(tmp_path / "missing.yaml")
    assert "missing.yaml cannot be read: No such file or directory" in errors
    assert "paper-scale" in errors
    assert "Is a directory" in told(tmp_path.parent / tmp_path.name / "..", "--config", _folder(tmp_path))


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    return folder


def test_tools_that_are_not_there_are_told(told: Told, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "tools.jsonl"
    assert f"There is no file or folder {missing} to take tools from." in told("name: a", "--tools", missing)


def test_a_path_that_no_file_can_have_is_told(told: Told, tmp_path: Path) -> None:
    assert "no file or folder" in told("name: a", "--tools", tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("lines", "documents"),
    [("", 1), ("no JSON\n", 1), ('{"category_name": "Weather"}\n[1]\n', 2), (f"{json.dumps(TOOLS[0])}\n" * 3, 3)],
    ids=["empty", "no JSON", "no documents", "one tool"],
)
def test_a_file_without_usable_tools_is_told(told: Told, tmp_path: Path, lines: str, documents: int) -> None:
    path = tmp_path / "tools.jsonl"
    path.write_text(lines)
    usable = int("Quietcloud" in lines)
    assert f"{path} holds {usable} usable tools of {documents} documents" in told("name: a", "--tools", path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]


def test_a_catalogue_without_a_group_is_told_every_time(told: Told, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "tools.jsonl", [TOOLS[0], TOOLS[3], TOOLS[6], TOOLS[9]])
    for _ in range(2):
        errors = told("name: a", "--tools", path)
        assert "No two tools have the same functionality" in errors
        assert "larger catalogue" in errors


def test_a_catalogue_without_an_instance_is_told_every_time(told: Told, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "tools.jsonl", TOOLS)
    for _ in range(2):
        errors = told(
            "name: a\ninstances: {train: 6, test: 3, unseen: 0}\npreferences: {margin: 3, shown: [2, 5]}",
            "--tools",
            path,
        )
        assert "No instance came out: {'functional_overlap'" in errors or "No instance came out: {'not_well" in errors
        assert "preferences.margin" in errors


def test_a_budget_needs_prices(told: Told, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "tools.jsonl", TOOLS)
    errors = told("name: a\nwriter: {kind: openai}", "--tools", path, "--budget", 1)
    assert "A budget needs the model's prices" in errors


@pytest.mark.parametrize(
    "kind",
    ["template", "openai"],
)
def test_a_folder_that_cannot_be_made_is_told(told: Told, tmp_path: Path, kind: str) -> None:
    path = write_lines(tmp_path / "tools.jsonl", TOOLS)
    file = tmp_path / "file"
    file.touch()
    assert "--out" in told(f"name: a\nwriter: {{kind: {kind}}}", "--tools", path, "--out", file)


# ---------------------------------------------------------------- a model writes

JOBS = {
    "Weather": ("Forecast", "city", "Gives the weather forecast of a city."),
    "Search": ("Find pages", "query", "Searches the web for pages."),
    "Translation": ("Translate", "text", "Translates a text into another language."),
    "Music": ("Lyrics", "song", "Finds the words of a song."),
    "Finance": ("Convert", "amount", "Converts an amount between currencies."),
    "Travel": ("Timetable", "station", "Lists the trains that leave a station."),
}
KINDS = {
    "Hush": "Nothing is stored, no tracking, no account, for people who care about their privacy.",
    "Tinkle": "In pictures and simple words, made for children in primary school.",
    "Ledger": "Paid, audited, with service levels for trading desks and enterprises.",
    "Barrow": "Free of charge, run by volunteers, slow, open source.",
}
BRANDED = [
    document(category, f"{brand} {number}{category[:2]}", api, f"{job} {about}", (parameter, "STRING"))
    for category, (api, parameter, job) in JOBS.items()
    for number, (brand, about) in enumerate(KINDS.items())
]


def thoughtful(data: Mapping[str, Any]) -> str:
    """A valid text that tells tools apart, as the model is asked to."""
    answer = json.loads(proper(data))
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    if "functionality" in answer:
        job, answer["non_functional"] = data["tool"]["description"].split(". ", 1)
        answer["functionality"] = f"{job}."
    for number, each in enumerate(answer.get("interactions", [answer])):
        if "instruction" in each:
            each["instruction"] = f"Please see to case {digest[:12]} of mine, item {number}."
    return json.dumps(answer)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    """On a thread and an event loop of its own: a build has its own loop."""
    server = FakeOpenAI()
    server.behaviour = saying(thoughtful)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def by_model(server: FakeOpenAI, tmp_path: Path) -> BenchmarkConfig:
    endpoint = {"base_url": server.base_url, "input_price": 0.0, "output_price": 1000.0, "max_tokens": 1000}
    path = write_lines(tmp_path / "branded.jsonl", BRANDED)
    server.received.clear()
    return from_documents(path, writer={"kind": "openai", "openai": endpoint})


def stages_only(directory: Path) -> dict[str, str]:
    return hashes(directory, without="openai-cache")


def remove_stages(built: Built) -> None:
    for stage in built.stages.values():
        shutil.rmtree(stage.directory)


def test_texts_of_a_model_become_a_benchmark_and_are_asked_for_once(
    server: FakeOpenAI, by_model: BenchmarkConfig, tmp_path: Path
) -> None:
    built = build(by_model, tmp_path / "out", NO_PROGRESS)
    found = read_dataset(built.dataset)
    assert [len(found.of(part)) for part in Part] == [12, 6, 0]
    assert all(each.instruction.startswith("Please see to case") for each in found.instances)
    for each in found.instances:
        assert parameter_problems(found.tools[each.answer.tool_name], each.answer.parameters) == []
    requests = len(server.received)
    assert requests > 2 * len(BRANDED)
    assert built.usage is not None
    assert (built.usage["requests"], built.usage["cost"]) == (requests, pytest.approx(0.02 * requests))
    before = stages_only(tmp_path / "out")

    remove_stages(built)
    again = build(by_model, tmp_path / "out", NO_PROGRESS)
    assert len(server.received) == requests
    assert kept(again) == set()
    assert again.usage is not None
    assert (again.usage["requests"], again.usage["cost"]) == (0, 0)
    assert stages_only(tmp_path / "out") == before


def test_a_budget_that_is_too_small_is_told_and_a_larger_one_goes_on(
    server: FakeOpenAI,
    by_model: BenchmarkConfig,
    tmp_path: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A request reserves a dollar and takes two cents.
    config = yaml.safe_dump(by_model.model_dump(mode="json"))
    errors = told(config, "--budget", 1.1)
    assert "The budget of $1.1 has no room for the next request" in errors
    assert "run the same command again with a higher budget" in errors
    assert (tmp_path / "out" / "prepare").exists()
    assert not (tmp_path / "out" / "understand").exists()
    paid = len(server.received)
    assert 0 < paid <= 100

    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], "100"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "18 instances over 24 tools in 6 categories" in capsys.readouterr().out
    # Nothing was asked for twice.
    asked = [json.dumps(each.document, sort_keys=True) for each in server.received]
    assert len(asked) > paid
    assert len(set(asked)) == len(asked)


def test_a_spent_budget_is_raised_as_itself(by_model: BenchmarkConfig, tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent):
        build(by_model, tmp_path / "out", NO_PROGRESS, budget=0.5)


def test_a_server_that_is_not_there_is_told(by_model: BenchmarkConfig, tmp_path: Path) -> None:
    config = with_endpoint(by_model, base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:9.*run the same command again"):
        build(config, tmp_path / "out", NO_PROGRESS)


def with_endpoint(config: BenchmarkConfig, **changes: Json) -> BenchmarkConfig:
    endpoint = config.writer.openai.model_copy(update=changes)
    return config.model_copy(update={"writer": config.writer.model_copy(update={"openai": endpoint})})


WRITTEN = {"understand", "histories", "instructions"}


def test_another_model_is_another_text(server: FakeOpenAI, by_model: BenchmarkConfig, tmp_path: Path) -> None:
    build(by_model, tmp_path / "out", NO_PROGRESS)
    server.received.clear()
    again = build(with_endpoint(by_model, model="other"), tmp_path / "out", NO_PROGRESS)
    assert kept(again).isdisjoint(WRITTEN)
    assert {each.document["model"] for each in server.received} == {"other"}


def test_what_decides_the_text_has_it_written_anew(
    server: FakeOpenAI, by_model: BenchmarkConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = build(by_model, out, NO_PROGRESS)
    asked, before = len(server.received), stages_only(out)

    # How fast and for how much is another matter.
    slower = with_endpoint(by_model, concurrency=2, retries=1, timeout=30.0, input_price=1.0, output_price=2.0)
    again = build(slower, out, NO_PROGRESS)
    assert set(again.stages) - kept(again) <= {"report"}
    assert len(server.received) == asked

    # Another server: the texts are looked for anew, and found in the cache.
    elsewhere = with_endpoint(by_model, base_url=server.base_url.replace("127.0.0.1", "localhost"))
    again = build(elsewhere, out, NO_PROGRESS)
    assert kept(again).isdisjoint(WRITTEN)
    assert "prepare" in kept(again)
    assert len(server.received) == asked
    for stage in WRITTEN:
        files = {name for name in before if name.startswith(f"{stage}/") and not name.endswith(MANIFEST)}
        assert files
        assert {name: hashes(out)[name] for name in files} == {name: before[name] for name in files}

    # The server would answer these otherwise.
    others: tuple[dict[str, Json], ...] = ({"temperature": 0.1}, {"max_tokens": 1001})
    for number, changes in enumerate(others):
        again = build(with_endpoint(by_model, **changes), out, NO_PROGRESS)
        assert kept(again).isdisjoint(WRITTEN), changes
        received = server.received[(number + 1) * asked :]
        assert len(received) == asked, changes
        if "temperature" in changes:
            assert {each.document["temperature"] for each in received} == {0.1}
    assert set(again.stages) == set(first.stages)
