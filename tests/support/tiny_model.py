"""A language model that knows nothing: random weights, but all the files of a real one, made in a second."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.pretraining.tokenizer import SPECIAL, save_tokenizer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONTEXT = 4352
_TEXTS = Path(__file__).parents[2] / "app" / "demo" / "catalogue"


def tiny_model(directory: Path, *, vocabulary: int = 2000, hidden: int = 64, layers: int = 2, seed: int = 0) -> Path:
    """A Llama in Hugging Face's layout, with a tokenizer trained on the demo catalogue."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    directory.mkdir(parents=True, exist_ok=True)
    size = tiny_tokenizer(directory, vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=3,
        tie_word_embeddings=False,
        # Large, so that the most probable token stands out by more than what rounding does.
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def tiny_tokenizer(directory: Path, vocabulary: int = 2000) -> int:
    """Writes the tokenizer's files; its number of tokens."""
    tokenizer = trained_tokenizer(_texts(), vocabulary)
    directory.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, directory, CONTEXT)
    return tokenizer.get_vocab_size()


def trained_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE with the special tokens of our chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tiny_adapter(model: Path, directory: Path, seed: int, *, rank: int = 4) -> Path:
    """A LoRA adapter with random weights, large enough to change what the model writes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS))
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.5)
    adapted.save_pretrained(str(directory))
    return directory


def _texts() -> Iterator[str]:
    for file in sorted(_TEXTS.glob("*.json")):
        for document in json.loads(file.read_text()):
            yield json.dumps(document, ensure_ascii=False)
            yield document.get("api_description", "")
