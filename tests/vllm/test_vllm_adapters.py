"""Adapters swapped under load on two real vLLM servers and two API replicas; and what users see when parts fail."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from performance.soak.faults import FAULTS
from performance.soak.load import calling, wrong_answers
from tests.support.adapters import activate, upload
from tests.support.tiny_model import tiny_adapter
from tests.vllm.cluster import Cluster
from tests.vllm.conftest import PYTHON

CLIENTS, SWAPS = 16, 8
CONNECTION_ERRORS = ("ConnectError", "ReadError", "RemoteProtocolError")


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


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault.__name__ for fault in FAULTS])
async def test_a_part_that_fails_during_a_swap_mixes_nothing_and_is_recovered_from_without_hands(
    cluster: Cluster, number: int
) -> None:
    outcome = await FAULTS[number](cluster, ["beta", "gamma", "alpha", "beta"][number], 8)
    print(f"\n{outcome.fault}: {outcome.calls} calls {dict(outcome.outcomes)}, agreed {outcome.recovery_seconds:.1f} s")
    assert outcome.operation["state"] == "succeeded", outcome.operation
    wrong, _ = await wrong_answers(cluster)
    assert wrong == 0
    seen = set(outcome.outcomes)
    match FAULTS[number].__name__:
        case "engine_killed" | "redis_stopped":
            # The other server answers what the dead one began; Redis is no part of any answer.
            assert seen == {"ok"}
        case "replica_killed":
            assert seen <= {"ok", *CONNECTION_ERRORS}
        case "postgres_stopped":
            assert seen <= {"ok", "HTTP 503"}


async def test_an_adapter_above_the_servers_rank_is_refused_and_the_former_one_serves_on(
    cluster: Cluster, model_dir: Path, tmp_path: Path
) -> None:
    before = (await asyncio.to_thread(cluster.status))["assignment"]["active"]
    with cluster.client() as client:
        large = tiny_adapter(model_dir, tmp_path / "large", seed=3, rank=32)
        assert upload(client, "large", large).status_code == 201
        operation = await asyncio.to_thread(activate, client, "large")
        assert operation["state"] == "failed"
        assert "rank" in operation["error"].lower()
        assert (await asyncio.to_thread(cluster.status))["assignment"]["active"] == before
    await cluster.agreed()
