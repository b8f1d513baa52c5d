"""One of the processes of a run: `torchrun ... -m tests.support.distributed_worker CONFIG REPORTS`.

Writes into the folder REPORTS, as rank-N.json, how many modules FSDP sharded, as the forward passes found them.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_forward_pre_hook

from tests.support.finetune_cases import run


def main(config: str, reports: str) -> None:
    torch.set_num_threads(1)
    sharded: set[int] = set()

    def look(module: torch.nn.Module, _: Any) -> None:
        if isinstance(module, FSDPModule) and any(isinstance(each, DTensor) for each in module.parameters()):
            sharded.add(id(module))

    register_module_forward_pre_hook(look)
    run(yaml.safe_load(Path(config).read_text("utf-8")))
    report = {"world": int(os.environ["WORLD_SIZE"]), "sharded": len(sharded)}
    (Path(reports) / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
