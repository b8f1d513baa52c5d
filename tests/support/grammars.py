"""What an answer's schema lets a model write in the local engine, over a tokenizer of single bytes."""

import json
import math
import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper

from app.inference.local.grammars import _LONGEST_TEXT, _OPTIONS, _ending

END = 256
Choice = Callable[[list[int]], int]
"""Which of the allowed bytes is written next."""


class _Bytes:
    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"</s>")
    special_token_ids = (END,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@lru_cache(maxsize=1)
def _tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_Bytes()))


def grammar(schema: Mapping[str, Any]) -> str:
    return LLMatcher.grammar_from_json_schema(_ending(json.loads(json.dumps(schema))), overrides=_OPTIONS)


def complaints(schema: Mapping[str, Any]) -> list[str]:
    """llguidance's errors and warnings; empty where it takes the schema as it is."""
    return LLMatcher.validate_grammar_with_warnings(grammar(schema), _tokenizer())[1]


def accepts(schema: Mapping[str, Any], text: str) -> bool:
    matcher = LLMatcher(_tokenizer(), grammar(schema), log_level=0)
    return matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()


def uniformly(seed: int) -> Choice:
    return random.Random(seed).choice


def stubbornly(allowed: list[int]) -> int:
    """As a weak model does: the same character for as long as it may, and nothing that closes."""
    return min(allowed, key=lambda byte: (chr(byte) in '"]}', byte == END, chr(byte) not in "a9,", -byte))


def written(schema: Mapping[str, Any], choose: Choice, limit: float) -> str:
    """A text written byte by byte under the schema; fails where it has no end within the limit."""
    matcher = LLMatcher(_tokenizer(), grammar(schema), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    text = bytearray()
    while not matcher.is_stopped():
        assert len(text) <= limit, bytes(text[-200:])
        mask = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")[: END + 1]).tolist()
        assert allowed, bytes(text[-200:])
        chosen = choose(allowed)
        assert matcher.consume_token(chosen), matcher.get_error()
        if chosen == END:
            break
        text.append(chosen)
    return text.decode()


def longest(schema: Mapping[str, Any]) -> float:
    """Bytes of the longest text that the schema allows; infinite where there is none."""
    if "anyOf" in schema:
        return max(longest(each) for each in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return max(len(json.dumps(each)) for each in schema.get("enum", [schema.get("const")]))
    return _longest_of_type(schema)


def _longest_of_type(schema: Mapping[str, Any]) -> float:
    kind = schema["type"]
    if kind == "string":
        # An escape has up to six bytes.
        if "pattern" in schema:
            return 2 + 6 * int(_parser.parse(schema["pattern"]).getwidth()[1])
        return 2 + 6 * int(schema.get("maxLength", max(_LONGEST_TEXT, schema.get("minLength", 0))))
    if kind == "array":
        items = [longest(each) for each in schema.get("prefixItems", ())]
        items = items or [longest(schema["items"])] * schema["maxItems"]
        return 2 + sum(items) + len(items)
    if kind == "object":
        if schema.get("additionalProperties") is not False:
            return math.inf
        return 2 + sum(len(json.dumps(k)) + 2 + longest(v) for k, v in schema["properties"].items())
    # Nineteen digits, a sign, a point and six decimals.
    return 30
