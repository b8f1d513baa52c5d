"""Attempts to register what must not be served: each is refused with what is wrong, and nothing is left of it."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.db.database import Database, async_url
from app.domain import Scope
from app.services.keys import KeyService
from tests.conftest import running, settings_for
from tests.support.adapters import tar_of, upload
from tests.support.scripted_engine import ScriptedEngine
from tests.support.shipped import manifest
from tests.support.steps import ok, problem
from tests.support.tiny_model import tiny_adapter, tiny_model

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
async def keys(shared_database_url: str, service_url: str) -> dict[Scope, str]:
    store = Database(async_url(shared_database_url))
    try:
        return {scope: (await KeyService(store).create(scope.value, scope))[0] for scope in Scope}
    finally:
        await store.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def service_url(shared_database_url: str, model_dir: Path, adapter_dir: Path, data: Path) -> Iterator[str]:
    source = data / "source"
    shutil.copytree(adapter_dir, source / "good")
    (source / "outward").symlink_to(data.parent)
    settings = settings_for(
        shared_database_url,
        data / "service",
        demo_mode=False,
        engine="vllm",
        model=str(model_dir),
        adapters_source=str(source),
        max_adapter_bytes=4 * 2**20,
    )
    with running(settings, [ScriptedEngine(shared=False)]) as url:
        yield url


@pytest.fixture
def client(service_url: str, keys: dict[Scope, str]) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {keys[Scope.ADMIN]}"}
    with httpx.Client(base_url=service_url, headers=headers, timeout=60) as client:
        yield client
        assert ok(client.get("/admin/adapters"))["items"] == []


def changed(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / WEIGHTS)
    change(tensors)
    save_file(tensors, directory / WEIGHTS)


def with_nan(directory: Path) -> None:
    changed(directory, lambda tensors: next(iter(tensors.values())).view(-1)[3:4].fill_(float("nan")))


def without_a_tensor(directory: Path) -> None:
    changed(directory, lambda tensors: tensors.pop(sorted(tensors)[0]))


def equal_to_the_base(directory: Path) -> None:
    changed(directory, lambda tensors: [tensor.zero_() for name, tensor in tensors.items() if "lora_B" in name])


def corrupt(directory: Path) -> None:
    content = (directory / WEIGHTS).read_bytes()
    (directory / WEIGHTS).write_bytes(content[: len(content) // 2])


def pickled(directory: Path) -> None:
    torch.save(load_file(directory / WEIGHTS), directory / "adapter_model.bin")


def of_high_rank(directory: Path) -> None:
    config = json.loads((directory / CONFIG).read_text())
    (directory / CONFIG).write_text(json.dumps(config | {"r": 64}))
    changed(
        directory,
        lambda tensors: tensors.update(
            {
                name: torch.ones(64, tensor.shape[1]) if "lora_A" in name else torch.ones(tensor.shape[0], 64)
                for name, tensor in tensors.items()
            }
        ),
    )


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN weights": (with_nan, "NaN"),
    "a missing tensor": (without_a_tensor, "lacks"),
    "nothing but the base": (equal_to_the_base, "changes nothing"),
    "a corrupt file": (corrupt, WEIGHTS),
    "a pickle": (pickled, "adapter_model.bin"),
    "a rank above the engine's": (of_high_rank, "max-lora-rank"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter_is_refused_with_what_is_wrong(
    client: httpx.Client, adapter_dir: Path, tmp_path: Path, kind: str
) -> None:
    broken = Path(shutil.copytree(adapter_dir, tmp_path / "broken"))
    change, told = BROKEN[kind]
    change(broken)
    detail = problem(upload(client, "broken", broken), 422, "invalid-adapter")["detail"]
    assert told in detail
    assert str(tmp_path) not in detail


def test_an_adapter_of_another_base_is_refused_by_its_shapes_or_its_hash(
    client: httpx.Client, adapter_dir: Path, tmp_path: Path
) -> None:
    wide = tiny_model(tmp_path / "wide", hidden=128)
    detail = problem(upload(client, "wide", tiny_adapter(wide, tmp_path / "a", 1)), 422, "invalid-adapter")["detail"]
    assert "another base model" in detail
    # Of the same shapes, and trained for other weights.
    twin = tiny_model(tmp_path / "twin", seed=5)
    copied = Path(shutil.copytree(adapter_dir, tmp_path / "b"))
    manifest(copied, "sft", twin, prompt_format="hinted-1")
    assert "other weights" in problem(upload(client, "twin", copied), 422, "invalid-adapter")["detail"]


def hostile(name: str, **given: Any) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        member = tarfile.TarInfo(name)
        body = given.pop("body", b"{}")
        for key, value in given.items():
            setattr(member, key, value)
        member.size = 0 if given else len(body)
        tar.addfile(member, io.BytesIO(body))
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        hostile("../evil.json"),
        hostile("/etc/evil.json"),
        hostile(WEIGHTS, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        hostile(WEIGHTS, type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        hostile(WEIGHTS, type=tarfile.CHRTYPE),
        b"no tar at all",
        b"",
    ],
    ids=["dots", "absolute", "symlink", "hard link", "device", "no tar", "nothing"],
)
def test_a_hostile_tar_is_refused_and_writes_nowhere(client: httpx.Client, data: Path, content: bytes) -> None:
    problem(upload(client, "hostile", content), 422, "invalid-adapter")
    assert list(data.rglob("evil*")) == []
    assert list((data / "service" / "adapters").glob(".staging*")) == []


@pytest.mark.parametrize("path", ["../good", "/etc", "outward", "nowhere", "good/../../service"])
def test_a_path_that_leads_out_of_the_source_is_refused(client: httpx.Client, path: str) -> None:
    problem(client.post("/admin/adapters", json={"name": "x", "path": path}), 422, "invalid-adapter")


def test_an_upload_that_is_too_large_is_refused(client: httpx.Client) -> None:
    problem(upload(client, "large", bytes(5 * 2**20)), 413, "body-too-large")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", ""])
def test_what_is_not_declared_as_a_tar_is_not_read_as_a_whole(client: httpx.Client, kind: str) -> None:
    answer = client.post("/admin/adapters?name=x", content=bytes(2 * 2**20), headers={"Content-Type": kind})
    problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("name", ["Upper", "a/b", "a@b", "", "rollback", "canary", "configured", "-x", "a" * 64])
def test_names_that_would_be_no_names_are_refused(client: httpx.Client, adapter_dir: Path, name: str) -> None:
    problem(upload(client, name, adapter_dir), 422, "invalid-request")


def test_only_admins_see_and_change_adapters(
    client: httpx.Client, keys: dict[Scope, str], adapter_dir: Path, service_url: str
) -> None:
    routes = [
        ("GET", "/admin/adapters"),
        ("GET", "/admin/adapters/x"),
        ("DELETE", "/admin/adapters/x"),
        ("POST", "/admin/adapters/x/activate"),
        ("POST", "/admin/adapters/rollback"),
        ("GET", "/admin/adapters/canary"),
        ("POST", "/admin/adapters/canary/promote"),
        ("POST", "/admin/adapters/canary/abort"),
        ("GET", "/admin/status"),
        ("GET", "/admin/operations"),
        ("GET", "/admin/audit"),
    ]
    headers = {"Authorization": f"Bearer {keys[Scope.CLIENT]}"}
    with httpx.Client(base_url=service_url, headers=headers, timeout=60) as other:
        for method, path in routes:
            problem(other.request(method, path), 403, "forbidden")
        problem(upload(other, "x", tar_of(adapter_dir)), 403, "forbidden")
    for method, path in routes:
        problem(httpx.request(method, f"{service_url}{path}"), 401, "unauthenticated")
