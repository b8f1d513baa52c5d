"""Allowed values and bounds are taken from a description only where they are plain to see."""

import pytest

from app.catalogue.descriptions import find_bounds, find_members
from app.domain import Json


@pytest.mark.parametrize(
    ("description", "members"),
    [
        ("One of the following : asc|desc", "asc desc"),
        ("One of the following is allowed day|week|month", "day week month"),
        ("One of : last&#95;sold|address", "last_sold address"),
        ("Must be one of: micro, regional, bar", "micro regional bar"),
        ("Image format. Must be one of the following: png, jpg, svg. Default png is used.", "png jpg svg"),
        ("Allowed values: `a`, `b` or `c`", "a b c"),
        ("Valid options are **km** (default), and **mi**.", "km mi"),
        ("Supported values are NEWEST (newest first), PRICE (cheapest). By default NEWEST.", "NEWEST PRICE"),
        ("The condition. Can be set to `new` or `used`.", "new used"),
        ("Must be either '**male**' or '**female**'. Required.", "male female"),
        ("Sort order (asc|desc)", "asc desc"),
        ("Movie format (`mp4`, `webm`, or `flv`).", "mp4 webm flv"),
        ('one of "accepted", "not yet"', "accepted|not yet"),
        ("Possible values are:\n\ncardio\nstrength", "cardio strength"),
        ("Available languages are:\n\n- `en`: English\n- `es`: Spanish\n", "en es"),
        ("Valid values are:\n`price`\nBy price, lowest first\n`score`\nBy score", "price score"),
        ("Possible Values:\n - `asc`\n - `desc`\n\nsortBy must be present for this.", "asc desc"),
        ("'trackname', 'isrc', or 'label'", "trackname isrc label"),
        ("Available chains:\n**ethereum, bsc, tron**", "ethereum bsc tron"),
    ],
)
def test_a_plain_list_is_read(description: str, members: str) -> None:
    assert find_members(description, False, None) == members.split("|" if "|" in members else " ")


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Search query",
        "Hiragana or romaji",
        "Can be a userid or a username",
        "Can be either name or id",
        "Values such as: a, b, c",
        "One of: a, b, c, etc.",
        "One of: a, b, ...",
        "E.g. one of: a, b",
        "Possible values: a, b. Separate multiple by comma",
        "Suggested values: `750`, `1000`",
        "`multi` or one of these:\n\n- albums\n- artists",
        "should be one of the weekday instances (SU, MO, TU)",
        "Can be set to `1` to exclude results, or `0` (default) to include them.",
        "Must be between 1 and 5",
        "Possible Values:\nAny field on the document\n\n - name\n - stats",
        "Supported cities are Cape Coral, Fort Myers, Naples.",
        "0 - first page\n1 - second page\n...",
        "Accepted formats:\n\n- YYYY-MM-DD\n- MM/DD/YYYY\n- Unix Timestamp (ms)",
        "Value must be **3.0**.",
        "Possible values: 1-5, 10",
        "Valid formats: YYYY-MM-DD, MM/DD/YYYY",
        "Allowed types: string, number",
        "Provide one of id or slug",
        "At least one of the values: a, b",
        "The value of the id field returned in .../list or .../search endpoint",
    ],
)
@pytest.mark.parametrize("declared", [False, True])
def test_what_may_be_incomplete_or_prose_gives_no_list(description: str, declared: bool) -> None:
    assert find_members(description, declared, None) == []


def test_a_default_outside_of_the_list_disproves_it() -> None:
    assert find_members("One of: us, ca", False, "us") == ["us", "ca"]
    assert find_members("One of: us, ca", False, "US") == []


@pytest.mark.parametrize(
    ("description", "declared", "default", "members"),
    [
        ("de: German\nen: English\nno: Norwegian", True, None, ["de", "en", "no"]),
        ("de: German\nen: English\nno: Norwegian", False, None, []),
        ("get results from:\n- a.com\n- a.ru", True, None, ["a.com", "a.ru"]),
        ("Sort order:\n * `asc` - Ascending, A to Z\n * `desc` - Descending", False, "asc", ["asc", "desc"]),
        ("Sort order:\n * `asc` - Ascending, A to Z\n * `desc` - Descending", False, None, []),
        ("rest or restx", False, "rest", ["rest", "restx"]),
        ("Quality: High or Low.", True, None, []),
    ],
)
def test_a_list_without_announcement_needs_a_declared_enum_or_a_default_in_it(
    description: str, declared: bool, default: Json, members: list[str]
) -> None:
    assert find_members(description, declared, default) == members


@pytest.mark.parametrize(
    ("description", "bounds"),
    [
        ("Must be between **1** and **30**. Default is 1.", (1, 30)),
        ("Only values between 1 and 100 (both inclusive) are allowed.", (1, 100)),
        ("Enter a value in the range 1 ～ 20", (1, 20)),
        ("Items per page. Max 50.", (None, 50)),
        ("Defaults to 10, maximum is 100.", (None, 100)),
        ("- Default is 100\n- Max number is 500\n", (None, 500)),
        ("Minimum: 0.5", (0.5, None)),
        ("Maximum 2000 characters.", (None, None)),
        ("Max guests the listing can take", (None, None)),
        ("between 14 and 300 days from today", (None, None)),
        ("between 0 and 1, exclusive", (None, None)),
        ("Max 50. Max 100.", (None, None)),
    ],
)
def test_bounds_are_read_where_they_are_clear(description: str, bounds: tuple[Json, Json]) -> None:
    assert find_bounds(description) == bounds


@pytest.mark.parametrize("piece", ["(", "one of a, ", "`a` or ", "- a\n", "max ", "**a, ", "\\", "&#95;", "between 1 "])
def test_a_hostile_description_does_not_take_long(piece: str) -> None:
    find_members(piece * 10_000, True, None)
    find_members((piece * 6_000)[:6_000], True, None)
    find_bounds((piece * 6_000)[:6_000])
