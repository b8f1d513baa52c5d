"""Two processes that share a model by FSDP train what one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from app.inference.local.adapters import Adapters
from app.inference.local.model import CausalModel
from tests.support.finetune_cases import run, sft_values, tensors
from tests.training.conftest import Tiny


def test_fsdp_over_two_processes_equals_one_process_with_the_same_batch(tiny: Tiny, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "max_steps": 3,
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "gradient_checkpointing": True,
    }
    one = {**sft_values(tiny.base, tiny.benchmark, tmp_path / "one", **changes), "work": str(tiny.work / "work")}
    two = {**one, "out": str(tmp_path / "two"), "name": "two", "fsdp": True}
    run({**one, "name": "one"})
    config, reports = tmp_path / "two.yaml", tmp_path / "reports"
    config.write_text(yaml.safe_dump(two), "utf-8")
    reports.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ran = subprocess.run(
        [*launch, "-m", "tests.support.distributed_worker", str(config), str(reports)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    for rank in (0, 1):
        report = json.loads((reports / f"rank-{rank}.json").read_text("utf-8"))
        # The model, its embedding, and each of its two layers.
        assert report == {"world": 2, "sharded": 4}
    found, expected = tensors(tmp_path / "two"), tensors(tmp_path / "one" / "sft")
    assert found.keys() == expected.keys()
    moved = max(tensor.abs().max() for key, tensor in expected.items() if "lora_B" in key)
    assert moved > 0.01
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-3 * float(moved))
    Adapters(CausalModel(tiny.base, device="cpu", dtype="float32")).load("two", tmp_path / "two")
