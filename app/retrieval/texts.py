"""From a tool's document to the texts that are embedded and the terms that are indexed."""

import re
from collections.abc import Sequence

from app.domain import Tool
from app.retrieval.lexical import Field, LexicalIndex, terms

_DESCRIPTION_CHARACTERS = 600
"""Long descriptions are examples and terms of use; the model reads 256 tokens at most."""
_INDEXED_CHARACTERS = 2_000

_CASE_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")

# BM25F: names say what a tool is for in few words, descriptions in many, parameters only hint at it. Round
# numbers on purpose: half or twice any of these weights moves the mean NDCG@5 by less than a point.
FIELDS = {
    "api": Field(weight=2.0, b=0.5),
    "provider": Field(weight=2.0, b=0.5),
    "description": Field(weight=1.0, b=0.75),
    "category": Field(weight=0.5, b=0.5),
    "parameters": Field(weight=0.5, b=0.75),
    "parameter_descriptions": Field(weight=0.25, b=0.75),
}


def split_name(name: str) -> str:
    """An identifier or path as words: "stock/getQuoteByISIN" -> "stock get Quote By ISIN"."""
    return _SEPARATORS.sub(" ", _CASE_BORDER.sub(" ", name)).strip()


def retrieval_text(tool: Tool) -> str:
    """What is embedded of a tool: who offers it, what it does and in which words. Never blank.

    One text for both uses of its vector. Function and attributes as texts of their own were tried: search gained
    nothing, and the preference ranker chose worse (docs/ranking.md).
    """
    name = " ".join(filter(None, (split_name(tool.category), tool.provider, split_name(tool.api))))
    return f"{name or tool.name}. {tool.description[:_DESCRIPTION_CHARACTERS]}".strip()


def lexical_index(tools: Sequence[Tool]) -> LexicalIndex:
    """The BM25F index of the tools; rows are positions in `tools`."""
    texts = {
        "api": [tool.api or tool.name for tool in tools],
        "provider": [tool.provider for tool in tools],
        "description": [tool.description for tool in tools],
        "category": [tool.category for tool in tools],
        "parameters": [" ".join(p.name for p in tool.parameters) for tool in tools],
        "parameter_descriptions": [" ".join(p.description for p in tool.parameters) for tool in tools],
    }
    documents = {name: [terms(text[:_INDEXED_CHARACTERS]) for text in field] for name, field in texts.items()}
    return LexicalIndex.build(documents, FIELDS)
