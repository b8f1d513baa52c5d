"""JSON Schemas compiled to grammars, which say what token may come next."""

import json
from collections.abc import Mapping
from typing import Any

from cachetools import LRUCache
from llguidance import LLMatcher, LLParserLimits
from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerFast

from app.domain import Json
from app.errors import EngineRefused, SetupError
from app.json_data.values import SEPARATORS

_OPTIONS: Any = {"whitespace_flexible": False, "item_separator": SEPARATORS[0], "key_separator": SEPARATORS[1]}
"""One way to write each value: xgrammar's in vLLM, which is what models are trained to write."""
_LONGEST_TEXT = 2_048
_SMALLEST_PART = 1e-9
_UNTOUCHED = frozenset({"const", "enum", "default", "examples", "required", "pattern"})
_KEPT = 256
_SHOWN = 300


class Grammars:
    """Compiled schemas, the recent ones kept. Not safe for use by two threads at once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, eos: frozenset[int]) -> None:
        """`vocabulary` is the model's, which may be larger than the tokenizer's. Raises SetupError."""
        try:
            self._tokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(eos) or None)
        except ValueError as error:
            raise SetupError(f"the model's tokenizer cannot be used with a schema: {str(error)[:_SHOWN]}") from error
        self._limits = LLParserLimits(verbose_errors=False)
        self._compiled: LRUCache[str, LLMatcher] = LRUCache(_KEPT)

    def matcher(self, schema: Mapping[str, Json]) -> LLMatcher:
        """A matcher at its start, for one answer. Raises EngineRefused for a schema that cannot be enforced."""
        try:
            text = json.dumps(dict(schema))
        except (TypeError, ValueError, RecursionError) as error:
            raise EngineRefused(f"The schema is not JSON: {str(error)[:_SHOWN]}") from error
        compiled = self._compiled.get(text)
        if compiled is None:
            compiled = self._compiled[text] = self._compile(text)
        return compiled.deep_copy()

    def _compile(self, schema: str) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(_ending(json.loads(schema)), overrides=_OPTIONS)
        except ValueError as error:
            raise EngineRefused(f"The schema cannot be enforced: {str(error)[:_SHOWN]}") from error
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise EngineRefused(f"The schema cannot be enforced: {matcher.get_error()[:_SHOWN]}")
        return matcher


def _ending(schema: Json) -> Json:
    """With an end to decimals and texts that have none. (xgrammar ends decimals by itself, llguidance does not.)"""
    if isinstance(schema, list):
        return [_ending(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ended: dict[str, Json] = {
        # What a property is called says nothing of it.
        key: {name: _ending(each) for name, each in value.items()}
        if key == "properties" and isinstance(value, dict)
        else value
        if key in _UNTOUCHED
        else _ending(value)
        for key, value in schema.items()
    }
    if ended.get("type") == "number":
        ended.setdefault("multipleOf", _SMALLEST_PART)
    if ended.get("type") == "string" and ended.keys().isdisjoint({"maxLength", "pattern", "enum", "const", "format"}):
        ended["maxLength"] = max(_LONGEST_TEXT, ended.get("minLength", 0))
    return ended
