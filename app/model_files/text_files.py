"""The files of a model in Hugging Face's layout that say how it reads text."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.domain import Json
from app.errors import SetupError

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKENIZER, _CONFIG, _SPECIALS = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class ModelFiles:
    tokenizer: dict[str, Json]
    """tokenizer.json."""
    template: str | None
    """The chat template (Jinja), if the model has one."""
    roles: dict[str, str] = field(default_factory=dict)
    """Special tokens by role: bos_token, eos_token, ..."""
    special: tuple[str, ...] = ()
    """All of them, those without a role too."""
    added: dict[int, str] = field(default_factory=dict)
    """Added tokens by id that tokenizer_config.json tells of."""


def read_model_files(model: str | Path) -> ModelFiles:
    """Of a directory, or of a name on the model hub. Raises SetupError that says what to do."""
    find = _in_directory(Path(model)) if Path(model).is_dir() else _on_hub(str(model))
    tokenizer = _json(find(_TOKENIZER))
    if tokenizer is None:
        raise SetupError(
            f"{model} has no {_TOKENIZER}. Name a model directory in Hugging Face's layout; for one with another kind "
            "of tokenizer, AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it."
        )
    config = _json(find(_CONFIG)) or {}
    # Where both name a token, the configuration is the newer file.
    named = (_json(find(_SPECIALS)) or {}) | {key: value for key, value in config.items() if value is not None}
    roles = {role: text for role in _ROLES if (text := _content(named.get(role)))}
    extra = named.get("additional_special_tokens") or named.get("extra_special_tokens") or []
    others = [text for each in (extra.values() if isinstance(extra, dict) else extra) if (text := _content(each))]
    decoder = config.get("added_tokens_decoder")
    added = {int(key): _content(value) for key, value in decoder.items()} if isinstance(decoder, dict) else {}
    return ModelFiles(
        tokenizer,
        _template(_text(find(_TEMPLATE)), config.get("chat_template")),
        roles,
        tuple(dict.fromkeys([*roles.values(), *others])),
        {number: text for number, text in sorted(added.items()) if text},
    )


def _in_directory(directory: Path) -> Callable[[str], Path | None]:
    return lambda name: directory / name if (directory / name).exists() else None


def _on_hub(model: str) -> Callable[[str], Path | None]:
    # Takes seconds, and is not needed for a directory.
    from transformers.utils.hub import cached_file

    def find(name: str) -> Path | None:
        try:
            path = cached_file(model, name, _raise_exceptions_for_missing_entries=name == _TOKENIZER)
        except (OSError, ValueError) as error:
            raise SetupError(
                f"{model!r} is not a directory, and not a model with a {_TOKENIZER} that the hub or its cache gives: "
                f"{error}"
            ) from error
        return None if path is None else Path(path)

    return find


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read ({error}); copy the model again.") from error


def _json(path: Path | None) -> dict[str, Json] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path} is not JSON ({error}); copy the model again.") from error
    if not isinstance(document, dict):
        raise SetupError(f"{path} is not a JSON object; copy the model again.")
    return document


def _content(token: Json) -> str:
    """A token is written as text, or as an object with its `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _template(file: str | None, configured: Json) -> str | None:
    if file is not None:
        return file
    if isinstance(configured, list):
        named = {each.get("name"): each.get("template") for each in configured if isinstance(each, dict)}
        configured = named.get("default")
    return configured if isinstance(configured, str) else None
