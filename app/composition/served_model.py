"""Which model is served, and how: by the settings, else by the model's `petool.json`, else by defaults."""

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
"""Folder of the shipped models. `small` is the language model: `base` and the adapters `sft` and `dpo`, each in Hugging
Face's layout, and `served.json`."""
_DEFAULT_FORMAT = "hinted-1"
_WEIGHT = 0.5


@dataclass(frozen=True)
class Recommended:
    """Content of `served.json`: how the shipped model answers best, by its evaluation."""

    adapter: Literal["", "sft", "dpo"]
    """Adapter to serve. Empty means the base model without one."""
    decision: DecisionRule = DecisionRule.MODEL
    fusion_weight: float = _WEIGHT
    parameters: ParameterRule = ParameterRule.MODEL


@dataclass(frozen=True)
class ServedModel:
    """The model to serve, and how it is prompted and decides."""

    model: str
    """Directory of the base model, or its name on the hub."""
    adapter: str | None
    """Name of the adapter in requests to the engine. None for the base model."""
    adapter_directory: Path | None
    """Directory of the adapter, for the local engine."""
    prompt_format: PromptFormat
    prompt_budget: int
    """Maximum tokens of a prompt."""
    decision: DecisionRule
    fusion_weight: float
    parameters: ParameterRule


_recommended = TypeAdapter(Recommended)


def is_default(settings: Settings) -> bool:
    """Whether the shipped model is to be served with its own adapter, prompt format and budget."""
    given = (settings.model, settings.adapter, settings.prompt_format, settings.prompt_budget)
    return settings.engine == "local" and not any(given)


def select_model(settings: Settings, models: Path = MODELS) -> ServedModel:
    """The model to serve. Raises SetupError for missing files, and for settings that contradict its training."""
    shipped = models / "small"
    as_shipped = not (settings.model or settings.adapter)
    recommended = _read_recommendation(shipped / "served.json") if as_shipped else Recommended("")
    model = settings.model or str(shipped / "base")
    adapter = settings.adapter or (str(shipped / recommended.adapter) if recommended.adapter else "")
    # For vLLM the adapter is a name, not a directory.
    directory = Path(adapter).resolve() if adapter and settings.engine == "local" else None
    of_model, of_adapter = read_manifest(Path(model)), read_manifest(directory) if directory is not None else None
    if of_adapter is not None:
        _check_base(adapter, of_adapter, Path(model))
    # Without a manifest, the operator has to say what prompt format an adapter was trained on.
    binding = of_adapter if adapter else of_model
    known = of_adapter or of_model
    return ServedModel(
        model,
        _adapter_name(adapter, of_path=as_shipped or directory is not None),
        directory,
        _select_format(settings.prompt_format, binding, known),
        settings.prompt_budget or (known.prompt_tokens if known is not None else BUDGET),
        DecisionRule(settings.decision or recommended.decision),
        recommended.fusion_weight if settings.fusion_weight is None else settings.fusion_weight,
        ParameterRule(settings.parameters or recommended.parameters),
    )


def _adapter_name(adapter: str, *, of_path: bool) -> str | None:
    return (Path(adapter).resolve().name if of_path else adapter) if adapter else None


def _read_recommendation(path: Path) -> Recommended:
    try:
        return _recommended.validate_json(path.read_bytes())
    except OSError as error:
        raise SetupError(
            f"The shipped model is not there: {path} cannot be read ({error.strerror}). Install petool again, set "
            "PETOOL_MODEL to a model of your own, or PETOOL_ENGINE=none to do without."
        ) from error
    except ValidationError as error:
        raise SetupError(f"{path} does not say how the shipped model is served: {error.errors()[0]['msg']}.") from error


def _select_format(asked: str, binding: Manifest | None, known: Manifest | None) -> PromptFormat:
    """The prompt format. `binding` is the manifest of what is served: another format than its own is refused."""
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
