"""A run that is killed and started again ends with the same weights as one that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.support.finetune_cases import run, sft_values, tensors
from tests.training.conftest import Tiny

PATIENCE = 120.0


def command(values: dict[str, Any], file: Path) -> list[str]:
    file.write_text(yaml.safe_dump(values), "utf-8")
    return [sys.executable, "-m", "training.cli", values["stage"], str(file)]


def killed_after(checkpoint: Path, arguments: list[str]) -> None:
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE
        while not (checkpoint / "whole").exists():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def test_a_run_killed_after_a_checkpoint_ends_with_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    """Over the end of an epoch (seven steps), with LoRA's dropout, whose randomness has to be restored too."""
    values = sft_values(tiny.base, tiny.benchmark, tmp_path / "killed", max_steps=10, checkpoint_every=3)
    # The prompts are there already: what is killed is training.
    values["work"] = str(tiny.work / "work")
    values["name"] = "killed"
    directory = tiny.work / "work" / "runs" / "killed"
    arguments = command(values, tmp_path / "killed.yaml")
    killed_after(directory / "checkpoint-3", arguments)
    assert not (tmp_path / "killed" / "sft").exists()
    reached = max(int(path.name.split("-")[1]) for path in directory.glob("checkpoint-*"))
    assert reached < 10, "it was finished before it was killed"
    told: list[str] = []
    run(values, told=told)
    assert any(line.startswith("Resumes from the checkpoint at step") for line in told)
    undisturbed = {**values, "name": "undisturbed", "out": str(tmp_path / "undisturbed")}
    run(undisturbed)
    one, other = tensors(tmp_path / "killed" / "sft"), tensors(tmp_path / "undisturbed")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    scores = [
        json.loads((tmp_path / name / "petool.json").read_text("utf-8"))["scores"]
        for name in ("killed/sft", "undisturbed")
    ]
    assert scores[0] == scores[1]
