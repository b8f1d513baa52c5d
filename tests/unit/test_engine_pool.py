"""Several engines as one: who is asked, and what happens when one cannot answer."""

from dataclasses import replace

import pytest

from app.errors import AdapterMissing, EngineDown, EngineFailed, EngineOverloaded, EngineRefused
from app.inference.engine import GenerationRequest
from app.inference.pool import EnginePool
from tests.support.scripted_engine import ScriptedEngine

REQUEST = GenerationRequest([1, 2, 3], None, 8, 10.0, user="ada")
VERSION = "sft@0123456789ab"


def engines(*places: str, adapters: tuple[str, ...] = ()) -> list[ScriptedEngine]:
    return [ScriptedEngine(place=place, adapters=adapters) for place in places]


def asked(members: list[ScriptedEngine]) -> list[int]:
    return [len(engine.requests) for engine in members]


async def test_a_users_requests_go_to_one_engine_and_users_to_all() -> None:
    members = engines("a", "b", "c")
    pool = EnginePool(members)
    for _ in range(5):
        await pool.generate(REQUEST)
    assert sorted(asked(members)) == [0, 0, 5]
    for number in range(60):
        await pool.generate(replace(REQUEST, user=f"user-{number}"))
    assert min(asked(members)) >= 8


async def test_an_engine_that_is_lost_moves_its_own_users_only() -> None:
    members = engines("a", "b", "c")
    users = [f"user-{number}" for number in range(30)]

    async def places() -> dict[str, str]:
        pool, found = EnginePool(members), {}
        for user in users:
            await pool.generate(replace(REQUEST, user=user))
            found[user] = next(each.place for each in members if each.requests and each.requests[-1].user == user)
            for engine in members:
                engine.requests.clear()
        return found

    before = await places()
    del members[1]
    after = await places()
    assert {user for user in users if before[user] != after[user]} == {u for u in users if before[u] == "b"}


@pytest.mark.parametrize("failure", [EngineDown("down"), EngineOverloaded("full")])
async def test_an_engine_that_cannot_answer_is_passed_over(failure: EngineDown | EngineOverloaded) -> None:
    members = engines("a", "b")
    pool = EnginePool(members)
    await pool.generate(REQUEST)
    own = next(engine for engine in members if engine.requests)
    own.failure = failure
    assert (await pool.generate(REQUEST)).model == "scripted"
    for engine in members:
        engine.failure = failure
    with pytest.raises(type(failure)):
        await pool.generate(REQUEST)


async def test_an_engine_that_was_away_for_a_moment_serves_on_and_is_looked_at() -> None:
    members = engines("a", adapters=(VERSION,))
    pool = EnginePool(members)
    pool.members[0].adapters = frozenset({VERSION})
    request = replace(REQUEST, adapter=VERSION)
    members[0].failure = EngineDown("gone")
    with pytest.raises(EngineDown):
        await pool.generate(request)
    assert pool.members[0].lost.is_set()
    members[0].failure = None
    assert (await pool.generate(request)).model == VERSION


async def test_a_request_that_breaks_engines_takes_nothing_from_the_others() -> None:
    members = engines("a", "b", adapters=(VERSION,))
    pool = EnginePool(members)
    for member, engine in zip(pool.members, members, strict=True):
        member.adapters = frozenset({VERSION})
        engine.failure = EngineFailed("500: its grammar cannot be compiled")
    request = replace(REQUEST, adapter=VERSION)
    with pytest.raises(EngineFailed):
        await pool.generate(request)
    assert asked(members) == [1, 1]
    for engine in members:
        engine.failure = None
    assert (await pool.generate(request)).model == VERSION


async def test_a_request_that_an_engine_refuses_is_offered_to_no_other() -> None:
    members = engines("a", "b")
    with pytest.raises(EngineRefused):
        await EnginePool(members).generate(replace(REQUEST, max_tokens=0))
    assert sum(asked(members)) == 1


async def test_only_engines_that_are_known_to_have_an_adapter_are_asked_for_it() -> None:
    members = engines("a", "b", adapters=(VERSION,))
    pool = EnginePool(members)
    request = replace(REQUEST, adapter=VERSION)
    with pytest.raises(AdapterMissing):
        await pool.generate(request)
    assert asked(members) == [0, 0]
    pool.members[1].adapters = frozenset({VERSION})
    assert (await pool.generate(request)).model == VERSION
    assert asked(members) == [0, 1]


async def test_an_engine_that_lost_its_adapter_is_looked_at_anew_and_another_answers() -> None:
    members = engines("a", "b", adapters=(VERSION,))
    pool = EnginePool(members)
    for member in pool.members:
        member.adapters = frozenset({VERSION})
    request = replace(REQUEST, adapter=VERSION)
    await pool.generate(request)
    own = next(number for number, engine in enumerate(members) if engine.requests)
    members[own].adapters.clear()
    assert (await pool.generate(request)).model == VERSION
    assert pool.members[own].lost.is_set()
    assert pool.members[own].adapters == frozenset()


async def test_adapters_that_the_engines_have_by_themselves_need_no_proof() -> None:
    members = engines("a", adapters=("own",))
    assert (await EnginePool(members, ["own"]).generate(replace(REQUEST, adapter="own"))).model == "own"
