"""Which model the settings mean and how it is asked: as they say, else as its `petool.json` does, else by default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from app.composition.settings import Settings
from app.domain import DecisionRule, ParameterRule
from app.errors import SetupError
from app.model_files.manifest import Manifest, read_manifest, weights_digest
from app.prompting.builder import BUDGET
from app.prompting.formats import PromptFormat, format_named

MODELS = Path(__file__).parents[2] / "models"
"""What ships, of which `small` is the language model: `base` and the adapters `sft` and `dpo`, each in Hugging Face's
layout, and `served.json`."""
_DEFAULT_FORMAT = "hinted-1"
_WEIGHT = 0.5


@dataclass(frozen=True)
class Recommended:
    """`served.json`: how the shipped model answers best, as the evaluation has shown."""

    adapter: Literal["", "sft", "dpo"]
    """Empty: the base alone."""
    decision: DecisionRule = DecisionRule.MODEL
    fusion_weight: float = _WEIGHT
    parameters: ParameterRule = ParameterRule.MODEL


@dataclass(frozen=True)
class Served:
    model: str
    """Directory, or name on the hub."""
    adapter: str | None
    """Its name in requests; None for the base model."""
    adapter_directory: Path | None
    """`local`: where it lies."""
    prompt_format: PromptFormat
    prompt_budget: int
    decision: DecisionRule
    fusion_weight: float
    parameters: ParameterRule


_recommended = TypeAdapter(Recommended)


def is_default(settings: Settings) -> bool:
    """Whether it is the shipped model that is to be served, as it is shipped."""
    given = (settings.model, settings.adapter, settings.prompt_format, settings.prompt_budget)
    return settings.engine == "local" and not any(given)


def served(settings: Settings, models: Path = MODELS) -> Served:
    """Raises SetupError where files are missing, or settings contradict what the model was trained with."""
    shipped = models / "small"
    as_shipped = not (settings.model or settings.adapter)
    recommended = _recommendation(shipped / "served.json") if as_shipped else Recommended("")
    model = settings.model or str(shipped / "base")
    adapter = settings.adapter or (str(shipped / recommended.adapter) if recommended.adapter else "")
    # Elsewhere it is a name.
    directory = Path(adapter).resolve() if adapter and settings.engine == "local" else None
    of_model, of_adapter = read_manifest(Path(model)), read_manifest(directory) if directory is not None else None
    if of_adapter is not None:
        _check_base(adapter, of_adapter, Path(model))
    # What an adapter without a manifest was trained on is for its owner to say.
    binding = of_adapter if adapter else of_model
    known = of_adapter or of_model
    return Served(
        model,
        _name(adapter, of_path=as_shipped or directory is not None),
        directory,
        _format(settings.prompt_format, binding, known),
        settings.prompt_budget or (known.prompt_tokens if known is not None else BUDGET),
        DecisionRule(settings.decision or recommended.decision),
        recommended.fusion_weight if settings.fusion_weight is None else settings.fusion_weight,
        ParameterRule(settings.parameters or recommended.parameters),
    )


def _name(adapter: str, *, of_path: bool) -> str | None:
    return (Path(adapter).resolve().name if of_path else adapter) if adapter else None


def _recommendation(path: Path) -> Recommended:
    try:
        return _recommended.validate_json(path.read_bytes())
    except OSError as error:
        raise SetupError(
            f"The shipped model is not there: {path} cannot be read ({error.strerror}). Install petool again, set "
            "PETOOL_MODEL to a model of your own, or PETOOL_ENGINE=none to do without."
        ) from error
    except ValidationError as error:
        raise SetupError(f"{path} does not say how the shipped model is served: {error.errors()[0]['msg']}.") from error


def _format(asked: str, binding: Manifest | None, known: Manifest | None) -> PromptFormat:
    """`binding`: of what is served, which admits no other format than its own."""
    if asked and binding is not None and format_named(asked).name != binding.prompt_format:
        raise SetupError(
            f"PETOOL_PROMPT_FORMAT is {asked}, and {binding.name} was trained on {binding.prompt_format}: a model is "
            "served with the format it was trained on. Leave PETOOL_PROMPT_FORMAT empty."
        )
    return format_named(asked or (known.prompt_format if known is not None else _DEFAULT_FORMAT))


def _check_base(adapter: str, manifest: Manifest, model: Path) -> None:
    if manifest.base is not None and model.is_dir() and weights_digest(model) != manifest.base.digest:
        raise SetupError(
            f"The adapter {adapter} was trained for {manifest.base.name} with other weights than {model} has: set "
            "PETOOL_MODEL to the model it was trained for, or train it anew."
        )
