"""The engine that runs the model in this process. Importing it takes seconds: torch, transformers, peft."""

from app.inference.local.engine import LocalEngine

__all__ = ["LocalEngine"]
