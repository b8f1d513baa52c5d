"""`adapter_config.json` of a LoRA adapter: read with care, as anyone may have written it."""

import json
import re
import warnings
from pathlib import Path
from typing import Annotated

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import InvalidAdapter

CONFIG = "adapter_config.json"
_UNSUPPORTED = (
    *("modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters", "use_dora"),
    *("alora_invocation_tokens", "lora_bias", "use_qalora", "use_bdlora", "megatron_config", "arrow_config"),
    *("kasa_config", "velora_config", "monteclora_config"),
)
"""Settings of peft that other engines do not serve either: an adapter is to give the same answers everywhere."""
_HARMLESS_STARTS = ("gaussian", "eva", "orthogonal")
"""Ways to draw the first weights that leave the base model's own as they are. Loading would repeat the others."""
_QUICK = re.compile(r"(?:(?:\\[wd]|\.|\[[^\]]*\])[*+]|[\w.\\^$|()\[\]-])*", re.ASCII)
_LOOPS, _LONGEST = 3, 500
_Rank = Annotated[int, Field(ge=1)]
_Alpha = Annotated[float, Field(gt=0)]


class _Settings(BaseModel):
    """The types of what peft, which checks none, reads from an adapter's configuration."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    r: _Rank = 8
    lora_alpha: _Alpha = 8
    lora_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, _Rank] | None = None
    alpha_pattern: dict[str, _Alpha] | None = None
    init_lora_weights: bool | str | None = None
    base_model_name_or_path: str | None = None


def read_config(directory: Path) -> LoraConfig:
    """peft's configuration of the adapter; InvalidAdapter where it is broken, or asks for more than plain LoRA."""
    try:
        values = json.loads((directory / CONFIG).read_text("utf-8"))
        if not isinstance(values, dict) or values.get("peft_type") != "LORA":
            raise InvalidAdapter(f"{CONFIG} does not describe a LoRA adapter")
        used = [name for name in _UNSUPPORTED if values.get(name)]
        if used or values.get("bias", "none") != "none":
            raise InvalidAdapter(
                f"{CONFIG}: {', '.join(used) or 'bias'} is not supported; train the adapter without it"
            )
        settings = _Settings.model_validate(values)
        _check_start(settings.init_lora_weights)
        _check_patterns(settings)
        with warnings.catch_warnings():
            # peft tells of settings that it does not know.
            warnings.simplefilter("ignore")
            config = LoraConfig.from_peft_type(**values)  # type: ignore[no-untyped-call]
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidAdapter(f"{CONFIG}: {'.'.join(map(str, fault['loc']))[:200]}: {fault['msg']}") from error
    except OSError as error:
        raise InvalidAdapter(
            f"{CONFIG} cannot be read ({error.strerror}); give a directory in peft's layout"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RecursionError) as error:
        raise InvalidAdapter(
            f"{CONFIG} cannot be read ({first_line(error)}); give a directory in peft's layout"
        ) from error
    assert isinstance(config, LoraConfig)
    # The weights come from the file.
    config.init_lora_weights = True
    config.inference_mode = True
    return config


def _check_patterns(settings: _Settings) -> None:
    """InvalidAdapter for regular expressions that may not end in time: engines match them, and nothing else runs."""
    asked = (settings.target_modules, settings.exclude_modules, settings.layers_pattern)
    patterns = [each for each in asked if isinstance(each, str)]
    patterns += settings.layers_pattern if isinstance(settings.layers_pattern, list) else []
    patterns += [*(settings.rank_pattern or {}), *(settings.alpha_pattern or {})]
    for pattern in patterns:
        if len(pattern) > _LONGEST or _QUICK.fullmatch(pattern) is None or sum(map(pattern.count, "*+")) > _LOOPS:
            raise InvalidAdapter(
                f"{CONFIG}: the pattern {pattern[:100]!r} is not taken: of regular expressions only names, ., |, (…), "
                f"[…], ^, $ and up to {_LOOPS} times .* or \\w+ are; list the modules' names instead"
            )


def _check_start(value: bool | str | None) -> None:
    if isinstance(value, str) and value.lower() not in _HARMLESS_STARTS:
        raise InvalidAdapter(
            f"{CONFIG}: an adapter whose init_lora_weights is {value[:100]!r} has changed its base model as well: save "
            "it again as plain LoRA, by peft's `path_initial_model_for_weight_conversion`"
        )


def first_line(error: BaseException) -> str:
    """Within reason: the libraries' messages run to pages."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
