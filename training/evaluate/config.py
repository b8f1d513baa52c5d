"""One YAML file is one system that is evaluated. The shipped ones lie in `training/configs/evaluate`.

A file may say `extends: NAME`, and then only what differs: an ablation is its system and one line.
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
_MOST_EXTENDED = 5
"""Files that may extend each other in a row."""


class Ablation(BaseModel):
    """Says that a system is another one without something."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: str
    """Name of the whole system."""
    without: str
    """What it lacks: `DPO`, `SFT`, `history`, `hints`, `schema`, ..."""


class _BaseConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the folder that its answers are kept in."""
    label: str = ""
    """What reports call it; the name if empty."""
    paper: str | None = None
    """Its row in the paper's tables, if it has one."""
    ablation: Ablation | None = None
    concurrency: int = Field(default=8, ge=1)
    """Maximum number of instances asked at the same time."""

    @property
    def title(self) -> str:
        return self.label or self.name

    def deciding_settings(self) -> dict[str, Json]:
        """The fields that the answers depend on."""
        return self.model_dump(mode="json", exclude=_NOT_DECIDING)

    @property
    def policy(self) -> Policy:
        """How it decides."""
        return Policy()


_NOT_DECIDING = {
    "name", "label", "paper", "ablation", "concurrency", "retries", "timeout", "url", "base_url", "api_key_env",
}  # fmt: skip
"""Fields that say how fast, from where and under which name a system is asked."""


class RuleConfig(_BaseConfig):
    """A system that chooses without a language model and reads parameters from the instruction by rules.

    `ranker` is the service's preference ranker, `retrieval` takes the most relevant candidate, `fit` the one of
    the best functional fit.
    """

    kind: Literal["ranker", "retrieval", "fit"]


class _PromptedConfig(_BaseConfig):
    """What all systems that are asked by a prompt have in common."""

    prompt_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of a prompt; None for the manifest's, or else the paper's 4,000."""
    temperature: float = Field(default=0.1, ge=0, le=2)
    """The default is the paper's; 0 is greedy."""
    max_tokens: int = Field(default=320, ge=1)
    """Maximum tokens of an answer, as in service. For our own models the instruction's length is added."""
    history: bool = True
    """False: the system is asked as if the user had no history."""
    timeout: float = Field(default=300.0, gt=0)
    """Maximum seconds to wait for one answer."""
    retries: int = Field(default=5, ge=0)
    """Maximum number of further tries after a failure that may pass."""

    @property
    def policy(self) -> Policy:
        return Policy(history=self.history)


class ModelConfig(_PromptedConfig):
    """A model behind one of the service's engines, asked as the service asks."""

    kind: Literal["model"]
    engine: Literal["local", "vllm"] = "local"
    base: str
    """The base model's directory, or for vllm also its name on the hub. Its tokenizer writes the prompt."""
    adapter: Path | None = None
    """Directory of a LoRA adapter, whose petool.json names the prompt's format."""
    url: str | None = None
    """vllm: the server's address, http(s)://host:port."""
    served_model: str | None = None
    """vllm: the base's name at the server; `base` if not given."""
    served_adapter: str | None = None
    """vllm: the adapter's name at the server; its directory's if not given."""
    api_key_env: str = "PETOOL_ENGINE_API_KEY"
    """vllm: the environment variable with the key. It may be unset."""
    prompt_format: str | None = None
    """A name in `app.prompting.formats`; None for the manifest's."""
    hints: bool = True
    """False: in formats with hints every candidate has the same ones."""
    schema_: bool = Field(default=True, alias="schema")
    """True: answers are decoded under their JSON Schema. False: the model writes freely."""
    decision: DecisionRule = DecisionRule.MODEL
    fusion_weight: float = Field(default=0.5, ge=0, le=1)
    parameters: ParameterRule = ParameterRule.MODEL
    """Where the parameters of the chosen tool come from, as in service."""
    fallback: bool = True
    """An answer that is no valid call is replaced by the ranker's, as in service. False: it counts as the error that it
    is, as in the paper."""
    right_cut: bool = False
    """True: the whole prompt is written and its right end cut to the budget, as the published code does."""
    threads: int | None = Field(default=None, ge=1)
    """local: number of torch's threads."""

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

    def deciding_settings(self) -> dict[str, Json]:
        # Where the files lie does not matter: their digests are compared.
        return {
            key: value
            for key, value in super().deciding_settings().items()
            if key not in ("base", "adapter", "threads")
        }


class ChatConfig(_PromptedConfig):
    """A model behind an OpenAI-compatible chat endpoint, without schema; asked in the published layout by default."""

    kind: Literal["chat"]
    base_url: str
    """Address of the endpoint, with the API's version: https://api.openai.com/v1."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable with the key. Only OpenAI's own endpoint needs one."""
    prompt_format: str = "published-1"
    tokenizer: str | None = None
    """Directory, or name on the hub, of the tokenizer that counts the prompt's tokens. None for the packaged MiniLM's,
    which makes a token of every punctuation mark, so that prompts come out shorter rather than longer."""
    max_tokens: int = Field(default=1024, ge=1)


SystemConfig = RuleConfig | ModelConfig | ChatConfig
_adapter: TypeAdapter[SystemConfig] = TypeAdapter(Annotated[SystemConfig, Field(discriminator="kind")])


def prompt_budget(config: ModelConfig | ChatConfig, of_manifest: int | None = None) -> int:
    """Maximum tokens of a prompt: the config's, else that of the model's manifest, else the paper's."""
    return config.prompt_tokens or of_manifest or BUDGET


def load_system(name: str, changes: Sequence[str] = ()) -> SystemConfig:
    """Read a YAML file, or a shipped one by its name; `changes` are `field=value`, with a value in YAML.

    Raises SetupError that says which field is wrong.
    """
    values = _read_values(name)
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
    """`what` names the source in errors. Raises SetupError that says which field is wrong."""
    try:
        return _adapter.validate_python(values)
    except ValidationError as error:
        raise SetupError(f"{what} is not valid: {faults(error, skipped=1)}.") from error


def shipped_systems() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def _read_values(name: str, depth: int = 0) -> dict[str, Any]:
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS, "system")
    base = values.pop("extends", None)
    if base is None:
        return values
    if depth == _MOST_EXTENDED:
        raise SetupError(f"The system {path} extends others without end.")
    beside = path.parent / f"{base}.yaml"
    inherited = _read_values(str(beside) if beside.exists() else str(base), depth + 1)
    # A system does not inherit what it is called and what it stands for.
    own = {key: value for key, value in inherited.items() if key not in ("name", "label", "paper", "ablation")}
    return {**own, **values}
