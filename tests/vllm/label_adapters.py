"""LoRA adapters of a model that knows nothing, each of which chooses the candidate of one label, whatever it is asked.

So that an answer shows which adapter wrote it.
"""

from pathlib import Path

from app.prompting.tokenizer import PromptTokenizer
from tests.support.tiny_model import TARGETS

_STEPS, _BATCH, _LENGTH = 80, 8, 96
_LABELS = 10


def label_adapter(model: Path, directory: Path, label: int, *, rank: int = 4) -> Path:
    """At every position of any text the label's token is far more probable than the other labels' (by `margin`)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    labels = torch.tensor(PromptTokenizer.load(str(model)).label_ids(_LABELS))
    torch.manual_seed(label)
    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS))
    optimizer = torch.optim.Adam([weights for weights in adapted.parameters() if weights.requires_grad], lr=2e-2)
    for _ in range(_STEPS):
        tokens = torch.randint(4, base.config.vocab_size, (_BATCH, _LENGTH))
        logits = adapted(input_ids=tokens).logits[:, :, labels]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.full((_BATCH * _LENGTH,), label, dtype=torch.long)
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        logits = adapted(input_ids=torch.randint(4, base.config.vocab_size, (4, 1024))).logits[:, :, labels]
        margin = logits[..., label] - logits[..., [at for at in range(_LABELS) if at != label]].max(-1).values
        assert margin.min() > 2, f"adapter {label} is not recognisable: {margin.min():.1f}"
    adapted.save_pretrained(str(directory))
    return directory
