"""The ranker's fitted weights: the file that ships, and files that cannot be used."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from app.errors import SetupError
from app.retrieval.preferences import RankerWeights
from app.retrieval.ranker_weights import SHIPPED, load_weights


def test_the_shipped_weights_are_those_that_the_card_beside_them_tells() -> None:
    weights = load_weights()
    card = (SHIPPED.parent / "README.md").read_text("utf-8")
    for field in fields(RankerWeights):
        assert f"| {field.name} | {field.default:g} | {getattr(weights, field.name):g} |" in card


def test_the_shipped_weights_say_what_they_were_fitted_on() -> None:
    report = json.loads(SHIPPED.read_text("utf-8"))
    assert report["data"]["config"] == "paper-scale"
    assert len(report["data"]["digest"]) == 64
    for accuracy in report["accuracy"].values():
        assert accuracy["fitted"]["test"]["all"]["count"] == 3000


def test_a_weight_that_the_file_does_not_name_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text('{"weights": {"preference": 0.5}}', "utf-8")
    assert load_weights(tmp_path / "weights.json") == RankerWeights(preference=0.5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "does not hold"),
        ("[]", "does not hold"),
        ('{"weights": {"taste": 1}}', "names weights"),
        ('{"weights": [1]}', "names weights"),
        ('{"weights": {"preference": "much"}}', "preference"),
        ('{"weights": {"preference": true}}', "preference"),
        ('{"weights": {"preference": NaN}}', "preference"),
        ('{"weights": {"preference": -1}}', "preference"),
        ('{"weights": {"half_life": 0}}', "half_life"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(SetupError, match=r"PETOOL_RANKER_WEIGHTS") as told:
        load_weights(path)
    assert said in told.value.detail
