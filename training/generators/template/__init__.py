"""The offline writer: deterministic text without a language model."""

from training.generators.template.writer import TemplateWriter

__all__ = ["TemplateWriter"]
