"""Settings in YAML files, of which some ship: read, changed, and told what is wrong with them."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.errors import SetupError


def named_file(name: str, shipped: Path) -> Path:
    """A file by its path, or a shipped one by its name."""
    return Path(name) if name.endswith((".yaml", ".yml")) else shipped / f"{name}.yaml"


def read_mapping(path: Path, shipped: Path, what: str = "config") -> dict[str, Any]:
    """Raises SetupError where the file is not there (and names those in `shipped`), is no YAML, or no mapping."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        known = ", ".join(sorted(each.stem for each in shipped.glob("*.yaml")))
        raise SetupError(f"The {what} {path} cannot be read: {error.strerror}. Shipped ones: {known}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SetupError(f"The {what} {path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise SetupError(f"The {what} {path} is not a mapping of settings.")
    return values


def faults(error: ValidationError, *, skipped: int = 0) -> str:
    """Each with the field it is about. `skipped`: parts in front of the field's name that say nothing to the user."""
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, item["loc"][skipped:])), item["msg"]])) for item in error.errors()
    )
