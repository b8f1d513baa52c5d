"""Stages on disk: whole or not there, kept only where nothing changed, whatever ended the run before."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from app.domain import Json
from app.errors import SetupError
from tests.support.signals import interruptible
from training.common.stages import MANIFEST, Stage, Workspace, file_hash, read_manifest

ROOT = Path(__file__).parents[2]
NAMES = ["one.txt", "two.bin"]


class Work:
    """A stage that counts how often it is made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made = 0
        self.text = "first\n"
        self.report: dict[str, Json] = {"rows": 1}

    def produce(self, out: Path) -> Mapping[str, Json]:
        self.made += 1
        (out / "one.txt").write_text(self.text)
        (out / "two.bin").write_bytes(bytes(range(256)))
        return self.report

    def run(
        self, name: str = "stage", *, version: int = 1, after: tuple[Stage, ...] = (), **settings: Json
    ) -> tuple[Stage, int]:
        """The stage, and how often it was made for it."""
        before = self.made
        stage = Workspace(self.directory).run(name, self.produce, version=version, settings=settings, after=after)
        return stage, self.made - before


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "build")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ---------------------------------------------------------------- kept or made anew


def test_a_stage_is_kept_when_nothing_changed(work: Work) -> None:
    first, made = work.run(seed=1)
    assert (first.kept, made) == (False, 1)
    second, made = work.run(seed=1)
    assert (second.kept, made) == (True, 0)
    assert second.manifest == first.manifest
    assert (second.digest, second.report, second.directory) == (first.digest, first.report, first.directory)


def test_a_kept_stage_reports_as_it_did_when_it_was_made(work: Work) -> None:
    # Whoever writes tables from it must not write others after an interruption.
    work.report = {"train": 3, "test": {"rivals": {2: 5, 10: 1}, "about": [1.5, None]}}
    first, _ = work.run()
    second, _ = work.run()
    assert json.dumps(second.report) == json.dumps(first.report)


def test_the_order_of_settings_is_no_change(work: Work) -> None:
    work.run(a=1, b={"c": 2, "d": 3})
    assert work.run(b={"d": 3, "c": 2}, a=1)[0].kept


@pytest.mark.parametrize("settings", [{"seed": 2}, {"seed": "1"}, {"seed": 1, "more": None}, {}])
def test_other_settings_make_a_stage_anew(work: Work, settings: dict[str, Json]) -> None:
    work.run(seed=1)
    assert work.run(**settings)[1] == 1


def test_another_version_makes_a_stage_anew(work: Work) -> None:
    work.run()
    assert work.run(version=2)[1] == 1
    assert work.run(version=2)[1] == 0


def test_another_output_of_an_earlier_stage_makes_a_stage_anew(work: Work) -> None:
    earlier, _ = work.run("earlier")
    work.run("later", after=(earlier,))
    assert work.run("later", after=(earlier,))[0].kept
    work.text = "other\n"
    changed, _ = work.run("earlier", version=2)
    assert work.run("later", after=(changed,))[1] == 1


def test_an_earlier_stage_that_gives_the_same_again_changes_nothing(work: Work) -> None:
    earlier, _ = work.run("earlier")
    work.run("later", after=(earlier,))
    again, made = work.run("earlier", version=2)
    assert made == 1
    assert work.run("later", after=(again,))[0].kept


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink, into_folder])
@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
def test_a_damaged_file_makes_a_stage_anew(work: Work, name: str, damage: Callable[[Path], None]) -> None:
    stage, _ = work.run()
    before = {each: file_hash(stage.path(each)) for each in [*NAMES, MANIFEST]}
    damage(stage.path(name))
    again, made = work.run()
    assert (again.kept, made) == (False, 1)
    assert {each: file_hash(again.path(each)) for each in [*NAMES, MANIFEST]} == before
    assert names(work.directory) == ["stage"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"fingerprint": 1}', '{"outputs": 3, "fingerprint": "x"}'])
def test_a_manifest_that_is_none_makes_a_stage_anew(work: Work, text: str) -> None:
    stage, _ = work.run()
    stage.path(MANIFEST).write_text(text)
    assert work.run()[1] == 1


def test_what_an_earlier_run_left_in_the_folder_is_gone_when_a_stage_is_made_anew(work: Work) -> None:
    stage, _ = work.run()
    stage.path("old.txt").write_text("of another version")
    work.run(version=2)
    assert names(stage.directory) == sorted([*NAMES, MANIFEST])


def test_the_manifest_lists_every_output_with_its_hash(work: Work) -> None:
    def produce(out: Path) -> Mapping[str, Json]:
        work.produce(out)
        (out / "deeper").mkdir()
        (out / "deeper" / "empty").touch()
        return {"count": 3}

    stage = Workspace(work.directory).run("stage", produce, version=1, settings={"seed": 1})
    manifest = read_manifest(stage.directory)
    assert manifest == stage.manifest
    assert manifest["outputs"] == {name: file_hash(stage.path(name)) for name in [*NAMES, "deeper/empty"]}
    assert (manifest["stage"], manifest["settings"], manifest["report"]) == ("stage", {"seed": 1}, {"count": 3})
    stage.path("deeper/empty").unlink()
    assert not Workspace(work.directory).run("stage", produce, version=1, settings={"seed": 1}).kept


def test_a_folder_without_a_finished_stage_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no finished stage"):
        read_manifest(tmp_path)


# ---------------------------------------------------------------- what ends a run


@pytest.mark.parametrize("error", [RuntimeError("broken"), SetupError("not so"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("before", [False, True])
def test_a_stage_that_fails_leaves_nothing(work: Work, error: BaseException, before: bool) -> None:
    if before:
        work.run(version=1)

    def fail(out: Path) -> Mapping[str, Json]:
        work.produce(out)
        raise error

    with pytest.raises(type(error)) as raised:
        Workspace(work.directory).run("stage", fail, version=2, settings={})
    assert raised.value is error
    assert names(work.directory) == []
    assert work.run(version=2)[1] == 1
    assert names(work.directory) == ["stage"]


def test_what_a_killed_run_was_writing_is_cleared_away(work: Work) -> None:
    partial = work.directory / ".stage.partial"
    partial.mkdir(parents=True)
    (partial / "half.txt").write_text("hal")
    # Even if it was about to be renamed.
    (partial / MANIFEST).write_text("{}")
    stage, made = work.run()
    assert made == 1
    assert names(stage.directory) == sorted([*NAMES, MANIFEST])
    assert names(work.directory) == ["stage"]


def test_a_removal_that_was_cut_short_goes_on_when_there_is_more_to_remove(work: Work) -> None:
    work.run()
    (work.directory / ".stage.removed").mkdir()
    (work.directory / ".stage.removed" / "one.txt").write_text("old")
    work.run(version=2)
    assert names(work.directory) == ["stage"]


def test_a_removal_that_was_cut_short_is_finished(work: Work) -> None:
    # Killed between the renaming of the old folder and the end of its removal: the stage itself is not there.
    for name in (".stage.removed", ".stage.partial.removed"):
        (work.directory / name).mkdir(parents=True)
        (work.directory / name / "one.txt").write_text("old")
    work.run()
    assert names(work.directory) == ["stage"]


KILLED = """
import sys, time
from pathlib import Path
from training.common.stages import Workspace

def produce(out):
    (out / "one.txt").write_text("hal")
    print("half", flush=True)
    time.sleep(600)

Workspace(Path(sys.argv[1])).run("stage", produce, version=1, settings={})
"""


def python(code: str, *arguments: object) -> list[str]:
    # -B: where no file may grow, Python would take byte code that is cut short for whole.
    return [sys.executable, "-B", "-c", code, *map(str, arguments)]


def test_kill_9_leaves_nothing_that_looks_finished(work: Work) -> None:
    with subprocess.Popen(python(KILLED, work.directory), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.kill()
    assert names(work.directory) == [".stage.partial"]
    assert work.run()[1] == 1
    assert names(work.directory) == ["stage"]


INTERRUPTED = KILLED.replace("import sys, time", "import sys, time\nsys.excepthook = lambda *_: None")


def test_ctrl_c_leaves_nothing(work: Work) -> None:
    command = interruptible(*python(INTERRUPTED, work.directory))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert names(work.directory) == []


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from app.errors import SetupError
from training.common.stages import Workspace, write_rows

def text(out):
    (out / "small.txt").write_text("small")
    write_rows(out / "rows.jsonl", ({"row": "x" * 100} for _ in range(1000)))
    return {}

def array(out):
    np.save(out / "vectors.npy", np.zeros(50_000))
    return {}

def many(out):
    # Each file has room, but not the manifest.
    for number in range(1000):
        (out / f"{number}.txt").write_text("small")
    return {}

kind, where, limit = sys.argv[1:]
if limit != "none":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    stage = Workspace(Path(where)).run("stage", globals()[kind], version=1, settings={})
except SetupError as error:
    print(error.detail)
    sys.exit(1)
print("kept" if stage.kept else "made")
"""


@pytest.mark.parametrize("kind", ["text", "array", "many"])
def test_a_full_disk_is_told_and_the_same_command_goes_on_when_there_is_room(tmp_path: Path, kind: str) -> None:
    def run(limit: str) -> tuple[int, str]:
        done = subprocess.run(
            python(FULL, kind, tmp_path / "build", limit), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    for _ in range(2):
        status, said = run("20000")
        assert status == 1
        assert "stage.partial cannot be read or written: " in said
        assert "make room" in said
        assert "same command again" in said
        assert names(tmp_path / "build") == []
    assert run("none") == (0, "made\n")
    assert run("none") == (0, "kept\n")


def test_a_folder_that_cannot_be_made_is_told(work: Work) -> None:
    work.directory.parent.mkdir(exist_ok=True)
    work.directory.write_text("a file")
    with pytest.raises(SetupError, match=r"\.stage\.partial cannot be read or written: Not a directory.*--out"):
        work.run()
    assert work.directory.read_text() == "a file"


def test_a_finished_stage_may_be_moved_to_another_folder(work: Work) -> None:
    first, _ = work.run(seed=1)
    elsewhere = work.directory.with_name("elsewhere")
    shutil.move(work.directory, elsewhere)
    moved = Workspace(elsewhere).run("stage", work.produce, version=1, settings={"seed": 1})
    assert moved.kept
    assert moved.digest == first.digest


def test_times_decide_nothing(work: Work) -> None:
    stage, _ = work.run()
    for name in NAMES:
        os.utime(stage.path(name), (time.time() + 1000, time.time() + 1000))
    assert work.run()[0].kept
