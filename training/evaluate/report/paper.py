"""The paper's own figures (tables 1 and 2), percent, on the paper's own data: shown beside ours, not compared.

GPT-4o's TPM under preferred-only is printed as 30.3; with its Tool Acc of 53.7 and its other errors it would be 24.3.
"""

from collections.abc import Mapping

from app.domain import HistorySetting
from training.evaluate.metrics import ALL, SETTINGS, ErrorKind

_COLUMNS = (*(setting.value for setting in SETTINGS), ALL)
_TABLE_1 = {
    "Vicuna-7B": (25.50, 44.80, 10.80, 57.40, 12.70, 56.00, 16.33, 52.73),
    "Mistral-7B": (30.30, 55.70, 15.40, 63.20, 14.10, 64.90, 19.93, 61.27),
    "Qwen2.5-7B": (40.40, 63.80, 24.80, 66.50, 24.80, 70.20, 30.00, 66.83),
    "LLaMA3-8B": (48.10, 71.10, 26.90, 77.70, 26.60, 78.10, 33.87, 75.63),
    "GPT-4o-mini": (51.80, 72.90, 38.40, 77.70, 31.20, 80.50, 40.47, 77.03),
    "GPT-4o": (53.70, 77.60, 45.70, 79.60, 33.60, 81.80, 44.33, 79.67),
    "PEToolLLaMA": (74.30, 87.90, 78.40, 89.70, 80.80, 91.30, 77.83, 89.63),
    "w/o DPO": (71.50, 82.10, 74.20, 86.90, 77.30, 90.40, 74.33, 86.47),
    "w/o SFT": (53.20, 61.80, 55.30, 62.40, 51.40, 61.10, 53.30, 61.77),
}
TABLE_1: Mapping[str, Mapping[str, tuple[float, float]]] = {
    name: {column: (row[2 * at], row[2 * at + 1]) for at, column in enumerate(_COLUMNS)}
    for name, row in _TABLE_1.items()
}
"""By method, then by setting or `all`: Tool Acc and Param Acc."""

_PAPER_ERRORS = (
    ErrorKind.INVALID_FORMAT,
    ErrorKind.TOOL_HALLUCINATION,
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH,
    ErrorKind.TOOL_PREFERENCE_MISMATCH,
    ErrorKind.PARAMETER_NAME_MISMATCH,
    ErrorKind.PARAMETER_VALUE_MISMATCH,
)
_TABLE_2 = {
    HistorySetting.PREFERRED_ONLY: {
        "Qwen2.5-7B": (10.9, 3.6, 19.6, 25.5, 10.4, 14.9),
        "LLaMA3-8B": (2.5, 5.3, 19.3, 24.8, 11.4, 15.0),
        "GPT-4o-mini": (0.1, 3.5, 20.1, 24.4, 10.6, 16.4),
        "GPT-4o": (0.5, 1.5, 20.0, 30.3, 7.9, 14.0),
    },
    HistorySetting.CHRONOLOGICAL: {
        "Qwen2.5-7B": (11.2, 2.3, 7.1, 54.6, 5.4, 13.2),
        "LLaMA3-8B": (2.5, 3.7, 2.8, 64.4, 6.8, 12.6),
        "GPT-4o-mini": (0.0, 1.5, 6.9, 60.2, 6.2, 13.3),
        "GPT-4o": (1.3, 1.1, 6.6, 57.3, 4.7, 12.2),
    },
}
TABLE_2: Mapping[HistorySetting, Mapping[str, Mapping[ErrorKind, float]]] = {
    setting: {name: dict(zip(_PAPER_ERRORS, row, strict=True)) for name, row in rows.items()}
    for setting, rows in _TABLE_2.items()
}
