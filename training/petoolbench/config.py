"""One YAML file = one reproducible benchmark. Shipped ones lie in `training/configs`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import SetupError
from training.common.yaml_files import faults, named_file, read_mapping

CONFIGS = Path(__file__).parents[1] / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CatalogueConfig(_Section):
    """Where the tools come from: `path`, or our generator."""

    path: Path | None = None
    """A file or folder in any import format."""
    tools: int = Field(default=7454, ge=2)
    """Generated: how many are left after preparation (the paper's 7,454)."""
    categories: int = Field(default=46, ge=1, le=46)
    outright: float = Field(default=0.75, ge=0, le=1)
    """Generated: how often a document says an attribute outright instead of in one of its ten paraphrases. What makes
    the benchmark easier: at 1 like attributes are said in like words."""
    flawed: int = Field(default=320, ge=0)
    """Generated on top, for preparation to find: deprecated, hardly documented, duplicates."""


class OpenAIConfig(_Section):
    base_url: str = "https://api.openai.com/v1"
    model: str = "gpt-4o-mini"
    api_key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; a key never stands in a config."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=64)
    timeout: float = Field(default=60.0, gt=0)
    concurrency: int = Field(default=8, ge=1)
    retries: int = Field(default=6, ge=0)
    input_price: float | None = Field(default=None, ge=0)
    """Dollars a million tokens; needed for a budget."""
    output_price: float | None = Field(default=None, ge=0)


class WriterConfig(_Section):
    kind: Literal["template", "openai"] = "template"
    openai: OpenAIConfig = OpenAIConfig()


class PrepareConfig(_Section):
    min_words: int = Field(default=2, ge=0)
    """Words of api name and description together that are not the category's or the provider's: less is too little
    documentation."""


class GroupConfig(_Section):
    eps: float | None = Field(default=None, gt=0, lt=2)
    """Cosine distance; None: chosen on `eps_grid` (docs/benchmark.md)."""
    eps_grid: tuple[Annotated[float, Field(gt=0, lt=2)], ...] = Field(
        default=(0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40), min_length=1
    )
    min_samples: int = Field(default=2, ge=2)
    largest: int = Field(default=15, ge=2)
    unseen: float = Field(default=0.15, ge=0, lt=1)
    """Share of the tools, by whole functionalities, kept for the part `unseen`."""


class PreferenceConfig(_Section):
    similar: int = Field(default=5, ge=1)
    """The paper's top-5."""
    tastes: tuple[float, ...] = (0.8, 0.2)
    """How likely a user has one, two, ... tastes; each gives one instruction."""
    shown: tuple[int, int] = (4, 5)
    """The fewest and the most tools of a taste that the history shows."""
    rivals_shown: tuple[int, int] = (2, 4)
    """The same of tools like a rival of the tool asked for."""
    own_provider: bool = False
    """Whether a history may show other tools of a provider that the group asked about has too. Where documents say
    little but who offers the tool, the provider is what a taste is about."""
    margin: float = Field(default=0.12, ge=0)
    """By how much of cosine the wanted tool must lead its group by the understood attributes (see preferences.py)."""
    slips: float = Field(default=0.15, ge=0, le=1)
    """Share of the histories with an entry that goes against the taste."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("shown", "rivals_shown"):
            few, many = getattr(self, name)
            if not 1 <= few <= many:
                raise ValueError(f"{name} is a pair of the fewest and the most, from 1 on")
        if not self.tastes or min(self.tastes) < 0 or sum(self.tastes) <= 0:
            raise ValueError("tastes are shares of users with one, two, ... tastes: none below 0, not all 0")
        return self


class InstanceConfig(_Section):
    train: int = Field(default=9000, ge=0)
    test: int = Field(default=3000, ge=0)
    unseen: int = Field(default=600, ge=0)
    spare: float = Field(default=0.08, ge=0, le=10)
    """So many users more are planned than are needed; those whose texts are refused are replaced from them."""
    attempts: int = Field(default=4, ge=1)
    """At an instruction, before it is given up."""


class CandidateConfig(_Section):
    n: int = Field(default=10, ge=2)
    retrieved: int = Field(default=5, ge=0)


class BenchmarkConfig(_Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = 1
    catalogue: CatalogueConfig = CatalogueConfig()
    writer: WriterConfig = WriterConfig()
    prepare: PrepareConfig = PrepareConfig()
    group: GroupConfig = GroupConfig()
    preferences: PreferenceConfig = PreferenceConfig()
    instances: InstanceConfig = InstanceConfig()
    candidates: CandidateConfig = CandidateConfig()

    @model_validator(mode="after")
    def _enough_candidates(self) -> Self:
        if self.candidates.retrieved > self.candidates.n - 1:
            raise ValueError("candidates.retrieved must leave room for the right tool: at most n - 1")
        return self


def load_config(name: str, **changes: Any) -> BenchmarkConfig:
    """The config of a file, or of a shipped one by its name; `changes` replace fields of its `catalogue`.

    Raises SetupError that says which field is wrong.
    """
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS)
    if changes:
        catalogue = values.get("catalogue") or {}
        # What is no mapping is told below.
        values["catalogue"] = {**catalogue, **changes} if isinstance(catalogue, dict) else catalogue
    try:
        return BenchmarkConfig.model_validate(values)
    except ValidationError as error:
        raise SetupError(f"The config {path} is not valid: {faults(error)}.") from error
