"""Whether vLLM's backends take schemas, and let texts be written under them. Run with vLLM's own Python:

    python tests/vllm/xgrammar_accepts.py [TOKENIZER] < CASES > FAILURES

CASES is one JSON object a line, `{"schema": ..., "texts": [...]}`; TOKENIZER, for xgrammar, a directory in Hugging
Face's layout (without: one token a byte). FAILURES is one JSON object a line, `{"case": number, "backend": ...,
"text": ..., "problem": ...}`; the last line is `{"cases": ..., "milliseconds": [...]}`, the times of compiling with
xgrammar. Compiled as vLLM does it for `{"backend": "guidance", "disable_any_whitespace": true}`, the backend to use,
and for `xgrammar`, which takes all schemas but refuses what JSON escapes in a text that has a length.
"""

import json
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import llguidance
import llguidance._tokenizer
import xgrammar  # type: ignore[import-not-found]
from vllm.sampling_params import check_json_nesting  # type: ignore[import-not-found]
from vllm.v1.structured_output.backend_guidance import (  # type: ignore[import-not-found]
    has_guidance_unsupported_json_features,
    serialize_guidance_grammar,
)
from vllm.v1.structured_output.backend_types import StructuredOutputOptions  # type: ignore[import-not-found]
from vllm.v1.structured_output.backend_xgrammar import (  # type: ignore[import-not-found]
    has_xgrammar_unsupported_json_features,
)


class Bytes:
    """A tokenizer with one token a byte, for llguidance."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"</s>")
    special_token_ids = (256,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


def compiler(tokenizer: str | None) -> xgrammar.GrammarCompiler:
    if tokenizer is None:
        tokens = [bytes([byte]) for byte in range(256)] + ["</s>"]
        info = xgrammar.TokenizerInfo(tokens, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[256])
    else:
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(tokenizer)
        info = xgrammar.TokenizerInfo.from_huggingface(found, vocab_size=len(found))
    # With the cache, as in vLLM: it shares parts of grammars between schemas, and so do its faults.
    return xgrammar.GrammarCompiler(info, max_threads=8, cache_enabled=True, cache_limit_bytes=512 * 1024 * 1024)


@lru_cache(maxsize=1)
def guidance_tokenizer() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance._tokenizer.TokenizerWrapper(Bytes()))


def refusals(schema: dict[str, Any]) -> Iterator[str]:
    """What vLLM says of the schema before it compiles it."""
    try:
        check_json_nesting(schema)
    except ValueError as error:
        yield str(error)
    if has_xgrammar_unsupported_json_features(schema):
        yield "has features that vLLM knows xgrammar lacks"
    if has_guidance_unsupported_json_features(schema):
        yield "has features that vLLM knows guidance lacks"
    wrong, messages = llguidance.LLMatcher.validate_grammar_with_warnings(guidance_grammar(schema))
    if wrong or messages:
        yield f"guidance: {messages}"


def guidance_grammar(schema: dict[str, Any]) -> str:
    return str(serialize_guidance_grammar(StructuredOutputOptions.JSON, json.dumps(schema), True))


def guidance_problem(matcher: llguidance.LLMatcher, text: str) -> str | None:
    matcher = matcher.deep_copy()
    written = text.encode()
    taken = matcher.try_consume_tokens(list(written))
    if taken < len(written):
        return f"refused at {taken}, after {written[max(0, taken - 30) : taken]!r}"
    return None if matcher.is_accepting() else "may not end here"


def text_problem(compiled: xgrammar.CompiledGrammar, text: str) -> str | None:
    matcher = xgrammar.GrammarMatcher(compiled)
    for at, char in enumerate(text):
        if not matcher.accept_string(char):
            return f"refused at {at}, after {text[max(0, at - 30) : at]!r}"
    return None if matcher.is_completed() else "may not end here"


def problems(
    case: dict[str, Any], compile_with: xgrammar.GrammarCompiler, times: list[float]
) -> Iterator[dict[str, Any]]:
    refused = [{"problem": refusal} for refusal in refusals(case["schema"])]
    yield from refused
    if not refused:
        matcher = llguidance.LLMatcher(guidance_tokenizer(), guidance_grammar(case["schema"]))
        for text in case.get("texts", ()):
            if problem := guidance_problem(matcher, text):
                yield {"backend": "guidance", "text": text, "problem": problem}
    started = time.perf_counter()
    try:
        compiled = compile_with.compile_json_schema(
            json.dumps(case["schema"]), any_whitespace=False, separators=(",", ":")
        )
    except RuntimeError as error:
        yield {"backend": "xgrammar", "problem": str(error)[-500:]}
        return
    times.append(round((time.perf_counter() - started) * 1000, 2))
    for text in case.get("texts", ()):
        if problem := text_problem(compiled, text):
            yield {"backend": "xgrammar", "text": text, "problem": problem}


def main() -> None:
    tokenizer = sys.argv[1] if len(sys.argv) > 1 else None
    if tokenizer is not None and not Path(tokenizer).is_dir():
        sys.exit(f"{tokenizer} is no directory")
    times: list[float] = []
    compile_with, count = compiler(tokenizer), 0
    for count, line in enumerate(sys.stdin, start=1):
        for found in problems(json.loads(line), compile_with, times):
            print(json.dumps({"case": count - 1, **found}))
    print(json.dumps({"cases": count, "milliseconds": times}))


if __name__ == "__main__":
    main()
