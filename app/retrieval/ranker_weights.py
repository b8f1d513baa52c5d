"""The preference ranker's fitted weights, from a file that `petool-train ranker fit` wrote."""

import json
import math
from dataclasses import fields
from pathlib import Path

from app.errors import SetupError
from app.retrieval.preferences import RankerWeights

SHIPPED = Path(__file__).parents[2] / "models" / "ranker" / "weights.json"


def load_weights(path: Path = SHIPPED) -> RankerWeights:
    """The member `weights` of the file; a weight that it does not name keeps its default.

    Raises SetupError where the file is not there, or holds something else.
    """
    advice = "Fit it again (`petool-train ranker fit`), or leave PETOOL_RANKER_WEIGHTS empty for the shipped one."
    try:
        weights = json.loads(path.read_text("utf-8"))["weights"]
    except OSError as error:
        raise SetupError(f"The ranker's weights {path} cannot be read: {error.strerror}. {advice}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} does not hold the ranker's weights. {advice}") from error
    known = {field.name for field in fields(RankerWeights)}
    if not isinstance(weights, dict) or not weights.keys() <= known:
        raise SetupError(f"{path} names weights that the ranker does not have. {advice}")
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise SetupError(f"The weight {name} in {path} is no number of 0 or more. {advice}")
    if any(weights.get(name) == 0 for name in ("attribute_scale", "half_life")):
        raise SetupError(f"attribute_scale and half_life in {path} divide, so they cannot be 0. {advice}")
    return RankerWeights(**{name: float(value) for name, value in weights.items()})
