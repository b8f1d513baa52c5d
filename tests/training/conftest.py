from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import finetune_cases


@dataclass(frozen=True)
class Tiny:
    """A base model, a benchmark, and a folder in which an SFT adapter of them stands as `sft`."""

    base: Path
    benchmark: Path
    work: Path

    @property
    def adapter(self) -> Path:
        return self.work / "sft"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("finetune")
    base, benchmark = finetune_cases.base_and_benchmark(folder)
    finetune_cases.run(finetune_cases.sft_values(base, benchmark, folder))
    return Tiny(base, benchmark, folder)
