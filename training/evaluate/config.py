"""One YAML file = one system that is evaluated. Shipped ones lie in `training/configs/evaluate`.

A file may say `extends: NAME`, and then only what is otherwise: an ablation is its system and one line.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from app.decision.policy import Policy
from app.domain import DecisionRule, Json, ParameterRule
from app.errors import SetupError
from app.prompting.builder import BUDGET
from training.common.yaml_files import faults, named_file, read_mapping

CONFIGS = Path(__file__).parents[1] / "configs" / "evaluate"
_DEEPEST = 5
"""Files that extend each other."""


class Ablation(BaseModel):
    """That a system is another one without something."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: str
    """The other's name."""
    without: str
    """`DPO`, `SFT`, `history`, `hints`, `schema`, ..."""


class _System(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of the folder its answers are kept in."""
    label: str = ""
    """In reports; the name if empty."""
    paper: str | None = None
    """Its row in the paper's tables."""
    ablation: Ablation | None = None
    concurrency: int = Field(default=8, ge=1)
    """Instances at a time."""

    @property
    def title(self) -> str:
        return self.label or self.name

    def deciding(self) -> dict[str, Json]:
        """The settings that the answers depend on."""
        return self.model_dump(mode="json", exclude=_SHOWN)

    @property
    def policy(self) -> Policy:
        """How it decides."""
        return Policy()


_SHOWN = {
    "name", "label", "paper", "ablation", "concurrency", "retries", "timeout", "url", "base_url", "api_key_env",
}  # fmt: skip
"""How fast, from where and under which name is another matter."""


class RuleSystem(_System):
    """Chooses without a language model; parameters are read from the instruction by the rules.

    ranker: the service's preference ranker. retrieval: the most relevant candidate. fit: the best functional fit.
    """

    kind: Literal["ranker", "retrieval", "fit"]


class _Asked(_System):
    """What all that is asked by a prompt have."""

    prompt_tokens: int | None = Field(default=None, ge=1)
    """The prompt's budget; None for the manifest's, or else the paper's 4,000."""
    temperature: float = Field(default=0.1, ge=0, le=2)
    """The paper's; 0 is greedy."""
    max_tokens: int = Field(default=320, ge=1)
    """Of the answer, as the service's; for our own models the instruction's are added."""
    history: bool = True
    """False: asked as if the user had none."""
    timeout: float = Field(default=300.0, gt=0)
    """Seconds for one answer."""
    retries: int = Field(default=5, ge=0)
    """After the first try, of what may go better in a moment."""

    @property
    def policy(self) -> Policy:
        return Policy(history=self.history)


class ModelSystem(_Asked):
    """A model of the service's engines, asked as the service asks."""

    kind: Literal["model"]
    engine: Literal["local", "vllm"] = "local"
    base: str
    """The base model's directory, or for vllm also its name on the hub: its tokenizer writes the prompt."""
    adapter: Path | None = None
    """Directory of a LoRA adapter; its petool.json tells the prompt's format."""
    url: str | None = None
    """vllm: http(s)://host:port."""
    served_model: str | None = None
    """vllm: the base's name at the server; `base` if not given."""
    served_adapter: str | None = None
    """vllm: the adapter's name at the server; its directory's if not given."""
    api_key_env: str = "PETOOL_ENGINE_API_KEY"
    """vllm: variable with the key; not needed to be set."""
    prompt_format: str | None = None
    """A name in `app.prompting.formats`; None for the manifest's."""
    hints: bool = True
    """False: in formats with hints every candidate has the same ones."""
    schema_: bool = Field(default=True, alias="schema")
    """Decoded under the answer's JSON Schema; False lets the model write freely."""
    decision: DecisionRule = DecisionRule.MODEL
    fusion_weight: float = Field(default=0.5, ge=0, le=1)
    parameters: ParameterRule = ParameterRule.MODEL
    """For the tool that was chosen, as in service."""
    fallback: bool = True
    """An answer that is no valid call is replaced by the ranker's, as in service. False: it counts as the error that it
    is, as in the paper."""
    right_cut: bool = False
    """The prompt whole, then cut at its right end to the budget, as the published code does."""
    threads: int | None = Field(default=None, ge=1)
    """local: torch's."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine == "vllm" and self.url is None:
            raise ValueError("the engine vllm needs the url of a server (--set url=http://127.0.0.1:8001)")
        return self

    @property
    def policy(self) -> Policy:
        return Policy(
            chooser=self.decision,
            fusion_weight=self.fusion_weight,
            filler=self.parameters,
            history=self.history,
            hints=self.hints,
            schema=self.schema_,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            # Each try has its own limit.
            timeout=math.inf,
        )

    def deciding(self) -> dict[str, Json]:
        # Where the files lie is another matter too: their digests are compared.
        return {key: value for key, value in super().deciding().items() if key not in ("base", "adapter", "threads")}


class ChatSystem(_Asked):
    """A model behind an OpenAI-compatible chat endpoint, without schema; asked in the published layout by default."""

    kind: Literal["chat"]
    base_url: str
    """With the version: https://api.openai.com/v1."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """Variable with the key; only OpenAI's own endpoint needs one."""
    prompt_format: str = "published-1"
    tokenizer: str | None = None
    """Directory, or name on the hub, of the tokenizer that counts the prompt's tokens. None: that of the packaged
    MiniLM, to which every mark is a token, so that prompts come out shorter rather than longer."""
    max_tokens: int = Field(default=1024, ge=1)


System = Annotated[RuleSystem | ModelSystem | ChatSystem, Field(discriminator="kind")]
SystemConfig = RuleSystem | ModelSystem | ChatSystem
_adapter: TypeAdapter[SystemConfig] = TypeAdapter(System)


def budget_of(config: ModelSystem | ChatSystem, told: int | None = None) -> int:
    return config.prompt_tokens or told or BUDGET


def load_system(name: str, changes: Sequence[str] = ()) -> SystemConfig:
    """The system of a YAML file, or of a shipped one by its name. `changes`: `field=value`, as YAML.

    Raises SetupError that says which field is wrong.
    """
    values = _values(name)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise SetupError(f"--set takes field=value, not {change!r}.")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SetupError(f"--set {change}: the value is not YAML.") from error
    return parse_system(values, f"The system {name}")


def parse_system(values: Mapping[str, Json], what: str) -> SystemConfig:
    try:
        return _adapter.validate_python(values)
    except ValidationError as error:
        raise SetupError(f"{what} is not valid: {faults(error, skipped=1)}.") from error


def shipped_systems() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def _values(name: str, depth: int = 0) -> dict[str, Any]:
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS, "system")
    base = values.pop("extends", None)
    if base is None:
        return values
    if depth == _DEEPEST:
        raise SetupError(f"The system {path} extends others without end.")
    beside = path.parent / f"{base}.yaml"
    inherited = _values(str(beside) if beside.exists() else str(base), depth + 1)
    # What a system is called and stands for is its own.
    own = {key: value for key, value in inherited.items() if key not in ("name", "label", "paper", "ablation")}
    return {**own, **values}
