"""A real vLLM server for these tests. Without PETOOL_VLLM_PYTHON they are skipped, before anything is started."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.tiny_model import tiny_adapter, tiny_model
from tests.vllm.server import VllmServer

# Read before the tests start: those may not see the environment's settings.
PYTHON = os.environ.get("PETOOL_VLLM_PYTHON", "")
_LOG = pytest.StashKey[VllmServer]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PYTHON:
        return
    reason = "PETOOL_VLLM_PYTHON does not name the Python of a virtualenv with vLLM; `make test-vllm` does"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What failed is shown with the end of the server's log."""
    report = yield
    server = item.session.stash.get(_LOG, None)
    if report.failed and server is not None:
        report.sections.append(("vLLM's log", server.log_tail()))
    return report


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As everywhere, but with heads of 32: vLLM's attention on the CPU has no smaller ones."""
    return tiny_model(tmp_path_factory.mktemp("vllm-model"), hidden=128)


@pytest.fixture(scope="session")
def adapter_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter(model_dir, tmp_path_factory.mktemp("vllm-adapter"), seed=1)


@pytest.fixture(scope="session")
def vllm_server(
    model_dir: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[VllmServer]:
    """One for all tests; who kills it starts it again."""
    server = VllmServer(PYTHON, model_dir, tmp_path_factory.mktemp("vllm"))
    request.session.stash[_LOG] = server
    with server:
        yield server
