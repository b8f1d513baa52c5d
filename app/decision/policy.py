"""How a decision is made, as a value: the service's settings make one, an ablation of the evaluation is another."""

from dataclasses import dataclass

from app.domain import DecisionRule, ParameterRule


@dataclass(frozen=True)
class Policy:
    chooser: DecisionRule = DecisionRule.MODEL
    """Who chooses the tool."""
    fusion_weight: float = 0.5
    """Of the chooser `fused`, 0 to 1: 0 is the model alone, 1 the preference ranker alone."""
    filler: ParameterRule = ParameterRule.MODEL
    """Who fills in the parameters of the tool that a model chose."""
    history: bool = True
    """False: ranked and asked as if the user had no history."""
    hints: bool = True
    """False: in prompt formats with hints every candidate has the same ones."""
    schema: bool = True
    """The model writes under the answer's JSON Schema. False: freely."""
    max_tokens: int = 320
    """Tokens of an answer, to which the instruction's are added, as far as prompt and answer together stay within the
    prompt's budget plus this."""
    temperature: float = 0.0
    """0: the likeliest token each time."""
    timeout: float = 20.0
    """Seconds for all that the model is asked for one decision."""
