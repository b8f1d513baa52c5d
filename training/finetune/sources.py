"""What a run starts from: the base model's files, an adapter, and the format of the prompts."""

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
    """Maximum tokens of a prompt."""

    @property
    def model_config(self) -> Mapping[str, Json]:
        """The content of config.json. Raises SetupError where it cannot be read."""
        path = self.base / "config.json"
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise SetupError(f"{path} cannot be read ({error}): the base has to be a model directory.") from error

    @property
    def context(self) -> int:
        """Maximum tokens of prompt and answer together. Raises SetupError where config.json does not tell."""
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
        """Name and digest of the weights, all of which are read."""
        return BaseWeights(self.base_name, weights_digest(self.base))


def find_sources(config: FinetuneConfig, *, weights: bool = True) -> Sources:
    """Find the files that a config names, downloading the base from the model hub if need be.

    `weights` is False where the base's small files are enough. Raises SetupError for what is missing or does not fit.
    """
    base = _base_directory(config.base, weights=weights)
    start = config.adapter
    start_manifest = _read_start_manifest(start) if start is not None else None
    manifest = start_manifest or read_manifest(base)
    name, budget = config.prompt_format, config.prompt_tokens
    if manifest is not None:
        name, budget = name or manifest.prompt_format, budget or manifest.prompt_tokens
    if name is None or budget is None:
        raise SetupError(
            f"{base} has no petool.json to take the prompt's format from: give prompt_format and prompt_tokens."
        )
    if start_manifest is not None and (name, budget) != (start_manifest.prompt_format, start_manifest.prompt_tokens):
        raise SetupError(
            f"{start} was trained on prompts in {start_manifest.prompt_format} of {start_manifest.prompt_tokens} "
            f"tokens, not in {name} of {budget}: leave prompt_format and prompt_tokens out."
        )
    return Sources(base, Path(config.base).name, start, start_manifest, format_named(name), budget)


def check_base(sources: Sources) -> None:
    """Raises SetupError where the start adapter was trained for other weights than the base's."""
    trained_for = sources.start_manifest.base if sources.start_manifest is not None else None
    if trained_for is not None and trained_for.digest != sources.base_weights.digest:
        raise SetupError(
            f"{sources.start} was trained for {trained_for.name} with the weights {trained_for.digest[:12]}…, and "
            f"{sources.base} has {sources.base_weights.digest[:12]}…: name the base it was trained for."
        )


def _read_start_manifest(directory: Path) -> Manifest:
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
