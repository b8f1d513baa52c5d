"""Adapters registered, activated, rolled back and tried on some users; the engine is scripted, all else is real."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import EngineDown
from tests.conftest import running, settings_for
from tests.support.adapters import activate, activated, ended, engine_choosing, registered, state_of, status, upload
from tests.support.catalogue import TOOLS
from tests.support.scripted_engine import ScriptedEngine
from tests.support.steps import ASK, call, feedback, ok, problem
from tests.support.tiny_model import tiny_adapter

PLACES = {"alpha": 1, "beta": 2, "gamma": 0}
"""Which candidate each chooses; `gamma` the base model's own choice."""


@pytest.fixture(scope="module")
def adapters(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: tiny_adapter(model_dir, folder / name, seed) for seed, name in enumerate(PLACES, 11)}


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    engine: ScriptedEngine = engine_choosing(PLACES | {"twice": 1, "damaged": 1, "again": 1})
    return engine


@pytest.fixture(scope="module")
def service_url(
    engine: ScriptedEngine,
    shared_database_url: str,
    model_dir: Path,
    adapters: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    settings = settings_for(
        shared_database_url,
        tmp_path_factory.mktemp("adapter-service"),
        engine="vllm",
        model=str(model_dir),
        adapters_source=str(next(iter(adapters.values())).parent),
        canary_min_calls=5,
    )
    with running(settings, [engine]) as url:
        ok(httpx.put(f"{url}/tools", json={"format": "rapidapi", "documents": TOOLS}, timeout=60))
        yield url


@pytest.fixture
def client(service_url: str, engine: ScriptedEngine) -> Iterator[httpx.Client]:
    engine.failure, engine.unloadable, engine.latency = None, "", 0.0
    with httpx.Client(base_url=service_url, timeout=60) as client:
        yield client


@pytest.fixture
def plain(client: httpx.Client) -> Iterator[httpx.Client]:
    """Nothing active that was registered, before and after."""
    yield client
    now = status(client)["assignment"]
    if now["canary"] is not None:
        ok(client.post("/admin/adapters/canary/abort", params={"wait": True}))
    if now["active"] is not None:
        activated(client, "configured")


def chosen(answer: Any) -> tuple[str, str]:
    return answer["model"], answer["tool_call"]["tool_name"]


def test_an_adapter_is_registered_activated_and_rolled_back(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    before = chosen(call(plain, user))
    version = registered(plain, "alpha", adapters["alpha"])
    assert state_of(plain, version) == "registered"
    operation = activated(plain, "alpha")
    assert [step["name"] for step in operation["steps"]] == [
        *("verify", "load", "probe", "flip", "drain", "unload", "done")
    ]
    after = chosen(call(plain, user))
    assert (before[0], after[0]) == ("scripted", version)
    assert before[1] != after[1]
    assert state_of(plain, version) == "active"
    told = status(plain)
    assert (told["agree"], told["disagreements"]) == (True, [])
    assert told["replicas"][0]["engines"][0]["adapters"] == [version]
    rollback = ok(plain.post("/admin/adapters/rollback", params={"wait": True}))
    assert (rollback["state"], rollback["version"]) == ("succeeded", None)
    assert chosen(call(plain, user)) == before
    assert state_of(plain, version) == "retired"
    assert version not in engine.adapters
    # And back again: rollback undoes itself.
    ok(plain.post("/admin/adapters/rollback", params={"wait": True}))
    assert chosen(call(plain, user)) == after
    trail = [
        (event["action"], event["version"]) for event in ok(plain.get("/admin/audit", params={"limit": 3}))["items"]
    ]
    assert trail == [("rollback succeeded", version), ("rollback flipped", version), ("rollback begun", version)]


def test_the_adapter_before_is_taken_off_the_engine_and_the_next_one_serves(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    activated(plain, beta)
    assert engine.adapters == {beta}
    assert call(plain, user)["model"] == beta
    assert [state_of(plain, version) for version in (alpha, beta)] == ["retired", "active"]
    activated(plain, alpha)
    assert (call(plain, user)["model"], engine.adapters) == (alpha, {alpha})


def test_requests_in_flight_end_on_the_adapter_they_began_with(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    engine.latency = lambda request: 3.0 if request.adapter == alpha else 0.0
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, plain, user)
        while not engine.running:
            time.sleep(0.01)
        begun = ok_or_accepted(plain.post("/admin/adapters/beta/activate"))
        while not (found := ok(plain.get(f"/admin/operations/{begun['id']}")))["flipped"]:
            time.sleep(0.02)
        assert found["state"] == "running"
        # Given to the new one at once, while the old one's last request still runs.
        assert call(plain, user)["model"] == beta
        assert state_of(plain, alpha) == "draining"
        assert not slow.done()
        assert alpha in engine.adapters
        assert slow.result()["model"] == alpha
    assert ended(plain, begun["id"])["state"] == "succeeded"
    assert (state_of(plain, alpha), engine.adapters) == ("retired", {beta})


def ok_or_accepted(answer: httpx.Response) -> Any:
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/admin/operations/{answer.json()['id']}"
    return answer.json()


def test_of_two_activations_at_once_one_wins(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path]
) -> None:
    for name in ("alpha", "beta"):
        registered(plain, name, adapters[name])
    engine.latency = 0.2
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: plain.post(f"/admin/adapters/{name}/activate"), ("alpha", "beta")))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert problem(lost, 409, "conflict")["operation"] == won.json()["id"]
    assert ended(plain, won.json()["id"])["state"] == "succeeded"
    assert status(plain)["assignment"]["active"] == won.json()["version"]


@pytest.mark.parametrize("failure", ["the engine refuses it", "it equals the base", "its answer is no call"])
def test_a_failed_activation_leaves_the_former_adapter_serving_and_says_why(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str, failure: str
) -> None:
    alpha, gamma = (registered(plain, name, adapters[name]) for name in ("alpha", "gamma"))
    activated(plain, alpha)
    answer = engine.answer
    expected = {"the engine refuses it": "too large", "it equals the base": "as the base model does"}
    try:
        if failure == "the engine refuses it":
            engine.unloadable = "the adapter is too large"
        elif failure == "its answer is no call":
            engine.answer = lambda request: "[" if request.adapter == gamma else answer(request)
        operation = activate(plain, "gamma")
    finally:
        engine.answer = answer
    assert (operation["state"], operation["flipped"]) == ("failed", False)
    assert expected.get(failure, "no valid call") in operation["error"]
    assert [step["name"] for step in operation["steps"]][-2:] == ["failed", "unload"]
    assert call(plain, user)["model"] == alpha
    assert (engine.adapters, state_of(plain, gamma)) == ({alpha}, "registered")
    assert status(plain)["agree"]


def test_an_adapter_whose_prompts_the_engine_has_no_room_for_is_not_activated(
    plain: httpx.Client, adapters: dict[str, Path]
) -> None:
    assert upload(plain, "lengthy", adapters["beta"], prompt_tokens=200_000).status_code == 201
    operation = activate(plain, "lengthy")
    assert (operation["state"], operation["flipped"]) == ("failed", False)
    assert "the engine has a context of 131072" in operation["error"]


def test_an_engine_that_is_down_fails_the_activation(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    registered(plain, "alpha", adapters["alpha"])
    engine.failure = EngineDown("It is gone.")
    operation = activate(plain, "alpha")
    assert operation["error"] == "No engine is up."
    engine.failure = None
    assert call(plain, user)["model"] == "scripted"


def test_files_changed_in_the_store_are_noticed(
    plain: httpx.Client, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    version = registered(plain, "damaged", adapters["beta"])
    digest = ok(plain.get("/admin/adapters/damaged"))["digest"]
    stored = next(tmp_path_factory.getbasetemp().rglob(f"adapters/{digest}"))
    weights = stored / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(content[:-1] + b"x")
    operation = activate(plain, version)
    assert operation["state"] == "failed"
    assert "not what was registered" in operation["error"]
    weights.write_bytes(content)


def test_what_is_in_use_cannot_be_deleted_and_what_is_not_can(plain: httpx.Client, adapters: dict[str, Path]) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    assert "active" in problem(plain.delete(f"/admin/adapters/{alpha}"), 409, "conflict")["detail"]
    assert ok(plain.delete(f"/admin/adapters/{beta}"))["version"] == beta
    problem(plain.get(f"/admin/adapters/{beta}"), 404, "not-found")
    problem(plain.post(f"/admin/adapters/{beta}/activate"), 404, "not-found")
    assert registered(plain, "beta", adapters["beta"]) == beta
    activated(plain, beta)
    ok(plain.delete(f"/admin/adapters/{alpha}"))
    refused = problem(plain.post("/admin/adapters/rollback"), 409, "conflict")
    assert "deleted" in refused["detail"]
    # So that the next test begins as all do.
    assert registered(plain, "alpha", adapters["alpha"]) == alpha


def test_the_same_files_under_the_same_name_are_the_same_version(
    plain: httpx.Client, adapters: dict[str, Path]
) -> None:
    first, again = (upload(plain, "twice", adapters["alpha"]) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = upload(plain, "twice", adapters["beta"]).json()["version"]
    assert other != first.json()["version"]
    # By the name alone the newest is meant.
    assert ok(plain.get("/admin/adapters/twice"))["version"] == other
    below = plain.post("/admin/adapters", json={"name": "below", "path": "alpha"})
    assert below.json()["digest"] == first.json()["digest"]
    # The other version still has the files.
    ok(plain.delete(f"/admin/adapters/{below.json()['version']}"))
    activated(plain, first.json()["version"])


def test_a_canary_serves_its_users_and_is_compared_promoted_and_aborted(
    plain: httpx.Client, adapters: dict[str, Path], user: str
) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    activated(plain, beta, canary={"percent": 30, "users": [user]})
    assert state_of(plain, beta) == "canary"
    others = [f"canary-{number}" for number in range(60)]
    served = {other: call(plain, other)["model"] for other in others}
    share = sum(version == beta for version in served.values())
    assert 5 <= share <= 32
    # A user stays on their side.
    assert {other: call(plain, other)["model"] for other in others[:10]} == {
        other: served[other] for other in others[:10]
    }
    first = call(plain, user)
    assert first["model"] == beta
    feedback(plain, first["call_id"], "liked")
    feedback(plain, call(plain, user)["call_id"], "disliked")
    compared = ok(plain.get("/admin/adapters/canary"))
    assert compared["canary"]["users"] == [user]
    assert (compared["of_canary"]["version"], compared["of_active"]["version"]) == (beta, alpha)
    again = sum(served[other] == beta for other in others[:10])
    assert compared["of_canary"]["calls"] == share + again + 2
    assert compared["of_active"]["calls"] == 70 - share - again
    assert (compared["of_canary"]["accept_rate"], compared["of_active"]["accept_rate"]) == (0.5, None)
    assert (compared["of_canary"]["errors"], compared["of_canary"]["error_rate"]) == (0, 0.0)
    problem(plain.post("/admin/adapters/alpha/activate"), 409, "conflict")
    # More users: whoever was in stays in.
    activated(plain, beta, canary={"percent": 60})
    more = {other: call(plain, other)["model"] for other in others}
    assert {other for other in others if served[other] == beta} < {other for other in others if more[other] == beta}
    promoted = ok(plain.post("/admin/adapters/canary/promote", params={"wait": True}))
    assert promoted["state"] == "succeeded"
    assert {call(plain, other)["model"] for other in others[:10]} == {beta}
    assert (state_of(plain, alpha), state_of(plain, beta)) == ("retired", "active")
    problem(plain.get("/admin/adapters/canary"), 404, "not-found")
    activated(plain, alpha, canary={"users": [user]})
    assert call(plain, user)["model"] == alpha
    ok(plain.post("/admin/adapters/canary/abort", params={"wait": True}))
    assert call(plain, user)["model"] == beta
    assert state_of(plain, alpha) == "retired"


@pytest.mark.parametrize("allow_degraded", [True, False])
def test_a_canary_that_fails_too_often_is_aborted_by_itself(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str, allow_degraded: bool
) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    activated(plain, beta, canary={"users": [user]})
    answer = engine.answer
    engine.answer = lambda request: "nonsense" if request.adapter == beta else answer(request)
    try:
        for _ in range(5):
            asked = {"instruction": ASK, "allow_degraded": allow_degraded}
            answered = plain.post(f"/users/{user}/tool-call", json=asked)
            # What nobody was given an answer to counts as well.
            assert answered.status_code == (200 if allow_degraded else 502)
            assert "invalid_answer" in answered.text or "invalid-answer" in answered.text
        deadline = time.monotonic() + 30
        while call(plain, user)["model"] != alpha:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        engine.answer = answer
    aborted = ok(plain.get("/admin/operations", params={"limit": 1}))["items"][0]
    assert (aborted["kind"], aborted["actor"]) == ("abort", "petool (automatic)")
    begun = [event for event in ok(plain.get("/admin/audit"))["items"] if event["operation"] == aborted["id"]][-1]
    assert "calls failed" in begun["detail"]


def test_a_canary_that_no_engine_serves_is_not_promoted(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    alpha, beta = (registered(plain, name, adapters[name]) for name in ("alpha", "beta"))
    activated(plain, alpha)
    activated(plain, beta, canary={"users": [user]})
    # As after a restart, with a disk that fails.
    engine.unloadable = "the disk is gone"
    engine.adapters.discard(beta)
    deadline = time.monotonic() + 30
    while status(plain)["agree"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    operation = ok(plain.post("/admin/adapters/canary/promote", params={"wait": True}))
    assert (operation["state"], operation["flipped"]) == ("failed", False)
    assert "the disk is gone" in operation["error"]
    assert call(plain, f"{user}-other")["model"] == alpha


def test_a_version_that_was_deleted_may_come_back_with_another_prompt(
    plain: httpx.Client, adapters: dict[str, Path], user: str
) -> None:
    for tokens in (3000, 2000):
        assert upload(plain, "again", adapters["beta"], prompt_tokens=tokens).status_code == 201
        version = activated(plain, "again")["version"]
        assert call(plain, user)["usage"]["prompt"]["budget"] == tokens
        activated(plain, "configured")
        assert problem(upload(plain, "again", adapters["beta"], prompt_tokens=1000), 409, "conflict")
        assert ok(plain.delete(f"/admin/adapters/{version}"))


def test_an_engine_that_lost_its_adapter_gets_it_back_and_no_request_is_answered_by_another(
    plain: httpx.Client, engine: ScriptedEngine, adapters: dict[str, Path], user: str
) -> None:
    alpha = registered(plain, "alpha", adapters["alpha"])
    activated(plain, alpha)
    # As after a restart that nobody noticed.
    engine.adapters.clear()
    models = set()
    deadline = time.monotonic() + 30
    while alpha not in models:
        assert time.monotonic() < deadline
        answer = call(plain, user)
        models.add(answer["model"])
        assert answer["model"] in (alpha, None)
    assert engine.adapters == {alpha}


@pytest.mark.parametrize(
    ("name", "body", "detail"),
    [
        ("alpha", {"canary": {"percent": 0}}, "above 0"),
        ("alpha", {"canary": {"percent": 101}}, "less than or equal to 100"),
        ("alpha", {"canary": {"users": ["a/b"]}}, "no user's id"),
        ("alpha", {"min_score": 0.5}, "PETOOL_ADAPTER_EVALUATION"),
    ],
)
def test_activations_that_make_no_sense_are_refused(
    plain: httpx.Client, adapters: dict[str, Path], name: str, body: Any, detail: str
) -> None:
    registered(plain, name, adapters[name])
    refused = problem(plain.post(f"/admin/adapters/{name}/activate", json=body), 422, "invalid-request")
    assert detail in refused["detail"]
