"""How the small model is made; the shipped config lies in `training/configs`."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import SetupError
from training.common.yaml_files import faults, named_file, read_mapping
from training.petoolbench.config import CONFIGS


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(_Section):
    """Of a `LlamaForCausalLM` whose head is not tied to its embeddings."""

    vocabulary: int = Field(default=6144, ge=512)
    """Tokens at most."""
    width: int = Field(default=256, ge=16)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    inner: int = Field(default=704, ge=16)
    """Width of the feed-forward part."""
    context: int = Field(default=2048, ge=256)
    """Tokens of prompt and answer."""


class Pretraining(_Section):
    examples: int = Field(default=150_000, ge=1)
    """Uses of tools that are read, each with other candidates and other values each time."""
    step_tokens: int = Field(default=8_192, ge=256)
    """Of a batch, padding included."""
    matrix_lr: float = Field(default=0.012, gt=0)
    """Muon's, of all matrices but embeddings and head."""
    embedding_lr: float = Field(default=4e-3, gt=0)
    """Adam's, of the others."""
    decay: float = Field(default=0.35, gt=0, le=1)
    """Share of the examples over which the learning rates go down to 0, at the end."""
    label_weight: float = Field(default=3.0, gt=0)
    """Of the choice in the loss, against every other token of the answer."""
    redrawn: float = Field(default=0.5, ge=0, le=1)
    """How often values that stand in the instruction are replaced, there and in the answer: copying is to be learned,
    not what is usually copied."""
    with_history: float = Field(default=0.3, ge=0, le=1)
    """Share of the others with a history, which is anyone's: the model is to know the sight of it, and learns nothing
    of what it says. That is for the adapters."""
    drills: float = Field(default=0.4, ge=0, le=1)
    """Share of the examples that are short ones of copying (`training.pretraining.uses.Drills`)."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps."""
    held_out: int = Field(default=400, ge=1)
    """Uses that are looked at only to see how far it is."""


class SmallConfig(_Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = 1
    benchmark: str = "paper-scale"
    """The config of the benchmark it is made from."""
    prompt_format: str = "terse-1"
    prompt_tokens: int = Field(default=1_600, ge=256)
    architecture: Architecture = Architecture()
    pretraining: Pretraining = Pretraining()


def load_small_config(name: str) -> SmallConfig:
    """Of a file, or a shipped one by its name. Raises SetupError that says which field is wrong."""
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS)
    try:
        return SmallConfig.model_validate(values)
    except ValidationError as error:
        raise SetupError(f"The config {path} is not valid: {faults(error)}.") from error
