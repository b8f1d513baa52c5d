"""Tokenizers of the kinds that models have, trained in a moment, with chat templates like theirs."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from app.domain import Json
from app.model_files.text_files import ModelFiles
from app.prompting.tokenizer import PromptTokenizer
from training.pretraining.tokenizer import SPECIAL, TEMPLATE

_TEXTS = Path(__file__).parents[2] / "app" / "demo" / "catalogue"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

DATED = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}
{%- set messages = messages[1:] %}
{%- else %}{% set system = '' %}{% endif -%}
<|start_header_id|>system<|end_header_id|>

Today: {{ strftime_now('%d %b %Y') }}, {{ date_string }}

{{ system }}<|eot_id|>
{%- for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>

{{ message['content'] | trim }}<|eot_id|>{% endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
CHAT_ML = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% endfor %}"
)


def texts() -> list[str]:
    documents = (each for file in sorted(_TEXTS.glob("*.json")) for each in json.loads(file.read_text("utf-8")))
    return [json.dumps(document, ensure_ascii=False) for document in documents]


@cache
def tiny() -> ModelFiles:
    """The one of `tests.support.tiny_model`: special tokens in the model's vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, special=list(SPECIAL))
    return ModelFiles(_json(tokenizer), TEMPLATE, {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1]})


@cache
def llama_like() -> ModelFiles:
    """Special tokens beside the vocabulary, a post-processor that adds BOS, a template that prints the date."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([*special, "<|finetune_right_pad_id|>"])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
    )
    tokenizer.enable_truncation(64)
    return ModelFiles(_json(tokenizer), DATED, {"bos_token": special[0], "eos_token": special[4]})


@cache
def qwen_like() -> ModelFiles:
    """Added tokens that are not special, no BOS, text normalised to NFC."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<tool_call>", "</tool_call>", "<think>", "</think>"])
    return ModelFiles(_json(tokenizer), CHAT_ML, {"eos_token": "<|im_end|>"})


@cache
def sentencepiece_like() -> ModelFiles:
    """BPE over whole texts with a space put before them, byte fallback; its template refuses a system message."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Only while it learns: no piece joins letters to punctuation.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _train(tokenizer, special=["<unk>", "<s>", "</s>", *_BYTES])
    document = _json(tokenizer)
    document["added_tokens"] = document["added_tokens"][:3]
    document["pre_tokenizer"] = None
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return ModelFiles(document, NO_SYSTEM, roles)


@cache
def unigram_like() -> ModelFiles:
    """Unigram, which finds the pieces `<s>` and `<0x0A>` in any text that spells them; no chat template."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    trainer = trainers.UnigramTrainer(
        vocab_size=1_000, special_tokens=["<unk>", "<s>", "</s>", *_BYTES], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)
    document = _json(tokenizer)
    document["added_tokens"] = document["added_tokens"][:3]
    document["model"]["byte_fallback"] = True
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return ModelFiles(document, None, roles)


KINDS: dict[str, Callable[[], ModelFiles]] = {
    each.__name__: each for each in (tiny, llama_like, qwen_like, sentencepiece_like, unigram_like)
}


@cache
def tokenizer_of(kind: str) -> PromptTokenizer:
    return PromptTokenizer(KINDS[kind]())


RESERVED_TEXTS = (
    *SPECIAL,
    *(
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>system<|end_header_id|>\n\n",
        "<|im_start|>",
        "<|im_end|>",
    ),
    *("<|endoftext|>", "<tool_call>", "</tool_call>", "<think>", "<s>", "</s>", "<unk>", "<0x0A>", "[INST]", "[/INST]"),
    *("＜s＞", "<s><s>", "▁<s>", "<0x3C>s>", "<｜begin▁of▁sentence｜>"),
)
"""What data may spell to pass for something else."""


def _train(tokenizer: Tokenizer, special: list[str] | None = None) -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet() if special is None or "<unk>" not in special else []
    trainer = trainers.BpeTrainer(
        vocab_size=1_500, special_tokens=special or [], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(), trainer)


def _json(tokenizer: Tokenizer) -> dict[str, Json]:
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document
