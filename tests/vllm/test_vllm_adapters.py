"""Adapters swapped under load on two real vLLM servers and two API replicas; and what users see when parts fail."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.vllm.cluster import Cluster
from tests.vllm.conftest import PYTHON
from tests.vllm.load import calling, wrong_answers

CLIENTS, SWAPS = 16, 8


@pytest.fixture(scope="module")
async def cluster(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with Cluster(PYTHON, model_dir, tmp_path_factory.mktemp("cluster")) as cluster:
        await cluster.activate("alpha")
        yield cluster


async def test_swaps_under_load_fail_no_request_and_mix_no_versions(cluster: Cluster) -> None:
    names = itertools.islice(itertools.cycle(["beta", "gamma", "alpha"]), SWAPS)
    async with calling(cluster, CLIENTS) as seen:
        took = []
        for number, name in enumerate(names):
            started = time.monotonic()
            operation = await cluster.activate(name, replica=number % 2)
            took.append(time.monotonic() - started)
            assert operation["state"] == "succeeded", operation
            since = time.monotonic()
            await asyncio.sleep(1)
            # Whoever asks when it has ended is answered by the new one.
            late = {sample.model for sample in seen.samples if sample.began > since}
            assert late <= {cluster.versions[name]}
    print(f"\n{SWAPS} swaps, {sum(took) / SWAPS:.1f} s each, {len(seen.samples)} calls: {dict(seen.outcomes)}")
    assert seen.failed == 0, seen.outcomes
    assert {sample.model for sample in seen.samples} == set(cluster.versions.values())
    wrong, total = await wrong_answers(cluster)
    assert (wrong, total >= len(seen.samples)) == (0, True)
