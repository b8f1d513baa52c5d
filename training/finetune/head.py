"""A causal model's forward pass that computes logits only where the loss is.

TRL's own head does so on GPUs. On a CPU it multiplies every token of the prompt by the vocabulary, which for a small
model is a third of the work.
"""

from types import MethodType
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.functional import linear
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

_SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
"""Settings of models whose logits are more than a matrix product: these models keep TRL's head, which knows them."""


def add_answer_head(model: PreTrainedModel) -> None:
    """Replace the head of a model that TRL's `add_fused_lm_head` was called on; its output stays the same.

    `model(input_ids, attention_mask, labels, fused_lm_head=True)` takes rows padded on the right, whose mask is left
    out: causal attention sees no padding from before it, and is faster without a mask. `token_weights`, of the shape of
    `labels`, multiply the log-probabilities of the tokens they stand at.
    """
    of_trl = model.forward
    text = model.config.get_text_config()
    plain = not any(getattr(text, name, None) for name in _SCALED) and not getattr(text, "output_router_logits", False)

    def forward(
        self: Any, *args: Any, fused_lm_head: bool = False, token_weights: torch.Tensor | None = None, **given: Any
    ) -> Any:
        if not fused_lm_head:
            return of_trl(*args, **given)
        if not getattr(text, "output_router_logits", False):
            given.pop("attention_mask", None)
        if plain and not args and given["input_ids"].device.type == "cpu":
            output = _on_answers(self, **given)
        else:
            output = of_trl(*args, fused_lm_head=True, **given)
        if token_weights is not None:
            assert output.log_probs is not None
            output.log_probs = output.log_probs * token_weights[:, 1:]
        return output

    model.forward = MethodType(forward, model)


def _on_answers(model: Any, *, labels: torch.Tensor, **given: Any) -> FusedCausalLMOutput:
    """Return what TRL's head returns, computed at the labelled positions only; per-token values are 0 elsewhere."""
    hidden = model.base_model(**given).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    mask = wanted != -100
    head = model.get_output_embeddings()
    weight, bias = (each.full_tensor() if isinstance(each, DTensor) else each for each in (head.weight, head.bias))
    logits = linear(hidden[mask], weight, bias).float()
    logs = logits.log_softmax(-1)
    picked = wanted[mask]

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    log_probs = spread(logs.gather(-1, picked[:, None])[:, 0])
    with torch.no_grad():
        entropy = spread(-(logs.exp() * logs).sum(-1))
        mean_logits, is_top1 = spread(logits.mean(-1)), spread(logits.argmax(-1) == picked)
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / mask.sum().clamp(min=1),
        log_probs=log_probs,
        entropy=entropy,
        mean_logits=mean_logits,
        is_top1=is_top1,
        label_mask=mask,
    )
