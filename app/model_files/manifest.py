"""`petool.json` beside a model's or an adapter's files: what it is, what it was made from, and the files' hashes.

Training writes it; the service and the evaluation read it, so that a model is asked in the prompt it was trained on.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from app.domain import Json
from app.errors import SetupError

MANIFEST = "petool.json"
VERSION = 1
_UNLISTED = (MANIFEST, "README.md")
"""The card is for people, who may write into it."""
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""In hexadecimal digits."""


@dataclass(frozen=True)
class BaseWeights:
    """The model that an adapter was trained for."""

    name: str
    digest: Sha256
    """`weights_digest` of its directory."""


@dataclass(frozen=True)
class TrainingData:
    """A benchmark that `petool-train benchmark build` made."""

    config: str
    """Its config's name."""
    seed: int
    digest: Sha256
    """Of the finished dataset's files."""


@dataclass(frozen=True)
class Manifest:
    kind: Literal["model", "adapter"]
    name: str
    stage: Literal["base", "sft", "dpo"]
    base: BaseWeights | None
    """None for models."""
    prompt_format: str
    """Name in `app.prompting.formats`."""
    prompt_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    """The budget of the prompts it was trained on."""
    data: TrainingData
    config: Mapping[str, Json] = field(default_factory=dict)
    """Of the run that trained it."""
    revision: str = ""
    """Of the code, by git; empty where unknown."""
    scores: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, Sha256] = field(default_factory=dict)
    """SHA-256 of every file in the directory but this one and README.md, by its path with slashes."""


_adapter = TypeAdapter(Manifest)


def read_manifest(directory: Path) -> Manifest | None:
    """None where the directory has none. SetupError where it is broken, or of a version that is not known here."""
    path = directory / MANIFEST
    try:
        values = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path} is not JSON ({error}); {_ADVICE}") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise SetupError(f"{path} is a manifest of version {version!r}, and this petool knows {VERSION}: use a petool "
                         f"of the same age, or {_ADVICE}")  # fmt: skip
    try:
        manifest = _adapter.validate_python({key: value for key, value in values.items() if key != "version"})
    except ValidationError as error:
        fault = error.errors()[0]
        raise SetupError(f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; {_ADVICE}") from error
    if (manifest.kind == "adapter") != (manifest.base is not None):
        raise SetupError(f"{path}: an adapter, and no model, names its base; {_ADVICE}")
    for name in manifest.files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise SetupError(f"{path} names {name!r}, which is outside of its directory; {_ADVICE}")
    return manifest


_ADVICE = "copy the directory again from where it was trained."


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Whole, or as it was before. OSError where the disk does not take it."""
    text = json.dumps({"version": VERSION, **asdict(manifest)}, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    with NamedTemporaryFile("w", encoding="utf-8", dir=directory, prefix=f".{MANIFEST}.", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            # Temporary files are the owner's alone.
            Path(file.name).chmod(0o644)
            Path(file.name).replace(directory / MANIFEST)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def verify_files(directory: Path, manifest: Manifest) -> None:
    """SetupError names the first file that is missing, or is not what it was; reads all of them."""
    for name, expected in manifest.files.items():
        try:
            found = _sha256(directory / name)
        except OSError as error:
            raise SetupError(f"{directory / name} cannot be read ({error.strerror}); {_ADVICE}") from error
        if found != expected:
            raise SetupError(f"{directory / name} is not the file that {MANIFEST} tells of; {_ADVICE}")


def file_digests(directory: Path) -> dict[str, str]:
    """For `Manifest.files`. OSError where one cannot be read."""
    return {name: _sha256(directory / name) for name in _names(directory)}


def weights_digest(directory: Path) -> str:
    """SHA-256 of a model's safetensors: of its one file; of many, of what `sha256sum` prints of them in name's order.

    Raises SetupError where there are none, or not all of them.
    """
    try:
        shards = _shards(directory)
        if shards == [_WEIGHTS]:
            return _sha256(directory / _WEIGHTS)
        lines = "".join(f"{_sha256(directory / name)}  {name}\n" for name in shards)
    except OSError as error:
        raise SetupError(
            f"{error.filename} cannot be read ({error.strerror}): {directory} has to be a model directory with its "
            "weights as safetensors."
        ) from error
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()


def _shards(directory: Path) -> list[str]:
    index = directory / _INDEX
    if not index.exists():
        return [_WEIGHTS]
    try:
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SetupError(f"{index} does not list the model's weights; copy the model again.") from error
    if not shards or any(not isinstance(name, str) or Path(name).name != name for name in shards):
        raise SetupError(f"{index} lists weights that are not files beside it; copy the model again.")
    return shards


def _names(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name not in _UNLISTED and not name.startswith(f".{MANIFEST}."):
            yield name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
