"""Which version of this code made something."""

import subprocess
from pathlib import Path


def revision() -> str:
    """Of git, where this is a checkout and there is git; empty elsewhere."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    except OSError:
        return ""
