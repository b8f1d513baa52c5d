"""Processes that a test may interrupt as Ctrl-C does."""

import sys

# A background job of a non-interactive shell ignores SIGINT, and its children inherit that. A program that is started
# in place of this one starts with the default. `preexec_fn` would fork a process that may have threads.
_WITH_DEFAULT_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def interruptible(*command: str) -> list[str]:
    """The command for `subprocess` by which it ends at SIGINT, even where this process ignores that."""
    return [sys.executable, "-I", "-S", "-c", _WITH_DEFAULT_SIGINT, *command]
