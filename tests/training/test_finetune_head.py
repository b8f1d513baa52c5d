"""Logits only where the loss is: the same numbers and gradients as everywhere."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from training.finetune.batches import IGNORED, AnswerCollator
from training.finetune.head import add_answer_head

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
ROWS: list[dict[str, Any]] = [
    {"prompt": list(range(5, 45)), "answer": [8, 9, 60, 1], "label": 1},
    {"prompt": list(range(9, 20)), "answer": [50, 51, 52, 53, 54, 55, 1], "label": 0},
    {"prompt": list(range(3, 30)), "answer": [7, 1], "label": -1},
]


def model(*, ours: bool) -> Any:
    torch.manual_seed(4)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, initializer_range=0.3,
        )
    )  # fmt: skip
    adapted: Any = get_peft_model(
        base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    )
    add_fused_lm_head(adapted.get_base_model(), outputs=OUTPUTS)
    if ours:
        add_answer_head(adapted.get_base_model())
    return adapted


def test_it_gives_what_trls_head_gives() -> None:
    batch = AnswerCollator(pad=3)(ROWS)
    one, other = (model(ours=ours)(**batch, fused_lm_head=True) for ours in (True, False))
    for name in ("loss", *OUTPUTS):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-5)
    assert torch.equal(one.label_mask, other.label_mask)


def test_the_loss_and_its_gradients_are_those_of_each_row_alone() -> None:
    """Without padding, and with logits everywhere: what the loss means."""
    ours, plain = model(ours=True), model(ours=False)
    output: Any = ours(**AnswerCollator(pad=3)(ROWS), fused_lm_head=True)
    output.loss.backward()
    losses = []
    for row in ROWS:
        tokens = torch.tensor([[*row["prompt"], *row["answer"]]])
        logits = plain(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, len(row["prompt"]) - 1 : -1]
        losses.append(cross_entropy(logits, torch.tensor(row["answer"]), reduction="sum"))
    loss = torch.stack(losses).sum() / sum(len(row["answer"]) for row in ROWS)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(output.loss, loss, rtol=1e-4, atol=1e-5)
    gradients = {name: each.grad for name, each in plain.named_parameters() if each.requires_grad}
    assert gradients
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_weights_multiply_the_log_probability_of_their_token() -> None:
    adapted = model(ours=True)
    plain = adapted(**AnswerCollator(pad=3)(ROWS), fused_lm_head=True)
    weighted = adapted(**AnswerCollator(pad=3, label_weight=5.0)(ROWS), fused_lm_head=True)
    for place, row in enumerate(ROWS):
        expected = plain.log_probs[place].clone()
        if row["label"] >= 0:
            # The token at this place is told by the position before it.
            expected[len(row["prompt"]) + row["label"] - 1] *= 5
        torch.testing.assert_close(weighted.log_probs[place], expected)
    torch.testing.assert_close(weighted.entropy, plain.entropy)


def test_no_logits_are_computed_over_the_prompt() -> None:
    adapted = model(ours=True)
    batch = AnswerCollator(pad=3)(ROWS)
    answers = int((batch["labels"] != IGNORED).sum())
    sizes: list[int] = []

    def watch(tensor: torch.Tensor) -> torch.Tensor:
        # The head's weights are (32, 64) as they are saved.
        if tensor.shape[-1:] == (64,) and tensor.shape != (32, 64):
            sizes.append(tensor.numel() // 64)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(watch, lambda tensor: tensor):
        adapted(**batch, fused_lm_head=True)
    assert max(sizes) == answers


def test_the_plain_forward_pass_is_as_it_was() -> None:
    tokens = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(model(ours=True)(tokens).logits, model(ours=False)(tokens).logits)


@pytest.mark.parametrize("setting", [{"final_logit_softcapping": 2.0}, {"logit_scale": 0.5}])
def test_models_that_scale_their_logits_keep_trls_head(setting: dict[str, float]) -> None:
    batch = AnswerCollator(pad=3)(ROWS)
    outputs = []
    for ours in (True, False):
        torch.manual_seed(4)
        config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1)
        config.num_attention_heads = config.num_key_value_heads = 4
        config.update(setting)
        base = LlamaForCausalLM(config)
        add_fused_lm_head(base, outputs=OUTPUTS)
        if ours:
            add_answer_head(base)
        outputs.append(base(**batch, fused_lm_head=True).log_probs)
    torch.testing.assert_close(outputs[0], outputs[1])
