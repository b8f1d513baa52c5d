"""The service reads the ranker's weights at the start."""

import json
from pathlib import Path

import httpx
import pytest

from app.composition.application import create_app
from app.errors import SetupError
from tests.conftest import running, settings_for
from tests.support.catalogue import TOOLS


async def test_weights_that_cannot_be_read_stop_the_start(postgres: str, tmp_path: Path) -> None:
    app = create_app(settings_for(postgres, tmp_path, ranker_weights=str(tmp_path / "none.json")))
    with pytest.raises(SetupError, match="PETOOL_RANKER_WEIGHTS"):
        async with app.router.lifespan_context(app):
            pass


@pytest.mark.parametrize("preference", [0.0, 0.5])
def test_calls_are_ranked_by_the_weights_given(postgres: str, tmp_path: Path, user: str, preference: float) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text(json.dumps({"weights": {"preference": preference}}), "utf-8")
    with (
        running(settings_for(postgres, tmp_path, ranker_weights=str(weights))) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        client.put("/tools", json={"format": "rapidapi", "documents": TOOLS})
        first = client.post(f"/users/{user}/tool-call", json={"instruction": "Will it rain in Oslo tomorrow?"}).json()
        client.post("/feedback", json={"call_id": first["call_id"], "rating": "liked"})
        again = client.post(f"/users/{user}/tool-call", json={"instruction": "Will it rain in Oslo tomorrow?"}).json()
    best = again["candidates"][0]
    assert best["score"] == pytest.approx(best["relevance"] + preference * best["preference"], abs=1e-6)
    assert best["preference"] > 0
