"""What a run is made from: the base model's files, the adapter it starts from, the prompt it is asked in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.domain import Json
from app.errors import SetupError
from app.model_files.manifest import BaseWeights, Manifest, read_manifest, verify_files, weights_digest
from app.prompting.formats import PromptFormat, format_named
from app.prompting.tokenizer import PromptTokenizer
from training.common.stages import digest, file_hash
from training.finetune.config import FinetuneConfig

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_TEXT_FILES = ("*.json", "*.jinja")


@dataclass(frozen=True)
class Sources:
    base: Path
    """The base model's directory."""
    base_name: str
    start: Path | None
    """DPO: the SFT adapter's directory."""
    start_manifest: Manifest | None
    format: PromptFormat
    budget: int
    """Tokens of a prompt."""

    @property
    def model_config(self) -> Mapping[str, Json]:
        """config.json."""
        path = self.base / "config.json"
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise SetupError(f"{path} cannot be read ({error}): the base has to be a model directory.") from error

    @property
    def context(self) -> int:
        """Tokens of prompt and answer that the model takes; SetupError where config.json does not tell."""
        config = self.model_config
        longest = config.get("max_position_embeddings") or config.get("n_positions")
        if not isinstance(longest, int):
            raise SetupError(
                f"{self.base / 'config.json'} has no max_position_embeddings: the longest input is unknown."
            )
        return longest

    @cached_property
    def tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer.load(self.base)

    @cached_property
    def tokenizer_digest(self) -> str:
        return digest({name: file_hash(self.base / name) for name in _TOKENIZER_FILES if (self.base / name).exists()})

    @cached_property
    def base_weights(self) -> BaseWeights:
        """Reads all of the weights."""
        return BaseWeights(self.base_name, weights_digest(self.base))


def find_sources(config: FinetuneConfig, *, weights: bool = True) -> Sources:
    """`weights`: False where the base's small files are enough. SetupError for what is missing, or does not fit."""
    base = _base_directory(config.base, weights=weights)
    start, of_start = config.adapter, None
    if start is not None:
        of_start = _start_manifest(start)
    told = of_start or read_manifest(base)
    name, budget = config.prompt_format, config.prompt_tokens
    if told is not None:
        name, budget = name or told.prompt_format, budget or told.prompt_tokens
    if name is None or budget is None:
        raise SetupError(
            f"{base} has no petool.json to take the prompt's format from: give prompt_format and prompt_tokens."
        )
    if of_start is not None and (name, budget) != (of_start.prompt_format, of_start.prompt_tokens):
        raise SetupError(
            f"{start} was trained on prompts in {of_start.prompt_format} of {of_start.prompt_tokens} tokens, not in "
            f"{name} of {budget}: leave prompt_format and prompt_tokens out."
        )
    return Sources(base, Path(config.base).name, start, of_start, format_named(name), budget)


def check_base(sources: Sources) -> None:
    """SetupError where the start adapter was trained for other weights than the base's."""
    told = sources.start_manifest
    if told is not None and told.base is not None and told.base.digest != sources.base_weights.digest:
        raise SetupError(
            f"{sources.start} was trained for {told.base.name} with the weights {told.base.digest[:12]}…, and "
            f"{sources.base} has {sources.base_weights.digest[:12]}…: name the base it was trained for."
        )


def _start_manifest(directory: Path) -> Manifest:
    manifest = read_manifest(directory)
    if manifest is None or manifest.kind != "adapter":
        raise SetupError(f"{directory} is no adapter that petool-train made: run petool-train sft first.")
    verify_files(directory, manifest)
    return manifest


def _base_directory(base: str, *, weights: bool) -> Path:
    if Path(base).is_dir():
        return Path(base)
    # Takes seconds, and is not needed for a directory.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_TEXT_FILES, *(["*.safetensors"] if weights else [])]
    try:
        return Path(snapshot_download(base, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise SetupError(
            f"{base!r} is not a directory, and not a model that the hub or its cache gives: {str(error)[:300]}"
        ) from error
