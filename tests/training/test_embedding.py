"""Vectors whose products are exact, the same whatever machine, process, order or neighbours they are made with."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.retrieval.embedders.packaged import PackagedEmbedder
from tests.support.signals import interruptible
from training.common import embedding
from training.common.embedding import STEPS, Vectors, embed

ROOT = Path(__file__).parents[2]
OTHER_MACHINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "PYTHONHASHSEED": "4242",
}
"""An old processor's instructions: other kernels, other orders of summing."""
WORDS = [
    "forecast",
    "weather",
    "city",
    "music",
    "lyrics",
    "currency",
    "convert",
    "track",
    "parcel",
    "translate",
    "children",
    "quiet",
    "paid",
    "hourly",
]


def sentences(count: int, seed: int = 1) -> list[str]:
    """Different texts of one to some sixty words."""
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, int(random.integers(1, 60)))) for _ in range(count)]
    return [f"{text} {number}" for number, text in enumerate(texts)]


TEXTS = [
    *sentences(40),
    "",
    " ",
    "Zürich, naïve café — 天気予報 🌦",
    "half a pair: \ud83c",
    "Forecast",
    "forecast",
    "word " * 2000,
    "x" * 50_000,
]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return embed(TEXTS)


def digest(vectors: Vectors) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()


def test_vectors_are_those_of_the_service(vectors: Vectors) -> None:
    ours = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    theirs = PackagedEmbedder("float32").encode(TEXTS)
    assert (np.sum(ours * theirs, axis=1) > 1 - 1e-3).all()
    # Rounding moves a cosine by less than what two tools are told apart by.
    assert np.abs(vectors @ vectors.T - theirs @ theirs.T).max() < 1e-3


def test_vectors_are_multiples_of_a_step(vectors: Vectors) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    steps = vectors.astype(np.float64) * STEPS
    assert (steps == np.round(steps)).all()
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 0.01


def test_products_are_exact_whatever_the_order(vectors: Vectors) -> None:
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    random = np.random.default_rng(7)
    for _ in range(5):
        rows, columns = random.permutation(len(vectors)), random.permutation(vectors.shape[1])
        mixed = vectors[rows][:, columns]
        assert (mixed @ mixed.T == exact[np.ix_(rows, rows)]).all()
        # One after the other, as no library sums.
        row_by_row = np.array([[np.cumsum(one * other)[-1] for other in mixed[:5]] for one in mixed[:5]])
        assert row_by_row.dtype == np.float32
        assert (row_by_row == exact[np.ix_(rows[:5], rows[:5])]).all()


def test_equal_texts_have_equal_vectors_in_the_order_of_the_texts(vectors: Vectors) -> None:
    doubled = embed([*TEXTS[:3], TEXTS[1], TEXTS[0]])
    assert (doubled == vectors[[0, 1, 2, 1, 0]]).all()


@pytest.mark.parametrize("share", [slice(None, None, -1), slice(0, 1), slice(3, 47, 7)], ids=["back", "one", "some"])
def test_a_text_has_the_same_vector_whatever_the_others(vectors: Vectors, share: slice) -> None:
    assert (embed(TEXTS[share]) == vectors[share]).all()


def test_texts_among_others_keep_their_vectors(vectors: Vectors) -> None:
    others = sentences(60, seed=2)
    assert (embed([*others[:30], *TEXTS, *others[30:]])[30 : 30 + len(TEXTS)] == vectors).all()


def test_no_texts_give_no_vectors() -> None:
    assert embed([]).shape == (0, 384)


def test_progress_tells_every_text_once() -> None:
    told: list[int] = []
    embed([*TEXTS[:5], *TEXTS[:5]], told.append)
    assert sum(told) == 10


DIGEST = """
import hashlib, json, sys
from training.common.embedding import embed
texts, wanted = json.load(sys.stdin)
vectors = embed(texts)
print(hashlib.sha256(vectors[wanted].tobytes()).hexdigest())
"""


def test_another_machine_gives_the_same_bytes(vectors: Vectors) -> None:
    # In another order and among others, too.
    texts = [*sentences(5, seed=3), *reversed(TEXTS)]
    wanted = list(range(len(texts) - 1, 4, -1))
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        cwd=ROOT,
        env=os.environ | OTHER_MACHINE,
        input=json.dumps([texts, wanted]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(vectors)


# ---------------------------------------------------------------- several processes

MANY = embedding._ALONE + 8


def test_many_texts_give_what_few_at_a_time_give() -> None:
    texts = [f"{WORDS[number % len(WORDS)]} {number}" for number in range(MANY)]
    told: list[int] = []
    children: set[int] = set()

    def done(count: int) -> None:
        told.append(count)
        children.update(child.pid for child in psutil.Process().children())

    together = embed(texts, done)
    assert sum(told) == MANY
    assert children, "no other process took part"
    apart = [embed(texts[start : start + 65]) for start in range(0, MANY, 65)]
    assert digest(together) == digest(np.concatenate(apart))


LONG = f"""
from training.common.embedding import embed
if __name__ == "__main__":
    print("start", flush=True)
    embed([f"{{number}} " + "some words of a text that takes its time " * 12 for number in range({MANY} * 8)],
          lambda _: print("done", flush=True))
"""


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def workers(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if is_running(child)]


def until_gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are still there then."""
    deadline = time.monotonic() + seconds
    while (left := [each for each in processes if is_running(each)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("busy", [False, True], ids=["as they start", "at work"])
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    script = tmp_path / "long.py"
    script.write_text(LONG)
    with subprocess.Popen(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as process:
        started: list[psutil.Process] = []
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"start\n"
            # One of them is multiprocessing's own.
            while len(started := workers(psutil.Process(process.pid))) < 2:
                assert process.poll() is None
                time.sleep(0.01)
            if busy:
                # Their imports take some seconds of processor time; after those they have texts to work on.
                while min(sum(each.cpu_times()[:2]) for each in started if "spawn_main" in str(each.cmdline())) < 3:
                    assert process.poll() is None
                    time.sleep(0.05)
                started = workers(psutil.Process(process.pid))
            process.kill()
            process.wait()
            assert until_gone(started, 30) == []
        finally:
            process.kill()
            for each in started:
                if is_running(each):
                    each.kill()


INTERRUPTED = (
    LONG.replace("    embed(", "    try:\n      embed(")
    + """
    except KeyboardInterrupt:
        print("stopped")
"""
)


def test_ctrl_c_as_workers_start_is_not_told_by_them(tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    with subprocess.Popen(
        interruptible(sys.executable, str(script)),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        started: list[psutil.Process] = []
        while not any("spawn_main" in str(each.cmdline()) and sum(each.cpu_times()[:2]) > 0.7 for each in started):
            assert process.poll() is None
            started = workers(psutil.Process(process.pid))
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert output.endswith("stopped\n")
    assert errors == ""
