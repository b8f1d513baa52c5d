"""What the published files are called, which keys they have, and how they write the names of tools."""

from enum import StrEnum

from app.domain import HistorySetting, Tool

INFO = "dataset_info.json"
LETTERS = {
    HistorySetting.PREFERRED_ONLY: "p",
    HistorySetting.RATING_INTEGRATED: "r",
    HistorySetting.CHRONOLOGICAL: "c",
}
PROMPT_KEYS = {
    HistorySetting.PREFERRED_ONLY: "instruction_preferred",
    HistorySetting.RATING_INTEGRATED: "instruction_ratings",
    HistorySetting.CHRONOLOGICAL: "instruction_chronological",
}
"""Where a test file has its prompt; a file of one setting may hold the other settings' prompts too."""
WITHOUT_HISTORY = "instruction_wo_history"


class Kind(StrEnum):
    SFT = "sft"
    DPO = "dpo"
    TEST = "test"
    UNSEEN = "unseen"
    """Ours, in the layout of the test files."""


def stem(kind: Kind, setting: HistorySetting) -> str:
    """`setting` is one of `LETTERS` (KeyError)."""
    return f"user_entries_{kind.value}_{LETTERS[setting]}"


def published_name(tool: Tool) -> str:
    """`<category>.<provider>.<api>`, each part in brackets; the name itself where it is not made of three parts.

    So too where a part holds what stands between two of them: the brackets would say something else.
    """
    parts = (tool.category, tool.provider, tool.api)
    bracketed = ".".join(f"<{part}>" for part in parts)
    return bracketed if tool.name == ".".join(parts) and name_parts(bracketed) == parts else tool.name


def own_name(published: str) -> str:
    """`category.provider.api` for a name with brackets; any other is a name as it stands."""
    parts = name_parts(published)
    return published if parts is None else ".".join(parts)


def name_parts(published: str) -> tuple[str, str, str] | None:
    """Category, provider and api; None where they cannot be told, such as with dots within parts and no brackets."""
    bracketed = published.startswith("<") and published.endswith(">")
    parts = published[1:-1].split(">.<") if bracketed else published.split(".")
    if len(parts) != 3 or not all(part.strip() for part in parts):
        return None
    return parts[0], parts[1], parts[2]
