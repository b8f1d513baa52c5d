"""Which users a canary is given to."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from app.domain.adapters import Assignment, Canary

USERS = [f"user-{number}" for number in range(4000)]


def served(version: str, percent: float, *named: str) -> set[str]:
    canary = Canary(version, percent, frozenset(named), datetime.now(UTC))
    return {user for user in USERS if canary.serves(user)}


@pytest.mark.parametrize("percent", [1.0, 10.0, 50.0])
def test_about_so_many_users_are_served(percent: float) -> None:
    assert len(served("a@0123456789ab", percent)) == pytest.approx(40 * percent, rel=0.35)


def test_whoever_is_in_stays_in_when_the_share_is_raised() -> None:
    shares = [served("a@0123456789ab", percent) for percent in (0, 0.5, 5, 40, 100)]
    assert all(smaller < larger for smaller, larger in pairwise(shares))
    assert (shares[0], shares[-1]) == (set(), set(USERS))


def test_another_version_is_tried_on_other_users() -> None:
    one, other = served("a@0123456789ab", 10), served("b@0123456789ab", 10)
    assert len(one & other) < 0.25 * len(one)


def test_named_users_are_served_in_any_case_and_all_others_the_active_version() -> None:
    canary = Canary("a@0123456789ab", 0, frozenset({"ada"}), datetime.now(UTC))
    assignment = Assignment(active="b@0123456789ab", canary=canary)
    assert assignment.version_for("ada") == "a@0123456789ab"
    assert {assignment.version_for(user) for user in USERS} == {"b@0123456789ab"}
